//! How well rules find what they should and spare what they should, on files of labelled texts.
//!
//! ```text
//! cargo run --release --example evaluate -- DATA_DIR [part...]
//! ```
//!
//! Parts: `evasion`, `innocent`, `phrases`, `links`, `robustness`, `packs`; all where none is named.
//!
//! `DATA_DIR` holds the JSON Lines files named below, each line `{"text", "label", ...}`; a file that
//! is missing is left out. With `-v` every wrong line is printed.

#![expect(clippy::disallowed_macros, reason = "this program prints its figures")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use quell::model::{Element, Text};
use quell::rules::{self, CompiledRules};
use quell::text;
use serde_json::{Value, json};

fn main() -> anyhow::Result<()> {
    let (flags, rest): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg.starts_with('-'));
    let mut rest = rest.into_iter();
    let data = PathBuf::from(rest.next().context("the folder of the data is missing")?);
    let parts: Vec<String> = rest.collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|p| p == part);
    let run = Run { data, verbose: flags.iter().any(|flag| flag == "-v") };
    if wanted("evasion") {
        run.evasion("standard")?;
        run.evasion("aggressive")?;
    }
    if wanted("innocent") {
        run.innocent()?;
    }
    if wanted("phrases") {
        run.peer_phrases()?;
    }
    if wanted("links") {
        run.links()?;
    }
    if wanted("robustness") {
        run.robustness()?;
    }
    if wanted("packs") {
        run.packs("spam_ham.jsonl")?;
        run.packs("spam_ham_zh_chat.jsonl")?;
    }
    Ok(())
}

/// The starter packs that judge a text on its own.
const PACKS: &[&str] = &[
    "adult-bait",
    "black-market",
    "contact-bait",
    "flood",
    "link-spam",
    "money-bait",
    "self-promotion",
];

struct Run {
    data: PathBuf,
    verbose: bool,
}

impl Run {
    fn lines(&self, name: &str) -> anyhow::Result<Vec<Value>> {
        let path = self.data.join(name);
        if !path.exists() {
            println!("{name}: not there, left out");
            return Ok(Vec::new());
        }
        let text = std::fs::read_to_string(&path).with_context(|| name.to_owned())?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// The phrases of `evasion_phrases.txt` as one keyword list, on `evasion_examples.jsonl`.
    fn evasion(&self, fold: &str) -> anyhow::Result<()> {
        let rules = self.phrase_rule(fold)?;
        let mut by_category: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let (mut found, mut positives, mut false_hits, mut negatives) = (0, 0, 0, 0);
        for line in self.lines("evasion_examples.jsonl")? {
            let hit = is_hit(&rules, &text_of(&line));
            let should = line["should_match"].as_bool().unwrap_or_default();
            let category = line["category"].as_str().unwrap_or_default();
            let count = by_category.entry(category.to_owned()).or_default();
            count.0 += usize::from(hit == should);
            count.1 += 1;
            if should {
                positives += 1;
                found += usize::from(hit);
            } else {
                negatives += 1;
                false_hits += usize::from(hit);
            }
            if self.verbose && hit != should {
                println!(
                    "  {fold} {category} should_match={should} {} {}",
                    line["phrase"], line["text"]
                );
            }
        }
        println!(
            "evasion, {fold}: found {found} of {positives} ({:.3}), false hits {false_hits} of {negatives}",
            share(found, positives)
        );
        let mut table = String::new();
        for (category, (right, all)) in by_category {
            write!(table, "  {category} {right}/{all}")?;
        }
        println!("{table}");
        Ok(())
    }

    /// Texts that nothing may hit: by the phrase list at its hardest, and by the starter packs.
    fn innocent(&self) -> anyhow::Result<()> {
        let phrases = self.phrase_rule("aggressive")?;
        let packs = packs()?;
        for file in ["clean_multilingual.jsonl", "false_positive_traps.jsonl"] {
            let lines = self.lines(file)?;
            for (name, sets) in [
                ("phrases, aggressive", std::slice::from_ref(&phrases)),
                ("starter packs", &packs[..]),
            ] {
                let mut hits = 0;
                for line in &lines {
                    let text = text_of(line);
                    if let Some(hit) = sets.iter().find_map(|rules| first_hit(rules, &text)) {
                        hits += 1;
                        if self.verbose {
                            println!("  {hit}: {}", line["text"]);
                        }
                    }
                }
                println!(
                    "{file}, {name}: {hits} of {} ({:.4} %)",
                    lines.len(),
                    100.0 * share(hits, lines.len())
                );
            }
        }
        Ok(())
    }

    /// Cases of phrase matchers made by others.
    fn peer_phrases(&self) -> anyhow::Result<()> {
        let (mut right, mut all, mut without) = (0, 0, 0);
        for line in self.lines("peer_phrase_cases.jsonl")? {
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            without += usize::from(line["expected"].as_array().is_some_and(Vec::is_empty));
            let sought: Vec<(String, bool)> = if let Value::Array(found) = &line["expected"] {
                // One case expects a printed record, cut at its commas; `word='...'` is the phrase.
                let phrase = |text: String| match text.strip_prefix("word='") {
                    Some(phrase) => phrase.trim_end_matches(['}', '\'']).to_owned(),
                    None => text,
                };
                found.iter().map(|text| (phrase(word(text)), true)).collect()
            } else {
                vec![(word(&line["phrase"]), line["should_match"].as_bool().unwrap_or_default())]
            };
            for (phrase, should) in
                sought.into_iter().filter(|(phrase, _)| !phrase.is_empty() && !phrase.contains('='))
            {
                // "Latin words have to be whole, numbers need not."
                let numbers_anywhere = line["options"].to_string().contains(".englishWordMatch()");
                let part = numbers_anywhere && phrase.bytes().all(|byte| byte.is_ascii_digit());
                let yaml = format!(
                    "version: 1\nrules:\n  - id: phrase\n    when: {{ keyword: {{ words: {}, match: {} }} }}\n",
                    json!([phrase]),
                    if part { "part" } else { "whole" },
                );
                let rules = rules::load_str("phrase", &yaml, Path::new(""))?.rules;
                let hit = is_hit(&rules, &text_of(&line));
                all += 1;
                right += usize::from(hit == should);
                if self.verbose && hit != should {
                    println!("  {phrase:?} should_match={should}: {line}");
                }
            }
        }
        println!(
            "peer phrase cases: {right} of {all} right; {without} lines name no phrase to seek and are left out"
        );
        Ok(())
    }

    /// Whether a text has a link, lines whose only link is an e-mail address aside.
    fn links(&self) -> anyhow::Result<()> {
        let yaml = "version: 1\nrules:\n  - id: link\n    when: { link: any }\n";
        let rules = rules::load_str("link", yaml, Path::new(""))?.rules;
        let (mut found, mut missed, mut wrong) = (0, 0, 0);
        for line in self.lines("links.jsonl")? {
            let urls = line["urls"].as_array().cloned().unwrap_or_default();
            let is_mail = |url: &Value| {
                let url = url.as_str().unwrap_or_default();
                url.starts_with("mailto:") || (url.contains('@') && !url.contains('/'))
            };
            if !urls.is_empty() && urls.iter().all(is_mail) {
                continue;
            }
            let hit = is_hit(&rules, &text_of(&line));
            match (hit, !urls.is_empty()) {
                (true, true) => found += 1,
                (false, true) => missed += 1,
                (true, false) => wrong += 1,
                (false, false) => {}
            }
            if self.verbose && hit == urls.is_empty() {
                println!("  link={hit} {} {}", line["text"], line["urls"]);
            }
        }
        let (precision, recall) = (share(found, found + wrong), share(found, found + missed));
        println!(
            "links: precision {precision:.3}, recall {recall:.3}, F1 {:.3}",
            f1(precision, recall)
        );
        Ok(())
    }

    /// Odd strings: none may take long, and nothing may fail.
    fn robustness(&self) -> anyhow::Result<()> {
        let mut sets = packs()?;
        sets.push(self.phrase_rule("aggressive")?);
        let mut slowest = Duration::ZERO;
        let lines = self.lines("robustness.jsonl")?;
        for line in &lines {
            let text = text_of(line);
            let begun = Instant::now();
            let judged: usize = sets.iter().map(|rules| rules.judge_text(&text).hits.len()).sum();
            slowest = slowest.max(begun.elapsed());
            std::hint::black_box(judged);
        }
        println!(
            "robustness: {} texts judged by {} rule sets, the slowest in {slowest:?}",
            lines.len(),
            sets.len()
        );
        Ok(())
    }

    /// The starter packs on texts labelled spam or ham.
    fn packs(&self, file: &str) -> anyhow::Result<()> {
        let packs = packs()?;
        let mut by_rule: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let (mut found, mut missed, mut wrong) = (0, 0, 0);
        for line in self.lines(file)? {
            let text = text_of(&line);
            let spam = line["label"] == "spam";
            let mut rules: Vec<String> = Vec::new();
            for pack in &packs {
                rules.extend(
                    pack.judge_text(&text).hits.into_iter().map(|hit| hit.rule.to_string()),
                );
            }
            rules.dedup();
            match (spam, rules.is_empty()) {
                (true, false) => found += 1,
                (true, true) => missed += 1,
                (false, false) => wrong += 1,
                (false, true) => {}
            }
            if self.verbose && !spam && !rules.is_empty() {
                println!("  {rules:?}: {}", line["text"]);
            }
            for rule in rules {
                let count = by_rule.entry(rule).or_default();
                if spam { count.0 += 1 } else { count.1 += 1 }
            }
        }
        let (precision, recall) = (share(found, found + wrong), share(found, found + missed));
        println!(
            "{file}, starter packs: precision {precision:.3}, recall {recall:.3}, F1 {:.3}",
            f1(precision, recall)
        );
        for (rule, (spam, ham)) in by_rule {
            println!("  {rule}: {spam} spam, {ham} ham");
        }
        Ok(())
    }

    fn phrase_rule(&self, fold: &str) -> anyhow::Result<CompiledRules> {
        let path = self.data.join("evasion_phrases.txt");
        let path = path.canonicalize().with_context(|| path.display().to_string())?;
        let yaml = format!(
            "version: 1\nlists:\n  phrases: {{ file: {} }}\nrules:\n  - id: phrases\n    fold: {fold}\n    when:\n      keyword: {{ list: phrases }}\n",
            json!(path)
        );
        Ok(rules::load_str("phrases", &yaml, Path::new(""))?.rules)
    }
}

fn packs() -> anyhow::Result<Vec<CompiledRules>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules");
    let load = |name: &&str| Ok(rules::load(&dir.join(format!("{name}.yaml")))?.rules);
    PACKS.iter().map(load).collect()
}

fn first_hit(rules: &CompiledRules, text: &Text) -> Option<String> {
    let hit = rules.judge_text(text).hits.into_iter().next()?;
    Some(format!("{} {:?}", hit.rule, hit.text))
}

fn f1(precision: f64, recall: f64) -> f64 {
    2.0 * precision * recall / (precision + recall).max(f64::MIN_POSITIVE)
}

fn is_hit(rules: &CompiledRules, text: &Text) -> bool {
    !rules.judge_text(text).hits.is_empty()
}

/// The text of a line: its elements where it was sent as several, else its text.
fn text_of(line: &Value) -> Text {
    let Some(elements) = line["elements"].as_array() else {
        return Text::bare(line["text"].as_str().unwrap_or_default());
    };
    let elements: Vec<Element> = elements
        .iter()
        .map(|text| Element {
            msg_type: "TIMTextElem".into(),
            content: json!({ "Text": text }).into(),
        })
        .collect();
    text::extract(&elements, "")
}

#[expect(clippy::cast_precision_loss, reason = "counts of lines")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}
