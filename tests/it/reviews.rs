//! Reviews by command and over HTTP, with a daemon and without.

use quell::store::View;
use serde_json::{Value, json};

use crate::support::daemon::{Home, TestApp, quell};

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

fn column(json: &str, name: &str) -> Vec<Value> {
    let rows: Vec<Value> = serde_json::from_str(json).unwrap();
    rows.iter().map(|row| row[name].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_found_is_reviewed_with_a_daemon_and_without() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    for (seq, text) in [(1, "bad"), (2, "odd"), (3, "shade"), (4, "fine")] {
        assert_eq!(app.callbacks.say("g", seq, text).await, 200);
    }
    let list = ["review", "list", "--format", "json"];
    let (code, out, err) = said(&home, Some(&app), &list).await;
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(column(&out, "msg_seq"), [2, 1]);
    let shadow = ["review", "list", "--format", "json", "--rule", "tried-out"];
    assert_eq!(column(&said(&home, Some(&app), &shadow).await.1, "msg_seq"), [3]);
    let (code, _, err) =
        said(&home, Some(&app), &["review", "right", "g/1", "--note", "yes"]).await;
    assert_eq!((code, err.as_str()), (Some(0), "right: 1 messages\n"));
    let (code, _, err) = said(&home, Some(&app), &["review", "right", "g/4"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("there is nothing to review"), "{err}");
    let (code, _, err) = said(&home, Some(&app), &["review", "right", "g/99"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("g/99 was never recorded"), "{err}");
    assert_eq!(app.column(View::Reviews, "note").await, ["yes"]);
    assert_eq!(app.column(View::Operations, "act").await, ["review"]);
    for (body, status) in [
        (json!({"group": "g", "seq": 2, "verdict": "wrong"}), 200),
        (json!({"verdict": "wrong"}), 422),
        (json!({"messages": [1], "group": "g", "seq": 2, "verdict": "wrong"}), 422),
        (json!({"messages": [1], "verdict": "perhaps"}), 422),
        (json!({"messages": [1], "rule": "curious", "verdict": "right"}), 422),
        (json!({"group": "g", "seq": 77, "verdict": "right"}), 404),
    ] {
        assert_eq!(app.post("/api/v1/reviews", body.clone()).await.0, status, "{body}");
    }
    assert_eq!(
        app.admin("/api/v1/reviews/waiting").await,
        (200, json!({"next": null, "rows": []}).to_string())
    );
    app.stop().await;
    let (code, _, err) = said(&home, None, &["review", "wrong", "g/1", "--rule", "bait"]).await;
    assert_eq!(code, Some(0), "{err}");
    let (_, out, _) = said(&home, None, &["review", "precision", "--format", "json"]).await;
    let expected = json!([
        {"rule": "bait", "right": 0, "wrong": 1, "precision": 0.0},
        {"rule": "curious", "right": 0, "wrong": 1, "precision": 0.0},
    ]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), expected);
    let (_, out, _) = said(&home, None, &["audit", "reviews", "--format", "json"]).await;
    assert_eq!(column(&out, "verdict"), ["wrong", "wrong"]);
    assert_eq!(column(&out, "reviewer")[1], "ada");
}
