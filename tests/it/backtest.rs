//! `quell backtest`: what other rules would have done to what is stored.

use serde_json::{Value, json};

use crate::support::daemon::{Home, TestApp, message, quell};

/// Runs a backtest with a rules file of its own; answers the exit code, the report and what was said.
async fn backtest(home: &Home, rules: &str, more: &[&str]) -> (Option<i32>, Value, String) {
    std::fs::write(home.path("candidate.yaml"), rules).unwrap();
    let mut args = vec!["backtest", "--rules", "candidate.yaml", "--config", "quell.toml"];
    args.extend(["--format", "json"]);
    args.extend(more);
    let (code, shown, said) = quell(&args, home.folder.path()).await;
    (code, serde_json::from_str(&shown).unwrap_or_default(), said)
}

/// A home whose daemon judges by other rules than usual and recalls nothing.
async fn judging_by(rules: &str) -> (Home, TestApp) {
    let home = Home::new().await;
    std::fs::write(home.path("rules.yaml"), rules).unwrap();
    let app = home.start(&["recall.mode=shadow"]).await;
    (home, app)
}

fn rule<'a>(report: &'a Value, id: &str) -> &'a Value {
    let rules = report["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["rule"] == id).unwrap_or_else(|| panic!("no {id} in {report}"))
}

fn counts(report: &Value, id: &str) -> [u64; 3] {
    ["new", "lost", "same"].map(|name| rule(report, id)[name].as_u64().unwrap())
}

const STATEFUL: &str = "
version: 1
rules:
  - id: bait
    when: { keyword: [bad] }
  - id: flood
    when: { flood: { messages: 2, within: 1h } }
  - id: repeated-text
    mode: shadow
    when: { repeat: { times: 2, within: 1h, near: true, by: anyone, in: everywhere } }
  - id: newcomer
    actions: [flag]
    when: { newcomer: 2 }
";

async fn chatter(app: &TestApp) {
    for seq in 1..=8 {
        let mut body = message(&format!("g{}", seq % 2), seq, "the same long text again");
        body["From_Account"] = json!(format!("user{}", seq % 3));
        assert_eq!(app.callbacks.send(&body).await, 200);
    }
    assert_eq!(app.callbacks.say("g0", 20, "bad").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_rules_find_no_difference_while_the_daemon_runs() {
    let (home, app) = judging_by(STATEFUL).await;
    chatter(&app).await;
    let (code, report, said) = backtest(&home, STATEFUL, &[]).await;
    assert_eq!(code, Some(0), "{said}");
    for (name, expected) in [("messages", 9), ("changed", 0), ("new", 0), ("lost", 0)] {
        assert_eq!(report[name], expected, "{name}: {report}");
    }
    assert_eq!(counts(&report, "bait"), [0, 0, 1]);
    assert_eq!(counts(&report, "repeated-text"), [0, 0, 7]);
    assert!(rule(&report, "flood")["same"].as_u64().unwrap() > 0, "{report}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_counted_then_is_counted_now() {
    let plain = "version: 1\nrules:\n  - id: bait\n    when: { keyword: [bad] }\n";
    let (home, app) = judging_by(plain).await;
    chatter(&app).await;
    app.stop().await;
    let (_, later, _) = backtest(&home, STATEFUL, &[]).await;
    let (home, app) = judging_by(STATEFUL).await;
    chatter(&app).await;
    let (_, then, _) = backtest(&home, STATEFUL, &[]).await;
    for id in ["flood", "repeated-text", "newcomer"] {
        assert_eq!(counts(&later, id)[0], counts(&then, id)[2], "{id}");
        assert!(counts(&later, id)[0] > 0, "{id}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_rule_set_shows_what_changes_where_and_what_it_costs() {
    let before = "version: 1\nrules:\n  - id: bait\n    when: { keyword: [bad] }\n  \
                  - id: gone\n    mode: shadow\n    when: { keyword: [odd] }\n";
    let (home, app) = judging_by(before).await;
    for seq in 1..=12 {
        assert_eq!(app.callbacks.say("g", seq, "worse\nthings").await, 200);
    }
    assert_eq!(app.callbacks.say("h", 1, "worse and bad").await, 200);
    assert_eq!(app.callbacks.say("h", 2, "odd").await, 200);
    assert_eq!(app.callbacks.say("h", 3, "fine").await, 200);
    let mut online = message("h", 4, "worse");
    online["OnlineOnlyFlag"] = json!(1);
    assert_eq!(app.callbacks.send(&online).await, 200);
    let after = "version: 1\nrules:\n  - id: bait\n    mode: shadow\n    when: { keyword: [bad] }\n  \
                 - id: worse\n    when: { keyword: [worse] }\n";
    let (code, report, said) = backtest(&home, after, &["--samples", "2"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(counts(&report, "worse"), [14, 0, 0]);
    assert_eq!(counts(&report, "gone"), [0, 1, 0]);
    assert_eq!(
        (counts(&report, "bait"), &rule(&report, "bait")["other_mode"]),
        ([0, 0, 1], &json!(1))
    );
    assert_eq!(report["changed"], 15);
    // One was recalled then, too; an online-only message cannot be.
    assert_eq!((&report["cost"]["messages"], &report["cost"]["calls"]), (&json!(13), &json!(3)));
    assert_eq!(report["extra_cost"]["messages"], 12);
    assert_eq!(report["groups"][0], json!({"group_id": "g", "new": 12, "lost": 0}));
    assert_eq!(report["senders"][0], json!({"sender": "mallory", "new": 14, "lost": 1}));
    let samples = rule(&report, "worse")["new_samples"].as_array().unwrap();
    assert_eq!(samples.len(), 2);
    assert_eq!((&samples[0]["msg_seq"], &samples[0]["text"]), (&json!(1), &json!("worse things")));
    assert_eq!((&samples[0]["then"], &samples[0]["now"]), (&json!("pass"), &json!("recall")));
    let (_, table, _) = quell(
        &["backtest", "--rules", "candidate.yaml", "--config", "quell.toml"],
        home.folder.path(),
    )
    .await;
    for part in [
        "changed  15 (93.75 %)",
        "new hits of worse:",
        "lost hits of gone:",
        "g/1 by mallory, pass -> recall: worse things",
    ] {
        assert!(table.contains(part), "{part:?} is not in\n{table}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_and_a_time_narrow_it_and_windows_still_see_the_rest() {
    let plain = "version: 1\nrules:\n  - id: bait\n    when: { keyword: [bad] }\n";
    let (home, app) = judging_by(plain).await;
    for seq in 1..=3 {
        assert_eq!(app.callbacks.say("g", seq, "the same long text again").await, 200);
    }
    let since = app.column(quell::store::View::Messages, "received_at").await[0].parse::<i64>();
    assert_eq!(app.callbacks.say("h", 1, "the same long text again").await, 200);
    let counting = "version: 1\nrules:\n  - id: spread\n    \
                    when: { repeat: { times: 4, within: 1h, by: anyone, in: everywhere } }\n";
    let (_, report, _) = backtest(&home, counting, &["--group", "h"]).await;
    assert_eq!((&report["messages"], counts(&report, "spread")[0]), (&json!(1), 1));
    // A time to the millisecond, so that the third message is the first one compared.
    let (seconds, millis) = (since.clone().unwrap() / 1000, since.unwrap() % 1000);
    let day = seconds / 86_400;
    let at = format!(
        "{}T{:02}:{:02}:{:02}.{millis:03}Z",
        date(day),
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    let (code, report, said) = backtest(&home, counting, &["--since", &at]).await;
    assert_eq!(code, Some(0), "{said}");
    let compared = report["messages"].as_u64().unwrap();
    assert!((2..=4).contains(&compared), "{report}");
    assert_eq!(counts(&report, "spread")[0], 1, "what lay before counts: {report}");
    let (code, _, said) = backtest(&home, counting, &["--group", "nowhere"]).await;
    assert_eq!((code, said.contains("no message of group nowhere")), (Some(1), true), "{said}");
    app.stop().await;
}

/// The date of a day since 1970, by SQLite's calendar being the plainest: years, months, days.
fn date(mut day: i64) -> String {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while day >= 365 + i64::from(leap(year)) {
        day -= 365 + i64::from(leap(year));
        year += 1;
    }
    let february = 28 + i64::from(leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    format!("{year:04}-{:02}-{:02}", month + 1, day + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_have_their_exit_codes() {
    let home = Home::new().await;
    let good = "version: 1\nrules:\n  - id: bait\n    when: { keyword: [bad] }\n";
    let (code, _, said) = backtest(&home, good, &[]).await;
    assert_eq!((code, said.contains("nothing was ever recorded")), (Some(1), true), "{said}");
    let broken = "version: 1\nrules:\n  - id: x\n    wen: {}\n  - id: x\n    when: { flod: {} }\n";
    let (code, _, said) = backtest(&home, broken, &[]).await;
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("candidate.yaml:4:") && said.contains("candidate.yaml:6:"), "{said}");
    let (code, _, said) = backtest(&home, good, &["--since", "yesterday"]).await;
    assert_eq!((code, said.contains("such as 30m, 2h, 7d")), (Some(2), true), "{said}");
}

/// A backtest over HTTP, once it has ended.
async fn ended(app: &TestApp, begun: &Value) -> Value {
    loop {
        let (code, shown) = app.admin(&format!("/api/v1/backtests/{}", begun["backtest_id"])).await;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(code, 200, "{shown}");
        if shown["state"] != "running" {
            return shown;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backtest_in_the_background_finds_what_the_command_finds() {
    let (home, app) = judging_by(STATEFUL).await;
    chatter(&app).await;
    let other = STATEFUL.replace("[bad]", "[long text]").replace("messages: 2", "messages: 3");
    let start = async |more: Value| {
        let mut body = json!({ "rules": other, "samples": 2, "limit": 1 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.post("/api/v1/backtests", body).await
    };
    let (code, begun) = start(json!({ "since": 0, "group": "g0" })).await;
    assert_eq!((code, &begun["requested_by"], &begun["group"]), (200, &json!("ada"), &json!("g0")));
    let shown = ended(&app, &begun).await;
    assert_eq!(shown["state"], "done", "{shown}");
    assert!(shown["finished_at"].as_i64() >= shown["began_at"].as_i64());
    let args = ["--group", "g0", "--since", "1d", "--samples", "2", "--limit", "1"];
    let (code, report, said) = backtest(&home, &other, &args).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(shown["report"], report);
    assert!(report["messages"] == 5 && report["lost"].as_u64() > Some(0), "{report}");
    let all: Value = serde_json::from_str(&app.admin("/api/v1/backtests").await.1).unwrap();
    assert_eq!(all["rows"][0]["backtest_id"], begun["backtest_id"]);
    assert!(all["rows"][0].get("report").is_none());
    let path = format!("/api/v1/backtests/{}", begun["backtest_id"]);
    assert_eq!(app.delete(&path).await, (200, json!({ "cancelled": false })));
    assert_eq!(app.delete("/api/v1/backtests/1").await.0, 404);
    for (wrong, status) in [
        (json!({ "group": "nowhere" }), 422),
        (json!({ "rules": "rules: x" }), 422),
        (json!({ "samples": 101 }), 422),
        (json!({ "limit": 1001 }), 422),
        (json!({ "colour": "red" }), 422),
    ] {
        let (code, said) = start(wrong.clone()).await;
        assert_eq!(code, status, "{wrong}: {said}");
    }
    let broken = start(json!({ "rules": "version: 1\nrules: x" })).await.1;
    assert!(broken["detail"].as_str().unwrap().contains("candidate.yaml:2:"), "{broken}");
    app.stop().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_backtest_is_under_way_no_other_begins() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    // A list that comes when the test says so.
    let list = home.path("slow.txt");
    let made = tokio::process::Command::new("mkfifo").arg(&list).status().await.unwrap();
    assert!(made.success());
    let slow = "version: 1\nlists:\n  slow: { file: slow.txt }\n\
                rules:\n  - id: slow\n    when: { keyword: { list: slow } }\n";
    let first = app.post("/api/v1/backtests", json!({ "rules": slow }));
    let second = async {
        // Opens once the other end is read: by then the first one has its place.
        let opening = move || std::fs::File::options().write(true).open(list).unwrap();
        let mut open = tokio::task::spawn_blocking(opening).await.unwrap();
        let fast = "version: 1\nrules: []\n";
        let (code, said) = app.post("/api/v1/backtests", json!({ "rules": fast })).await;
        std::io::Write::write_all(&mut open, b"bad\n").unwrap();
        (code, said)
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(second.0, 409);
    assert!(second.1["detail"].as_str().unwrap().contains("another backtest runs"));
    assert_eq!(first.0, 200);
    assert_eq!(ended(&app, &first.1).await["state"], "done");
    app.stop().await;
}
