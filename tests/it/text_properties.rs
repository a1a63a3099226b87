//! Properties that hold for every text, and the entry points that a fuzzer would take.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use quell::model::{Element, Text};
use quell::rules::{self, CompiledRules};
use quell::text;
use serde_json::json;

static RULES: LazyLock<CompiledRules> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    rules::load(&root.join("rules.example.yaml")).unwrap().rules
});

/// Every matcher of text on every folding level.
static LEVELS: LazyLock<CompiledRules> = LazyLock::new(|| {
    let rule = |fold: &str| {
        format!(
            "  - id: {fold}\n    fold: {fold}\n    when:\n      any:\n        - keyword: [casino, free gift card, 加微信私聊, 博彩平台, a, 1, 信]\n        - pattern: ['\\d{{3,}}', '[a-c]+\\W', '微.{{0,3}}信']\n        - link: any\n        - contact: any\n"
        )
    };
    let yaml =
        format!("version: 1\nrules:\n{}{}{}", rule("none"), rule("standard"), rule("aggressive"));
    rules::load_str("levels", &yaml, Path::new("")).unwrap().rules
});

/// Text made of what evasion is made of, beside anything at all.
fn any_text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "casino",
        "CASINO",
        "ｃａｓｉｎｏ",
        "саѕіnо",
        "c4$1n0",
        " ",
        ".",
        "。",
        "，",
        "\n",
        "\u{200b}",
        "\u{202e}",
        "\u{202c}",
        "加",
        "微",
        "信",
        "私聊",
        "VX",
        "力口",
        "➕",
        "薇",
        "费",
        "費",
        "123",
        "é",
        "e\u{301}",
        "か\u{3099}",
        "㎏",
        "⑴",
        "🅰",
        "👩‍💻",
        "http://",
        "a.com",
        "@",
        "%2e",
        "中国",
        ".",
        "xn--",
        "t.me/x",
        "ﷺ",
        "\u{1112}\u{1161}",
        "ｶﾞ",
        "free",
        "gift",
        "card",
        "jia",
        "wei",
        "xin",
    ]);
    prop_oneof![
        prop::collection::vec(pieces, 0..40).prop_map(|parts| parts.concat()),
        any::<String>(),
        "[a-z0-9.!@$ ]{0,60}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn every_hit_names_characters_of_the_original(written in any_text()) {
        let text = Text::bare(&written);
        let chars: Vec<char> = written.chars().collect();
        for hit in LEVELS.judge_text(&text).hits.iter().chain(&RULES.judge_text(&text).hits) {
            prop_assert!(hit.start <= hit.end && hit.end <= chars.len());
            let named: String = chars[hit.start..hit.end].iter().collect();
            prop_assert_eq!(&named, &hit.text);
        }
    }

    #[test]
    fn judging_and_explaining_agree(written in any_text()) {
        let text = Text::bare(&written);
        let judged = LEVELS.judge_text(&text);
        let explained = LEVELS.explain(&text);
        prop_assert_eq!(judged.verdict, explained.verdict);
        let hits: Vec<_> = explained.rules.into_iter().flat_map(|rule| rule.hits).map(|hit| hit.hit).collect();
        prop_assert_eq!(judged.hits, hits);
    }

    #[test]
    fn what_a_harder_level_finds_includes_what_a_softer_one_does(written in any_text()) {
        let hits = LEVELS.judge_text(&Text::bare(&written)).hits;
        let hit = |rule: &str| hits.iter().any(|hit| hit.rule.as_str() == rule);
        prop_assert!(!hit("standard") || hit("aggressive"));
    }

    #[test]
    fn an_element_gives_the_text_that_it_holds(parts in prop::collection::vec(any_text(), 0..4)) {
        let elements: Vec<Element> = parts.iter()
            .map(|part| Element { msg_type: "TIMTextElem".into(), content: json!({ "Text": part }).into() })
            .collect();
        let text = text::extract(&elements, "");
        let kept: Vec<_> = parts.iter().filter(|part| !part.is_empty()).cloned().collect();
        prop_assert_eq!(text.as_str(), kept.join("\n"));
    }

    #[test]
    fn no_custom_data_is_too_odd(data in any::<String>(), nested in any_text()) {
        let _ = text::extract(&[], &data);
        let json = json!({ "a": [nested, { "b": data }] }).to_string();
        let element = Element { msg_type: "TIMCustomElem".into(), content: json!({ "Data": json }).into() };
        let _ = text::extract(&[element], &json);
    }

    #[test]
    fn no_rules_file_is_too_odd(
        lines in prop::collection::vec(prop::sample::select(vec![
            "version: 1", "rules:", "  - id: a", "    when: { keyword: [x] }", "    when:", "      any:", "        - pattern: '('",
            "    mode: off", "lists: {a: [b]}", "    unless: [{phrase: x}]", "  - *a", "&a [1]", "\t", "    examples: {hit: x}", "? {}", "    scope: {}", "}", "    when: { score: { at_least: x } }",
        ]), 0..12),
        junk in any::<String>(),
    ) {
        let _ = rules::load_str("fuzz", &lines.join("\n"), Path::new("/nowhere"));
        let _ = rules::load_str("fuzz", &junk, Path::new("/nowhere"));
    }
}

#[test]
fn a_text_of_the_longest_length_is_judged_in_no_time_to_speak_of() {
    // Quadratic work on any of these would take minutes.
    for unit in
        ["a", "ca", "微信", "f.", "1", "加.", "http://", "a.", "\u{202e}a", "!", "ee ", "%", "微 "]
    {
        let long = unit.repeat(text::MAX_TEXT_BYTES / unit.len());
        let _ = LEVELS.judge_text(&Text::bare(&long));
    }
}
