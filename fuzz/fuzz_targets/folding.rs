//! Any text is judged and explained alike at every level of folding, and every hit names characters
//! of the original.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use quell::model::Text;
use quell::rules::{self, CompiledRules};

static LEVELS: LazyLock<CompiledRules> = LazyLock::new(|| {
    let rule = |fold: &str| {
        format!(
            "  - id: {fold}\n    fold: {fold}\n    when:\n      any:\n        - keyword: [casino, free gift card, 加微信私聊, a, 信]\n        - pattern: ['\\d{{3,}}', '微.{{0,3}}信']\n        - link: any\n        - contact: any\n"
        )
    };
    let rules = ["none", "standard", "aggressive"].map(rule).concat();
    let loaded = rules::load_str("levels", &format!("version: 1\nrules:\n{rules}"), Path::new(""));
    loaded.expect("rules that load").rules
});

fuzz_target!(|written: &str| {
    let text = Text::bare(written);
    let judged = LEVELS.judge_text(&text);
    for hit in &judged.hits {
        let named: String = written.chars().skip(hit.start).take(hit.end - hit.start).collect();
        assert_eq!(named, hit.text);
    }
    assert_eq!(judged.verdict, LEVELS.explain(&text).verdict);
});
