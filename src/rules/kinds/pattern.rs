//! `pattern`: regular expressions.
//!
//! ```yaml
//! pattern: 't\.me/\w+'
//! pattern: { regex: ['1[3-9]\d{9}', 'v\W{0,2}x'] }
//! ```
//!
//! The syntax is that of the regex crate: linear time whatever the text. At `fold: none` a pattern
//! sees the text as it is written; at the other levels it sees folded text, which is all lower case,
//! and does not tell upper from lower case.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;

use crate::rules::compile::{Compiler, Findings, LeafId, Span, Via};
use crate::rules::decode::{At, OneOrMany, TextsOr, written};
use crate::rules::file::Fold;
use crate::rules::lexicon::{Lexicon, order};
use crate::rules::needles::{digits_of, least_digits, needles, without_word_edges};
use crate::text::{CharFold, Kind, Reading, fold};

/// The longest pattern taken, in bytes.
const MAX_PATTERN_BYTES: usize = 1024;
/// The most places that one pattern reports.
const MAX_MATCHES: usize = 64;
/// The most memory that one compiled pattern may fill, in bytes.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// What is written below `pattern`.
pub(crate) type Written = TextsOr<Map>;

written! {
    /// Regular expressions, of which one has to match.
    struct Map: "a pattern matcher" {
        /// One expression, or several.
        regex = "regex": OneOrMany<At<String>>,
    }
}

impl TextsOr<Map> {
    /// Adds the expressions to the index.
    pub(crate) fn compile(&self, c: &mut Compiler<'_>) -> LeafId {
        let leaf = c.new_leaf();
        let patterns: &[At<String>] = match self {
            Self::Texts(texts) => &texts.0,
            Self::Map(map) => &map.regex.0,
        };
        for pattern in patterns {
            if let Err(why) = add(&pattern.value, c.fold, leaf, c) {
                c.notes.mistake(pattern.at, why);
            }
        }
        leaf
    }
}

/// Adds an expression to the index, or says why it cannot be.
pub(super) fn add(
    pattern: &str,
    fold: Fold,
    leaf: LeafId,
    c: &mut Compiler<'_>,
) -> Result<(), String> {
    let entry = build(pattern, fold, leaf)?;
    c.patterns.entries.push(entry);
    Ok(())
}

/// The same for an expression of our own, sought in the loosest reading, whose groups mark what it
/// finds: from the first that matched to the last one.
pub(super) fn add_marked(pattern: &str, leaf: LeafId, c: &mut Compiler<'_>) -> Result<(), String> {
    let entry = build(pattern, Fold::Aggressive, leaf)?;
    c.patterns.entries.push(Entry { marked: true, ..entry });
    Ok(())
}

/// The expression, and what a text has to hold for it to match.
fn build(pattern: &str, fold: Fold, leaf: LeafId) -> Result<Entry, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!("a pattern may be {MAX_PATTERN_BYTES} bytes long at most"));
    }
    let folded = fold != Fold::None;
    let pattern = if folded { folded_literals(pattern) } else { pattern.to_owned() };
    let regex = limited(&pattern, folded).map_err(|error| match error {
        regex::Error::Syntax(report) => {
            let reason = report.lines().last().unwrap_or_default();
            format!("not a regular expression: {}", reason.trim_start_matches("error: "))
        }
        regex::Error::CompiledTooBig(limit) => {
            format!("this pattern needs more than {limit} bytes; shorten its repetitions")
        }
        other => other.to_string(),
    })?;
    if regex.is_match("") {
        return Err("this pattern matches the empty text, and so every message".to_owned());
    }
    let hir = ParserBuilder::new().case_insensitive(folded).build().parse(&pattern);
    let hir = hir.map_err(|error| error.to_string())?;
    let gate = without_word_edges(&hir).and_then(|wider| limited(&wider.to_string(), false).ok());
    let (needles, digits) = (needles(&hir, folded), least_digits(&hir));
    Ok(Entry { regex, marked: false, gate, needles, digits, fold, leaf })
}

fn limited(pattern: &str, case_insensitive: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .case_insensitive(case_insensitive)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .build()
}

/// The pattern as folded text would have it: 費 as 费, é as e. What is ASCII is syntax and stays.
fn folded_literals(pattern: &str) -> String {
    let each = |c: char| match fold(c) {
        _ if c.is_ascii() => c,
        CharFold { kind: Kind::Free, shown, .. } => *shown,
        CharFold { kind: Kind::Word, plain, .. } => *plain,
        _ => c,
    };
    pattern.chars().map(each).collect()
}

/// A compiled expression.
pub(crate) struct Entry {
    regex: Regex,
    /// Its groups mark what is found.
    marked: bool,
    /// A wider expression that is tried first, where that is much the cheaper one.
    gate: Option<Regex>,
    needles: Option<Vec<String>>,
    /// How many digits every match has at least.
    digits: usize,
    fold: Fold,
    leaf: LeafId,
}

impl Entry {
    /// Where it matches, from left to right.
    fn hits<'a>(&'a self, text: &'a str) -> Box<dyn Iterator<Item = Range<usize>> + 'a> {
        if !self.marked {
            return Box::new(self.regex.find_iter(text).map(|hit| hit.range()));
        }
        let mut from = 0;
        Box::new(iter::from_fn(move || {
            let captures = self.regex.captures_at(text, from)?;
            let mut groups = captures.iter().skip(1).flatten().map(|group| group.range());
            let first = groups.next()?;
            let end = groups.last().map_or(first.end, |last| last.end);
            // What stands between two hits bounds both of them.
            from = end;
            Some(first.start..end)
        }))
    }
}

/// Collects expressions while rules are compiled.
#[derive(Default)]
pub(crate) struct Builder {
    entries: Vec<Entry>,
}

impl Builder {
    pub(crate) fn build(self) -> Index {
        let mut levels = Vec::new();
        for level in [Fold::None, Fold::Standard, Fold::Aggressive] {
            let of_level = |entry: &usize| self.entries[*entry].fold == level;
            let members: Vec<usize> = (0..self.entries.len()).filter(of_level).collect();
            if !members.is_empty() {
                levels.push(Level::build(level, &members, &self.entries));
            }
        }
        Index { levels, entries: self.entries }
    }
}

/// All expressions of all rules, ready to be tried.
pub(crate) struct Index {
    levels: Vec<Level>,
    entries: Vec<Entry>,
}

/// The expressions of one folding level.
struct Level {
    fold: Fold,
    needles: Lexicon,
    /// The entries that each needle is for.
    wanted: Vec<Vec<u32>>,
    /// Entries without needles.
    always: Vec<u32>,
}

impl Level {
    fn build(fold: Fold, members: &[usize], entries: &[Entry]) -> Self {
        let mut by_needle: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        let mut always = Vec::new();
        for &member in members {
            let id = u32::try_from(member).unwrap_or(u32::MAX);
            // A lexicon takes no NUL.
            match entries[member].needles.as_ref().filter(|all| !all.concat().contains('\0')) {
                None => always.push(id),
                Some(needles) => {
                    for needle in needles {
                        by_needle.entry(order(needle)).or_default().push(id);
                    }
                }
            }
        }
        let needles: Vec<&str> = by_needle.keys().map(|(_, needle)| *needle).collect();
        let needles = Lexicon::of(&needles);
        Self { fold, needles, wanted: by_needle.into_values().collect(), always }
    }

    /// The entries that could match.
    fn candidates(&self, text: &str) -> Vec<u32> {
        let mut candidates = self.always.clone();
        let begins_a_character = |at: &usize| text.is_char_boundary(*at);
        for at in (0..text.len()).filter(begins_a_character) {
            self.needles.find_at(text.as_bytes(), at, |needle, _| {
                candidates.extend(&self.wanted[needle]);
            });
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    }
}

impl Index {
    /// Reports every expression that matches and where.
    pub(crate) fn find(&self, reading: &Reading<'_>, found: &mut Findings) {
        for level in &self.levels {
            match level.fold {
                Fold::None => {
                    let here = |start, end| (start, end);
                    self.try_all(level, reading.written(), (Via::Written, here), found);
                }
                Fold::Standard => {
                    let strict = |start, end| reading.behind_folded(start, end);
                    let text = reading.folded().as_str();
                    self.try_all(level, text, (Via::Readable, strict), found);
                }
                Fold::Aggressive => {
                    let strict = |start, end| reading.behind_folded(start, end);
                    let loose = |start, end| reading.behind_loosely_folded(start, end);
                    let text = reading.folded().as_str();
                    let loose_text = reading.loosely_folded().as_str();
                    self.try_all(level, text, (Via::Readable, strict), found);
                    if loose_text != text {
                        self.try_all(level, loose_text, (Via::Readable, loose), found);
                    }
                }
            }
        }
    }

    /// Tries what could match on a text; `original` leads back from it to the written one.
    fn try_all(
        &self,
        level: &Level,
        text: &str,
        (via, original): (Via, impl Fn(usize, usize) -> (usize, usize)),
        found: &mut Findings,
    ) {
        let mut digits = None;
        for candidate in level.candidates(text) {
            let entry = &self.entries[candidate as usize];
            if entry.digits > 0 && entry.digits > *digits.get_or_insert_with(|| digits_of(text)) {
                continue;
            }
            if entry.gate.as_ref().is_some_and(|gate| !gate.is_match(text)) {
                continue;
            }
            for hit in entry.hits(text).take(MAX_MATCHES) {
                let (start, end) = original(hit.start, hit.end);
                if start < end {
                    found.add(entry.leaf, Span { start, end, via });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pattern: &str) -> Entry {
        build(pattern, Fold::Standard, LeafId(0)).unwrap_or_else(|why| panic!("{why}"))
    }

    #[test]
    fn what_cannot_match_is_told_before_an_expression_runs() {
        // A word boundary keeps the regex crate from its fast engines on text that is not ASCII.
        let phone = entry(r"\b\d{11}\b");
        assert_eq!((phone.digits, phone.needles.is_none()), (11, true));
        let gate = phone.gate.expect("an expression without word boundaries");
        assert!(gate.is_match("电话13800000000号") && !phone.regex.is_match("电话13800000000号"));
        let word = entry(r"(?i)\bказино\b|\bслот\b");
        assert!(word.needles.is_some() && word.gate.is_some_and(|gate| gate.is_match("КАЗИНО")));
        assert!(entry(r"赚钱\d+").gate.is_none());
    }

    #[test]
    fn a_gate_lets_through_whatever_its_expression_matches() {
        let texts = ["a1b", "1 2", "加12号", "x-1", "ab", "12", "été 1", "\u{e4}1", ""];
        for pattern in [r"\b\d+\b", r"\B\d", r"\b[a-z]\w*\b", r"(?:\b\d|x)\B-?", r"\b{start}\d"] {
            let entry = entry(pattern);
            for text in texts.iter().filter(|text| entry.regex.is_match(text)) {
                let gate = entry.gate.as_ref();
                assert!(gate.is_none_or(|gate| gate.is_match(text)), "{pattern}: {text}");
                assert!(entry.digits <= digits_of(text), "{pattern}: {text}");
            }
        }
    }
}
