//! The proofs of `examples/prove` in small: the same code, short enough for every run. What depends
//! on a quiet machine, such as how fast something is, is left to the program itself.

#[path = "../../examples/prove/proofs/mod.rs"]
mod proofs;

use std::path::Path;
use std::time::Duration;

use self::proofs::Report;

/// What only holds on a machine that does nothing else.
const FIGURES: &[&str] = &[
    "x peak: acknowledged a second",
    "memory",
    "refused or too late",
    "of the configured rate used",
    "took",
    "p50",
    "p99",
    "start until",
    "largest against",
];

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quell"))
}

fn check(report: &Report) {
    let missed = report.missed();
    let broken: Vec<_> =
        missed.iter().filter(|goal| !FIGURES.iter().any(|figure| goal.contains(figure))).collect();
    assert!(broken.is_empty(), "{broken:#?}\n{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_second_sees_too_many_calls_whatever_happens_to_the_daemon() {
    check(&proofs::limiter::prove(binary(), 500).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_leaves_in_as_few_calls_as_there_can_be() {
    check(&proofs::drain::prove(2_000).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_violation_under_light_load_is_recalled() {
    check(&proofs::latency::prove(binary(), 40).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_kills_and_a_failing_chat_break_no_promise() {
    check(&proofs::history::prove(binary(), 3).await.unwrap());
}

#[cfg(feature = "fail")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_at_any_step_breaks_no_promise() {
    check(&proofs::history::prove_steps(binary()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_queue_is_loaded_and_worked() {
    check(&proofs::million::prove(binary(), 5_000).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_callbacks_missed_is_found_and_explained() {
    let (lossy, silent) = (Duration::from_secs(1), Duration::from_secs(2));
    check(&proofs::gaps::prove(binary(), lossy, silent).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_made_up_for() {
    check(&proofs::outage::prove(binary(), Duration::from_secs(3)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_in_force_find_no_difference_in_what_they_decided() {
    check(&proofs::backtest::prove(binary(), 3_000).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_acknowledges_nothing_that_is_not_stored() {
    check(&proofs::overload::prove(binary(), Duration::from_secs(1)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rated_load_is_taken_in_whole() {
    check(&proofs::soak::prove(binary(), Duration::from_secs(2)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_never_seen_before_are_taken_in() {
    check(&proofs::soak::prove_distinct(binary(), 2_000).await.unwrap());
}
