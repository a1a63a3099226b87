//! The callbacks that the simulated Chat sends are signed, complete and readable.

use quell::chat::wire::Event;
use quell::sim::{CallbackTarget, Faults, NewMessage, Sim, SimOptions};

use crate::support::receiver::receiver;
use crate::support::{self, codes, recall, text};

async fn sim_with(url: String) -> Sim {
    let callback = Some(CallbackTarget { url, token: Some("xxxxyyyy".into()) });
    let sim = Sim::start(SimOptions { callback, ..support::sim_options() }).await.unwrap();
    support::populate(&sim);
    sim
}

#[tokio::test]
async fn what_happens_in_a_group_is_told() {
    let (url, mut events) = receiver().await;
    let sim = sim_with(url).await;
    let in_topic = NewMessage { topic_id: "c@TOPIC#_t".into(), ..text("c", 1, "加微信") };
    sim.send(&in_topic).unwrap();
    let Some(Event::Message(message)) = events.recv().await else { panic!("no message") };
    assert_eq!(message.key.to_string(), "c/c@TOPIC#_t/1");
    assert_eq!((message.text.as_str(), message.group_type.0.as_str()), ("加微信", "Community"));
    assert_eq!((message.sender.as_str(), message.platform.as_str()), ("ann", "Android"));

    let client = support::client(&sim);
    client.recall(&"c".into(), &"c@TOPIC#_t".into(), &[1, 7], None).await;
    let Some(Event::Recalled { group_id, topic_id, operator, seqs, .. }) = events.recv().await
    else {
        panic!("no recall")
    };
    assert_eq!((group_id.as_str(), topic_id.as_str()), ("c", "c@TOPIC#_t"));
    assert_eq!((operator.as_str(), seqs), ("administrator", vec![1]));
    let counts = sim.callbacks().unwrap();
    sim.shutdown().await;
    assert_eq!(counts.failed.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn callbacks_can_be_dropped_and_repeated() {
    let (url, mut events) = receiver().await;
    let sim = sim_with(url).await;
    sim.set_faults(Faults { dropped_callbacks: 1.0, ..Faults::default() });
    sim.send(&text("g", 1, "dropped")).unwrap();
    sim.set_faults(Faults { repeated_callbacks: 1.0, ..Faults::default() });
    sim.send(&text("g", 2, "repeated")).unwrap();
    for _ in 0..2 {
        let Some(Event::Message(message)) = events.recv().await else { panic!("no message") };
        assert_eq!(message.text.as_str(), "repeated");
    }
}

#[tokio::test]
async fn a_limit_that_is_nearly_used_is_told() {
    let (url, mut events) = receiver().await;
    let sim = sim_with(url).await;
    sim.set_faults(Faults { calls_per_second: 1, ..Faults::default() });
    let client = support::client(&sim);
    codes(&recall(&client, "g", &[1]).await);
    let Some(Event::OverLimit { service, command, limit, .. }) = events.recv().await else {
        panic!("no alarm")
    };
    let told = (service.as_str(), command.as_str(), limit);
    assert_eq!(told, ("group_open_http_svc", "group_msg_recall", 1));
}
