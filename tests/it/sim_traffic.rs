//! The made-up traffic: complete books, and a truth that the demo's rules agree with.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use quell::chat::wire::Event;
use quell::model::{Signals, Verdict};
use quell::rules;
use quell::sim::traffic::{DEMO_RULES, Outcome, Traffic, TrafficOptions};
use quell::sim::{CallbackTarget, Faults, Sim};

use crate::support::{self, receiver::receiver};

fn target(url: String) -> CallbackTarget {
    CallbackTarget { url, token: Some("xxxxyyyy".into()) }
}

fn options() -> TrafficOptions {
    TrafficOptions { rate: 20_000.0, violating: 0.3, connections: 8, ..TrafficOptions::default() }
}

async fn sim() -> Sim {
    Sim::start(support::sim_options()).await.unwrap()
}

#[tokio::test]
async fn the_demo_rules_find_what_was_made_to_be_found_and_nothing_else() {
    let (url, mut events) = receiver().await;
    let sim = sim().await;
    let traffic = Traffic::start(&sim, &target(url), &options()).unwrap();
    let mut messages = Vec::new();
    while messages.len() < 4000 {
        let Some(Event::Message(message)) = events.recv().await else { panic!("no message") };
        messages.push(message);
    }
    let (progress, records) = traffic.stop().await;
    assert_eq!((progress.acknowledged, progress.waiting()), (progress.sent, 0));
    assert_eq!(records.len() as u64, progress.sent);
    let truth: HashMap<_, _> = records.iter().map(|record| (record.key.clone(), record)).collect();
    assert_eq!(truth.len(), records.len(), "every key once");
    let places: HashSet<_> = records.iter().map(|record| &record.key.group_id).collect();
    assert!(places.len() > 400, "{} groups of every type", places.len());
    assert!(records.iter().any(|record| !record.key.topic_id.is_empty()), "and topics");

    let rules = rules::load_str("demo.rules.yaml", DEMO_RULES, Path::new("")).unwrap().rules;
    for message in messages {
        let record = truth[&message.key];
        let judgement = rules.judge(&message, &Signals::default());
        let recall = judgement.verdict == Verdict::Recall;
        assert_eq!(recall, record.violating, "{}", message.text.as_str());
        assert_eq!(message.online_only, record.online_only);
    }
}

#[tokio::test]
async fn callbacks_that_are_kept_back_or_repeated_are_in_the_books() {
    let (url, mut events) = receiver().await;
    let sim = sim().await;
    sim.set_faults(Faults { dropped_callbacks: 0.2, repeated_callbacks: 0.2, ..Faults::default() });
    let traffic = Traffic::start(&sim, &target(url), &options()).unwrap();
    let mut received = 0_u64;
    while received < 1000 {
        assert!(matches!(events.recv().await, Some(Event::Message(_))));
        received += 1;
    }
    let (progress, records) = traffic.stop().await;
    while events.try_recv().is_ok() {
        received += 1;
    }
    assert!(progress.never_sent > 0 && received > progress.acknowledged);
    let count = |outcome| records.iter().filter(|record| record.outcome == outcome).count() as u64;
    assert_eq!(count(Outcome::NeverSent), progress.never_sent);
    assert_eq!(count(Outcome::Acknowledged) + count(Outcome::NeverSent), progress.sent);
}

#[tokio::test]
async fn nobody_at_the_other_end_is_no_acknowledgement() {
    // An address of its own: nobody else is given the port that is let go of.
    let listener = tokio::net::TcpListener::bind("127.0.0.3:0").await.unwrap();
    let url = format!("http://{}/callback", listener.local_addr().unwrap());
    drop(listener);
    let sim = sim().await;
    let traffic = Traffic::start(&sim, &target(url), &options()).unwrap();
    while traffic.progress().unanswered < 100 {
        tokio::task::yield_now().await;
    }
    let (progress, records) = traffic.stop().await;
    assert_eq!((progress.acknowledged, progress.unanswered), (0, progress.sent));
    assert!(records.iter().all(|record| record.outcome == Outcome::Unanswered));
}
