//! `quell recall`: retroactive recalls as plan, look, apply.

use std::collections::BTreeSet;
use std::time::Duration;

use quell::model::SystemClock;
use quell::store::sqlite::{self, Options};
use quell::store::{By, Plans, View};
use quell::sweep::{self, Asked, Terms};
use serde_json::{Value, json};

use crate::support::daemon::{Home, TestApp, message, quell};

const SHADOW: &[&str] = &["recall.mode=shadow"];

async fn plan(app: &TestApp, asked: Value) -> Value {
    let (status, plan) = app.post("/api/v1/plans", asked).await;
    assert_eq!(status, 200, "{plan}");
    plan
}

async fn refused(app: &TestApp, asked: Value) -> String {
    let (status, said) = app.post("/api/v1/plans", asked).await;
    assert_eq!(status, 422, "{said}");
    said["detail"].as_str().unwrap().to_owned()
}

/// Tells a plan to go or to end, and waits until all its jobs are queued or ended.
async fn turn(app: &TestApp, plan: &Value, how: &str, end: &str) -> Value {
    let path = format!("/api/v1/plans/{}", plan["plan_id"]);
    let (status, said) = app.post(&format!("{path}/{how}"), json!({})).await;
    assert_eq!(status, 200, "{said}");
    until(app, plan, end).await
}

async fn until(app: &TestApp, plan: &Value, end: &str) -> Value {
    let path = format!("/api/v1/plans/{}", plan["plan_id"]);
    loop {
        let plan: Value = serde_json::from_str(&app.admin(&path).await.1).unwrap();
        if plan["state"] == end {
            return plan;
        }
    }
}

fn recalled(home: &Home) -> BTreeSet<String> {
    home.sim.recalled().into_iter().map(|key| key.to_string()).collect()
}

fn keys<const N: usize>(keys: [&str; N]) -> BTreeSet<String> {
    keys.into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_recalls_what_it_names_and_nothing_that_came_later() {
    let home = Home::new().await;
    let app = home.start(SHADOW).await;
    for (group, seq, text) in
        [("g", 1, "bad"), ("g", 2, "fine"), ("h", 7, "bad"), ("h", 8, "shade")]
    {
        assert_eq!(app.callbacks.say(group, seq, text).await, 200);
    }
    let made = plan(&app, json!({"rule": "bait", "since": 0})).await;
    assert_eq!(
        (&made["state"], &made["messages"], &made["calls"]),
        (&json!("planned"), &json!(2), &json!(2))
    );
    assert_eq!((&made["groups"], &made["created_by"]), (&json!(2), &json!("ada")));
    assert_eq!(made["samples"][0]["text"], "bad");
    let same = plan(&app, json!({"rule": "bait", "since": 0})).await;
    assert_eq!(same["digest"], made["digest"], "the same plan has the same digest");
    assert_eq!(app.callbacks.say("g", 3, "bad").await, 200);
    assert_eq!(home.recall_calls(), 0, "nothing happens before it is applied");
    turn(&app, &made, "apply", "applied").await;
    app.drain().await;
    assert_eq!(recalled(&home), keys(["g/1", "h/7"]));
    let shadow = plan(&app, json!({"rule": "tried-out", "since": 0, "group": "h"})).await;
    turn(&app, &shadow, "apply", "applied").await;
    app.drain().await;
    assert_eq!(recalled(&home), keys(["g/1", "h/7", "h/8"]));
    let done = until(&app, &made, "applied").await;
    assert_eq!(done["jobs"], json!({"recalled": 2}));
    // The plan made twice finds that all is done.
    let again = turn(&app, &same, "apply", "applied").await;
    assert_eq!(again["obstacles"], json!({"dealt with since it was planned": 2}));
    let asked = app.column(View::Recalls, "requested_by").await;
    assert_eq!(asked, ["plan:3", "plan:1", "plan:1"]);
    let acts = app.column(View::Operations, "act").await;
    assert_eq!(acts, ["plan apply", "plan apply", "plan", "plan apply", "plan", "plan"]);
    assert_eq!(app.column(View::Operations, "actor").await, ["ada"; 6]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_goes_on_after_a_crash_between_two_steps() {
    let home = Home::new().await;
    let app = home.start(SHADOW).await;
    assert_eq!(app.callbacks.say("g", 1, "bad").await, 200);
    app.stop().await;
    let store = sqlite::open(&Options::at(&home.path("quell.db"))).await.unwrap();
    let terms = Terms { roaming: Duration::from_hours(24), calls_per_second: 190, batch_size: 10 };
    let by = By::new("ada", quell::model::Clock::now(&SystemClock));
    let asked = Asked { group: Some("g".into()), seq: Some("1-95".into()), ..Asked::default() };
    let plan = sweep::make(&store, &by, &asked, &terms, "".into()).await.unwrap();
    store.apply(&by, plan).await.unwrap();
    assert!(store.step(plan, 40, by.at).await.unwrap());
    // Killed here: dropped with 55 messages to go.
    store.close().await;
    drop(store);
    let app = home.start(SHADOW).await;
    let plan = until(&app, &json!({ "plan_id": plan }), "applied").await;
    app.drain().await;
    assert_eq!(plan["progress"], 95);
    assert_eq!(home.sim.recalled().len(), 95);
    assert_eq!(app.rows(View::Recalls).await.rows.len(), 95);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_plan_recalls_nothing_more() {
    let home = Home::new().await;
    let app = home.start(SHADOW).await;
    app.post("/api/v1/pause", json!({})).await;
    let made = plan(&app, json!({"group": "g", "seq": "1-700"})).await;
    turn(&app, &made, "apply", "applied").await;
    let ended = turn(&app, &made, "cancel", "cancelled").await;
    assert_eq!(ended["jobs"], json!({"cancelled": 700}));
    app.post("/api/v1/resume", json!({})).await;
    app.drain().await;
    assert_eq!(home.recall_calls(), 0);
    let (status, said) = app.post("/api/v1/plans/1/apply", json!({})).await;
    assert_eq!((status, &said["detail"]), (409, &json!("plan 1 is cancelled")));
    assert_eq!(app.post("/api/v1/plans/9/apply", json!({})).await.0, 404);
    let acts = app.column(View::Operations, "act").await;
    assert_eq!(acts, ["resume", "plan cancel", "plan apply", "plan", "pause"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_traffic_goes_before_a_sweep() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    app.post("/api/v1/pause", json!({})).await;
    let made = plan(&app, json!({"group": "g", "seq": "1-200"})).await;
    turn(&app, &made, "apply", "applied").await;
    assert_eq!(app.callbacks.say("live", 1, "bad").await, 200);
    app.post("/api/v1/resume", json!({})).await;
    app.drain().await;
    let recalls = home.sim.recalls();
    let live = recalls.iter().position(|recall| recall.key.group_id.as_str() == "live");
    assert!(live.unwrap() < 100, "it came {live:?} of {}", recalls.len());
    // What was planned long after it was sent says nothing of how fast live recalls are.
    let (_, metrics) = app.admin("/metrics").await;
    assert!(!metrics.contains("quell_exposure_seconds_count 201"), "{metrics}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_recalled_is_said_beforehand() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "bad").await, 200);
    app.drain().await;
    assert_eq!(app.post("/api/v1/pause", json!({})).await.0, 200);
    assert_eq!(app.callbacks.say("g", 2, "bad").await, 200);
    let mut online = message("g", 3, "fine");
    online["OnlineOnlyFlag"] = json!(1);
    assert_eq!(app.callbacks.send(&online).await, 200);
    let hours_ago = |body: &mut Value, hours: i64| {
        let seconds = body["MsgTime"].as_i64().unwrap() - hours * 3600;
        body["MsgTime"] = json!(seconds);
        body["EventTime"] = json!(seconds * 1000);
    };
    let mut room = message("room", 4, "fine");
    room["Type"] = json!("AVChatRoom");
    hours_ago(&mut room, 2);
    assert_eq!(app.callbacks.send(&room).await, 200);
    let mut old = message("g", 5, "fine");
    hours_ago(&mut old, 24 * 8);
    assert_eq!(app.callbacks.send(&old).await, 200);
    assert_eq!(app.callbacks.say("g", 6, "fine").await, 200);
    let made = plan(&app, json!({"sender": "mallory", "since": 0})).await;
    assert_eq!((&made["messages"], &made["recallable"]), (&json!(6), &json!(1)));
    let expected = json!({
        "a recall is waiting already": 1, "already recalled": 1,
        "older than the hour that an audio-video group allows": 1,
        "older than the messages that Chat keeps": 1,
        "online-only: Chat keeps no copy to recall": 1,
    });
    assert_eq!(made["obstacles"], expected);
    app.post("/api/v1/resume", json!({})).await;
    turn(&app, &made, "apply", "applied").await;
    app.drain().await;
    assert_eq!(recalled(&home), keys(["g/1", "g/2", "g/6"]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_duplicates_are_found_in_all_groups() {
    let home = Home::new().await;
    let app = home.start(SHADOW).await;
    let bait = "every day three hundred for liking videos, write to our teacher anna now";
    let said = [
        ("a/b", 1, bait.to_owned()),
        ("g", 2, bait.to_uppercase()),
        ("h", 3, format!("{bait}!!!")),
        ("h", 4, "does anybody know when the number seven bus goes on sundays".to_owned()),
        ("h", 5, "ok".to_owned()),
    ];
    for (group, seq, text) in &said {
        assert_eq!(app.callbacks.say(group, *seq, text).await, 200);
    }
    let made = plan(&app, json!({"like": "a/b/1"})).await;
    assert_eq!(made["messages"], 3, "{made}");
    turn(&app, &made, "apply", "applied").await;
    app.drain().await;
    assert_eq!(recalled(&home), keys(["a/b/1", "g/2", "h/3"]));
    assert!(
        refused(&app, json!({"like": "g/77"})).await.contains("no message 77 of g is recorded")
    );
    let same = plan(&app, json!({"like": "1"})).await;
    assert_eq!(same["messages"], 3, "by its number in the records");
    let unknown = refused(&app, json!({"like": "99"})).await;
    assert!(unknown.contains("no message 99 is recorded"), "{unknown}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_refused() {
    let home = Home::new().await;
    let app = home.start(&["admin.read_token=read", "admin.token=all"]).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://{}", app.app().admin_address());
    let ask = async |path: &str, token: &str, body: Value| {
        let request = client.post(format!("{base}{path}")).bearer_auth(token).json(&body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap_or_default())
    };
    for path in ["/api/v1/plans", "/api/v1/plans/1/apply", "/api/v1/plans/1/cancel"] {
        assert_eq!(ask(path, "read", json!({})).await.0, 403, "{path}");
    }
    let cases = [
        (json!({}), "one of seq, message_id, sender, rule, like"),
        (json!({"seq": "5"}), "say which"),
        (json!({"message_id": 5}), "no message is meant"),
        (json!({"seq": "9-5", "group": "g"}), "runs backwards"),
        (json!({"sender": "nobody", "since": 0}), "no message is meant"),
        (json!({"sender": "nobody"}), "since when"),
        (json!({"sendr": "nobody"}), "unknown field"),
    ];
    for (asked, why) in cases {
        let (status, said) = ask("/api/v1/plans", "all", asked).await;
        let detail = said["detail"].as_str().unwrap_or_default();
        assert!(status == 422 && detail.contains(why), "{status} {said}");
    }
    let plans =
        client.get(format!("{base}/api/v1/plans")).bearer_auth("read").send().await.unwrap();
    assert_eq!(plans.json::<Value>().await.unwrap()["rows"], json!([]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_plans_asks_and_applies() {
    let home = Home::new().await;
    // The command must find the daemon, so its port has to be known beforehand; nobody else is given one
    // of this address.
    let free = std::net::TcpListener::bind("127.0.0.5:0").unwrap().local_addr().unwrap();
    let set = format!("admin.listen={free}");
    let run = async |words: &[&str]| {
        let mut args = vec!["recall"];
        args.extend(words);
        args.extend(["--config", "quell.toml", "--actor", "ada", "--set", &set]);
        quell(&args, home.folder.path()).await
    };
    let app = home.start(&[&set, "recall.mode=shadow"]).await;
    for seq in 1..=3 {
        assert_eq!(app.callbacks.say("g", seq, "bad").await, 200);
    }
    // Without a terminal and without --yes: the plan, and how to apply it.
    let (code, shown, said) = run(&["--sender", "mallory", "--since", "2h"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("nothing was recalled; to apply it: quell recall --plan 1 --yes"),
        "{said}"
    );
    for part in [
        "asked       --sender mallory --since 2",
        "messages    3\ngroups      1",
        "cost        1 calls, 0.0 s",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    assert_eq!(home.recall_calls(), 0);
    let (code, _, said) = run(&["--plan", "1", "--yes"]).await;
    assert_eq!((code, said.contains("plan 1: 3 recalls go out")), (Some(0), true), "{said}");
    until(&app, &json!({"plan_id": 1}), "applied").await;
    app.drain().await;
    let (_, shown, _) = run(&["--plan", "1"]).await;
    assert!(
        shown.contains("state       applied") && shown.contains("  jobs      3 recalled"),
        "{shown}"
    );
    let (code, _, said) = run(&["--plan", "1", "--cancel"]).await;
    assert_eq!((code, said.contains("all was done")), (Some(1), true), "{said}");
    app.stop().await;
    // Without a daemon: what was never recorded, in a group that was never seen.
    let (code, shown, said) =
        run(&["--group", "new", "--seq", "5,7,10-11", "--yes", "--format", "json"]).await;
    assert_eq!(code, Some(0), "{said}");
    let plan: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&plan["messages"], &plan["asked"]["seq"]), (&json!(4), &json!("5,7,10-11")));
    assert_eq!((&plan["state"], &plan["samples"][0]["sent_at"]), (&json!("applied"), &Value::Null));
    assert!(said.contains("no message of this group or topic was ever recorded"), "{said}");
    let (_, shown, _) = run(&["--group", "nosuch", "--seq", "5"]).await;
    assert!(shown.contains("note      no message of this group or topic was ever"), "{shown}");
    let row = shown.lines().find(|line| line.contains("nosuch/5")).unwrap();
    assert_eq!(row.trim(), "nosuch/5");
    let (_, shown, _) = run(&["--group", "g", "--seq", "5"]).await;
    assert!(shown.contains("g/5") && !shown.contains("  note"), "{shown}");
    let app = home.start(&[]).await;
    app.drain().await;
    assert_eq!(recalled(&home), keys(["g/1", "g/2", "g/3", "new/5", "new/7", "new/10", "new/11"]));
    let row = app.rows(View::Recalls).await;
    assert_eq!(row.cell(&row.rows[0], "message_id"), &quell::store::Cell::Null);
    assert!(app.column(View::Operations, "actor").await.iter().all(|actor| actor == "ada"));
    app.stop().await;
    for (words, why) in [
        (&["--group", "g", "--seq", "9-5"][..], "runs backwards"),
        (&["--seq", "5"], "--group"),
        (&["--sender", "u"], "--since"),
        (&["--group", "g"], "required"),
        (&["--sender", "u", "--rule", "r", "--since", "1h"], "cannot be used with"),
        (&["--plan", "1", "--cancel", "--yes"], "cannot be used with"),
    ] {
        let (code, _, said) = run(words).await;
        assert_eq!((code, said.contains(why)), (Some(2), true), "{words:?}: {said}");
    }
    let (code, _, said) = run(&["--plan", "99"]).await;
    assert_eq!((code, said.contains("there is no plan 99")), (Some(1), true), "{said}");
}
