//! What operators and guards do: pause, jobs, tripped rules, reload, who may do what.

use std::time::Duration;

use quell::model::{Clock, SystemClock};
use quell::sim::Faults;
use quell::store::{By, Control, View};
use serde_json::{Value, json};

use crate::support::daemon::{Home, TestApp, message, quell};

async fn post(app: &TestApp, path: &str, body: Value) -> (u16, Value) {
    let url = format!("http://{}{path}", app.app().admin_address());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response =
        client.post(url).header("x-quell-actor", "ada").json(&body).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

async fn status(app: &TestApp) -> Value {
    serde_json::from_str(&app.admin("/api/v1/status").await.1).unwrap()
}

#[tokio::test]
async fn a_pause_stops_calls_and_survives_a_restart() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(post(&app, "/api/v1/pause", json!({})).await.0, 200);
    assert_eq!(app.callbacks.say("g", 1, "bad").await, 200);
    assert_eq!(status(&app).await["unfinished"], json!({"pending": 1}));
    app.stop().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 2, "bad").await, 200);
    assert_eq!(status(&app).await["paused"]["by"], "ada");
    assert!(app.app().worker().status().paused);
    assert_eq!(home.recall_calls(), 0);
    assert_eq!(post(&app, "/api/v1/resume", json!({})).await.0, 200);
    app.drain().await;
    assert_eq!(home.sim.recalled().len(), 2);
    let acts = app.column(View::Operations, "act").await;
    assert_eq!(acts, ["resume", "pause"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_in_full_flow_takes_hold_at_once() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    for seq in 1..=120 {
        assert_eq!(app.callbacks.say(&format!("g{seq}"), seq, "bad").await, 200);
    }
    assert_eq!(post(&app, "/api/v1/pause", json!({})).await.0, 200);
    let mut worker = app.app().worker().watch();
    worker.wait_for(|status| status.in_flight == 0).await.unwrap();
    let arrived = home.recall_calls();
    for seq in 200..=220 {
        assert_eq!(app.callbacks.say(&format!("g{seq}"), seq, "bad").await, 200);
    }
    assert_eq!(home.recall_calls(), arrived, "a call left after the pause");
    let unfinished = status(&app).await["unfinished"].clone();
    assert!(unfinished.get("leased").is_none(), "{unfinished}");
    post(&app, "/api/v1/resume", json!({})).await;
    app.drain().await;
    assert_eq!(home.sim.recalled().len(), 141);
    assert!(app.column(View::Calls, "outcome").await.iter().all(|outcome| outcome == "answered"));
    app.stop().await;
}

#[tokio::test]
async fn jobs_are_held_released_cancelled_and_retried() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    post(&app, "/api/v1/pause", json!({})).await;
    for (group, seq) in [("a", 1), ("a", 2), ("b", 3), ("c", 4)] {
        assert_eq!(app.callbacks.say(group, seq, "bad").await, 200);
    }
    let hold = post(&app, "/api/v1/jobs/hold", json!({"group": "a"})).await;
    assert_eq!(hold, (200, json!({"changed": 2})));
    let cancel = post(&app, "/api/v1/jobs/cancel", json!({"group": "b"})).await;
    assert_eq!(cancel, (200, json!({"changed": 1})));
    post(&app, "/api/v1/resume", json!({})).await;
    app.drain().await;
    assert_eq!(app.column(View::Recalls, "state").await, ["recalled", "cancelled", "held", "held"]);
    let release = post(&app, "/api/v1/jobs/release", json!({"rule": "bait"})).await;
    assert_eq!(release, (200, json!({"changed": 2})));
    home.sim.set_faults(Faults { ret_code: Some(10_004), ..Faults::default() });
    app.drain().await;
    // Whether these two left before the fault or met it, a retry ends well.
    home.sim.set_faults(Faults::default());
    let dead = app.column(View::Recalls, "state").await.iter().filter(|s| *s == "dead").count();
    let retry = post(&app, "/api/v1/jobs/retry", json!({"all": true})).await;
    assert_eq!(retry, (200, json!({"changed": dead})));
    app.drain().await;
    let states = app.column(View::Recalls, "state").await;
    assert_eq!(states, ["recalled", "cancelled", "recalled", "recalled"]);
    assert_eq!(post(&app, "/api/v1/jobs/cancel", json!({})).await.0, 422, "nothing said");
    assert_eq!(post(&app, "/api/v1/jobs/explode", json!({"all": true})).await.0, 404);
    assert_eq!(post(&app, "/api/v1/jobs/hold", json!({"grp": "a"})).await.0, 422);
    app.stop().await;
}

#[tokio::test]
async fn a_rule_that_hits_everybody_falls_to_shadow() {
    let home = Home::new().await;
    let app = home.start(&["guard.trip_min_senders=5"]).await;
    post(&app, "/api/v1/pause", json!({})).await;
    for seq in 1..=8 {
        let mut body = message("g", seq, "bad");
        body["From_Account"] = json!(format!("user{seq}"));
        assert_eq!(app.callbacks.send(&body).await, 200);
    }
    assert_eq!(app.column(View::Messages, "verdict").await, ["recall"; 8]);
    assert_eq!(app.column(View::Recalls, "state").await, ["held"; 8]);
    let tripped = status(&app).await["tripped"].clone();
    assert_eq!(tripped[0]["rule"], "bait");
    post(&app, "/api/v1/resume", json!({})).await;
    app.drain().await;
    assert_eq!(home.recall_calls(), 0);
    app.stop().await;
    // It stays so over a restart, until an operator says otherwise.
    let app = home.start(&["guard.trip_min_senders=500"]).await;
    assert_eq!(app.callbacks.say("g", 9, "bad").await, 200);
    assert_eq!(app.column(View::Recalls, "state").await, ["held"; 9]);
    let reset = post(&app, "/api/v1/guard/reset", json!({"rule": "bait"})).await;
    assert_eq!(reset, (200, json!({"reset": true})));
    assert_eq!(app.callbacks.say("g", 10, "bad").await, 200);
    assert_eq!(post(&app, "/api/v1/jobs/release", json!({"all": true})).await.1["changed"], 9);
    app.drain().await;
    assert_eq!(home.sim.recalled().len(), 10);
    let acts = app.column(View::Operations, "act").await;
    assert_eq!(acts, ["jobs release", "rule reset", "resume", "rule tripped", "pause"]);
    app.stop().await;
}

#[tokio::test]
async fn calls_of_a_tripped_rule_that_did_not_leave_yet_do_not() {
    let home = Home::new().await;
    // One call a second: nearly all of them are leased and wait for theirs.
    let app = home.start(&["recall.calls_per_second=1"]).await;
    for n in 1..=7 {
        assert_eq!(app.callbacks.say(&format!("g{n}"), 1, "bad").await, 200);
    }
    while home.recall_calls() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let by = By::new("quell", SystemClock.now());
    app.app().store().trip(&by, &"bait".into(), "for the test").await.unwrap();
    app.drain().await;
    let states = app.column(View::Recalls, "state").await;
    let sent = home.recall_calls();
    assert!(sent < 7, "{states:?}");
    assert_eq!(states.iter().filter(|state| *state == "held").count(), 7 - sent, "{states:?}");
    app.stop().await;
}

#[tokio::test]
async fn a_cap_holds_the_surplus() {
    let home = Home::new().await;
    let app = home.start(&["guard.sender_recalls_per_minute=2"]).await;
    for seq in 1..=4 {
        // Twice each: a repeated callback uses up nothing.
        let body = message("g", seq, "bad");
        for _ in 0..2 {
            assert_eq!(app.callbacks.send(&body).await, 200);
        }
    }
    app.drain().await;
    let mut states = app.column(View::Recalls, "state").await;
    states.sort();
    assert_eq!(states, ["held", "held", "recalled", "recalled"]);
    app.stop().await;
}

#[tokio::test]
async fn rules_are_reloaded_whole_or_not_at_all() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let before = status(&app).await["rules_version"].clone();
    std::fs::write(home.path("rules.yaml"), "version: 1\nrules:\n  - id: x\n    wen: {}\n")
        .unwrap();
    let (code, said) = post(&app, "/-/reload", json!({})).await;
    assert_eq!(code, 422);
    assert!(said["detail"].as_str().unwrap().contains("rules.yaml:4:"), "{said}");
    assert_eq!(status(&app).await["rules_version"], before);
    let rules = "version: 1\nrules:\n  - id: new\n    when: { keyword: { words: [fresh] } }\n";
    std::fs::write(home.path("rules.yaml"), rules).unwrap();
    assert_eq!(post(&app, "/-/reload", json!({})).await.0, 200);
    assert_eq!(app.callbacks.say("g", 1, "something fresh").await, 200);
    assert_eq!(app.callbacks.say("g", 2, "bad").await, 200);
    assert_eq!(app.column(View::Messages, "verdict").await, ["pass", "recall"]);
    assert_ne!(app.column(View::Messages, "rules_version").await[0], before.as_str().unwrap());
    app.stop().await;
}

#[tokio::test]
async fn a_broken_rules_file_never_takes_the_place_of_a_good_one() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let good = std::fs::read_to_string(home.path("rules.yaml")).unwrap();
    let version = status(&app).await["rules_version"].clone();
    // The file as it is found half-written, cut at every place, while messages come in.
    let mut refused = 0;
    for (at, _) in good.char_indices() {
        std::fs::write(home.path("rules.yaml"), &good[..at]).unwrap();
        let (code, said) = post(&app, "/-/reload", json!({})).await;
        if code == 200 {
            // A shorter file can be a good one.
            std::fs::write(home.path("rules.yaml"), &good).unwrap();
            assert_eq!(post(&app, "/-/reload", json!({})).await.0, 200);
        } else {
            assert_eq!(code, 422, "{said}");
            refused += 1;
        }
        assert_eq!(status(&app).await["rules_version"], version, "cut at {at}");
        assert_eq!(app.callbacks.say("g", at as u64 + 1, "bad").await, 200);
    }
    assert!(refused > 100, "{refused} of {} were broken", good.len());
    let versions = app.column(View::Messages, "rules_version").await;
    assert!(versions.iter().all(|judged_by| *judged_by == version), "{versions:?}");
    app.stop().await;
}

#[tokio::test]
async fn chats_own_warning_is_recorded_and_heeded() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let body = json!({
        "CallbackCommand": "Alert.RequestOverLimit", "ServiceName": "group_open_http_svc",
        "Command": "group_msg_recall", "Request": 95, "Limit": 100,
    });
    assert_eq!(app.callbacks.send(&body).await, 200);
    let mut worker = app.app().worker().watch();
    worker.wait_for(|status| status.rate == 100).await.unwrap();
    assert_eq!(app.column(View::Operations, "act").await, ["request over limit"]);
    app.stop().await;
}

#[tokio::test]
async fn tokens_and_foreign_pages_are_told_apart() {
    let home = Home::new().await;
    let app = home.start(&["admin.token=all", "admin.read_token=read"]).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://{}", app.app().admin_address());
    let ask = |method: reqwest::Method, path: &str, token: &str| {
        let request = client.request(method, format!("{base}{path}"));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        async move { request.send().await.unwrap().status().as_u16() }
    };
    let (get, post) = (reqwest::Method::GET, reqwest::Method::POST);
    let reads = ["/api/v1/status", "/api/v1/messages", "/api/v1/recalls", "/api/v1/operations"];
    let writes = [
        "/api/v1/pause",
        "/api/v1/resume",
        "/api/v1/jobs/hold",
        "/api/v1/guard/reset",
        "/-/reload",
    ];
    for path in reads {
        for (token, expected) in [("", 401), ("wrong", 401), ("read", 200), ("all", 200)] {
            assert_eq!(ask(get.clone(), path, token).await, expected, "{path} {token}");
        }
    }
    for path in writes {
        for (token, expected) in [("", 401), ("wrong", 401), ("read", 403)] {
            assert_eq!(ask(post.clone(), path, token).await, expected, "{path} {token}");
        }
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(get.clone(), path, "").await, 200, "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_work_with_and_without_a_daemon() {
    let home = Home::new().await;
    // The commands must find the daemon, so its port has to be known beforehand; nobody else is given one
    // of this address.
    let free = std::net::TcpListener::bind("127.0.0.4:0").unwrap().local_addr().unwrap();
    let config = home.config_path();
    let set = format!("admin.listen={free}");
    let run = |words: &'static [&'static str]| {
        let mut args: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        args.extend(["--config".into(), config.display().to_string(), "--set".into(), set.clone()]);
        let folder = home.folder.path().to_owned();
        async move {
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            quell(&args, &folder).await
        }
    };
    let (code, _, said) = run(&["pause"]).await;
    assert_eq!((code, said.contains("nothing was ever recorded")), (Some(1), true), "{said}");
    let app = home.start(&[&set]).await;
    let (code, _, said) = run(&["pause"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        app.app().worker().status().paused
            || app.app().worker().watch().wait_for(|s| s.paused).await.is_ok()
    );
    assert_eq!(app.callbacks.say("a \" b", 1, "bad").await, 200);
    let (code, shown, said) = run(&["jobs", "list", "--format", "json"]).await;
    assert_eq!(code, Some(0), "{said}");
    let rows: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&rows[0]["state"], &rows[0]["group_id"]), (&json!("pending"), &json!("a \" b")));
    app.stop().await;
    let (code, _, said) = run(&["jobs", "hold", "--group", "a \" b"]).await;
    assert_eq!((code, said.trim()), (Some(0), "hold: 1 job"));
    let (code, _, said) = run(&["jobs", "retry", "1", "9999"]).await;
    assert_eq!(code, Some(0));
    assert!(said.starts_with("retry: 0 jobs: none of those is dead or refused"), "{said}");
    let (_, shown, _) = run(&["jobs", "list", "--state", "held"]).await;
    assert!(shown.contains("held by") && shown.contains("a \" b"), "{shown}");
    let (code, ..) = run(&["jobs", "release"]).await;
    assert_eq!(code, Some(2), "it must be said which");
    assert_eq!(run(&["jobs", "release", "--all"]).await.0, Some(0));
    assert_eq!(run(&["guard", "reset", "bait"]).await.0, Some(1));
    assert_eq!(run(&["resume"]).await.0, Some(0));
    let app = home.start(&[]).await;
    tokio::time::timeout(Duration::from_mins(1), app.drain()).await.unwrap();
    assert_eq!(home.sim.recalled().len(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_lists_what_was_recorded_and_done() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    for (seq, text) in [(1, "fine"), (2, "bad"), (3, "odd\u{1b}[2J"), (4, "bad and shade")] {
        assert_eq!(app.callbacks.say("g", seq, text).await, 200);
    }
    app.drain().await;
    let admin = format!("admin.listen={}", app.app().admin_address());
    let config = home.config_path().display().to_string();
    let audit = async |args: &[&str]| {
        let mut all = vec!["audit"];
        all.extend(args);
        all.extend(["--config", &config, "--set", &admin]);
        let (code, out, err) = quell(&all, home.folder.path()).await;
        assert_eq!(code, Some(0), "{args:?}: {err}");
        (out, err)
    };
    let rows = async |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["--format", "json"]);
        let (out, _) = audit(&all).await;
        serde_json::from_str::<Vec<Value>>(&out).unwrap()
    };
    let verdicts = rows(&["verdicts", "--state", "recall"]).await;
    assert_eq!(verdicts.len(), 2);
    assert_eq!(verdicts[0]["rules"], r#"["bait"]"#);
    assert_eq!(verdicts[0]["shadow_rules"], r#"["tried-out"]"#);
    assert_eq!(rows(&["messages", "--since", "1h"]).await.len(), 4);
    assert_eq!(rows(&["messages", "--until", "1h"]).await.len(), 0);
    assert_eq!(rows(&["recalls", "--state", "recalled", "--sender", "mallory"]).await.len(), 2);
    assert_eq!(rows(&["hits", "--rule", "tried-out"]).await.len(), 1);
    assert_eq!(rows(&["gaps"]).await.len(), 0);
    // What somebody wrote does not reach the terminal as it is.
    let (table, more) = audit(&["messages", "--limit", "3"]).await;
    assert!(table.contains(r"odd\u{1b}[2J") && !table.contains('\u{1b}'), "{table}");
    assert!(more.contains("more: --cursor 2"), "{more}");
    let (rest, more) = audit(&["messages", "--limit", "3", "--cursor", "2"]).await;
    assert!(rest.contains("fine") && !more.contains("more:"), "{rest}{more}");
    // The same without a daemon.
    app.stop().await;
    assert_eq!(rows(&["messages"]).await.len(), 4);
    let args = ["audit", "calls", "--rule", "bait", "--config", &config];
    let (code, _, err) = quell(&args, home.folder.path()).await;
    assert_eq!(code, Some(2));
    assert!(err.contains("cannot be filtered by rule"), "{err}");
}
