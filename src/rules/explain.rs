//! Why a text is hit, or is not.

use std::collections::HashSet;

use super::compile::CompiledRule;
use super::condition::{Subject, Truth};
use super::engine::CompiledRules;
use super::file::Fold;
use super::findings::{Findings, Span, Via};
use super::phrase::Phrase;
use crate::model::{Hit, Mode, RuleId, Text, Verdict};
use crate::text::{Squeezed, Symbol, Symbols, loose_steps, steps};

/// What every rule has to say about a text.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub verdict: Verdict,
    pub rules: Vec<RuleExplanation>,
}

/// What one rule has to say about it.
#[derive(Clone, Debug)]
pub struct RuleExplanation {
    pub rule: RuleId,
    pub mode: Mode,
    pub hits: Vec<ExplainedHit>,
    /// Where the rule does not hit: what came nearest, or what held it back.
    pub miss: Option<String>,
}

/// A hit and how the text was read for it.
#[derive(Clone, Debug)]
pub struct ExplainedHit {
    pub hit: Hit,
    /// The steps of folding that the match needed, in the order in which they are taken.
    pub steps: Vec<&'static str>,
    /// Where in the message the matched characters stand, such as `MsgBody[0].Text`.
    pub places: Vec<String>,
}

impl CompiledRules {
    /// Judges a text on its own and says for each rule what it found, and how; for a rule that is
    /// off, what it would find.
    #[must_use]
    pub fn explain(&self, text: &Text) -> Explanation {
        let findings = self.findings(text);
        let rules = self.compiled.rules.iter().map(|rule| {
            let hits = rule.hits(&rule.stance, Subject { text, message: None }, &findings);
            RuleExplanation {
                rule: rule.id.clone(),
                mode: rule.stance.mode,
                miss: hits.is_empty().then(|| why_not(rule, text, &findings)).flatten(),
                hits: hits.into_iter().map(|hit| explained(hit, rule, text, &findings)).collect(),
            }
        });
        Explanation { verdict: self.judge_text(text).verdict, rules: rules.collect() }
    }
}

/// Steps that only phrases need: patterns and links see what these take away.
const PHRASES_ONLY: &[&str] =
    &["separators", "repeats", "split over lines or elements", "digits and signs as letters"];

fn explained(hit: Hit, rule: &CompiledRule, text: &Text, findings: &Findings) -> ExplainedHit {
    let whole = text.as_str();
    let byte = |at: usize| whole.char_indices().nth(at).map_or(whole.len(), |(byte, _)| byte);
    let (start, end) = (byte(hit.start), byte(hit.end));
    let ways = |span: &Span| span.start == start && span.end == end;
    let via = findings.all().filter(ways).map(|span| span.via).min();
    let mut taken = match via {
        Some(Via::Written) => Vec::new(),
        _ if rule.fold == Fold::None => Vec::new(),
        Some(Via::Readable) => {
            let mut taken = steps(&hit.text);
            taken.retain(|step| !PHRASES_ONLY.contains(step));
            taken
        }
        Some(Via::Folded | Via::Signs) => needed_steps(&hit.text, &rule.phrases),
        _ => steps(&hit.text),
    };
    match via {
        Some(Via::Drawn) => taken.push("letters drawn with signs"),
        Some(Via::Reversed) => taken.push("shown in reverse"),
        Some(Via::Loose) => taken.extend(loose_steps(&hit.text)),
        Some(Via::Sound) => taken.push("pinyin and homophones"),
        Some(Via::Backwards) => taken.push("written backwards"),
        _ => {}
    }
    let places = text.pieces_in(start, end).map(|piece| piece.origin.to_string()).collect();
    ExplainedHit { hit, steps: taken, places }
}

/// The steps that lead from a text to one of these phrases: what is written in the phrase itself, such
/// as the spaces between its words, none of them had to take away.
fn needed_steps(written: &str, phrases: &[String]) -> Vec<&'static str> {
    if phrases.iter().any(|phrase| phrase.trim() == written) {
        return Vec::new();
    }
    let is_one = |of: fn(&Symbol) -> Option<char>| {
        let read = |text: &str| Symbols::of(text).row.iter().filter_map(of).collect::<Vec<char>>();
        let here = read(written);
        phrases.iter().any(|phrase| read(phrase.trim()) == here)
    };
    // As they are shown first, then by their classes: `0` and `o` have the same.
    let mut taken = steps(written);
    let mut drop = |needless: &[&str]| taken.retain(|step| !needless.contains(step));
    if is_one(|symbol| Some(symbol.fold.shown)) {
        drop(PHRASES_ONLY);
    } else if is_one(|symbol| {
        Some(if symbol.is_letter() { symbol.fold.class } else { symbol.fold.shown })
    }) {
        drop(&["separators", "repeats", "split over lines or elements"]);
    } else if is_one(|symbol| symbol.is_letter().then_some(symbol.fold.class)) {
        drop(&["repeats"]);
    }
    taken
}

/// What held a rule back.
fn why_not(rule: &CompiledRule, text: &Text, findings: &Findings) -> Option<String> {
    let subject = Subject { text, message: None };
    let unless: Vec<Span> = rule.unless.iter().flat_map(|leaf| findings.of(*leaf)).collect();
    let allowed: Vec<Span> = findings.spared(rule.fold, &rule.id).collect();
    // What is spared is worth a word only where there was something to spare.
    if let Truth::Yes(hits) = rule.when.holds(subject, findings, &[]) {
        let covering = |spared: &[Span]| {
            let covers = |span: &&Span| {
                hits.iter().any(|hit| span.start <= hit.start && hit.end <= span.end)
            };
            spared.iter().find(covers).map(|span| text.as_str()[span.start..span.end].to_owned())
        };
        if let Some(covered) = covering(&allowed) {
            return Some(format!("`{covered}` is let through by an operator"));
        }
        if let Some(covered) = covering(&unless) {
            return Some(format!("`{covered}` is an exception (`unless`)"));
        }
    }
    let spared = [unless, allowed].concat();
    if rule.when.holds(subject, findings, &spared) == Truth::Open {
        return Some("a text alone does not tell: it asks for the message and its sender".into());
    }
    nearest_phrase(rule, text)
}

/// The phrase of which most is in the text.
fn nearest_phrase(rule: &CompiledRule, text: &Text) -> Option<String> {
    let squeezed = Squeezed::of(&Symbols::of(text.as_str())).into_text();
    let there = pairs(&squeezed);
    let mut best: Option<(usize, &str)> = None;
    for written in &rule.phrases {
        let Some(phrase) = Phrase::new(&Symbols::of(written), true) else { continue };
        let sought = phrase.squeezed();
        if squeezed.contains(&sought) {
            return Some(format!(
                "the letters of `{written}` are there, but not as words of their own, or a sentence ends between them"
            ));
        }
        let all = pairs(&sought);
        let share = 100 * all.intersection(&there).count() / all.len().max(1);
        if share >= 50 && best.is_none_or(|(least, _)| share > least) {
            best = Some((share, written));
        }
    }
    best.map(|(share, written)| {
        format!(
            "the nearest phrase is `{written}`: {share} % of its pairs of letters are in the text"
        )
    })
}

fn pairs(text: &str) -> HashSet<(char, char)> {
    text.chars().zip(text.chars().skip(1)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rules::load_str;

    fn explain(text: &str) -> (Vec<&'static str>, String) {
        let yaml = "version: 1\nrules:\n  - { id: x, when: { keyword: [free crypto, 免費, 加微信] }, \
                    unless: [{ phrase: [加微信支付, 微信支付] }] }\n";
        let rules = load_str("explain", yaml, Path::new("")).unwrap().rules;
        let rule = rules.explain(&Text::bare(text)).rules.remove(0);
        (rule.hits.into_iter().flat_map(|hit| hit.steps).collect(), rule.miss.unwrap_or_default())
    }

    #[test]
    fn only_steps_that_the_match_needed_are_named() {
        for (text, expected) in [
            ("get free crypto now", vec![]),
            ("get FREE crypto now", vec!["case"]),
            ("FREE crypt0", vec!["case", "digits and signs as letters"]),
            ("free-crypto", vec!["separators"]),
            ("f.ree crypto", vec!["separators"]),
            ("freee crypto", vec!["separators", "repeats"]),
            ("免費", vec![]),
            ("免费", vec![]),
        ] {
            assert_eq!(explain(text).0, expected, "{text}");
        }
    }

    #[test]
    fn an_exception_is_named_only_where_it_cancelled_a_hit() {
        assert_eq!(explain("加微信支付").1, "`加微信支付` is an exception (`unless`)");
        assert!(!explain("微信支付 hello").1.contains("unless"));
    }
}
