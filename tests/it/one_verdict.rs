//! The same text has the same verdict in `scan`, `rules explain`, `rules check` and `serve`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use quell::store::View;
use serde_json::{Value, json};

use crate::support::daemon::{Home, message, quell, shown};

/// A rule and the characters that it hit.
type Place = (String, u64, u64);

/// What a text was found to be by one way of asking.
#[derive(Debug, PartialEq)]
struct Found {
    verdict: String,
    places: BTreeSet<Place>,
}

/// Phrases, plain and disguised, among words that are none.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let pieces = prop::sample::select(vec![
        "casino",
        "c4$1n0",
        "саѕіnо",
        "c.a.s.i.n.o",
        "onisac",
        "|_|",
        "free gift card",
        "fr33 91f7 c4rd",
        "\u{202e}drac tfig eerf\u{202c}",
        "drac tfig eerf",
        "加微信私聊",
        "加 V 信私liao",
        "加\u{200b}微信私聊",
        "力口微信私聊",
        "微信",
        "支付",
        "t.me/x",
        "https://a.example",
        "Cassino",
        "12345678",
        "hello",
        "今天",
        "\n",
        " ",
        ". ",
        "。",
        "-",
        "'",
    ]);
    let text = prop::collection::vec(pieces, 1..6).prop_map(|pieces| pieces.concat());
    let text = text.prop_filter("a text", |text| !text.trim().is_empty());
    prop::collection::btree_set(text, 12).prop_map(|texts| texts.into_iter().collect())
}

/// Rules of every mode, action and folding level, in some order.
fn rule_sets() -> impl Strategy<Value = Vec<String>> {
    let keyword = "{ keyword: [casino, free gift card, 加微信私聊] }";
    let when = prop::sample::select(vec![
        keyword,
        keyword,
        "{ pattern: '微.?信|\\d{6}' }",
        "{ link: any }",
        "{ not: { keyword: [hello] } }",
        "{ all: [{ keyword: [微信] }, { length: { over: 4 } }] }",
    ]);
    let fold = prop::sample::select(vec!["none", "standard", "aggressive"]);
    let mode = prop::sample::select(vec!["live", "live", "shadow"]);
    let action = prop::sample::select(vec!["recall", "flag"]);
    let unless = prop::sample::select(vec!["", "    unless: [{ phrase: [微信支付] }]\n"]);
    let rule = (when, fold, mode, action, unless).prop_map(|(when, fold, mode, action, unless)| {
        format!("    mode: {mode}\n    fold: {fold}\n    actions: [{action}]\n    when: {when}\n{unless}")
    });
    prop::collection::vec(rule, 2..6)
}

/// A rules file; each rule with the examples that are given for it.
fn rules_file(
    rules: &[String],
    examples: impl Fn(&str) -> Option<(Vec<String>, Vec<String>)>,
) -> String {
    let mut file = "version: 1\nrules:\n".to_owned();
    for (n, rule) in rules.iter().enumerate() {
        let id = format!("r{n}");
        write!(file, "  - id: {id}\n{rule}").unwrap();
        if let Some((hit, pass)) = examples(&id) {
            writeln!(file, "    examples: {}", json!({ "hit": hit, "pass": pass })).unwrap();
        }
    }
    file
}

async fn scan(home: &Home, rules: &str, texts: &[String]) -> Vec<Found> {
    let lines = texts.iter().map(|text| json!({ "id": 0, "text": text }).to_string());
    std::fs::write(home.path("in.jsonl"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let input = home.path("in.jsonl");
    let args = ["scan", "--rules", rules, "--input", input.to_str().unwrap()];
    let (code, out, said) = quell(&args, home.folder.path()).await;
    assert_eq!(code, Some(0), "{said}");
    let found = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let places = line["hits"].as_array().unwrap().iter().map(place).collect();
        Found { verdict: line["verdict"].as_str().unwrap().to_owned(), places }
    };
    out.lines().map(found).collect()
}

fn place(hit: &Value) -> Place {
    let number = |name: &str| hit[name].as_u64().unwrap();
    (hit["rule"].as_str().unwrap().to_owned(), number("start"), number("end"))
}

/// The places that `rules explain` names.
async fn explain(rules: &str, text: &str, folder: &Path) -> BTreeSet<Place> {
    let text = format!("--text={text}");
    let args = ["rules", "explain", "--rules", rules, "--format", "json", &text];
    let (code, out, said) = quell(&args, folder).await;
    assert_eq!(code, Some(0), "{said}");
    let rows: Vec<Value> = serde_json::from_str(&out).unwrap();
    rows.iter().filter(|row| row["hit"] == true).map(place).collect()
}

/// What the daemon stored of each text.
async fn serve(home: &Home, texts: &[String]) -> Vec<Found> {
    let app = home.start(&["recall.mode=shadow"]).await;
    for (text, seq) in texts.iter().zip(1..) {
        assert_eq!(app.callbacks.send(&message("g", seq, text)).await, 200);
    }
    let (messages, hits) = (app.rows(View::Messages).await, app.rows(View::Hits).await);
    app.stop().await;
    let found = |seq: String| {
        let row = messages.rows.iter().find(|row| shown(messages.cell(row, "msg_seq")) == seq);
        let cell = |row: &[_], name| shown(hits.cell(row, name));
        let of = hits.rows.iter().filter(|row| cell(row, "msg_seq") == seq);
        let places = of.map(|row| {
            let number = |name| cell(row, name).parse().unwrap();
            (cell(row, "rule_id"), number("start_char"), number("end_char"))
        });
        Found { verdict: shown(messages.cell(row.unwrap(), "verdict")), places: places.collect() }
    };
    (1..=texts.len()).map(|seq| found(seq.to_string())).collect()
}

#[tokio::test]
async fn scan_explain_check_and_serve_find_the_same() {
    let mut runner = TestRunner::deterministic();
    let mut verdicts = BTreeSet::new();
    for _ in 0..4 {
        let texts = texts().new_tree(&mut runner).unwrap().current();
        let rules = rule_sets().new_tree(&mut runner).unwrap().current();
        let home = Home::new().await;
        let folder = home.folder.path();
        let (path, path_of_examples) = (home.path("rules.yaml"), home.path("examples.yaml"));
        std::fs::write(&path, rules_file(&rules, |_| None)).unwrap();
        let scanned = scan(&home, path.to_str().unwrap(), &texts).await;
        assert_eq!(serve(&home, &texts).await, scanned, "{rules:#?} {texts:#?}");
        for (text, found) in texts.iter().zip(&scanned) {
            let places = explain(path.to_str().unwrap(), text, folder).await;
            assert_eq!(places, found.places, "{rules:#?} {text}");
            verdicts.insert(found.verdict.clone());
        }
        // Each text as an example of what `scan` found of it; then one of them turned round.
        let sides = |id: &str| -> (Vec<String>, Vec<String>) {
            let hits = |found: &Found| found.places.iter().any(|(rule, ..)| rule == id);
            let (hit, pass): (Vec<_>, Vec<_>) =
                texts.iter().zip(&scanned).partition(|(_, found)| hits(found));
            let texts =
                |side: Vec<(&String, &Found)>| side.into_iter().map(|(t, _)| t.clone()).collect();
            (texts(hit), texts(pass))
        };
        let turned = |id: &str| {
            let (mut hit, mut pass) = sides(id);
            if id == "r0" {
                (hit, pass) = (pass, hit);
            }
            Some((hit, pass))
        };
        let args = ["rules", "check", path_of_examples.to_str().unwrap()];
        std::fs::write(&path_of_examples, rules_file(&rules, |id| Some(sides(id)))).unwrap();
        let (code, out, said) = quell(&args, folder).await;
        assert_eq!(code, Some(0), "{out}{said}");
        std::fs::write(&path_of_examples, rules_file(&rules, turned)).unwrap();
        let (code, out, said) = quell(&args, folder).await;
        assert_eq!(code, Some(1), "{out}{said}");
    }
    assert_eq!(verdicts.into_iter().collect::<Vec<_>>(), ["flag", "pass", "recall"]);
}
