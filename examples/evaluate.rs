//! How well rules find what they should and spare what they should, on files of labelled texts.
//!
//! ```text
//! cargo run --release --example evaluate -- DATA_DIR [part...]
//! ```
//!
//! `DATA_DIR` holds the JSON Lines files named below, each line `{"text", "label", ...}`; a file that
//! is missing is left out. With `-v` every wrong line is printed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

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
    Ok(())
}

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
        .map(|text| Element { msg_type: "TIMTextElem".into(), content: json!({ "Text": text }) })
        .collect();
    text::extract(&elements, "")
}

#[expect(clippy::cast_precision_loss, reason = "counts of lines")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}
