//! Every fault does what it is called, and the log tells the truth about it.

use std::time::Duration;

use quell::chat::client::{CallResult, ClientOptions, Unclear};
use quell::chat::error::Class;
use quell::sim::{Fault, Faults, Sim};

use crate::support::{self, ADMIN, APP_ID, KEY, codes, recall, text};

async fn with(faults: Faults) -> Sim {
    let sim = support::sim().await;
    for n in 1..=10 {
        sim.send(&text("g", n, "hello")).unwrap();
    }
    sim.set_faults(faults);
    sim
}

fn always() -> Faults {
    Faults::default()
}

#[tokio::test]
async fn a_gateway_error_does_nothing() {
    let sim = with(Faults { bad_gateway: 1.0, ..always() }).await;
    let called = recall(&support::client(&sim), "g", &[1]).await;
    assert_eq!(called, CallResult::Unclear { why: Unclear::HttpStatus, http_status: Some(502) });
    assert!(sim.recalled().is_empty());
    assert_eq!(sim.log()[0].fault, Some(Fault::BadGateway));
}

#[tokio::test]
async fn a_connection_breaks_before_or_after_the_deed() {
    for (faults, done) in [
        (Faults { reset_before: 1.0, ..always() }, 0),
        (Faults { reset_after: 1.0, ..always() }, 1),
    ] {
        let sim = with(faults).await;
        let called = recall(&support::client(&sim), "g", &[1]).await;
        assert!(matches!(called, CallResult::Unclear { why: Unclear::Disconnected(_), .. }));
        assert_eq!(sim.recalled().len(), done);
        assert_eq!(sim.log().len(), 1, "one call, one arrival");
        assert_eq!(sim.log()[0].answer, None);
    }
}

#[tokio::test]
async fn a_hanging_call_was_done() {
    let sim = with(Faults { hang: 1.0, ..always() }).await;
    let mut options = ClientOptions::new(&sim.url(), APP_ID, ADMIN, KEY.into());
    options.timeout = Duration::from_secs(1);
    let called = recall(&support::client_with(options), "g", &[1]).await;
    assert_eq!(called, CallResult::Unclear { why: Unclear::TimedOut, http_status: None });
    assert_eq!(sim.recalled().len(), 1);
    sim.shutdown().await;
}

#[tokio::test]
async fn error_codes_are_answered_without_the_deed() {
    let table = [
        (Faults { internal_error: 1.0, ..always() }, 10_002, Class::Retry),
        (Faults { too_frequent: 1.0, ..always() }, 60_007, Class::of_call(60_007)),
        (Faults { error_code: Some(10_041), ..always() }, 10_041, Class::Configuration),
    ];
    for (faults, code, class) in table {
        let sim = with(faults).await;
        let called = recall(&support::client(&sim), "g", &[1, 2]).await;
        assert_eq!(codes(&called), (code, vec![None, None]));
        let CallResult::Answered(answer) = called else { unreachable!() };
        assert_eq!(answer.class(), class);
        assert!(sim.recalled().is_empty());
    }
    let sim = with(Faults { ret_code: Some(10_033), ..always() }).await;
    let called = recall(&support::client(&sim), "g", &[1, 2]).await;
    assert_eq!(codes(&called), (0, vec![Some(10_033), Some(10_033)]));
    assert!(sim.recalled().is_empty());
}

#[tokio::test]
async fn a_partial_or_shuffled_answer_is_matched_by_sequence() {
    let sim = with(Faults { missing_item: 1.0, shuffled: 1.0, ..always() }).await;
    let (code, items) = codes(&recall(&support::client(&sim), "g", &[1, 2, 3, 99]).await);
    assert_eq!((code, items.iter().filter(|item| item.is_none()).count()), (0, 1));
    assert!(items[..3].iter().all(|item| matches!(item, None | Some(0))));
    assert!(matches!(items[3], None | Some(10_030)));
    assert_eq!(sim.recalled().len(), 3, "all were recalled, one is only not spoken of");
}

#[tokio::test]
async fn a_lower_limit_holds_at_once() {
    let sim = with(Faults { calls_per_second: 2, ..always() }).await;
    let client = support::client(&sim);
    let mut answered = Vec::new();
    for seq in 1..=5 {
        answered.push(codes(&recall(&client, "g", &[seq]).await).0);
    }
    assert_eq!(answered[..2], [0, 0]);
    let log = sim.log();
    if log[4].at.saturating_sub(log[0].at) < Duration::from_secs(1) {
        assert_eq!(answered[2..], [60_007; 3]);
    }
}

#[tokio::test]
async fn slow_answers_come_all_the_same() {
    let sim = with(Faults { slow: 1.0, slow_ms: [30, 40], ..always() }).await;
    let began = std::time::Instant::now();
    assert_eq!(codes(&recall(&support::client(&sim), "g", &[1]).await).0, 0);
    assert!(began.elapsed() >= Duration::from_millis(30));
}
