//! What operators let through beside the rules file, by command and over HTTP.

use quell::store::View;
use serde_json::{Value, json};

use crate::support::daemon::{Home, TestApp, message, quell};

async fn said(home: &Home, app: Option<&TestApp>, args: &[&str]) -> (Option<i32>, String, String) {
    let config = home.config_path().display().to_string();
    let mut all = args.to_vec();
    all.extend(["--config", &config]);
    let admin = app.map(|app| format!("admin.listen={}", app.app().admin_address()));
    if let Some(admin) = &admin {
        all.extend(["--set", admin]);
    }
    quell(&all, home.folder.path()).await
}

async fn version(app: &TestApp) -> Value {
    let status: Value = serde_json::from_str(&app.admin("/api/v1/status").await.1).unwrap();
    status["rules_version"].clone()
}

#[tokio::test]
async fn a_sender_is_left_alone_until_it_no_longer_is() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let before = version(&app).await;
    let (code, made) = app.post("/api/v1/exemptions", json!({ "sender": "ann" })).await;
    assert_eq!((code, &made["id"], &made["by"]), (200, &json!(1), &json!("ada")), "{made}");
    assert_ne!(version(&app).await, before);
    let say = async |app: &TestApp, sender: &str, seq: u64| {
        let mut body = message("g", seq, "bad");
        body["From_Account"] = json!(sender);
        assert_eq!(app.callbacks.send(&body).await, 200);
    };
    say(&app, "ann", 1).await;
    say(&app, "ben", 2).await;
    assert_eq!(app.column(View::Messages, "verdict").await, ["recall", "pass"]);
    // A reload keeps it, and so does a restart.
    assert_eq!(app.post("/-/reload", json!({})).await.0, 200);
    say(&app, "ann", 3).await;
    app.drain().await;
    app.stop().await;
    let app = home.start(&[]).await;
    say(&app, "ann", 4).await;
    assert_eq!(app.column(View::Messages, "verdict").await, ["pass", "pass", "recall", "pass"]);
    let url = format!("http://{}/api/v1/exemptions/1", app.app().admin_address());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.delete(&url).send().await.unwrap().status().as_u16(), 200);
    assert_eq!(client.delete(&url).send().await.unwrap().status().as_u16(), 404);
    assert_eq!(version(&app).await, before, "the rules are those of the file again");
    say(&app, "ann", 5).await;
    assert_eq!(app.column(View::Messages, "verdict").await[0], "recall");
    app.drain().await;
    let acts = app.column(View::Operations, "act").await;
    assert_eq!(acts, ["disallow", "reload", "allow"]);
    app.stop().await;
}

#[tokio::test]
async fn a_phrase_cancels_what_it_covers_for_its_rule() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let allow = async |body: Value| app.post("/api/v1/allow-phrases", body).await;
    assert_eq!(allow(json!({ "phrase": "not bad", "rule": "bait" })).await.0, 200);
    assert_eq!(allow(json!({ "phrase": "odd one", "rule": "bait" })).await.0, 200);
    assert_eq!(allow(json!({ "phrase": "not bad", "rule": "bait" })).await.1["id"], 1);
    let texts = ["Not B.A.D at all", "not bad, but bad", "the odd one", "bad"];
    for (seq, text) in (1..).zip(texts) {
        assert_eq!(app.callbacks.say("g", seq, text).await, 200);
    }
    app.drain().await;
    assert_eq!(app.column(View::Messages, "verdict").await, ["recall", "flag", "recall", "pass"]);
    let (_, said) = app.post("/api/v1/rules/explain", json!({ "text": "not bad" })).await;
    assert_eq!(said["verdict"], "pass");
    assert!(said["rules"][0]["miss"].as_str().unwrap().contains("not bad"), "{said}");
    for (body, why) in [
        (json!({ "phrase": " " }), "1 to 200"),
        (json!({ "phrase": "x", "rule": "bat" }), "no rule bat"),
        (json!({ "phrase": "x".repeat(201) }), "1 to 200"),
    ] {
        let (code, said) = allow(body).await;
        assert_eq!(code, 422);
        assert!(said["detail"].as_str().unwrap().contains(why), "{said}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_works_with_and_without_a_daemon() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let (code, _, err) = said(&home, Some(&app), &["allow", "sender", "mallory"]).await;
    assert_eq!((code, err.trim()), (Some(0), "sender 1 is let through"), "{err}");
    assert_eq!(app.callbacks.say("g", 1, "bad").await, 200);
    assert_eq!(app.column(View::Messages, "verdict").await, ["pass"]);
    app.stop().await;
    let (code, _, err) = said(&home, None, &["allow", "phrase", "odd", "--rule", "curious"]).await;
    assert_eq!((code, err.trim()), (Some(0), "phrase 2 is let through"), "{err}");
    let (_, out, _) = said(&home, None, &["allow", "list"]).await;
    assert!(out.contains("at_iso") && out.contains('Z'), "{out}");
    let (_, out, _) = said(&home, None, &["allow", "list", "--format", "json"]).await;
    let rows: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert_eq!((&rows[0]["value"], &rows[1]["rule"]), (&json!("mallory"), &json!("curious")));
    assert_eq!(said(&home, None, &["allow", "remove", "sender", "1"]).await.0, Some(0));
    assert_eq!(said(&home, None, &["allow", "remove", "sender", "1"]).await.0, Some(1));
    // What was let through is part of what a candidate would have done.
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 2, "odd").await, 200);
    assert_eq!(app.column(View::Messages, "verdict").await[0], "pass");
    let rules = home.path("rules.yaml").display().to_string();
    let args = ["backtest", "--rules", &rules, "--since", "1h", "--format", "json"];
    let (code, out, err) = said(&home, Some(&app), &args).await;
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&report["lost"], &report["new"]),
        (&json!(0), &json!(1)),
        "only mallory's, since taken back"
    );
    app.stop().await;
}
