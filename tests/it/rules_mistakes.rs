//! A broken rules file says everything that is wrong with it, each at its place.

use std::path::Path;

use quell::rules;

#[test]
fn every_mistake_is_reported_with_its_place_and_what_would_be_valid() {
    let yaml = "\
version: 1
lists:
  bait: [x]
  gone: { file: not-there.txt }
rules:
  - id: Bad Id
    when: { keyword: { list: bate } }
  - id: twice
    mode: lve
    when: { pattern: '(' }
  - id: twice
    severety: high
    when: { keyword: [x], link: any }
  - id: never
    when: { length: { over: 10, under: 5 } }
overrides:
  - groups: [g]
    rules: { nevr: { mode: off } }
";
    let error = rules::load_str("rules.yaml", yaml, Path::new("/nowhere")).unwrap_err();
    let shown = error.to_string();
    for expected in [
        "rules.yaml:4:17: cannot read the list",
        "rules.yaml:6:9: `Bad Id` cannot be the id of a rule",
        "rules.yaml:7:30: there is no list `bate`",
        "= did you mean `bait`?",
        "rules.yaml:9:11: `lve` is not a mode",
        "= did you mean `live`?",
        "rules.yaml:10:22: not a regular expression",
        "rules.yaml:12:5: a rule has no `severety`",
        "rules.yaml:13:27: `link` is a second matcher",
        "there is no rule `nevr` to override",
        "= did you mean `never`?",
    ] {
        assert!(shown.contains(expected), "missing: {expected}\n{shown}");
    }
}

#[test]
fn a_key_that_is_missing_is_the_one_that_was_meant() {
    let yaml = "version: 1\nrules:\n  - id: x\n    whn: { keyword: [x] }\n";
    let shown = rules::load_str("rules.yaml", yaml, Path::new("")).unwrap_err().to_string();
    assert!(shown.contains("a rule lacks `when`"), "{shown}");
    assert!(shown.contains("did you mean `when`?") && !shown.contains("`why`"), "{shown}");
}

#[test]
fn what_silently_disables_a_rule_is_warned_of() {
    let yaml = "\
version: 1
lists: { unused: [x] }
rules:
  - id: impossible
    when: { length: { over: 10, under: 5 } }
  - id: exempted
    when: { keyword: [x] }
    scope: { groups: [a, b] }
    exempt: { groups: ['*'] }
  - id: unreachable
    when: { score: { at_least: 5, sum: [{ weight: 1, when: { keyword: [x] } }] } }
  - id: spared
    when: { keyword: [free gift] }
    unless: [{ phrase: [free gift] }]
  - id: elsewhere
    when: { keyword: [x] }
    scope: { types: [Work, Pubic] }
  - id: nowhere
    when: { keyword: [x] }
    exempt: {}
  - id: nothing
    when: { any: [{ element: { type: text, extension: apk } }, { platform: Andriod }] }
";
    let loaded = rules::load_str("rules.yaml", yaml, Path::new("")).unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().map(|w| w.message.as_str()).collect();
    for expected in [
        "no rule uses the list",
        "`impossible` can never hit",
        "leave nothing",
        "can never reach",
        "`unless` spares every phrase of `spared`",
        "no group has the type `Work`",
        "no group has the type `Pubic`",
        "everything is exempt, and the rule never applies",
        "`nothing` can never hit: only files and videos",
        "Chat knows no platform `Andriod`",
    ] {
        assert!(warnings.iter().any(|w| w.contains(expected)), "{expected}: {warnings:?}");
    }
}

#[test]
fn what_would_hit_every_message_is_a_mistake() {
    for when in [
        "pattern: '.*'",
        "keyword: ['']",
        "flood: { messages: 1, within: 10s }",
        "repeat: { times: 1, within: 10s }",
    ] {
        let yaml = format!("version: 1\nrules:\n  - id: a\n    when: {{ {when} }}\n");
        let loaded = rules::load_str("rules.yaml", &yaml, Path::new(""));
        assert!(loaded.is_err(), "{when}");
    }
}

#[test]
fn a_failed_example_says_where_it_stands() {
    let yaml = "version: 1\nrules:\n  - id: a\n    when: { keyword: [bad] }\n    examples: { hit: [good], pass: [bad] }\n";
    let rules = rules::load_str("rules.yaml", yaml, Path::new("")).unwrap().rules;
    let failed: Vec<_> = rules.check_examples().iter().map(ToString::to_string).collect();
    assert!(failed[0].starts_with("rules.yaml:5:23: rule `a` does not hit"), "{failed:?}");
    assert!(failed[1].starts_with("rules.yaml:5:37: rule `a` should pass"), "{failed:?}");
}

#[test]
fn no_text_makes_the_reader_panic() {
    for yaml in [
        "",
        "[]",
        "a",
        "version: 1",
        "rules: []",
        "\u{feff}version: 1\nrules: []",
        "{{{",
        "- - -",
        "version: 1\nrules: {}",
        "version: 1\nrules:\n- when: {any: {}}",
    ] {
        let _ = rules::load_str("x", yaml, Path::new(""));
    }
}
