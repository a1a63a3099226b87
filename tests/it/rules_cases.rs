//! Cases as data: what phrases hit and pass.

use std::path::Path;

use quell::model::Text;
use quell::rules;
use serde_json::{Value, json};

#[test]
fn phrases_hit_what_hides_them_and_pass_what_only_resembles_them() {
    let cases = include_str!("../cases/keyword.yaml");
    let mut wrong = Vec::new();
    for line in cases.lines().filter(|line| line.starts_with("- ")) {
        let (phrases, fold, text, expected) = case(line);
        let yaml = format!(
            "version: 1\nrules:\n  - id: case\n    fold: {fold}\n    when: {{ keyword: {phrases} }}\n"
        );
        let rules = rules::load_str("case", &yaml, Path::new("")).unwrap().rules;
        let hits = rules.judge_text(&Text::bare(&text)).hits;
        if hits.is_empty() == expected {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Phrases, folding level, text and whether it hits: the first four items of the line's list,
/// of which the first is one phrase.
fn case(line: &str) -> (Value, String, String, bool) {
    let (phrases, rest) = line.trim_start_matches("- [[").split_once("], ").unwrap();
    let (fold, rest) = rest.split_once(", ").unwrap();
    let mut json = serde_json::Deserializer::from_str(rest).into_iter::<String>();
    let text = json.next().unwrap().unwrap();
    let expected = rest[json.byte_offset()..].trim_start_matches(", ").starts_with("true");
    let phrases = phrases.trim_matches('"');
    (json!([phrases]), fold.to_owned(), text, expected)
}
