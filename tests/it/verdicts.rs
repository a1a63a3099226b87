//! A verdict is a function of message, signals and rule set: the daemon, `scan` and the engine agree.

use quell::store::{Audit, Filter, View};
use serde_json::{Value, json};

use crate::support::daemon::{Home, message, quell, shown};

/// Rules of every nature over the same traffic, stateful ones included.
const RULES: &str = r"
version: 1
rules:
  - id: bait
    when: { keyword: { words: [加微信领红包, bad] } }
  - id: morning
    actions: [flag]
    when: { keyword: { words: [good morning] } }
  - id: rest
    mode: shadow
    when: { pattern: { regex: '\bvan\b' } }
  - id: pushy
    actions: [flag]
    when: { flood: { messages: 4, within: 60s } }
  - id: parrot
    when: { repeat: { times: 3, within: 60s } }
";

#[tokio::test]
async fn the_daemon_and_scan_agree() {
    let home = Home::new().await;
    std::fs::write(home.path("rules.yaml"), RULES).unwrap();
    let app = home.start(&["recall.mode=shadow"]).await;
    let mut bodies: Vec<Value> = Vec::new();
    for entry in std::fs::read_dir("tests/fixtures/callbacks").unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        bodies.push(serde_json::from_str(&text).unwrap());
    }
    bodies.retain(|body| body["CallbackCommand"] == "Group.CallbackAfterSendMsg");
    bodies.sort_by_key(|body| body["MsgSeq"].as_u64());
    let texts = ["b\u{200b}ad", "都来加微信领红包啦", "hello"];
    for (seq, text) in (1..=9).zip(texts.into_iter().cycle()) {
        bodies.push(message("g", seq, text));
    }
    for body in &bodies {
        assert_eq!(app.callbacks.send(body).await, 200);
    }
    // What the daemon received when is part of what it judged.
    let stored = app.rows(View::Messages).await;
    let all = Filter { limit: 1000, ..Filter::default() };
    let hits = app.app().store().page(View::Hits, &all).await.unwrap();
    let cell = |page: &quell::store::Page, row: &[quell::store::Cell], name: &str| {
        shown(page.cell(row, name))
    };
    let lines: Vec<String> = bodies
        .iter()
        .map(|body| {
            let seq = body["MsgSeq"].to_string();
            let row = stored.rows.iter().find(|row| cell(&stored, row, "msg_seq") == seq).unwrap();
            let received_at: i64 = cell(&stored, row, "received_at").parse().unwrap();
            let line = json!({
                "id": seq, "callback": body, "platform": "Android", "received_at": received_at,
            });
            line.to_string()
        })
        .collect();
    std::fs::write(home.path("in.jsonl"), lines.join("\n")).unwrap();
    let (rules, input) = (home.path("rules.yaml"), home.path("in.jsonl"));
    let args = ["scan", "--rules", rules.to_str().unwrap(), "--input", input.to_str().unwrap()];
    let (code, out, said) = quell(&args, home.folder.path()).await;
    assert_eq!(code, Some(0), "{said}");
    let answers: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), bodies.len());
    let mut verdicts = std::collections::BTreeSet::new();
    for answer in &answers {
        let seq = answer["id"].as_str().unwrap();
        let row = stored.rows.iter().find(|row| cell(&stored, row, "msg_seq") == seq).unwrap();
        let verdict = answer["verdict"].as_str().unwrap();
        assert_eq!(verdict, cell(&stored, row, "verdict"), "message {seq}");
        verdicts.insert(verdict.to_owned());
        let mut of_scan: Vec<_> = answer["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| {
                (hit["rule"].as_str().unwrap().to_owned(), hit["text"].as_str().unwrap().to_owned())
            })
            .collect();
        let mut of_daemon: Vec<_> = hits
            .rows
            .iter()
            .filter(|row| cell(&hits, row, "msg_seq") == seq)
            .map(|row| (cell(&hits, row, "rule_id"), cell(&hits, row, "matched_text")))
            .collect();
        of_scan.sort();
        of_daemon.sort();
        assert_eq!(of_scan, of_daemon, "message {seq}");
    }
    assert_eq!(verdicts.into_iter().collect::<Vec<_>>(), ["flag", "pass", "recall"]);
    app.stop().await;
}
