//! From callback to recall, over real HTTP on both sides.

use std::collections::BTreeSet;
use std::time::Duration;

use quell::model::{Clock, SystemClock};
use quell::sim::{Faults, Sim};
use quell::store::View;
use serde_json::json;

use crate::support::daemon::{Home, message};
use crate::support::{populate, sim_options};

fn seqs(sim: &Sim) -> Vec<u64> {
    sim.recalled().into_iter().map(|key| key.msg_seq).collect()
}

#[tokio::test]
async fn a_violating_message_is_recalled_and_accounted_for() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "都来加微信领红包啦").await, 200);
    assert_eq!(app.callbacks.say("g", 2, "good morning").await, 200);
    assert_eq!(app.callbacks.say("g", 3, "how odd").await, 200);
    assert_eq!(app.callbacks.say("g", 4, "in the shade").await, 200);
    app.drain().await;
    assert_eq!(seqs(&home.sim), [1]);
    assert_eq!(app.column(View::Messages, "verdict").await, ["pass", "flag", "pass", "recall"]);
    assert_eq!(app.column(View::Hits, "mode").await, ["shadow", "live", "live"]);
    let recalls = app.rows(View::Recalls).await;
    let row = &recalls.rows[0];
    let cell = |name: &str| crate::support::daemon::shown(recalls.cell(row, name));
    assert_eq!((cell("state"), cell("ret_code")), ("recalled".into(), "0".into()));
    assert_eq!((cell("requested_by"), cell("attempts")), ("rule:bait".into(), "1".into()));
    let exposure: i64 = cell("exposure_ms").parse().unwrap();
    assert!((0..60_000).contains(&exposure), "{exposure}");
    assert_eq!(app.column(View::Calls, "outcome").await, ["answered"]);
    app.stop().await;
}

#[tokio::test]
async fn a_repeated_callback_makes_one_recall() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let body = message("g", 1, "bad");
    for _ in 0..3 {
        assert_eq!(app.callbacks.send(&body).await, 200);
        app.drain().await;
    }
    assert_eq!(home.recall_calls(), 1);
    assert_eq!(app.rows(View::Messages).await.rows.len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn a_benign_body_sent_first_does_not_shield_the_real_one() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "fine").await, 200);
    assert_eq!(app.callbacks.say("g", 1, "bad").await, 200);
    app.drain().await;
    assert_eq!(seqs(&home.sim), [1]);
    assert_eq!(app.column(View::Conflicts, "text").await, ["bad"]);
    app.stop().await;
}

#[tokio::test]
async fn topics_are_kept_apart() {
    let sim = Sim::start(sim_options()).await.unwrap();
    populate(&sim);
    let home = Home::opposite(sim);
    let app = home.start(&[]).await;
    // Provider-like: the messages must be there to be recalled, so both are sent for real.
    for topic in ["", "c@TOPIC#_t"] {
        let text = r#"[{"MsgType":"TIMTextElem","MsgContent":{"Text":"bad"}}]"#;
        let seq = home.sim.send(&quell::sim::NewMessage {
            group_id: "c".into(),
            topic_id: topic.into(),
            sender: "mallory".into(),
            operator: "mallory".into(),
            random: 1,
            online_only: false,
            body: text.into(),
            cloud_custom_data: String::new(),
        });
        let mut body = message("c", seq.unwrap(), "bad");
        body["Type"] = json!("Community");
        body["TopicId"] = json!(topic);
        assert_eq!(app.callbacks.send(&body).await, 200);
    }
    app.drain().await;
    let recalled: Vec<_> =
        home.sim.recalled().into_iter().map(|key| key.topic_id.to_string()).collect();
    assert_eq!(recalled, ["", "c@TOPIC#_t"]);
    assert_eq!(home.recall_calls(), 2, "one group and topic a call");
    app.stop().await;
}

#[tokio::test]
async fn what_cannot_be_recalled_costs_no_call() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let mut online = message("g", 1, "bad");
    online["OnlineOnlyFlag"] = json!(1);
    let hour_ago = SystemClock.now().before(Duration::from_secs(3601));
    let mut stream = message("live", 2, "bad");
    stream["Type"] = json!("AVChatRoom");
    let mut expired = message("g", 3, "bad");
    let eight_days_ago = SystemClock.now().before(Duration::from_hours(8 * 24));
    for (body, at) in [(&mut stream, hour_ago), (&mut expired, eight_days_ago)] {
        body["MsgTime"] = json!(at.secs());
        body["EventTime"] = json!(at.millis());
    }
    let mut own = message("g", 4, "bad");
    own["From_Account"] = json!("administrator");
    for body in [online, stream, expired, own] {
        assert_eq!(app.callbacks.send(&body).await, 200);
    }
    app.drain().await;
    assert_eq!(home.recall_calls(), 0);
    assert_eq!(app.column(View::Messages, "verdict").await, ["recall"; 4]);
    assert_eq!(app.column(View::Recalls, "state").await, ["refused"; 3]);
    app.stop().await;
}

#[tokio::test]
async fn shadow_mode_judges_and_recalls_nothing() {
    let home = Home::new().await;
    let app = home.start(&["recall.mode=shadow"]).await;
    assert_eq!(app.callbacks.say("g", 1, "bad").await, 200);
    assert_eq!(app.column(View::Messages, "verdict").await, ["recall"]);
    assert!(app.rows(View::Recalls).await.rows.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn waiting_messages_of_a_group_share_calls() {
    let home = Home::new().await;
    home.sim.set_faults(Faults { error_code: Some(10_041), ..Faults::default() });
    let app = home.start(&[]).await;
    // The first call finds the recall switched off, and everything waits.
    assert_eq!(app.callbacks.say("g", 1, "bad").await, 200);
    let mut status = app.app().worker().watch();
    status.wait_for(|status| status.halted.is_some()).await.unwrap();
    for seq in 2..=25 {
        assert_eq!(app.callbacks.say("g", seq, "bad").await, 200);
    }
    home.sim.set_faults(Faults::default());
    app.app().worker().try_now();
    app.drain().await;
    assert_eq!(seqs(&home.sim), (1..=25).collect::<Vec<_>>());
    let good: Vec<_> = home
        .sim
        .log()
        .into_iter()
        .filter(|call| call.command == "group_msg_recall")
        .filter(|call| call.answer.as_ref().is_some_and(|answer| answer.error_code == 0))
        .map(|call| call.seqs.len())
        .collect();
    assert_eq!(good.iter().sum::<usize>(), 25);
    assert!(good.len() <= 4 && good.iter().all(|size| *size <= 10), "{good:?}");
    app.stop().await;
}

#[tokio::test]
async fn transient_failures_are_survived() {
    let home = Home::new().await;
    home.sim.set_faults(Faults {
        bad_gateway: 0.08,
        reset_before: 0.05,
        reset_after: 0.05,
        internal_error: 0.05,
        missing_item: 0.05,
        shuffled: 0.5,
        ..Faults::default()
    });
    let app = home.start(&[]).await;
    for seq in 1..=60 {
        let group = format!("g{}", seq % 4);
        assert_eq!(app.callbacks.say(&group, seq, "bad").await, 200);
    }
    app.drain().await;
    assert_eq!(home.sim.recalled().len(), 60);
    for state in app.column(View::Recalls, "state").await {
        // A recall that worked without our knowing is answered 10030 the second time.
        assert!(["recalled", "gone"].contains(&state.as_str()), "{state}");
    }
    app.stop().await;
}

#[tokio::test]
async fn somebody_elses_recall_saves_the_call() {
    let home = Home::new().await;
    home.sim.set_faults(Faults { error_code: Some(60_020), ..Faults::default() });
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "bad").await, 200);
    let mut status = app.app().worker().watch();
    status.wait_for(|status| status.halted.is_some()).await.unwrap();
    assert_eq!(app.callbacks.say("g", 2, "bad").await, 200);
    let body = json!({
        "CallbackCommand": "Group.CallbackAfterRecallMsg", "GroupId": "g", "Type": "Public",
        "Operator_Account": "lena.k", "MsgSeqList": [{"MsgSeq": 1}, {"MsgSeq": 2}],
        "EventTime": SystemClock.now().millis(),
    });
    assert_eq!(app.callbacks.send(&body).await, 200);
    app.drain().await;
    assert_eq!(app.column(View::Recalls, "state").await, ["gone", "gone"]);
    app.stop().await;
}

#[tokio::test]
async fn our_own_recall_is_confirmed() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "bad").await, 200);
    app.drain().await;
    let body = json!({
        "CallbackCommand": "Group.CallbackAfterRecallMsg", "GroupId": "g", "Type": "Public",
        "Operator_Account": "administrator", "MsgSeqList": [{"MsgSeq": 1}],
        "EventTime": SystemClock.now().millis(),
    });
    assert_eq!(app.callbacks.send(&body).await, 200);
    assert_ne!(app.column(View::Recalls, "confirmed_at").await, ["null"]);
    assert_eq!(app.column(View::Recalls, "state").await, ["recalled"]);
    app.stop().await;
}

#[tokio::test]
async fn a_destroyed_group_is_left_alone_and_may_come_again() {
    let home = Home::new().await;
    home.sim.set_faults(Faults { error_code: Some(60_020), ..Faults::default() });
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "bad").await, 200);
    let mut status = app.app().worker().watch();
    status.wait_for(|status| status.halted.is_some()).await.unwrap();
    assert_eq!(app.callbacks.say("g", 2, "bad").await, 200);
    let gone_at = SystemClock.now().millis() + 1;
    let body = json!({
        "CallbackCommand": "Group.CallbackAfterGroupDestroyed", "GroupId": "g", "Type": "Public",
        "EventTime": gone_at,
    });
    assert_eq!(app.callbacks.send(&body).await, 200);
    app.drain().await;
    assert_eq!(app.column(View::Recalls, "state").await, ["refused", "refused"]);
    home.sim.set_faults(Faults::default());
    app.app().worker().try_now();
    let mut again = message("g", 1, "bad again");
    again["EventTime"] = json!(gone_at + 1000);
    assert_eq!(app.callbacks.send(&again).await, 200);
    app.drain().await;
    assert_eq!(app.column(View::Recalls, "state").await, ["recalled", "refused", "refused"]);
    app.stop().await;
}

#[tokio::test]
async fn probes_and_metrics_tell_how_it_stands() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.admin("/healthz").await, (200, "ok\n".into()));
    assert_eq!(app.admin("/readyz").await, (200, "ready\n".into()));
    app.callbacks.say("g", 1, "bad").await;
    app.drain().await;
    let (status, metrics) = app.admin("/metrics").await;
    assert_eq!(status, 200);
    for name in [
        "quell_callbacks_total{result=\"stored\"}",
        "quell_messages_total{verdict=\"recall\"}",
        "quell_rule_hits_total{rule=\"bait\",mode=\"live\"}",
        "quell_recall_calls_total{code=\"0\"}",
        "quell_recalled_messages_total{result=\"recalled\"}",
        "quell_recall_queue{state=\"pending\"}",
        "quell_exposure_seconds_bucket",
        "quell_callback_seconds_bucket",
        "quell_store_commit_seconds_bucket",
        "quell_rules_info{version=",
        "quell_build_info{version=",
    ] {
        assert!(metrics.contains(name), "{name} is missing in\n{metrics}");
    }
    assert!(!metrics.contains("mallory"));
    app.stop().await;
}

#[tokio::test]
async fn ids_of_any_characters_reach_chat_as_they_are() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let groups =
        ["a \" b", "back\\slash", "{\"MsgSeq\":1}", "',(),--;", "@TGS#_@TGS#c/7", "<a>&amp;%22"];
    // Chat has no such groups, and says so.
    let strange = ["line\nfeed\ttab", "nul\u{0}", "群组😀\u{202e}"];
    for group in strange {
        assert_eq!(app.callbacks.say(group, 1, "bad").await, 200, "{group:?}");
    }
    for (at, group) in groups.iter().enumerate() {
        assert_eq!(app.callbacks.say(group, at as u64 + 1, "bad").await, 200, "{group:?}");
    }
    app.drain().await;
    let expected =
        groups.iter().enumerate().map(|(at, group)| ((*group).to_owned(), at as u64 + 1));
    let recalled = home.sim.recalled();
    let recalled = recalled.iter().map(|key| (key.group_id.to_string(), key.msg_seq));
    assert_eq!(recalled.collect::<BTreeSet<_>>(), expected.collect::<BTreeSet<_>>());
    let mut states = app.column(View::Recalls, "state").await;
    states.sort();
    assert_eq!(states, [vec!["recalled"; groups.len()], vec!["refused"; strange.len()]].concat());
    app.stop().await;
}

#[tokio::test]
async fn a_chat_that_takes_less_slows_it_down_and_loses_nothing() {
    let home = Home::new().await;
    home.sim.set_faults(Faults { calls_per_second: 40, ..Faults::default() });
    let app = home.start(&[]).await;
    // All wait before the first call, however slowly they come in.
    app.app().worker().pause(true);
    for group in 0..120 {
        assert_eq!(app.callbacks.say(&format!("g{group}"), 1, "bad").await, 200);
    }
    let mut worker = app.app().worker().watch();
    app.app().worker().pause(false);
    worker.wait_for(|status| status.rate < 190).await.unwrap();
    app.drain().await;
    assert_eq!(home.sim.recalled().len(), 120);
    assert!(app.column(View::Recalls, "state").await.iter().all(|state| state == "recalled"));
    app.stop().await;
}
