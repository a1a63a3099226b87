//! `keyword`: phrases, from a list or written in place.
//!
//! ```yaml
//! keyword: free gift card
//! keyword: [free gift card, 加微信私聊]
//! keyword: { list: contact-bait }
//! keyword: { words: [casino], match: part }
//! ```
//!
//! A Latin phrase matches as whole words unless `match: part` (or `words: part` beside a list) says
//! otherwise; a Chinese, Japanese or Korean one matches anywhere. All phrases of all rules are sought
//! in one pass.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, MatchKind};
use schemars::JsonSchema;

use crate::rules::compile::{Compiler, LeafId, Span};
use crate::rules::decode::{At, FromNode, Notes, OneOrMany, written};
use crate::rules::file::{Fold, Wholeness};
use crate::rules::yaml::{Node, Value};
use crate::text::Folded;

/// What is written below `keyword`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum Written {
    One(At<String>),
    Many(Vec<At<String>>),
    Map(Map),
}

written! {
    /// Phrases and how they match.
    struct Map: "a keyword matcher" {
        /// Phrases; or `whole` or `part`, as `match`.
        words = "words": Option<Words>,
        /// Names of lists that hold phrases.
        list = "list": Option<OneOrMany<At<String>>>,
        /// Whether Latin phrases match whole words only (default) or parts of words, too.
        matching = "match": Option<Wholeness>,
    }
}

/// Phrases, or how phrases match.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum Words {
    Phrases(Vec<At<String>>),
    How(Wholeness),
}

impl FromNode for Words {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        match node.value {
            Value::List(_) => Vec::from_node(node, notes).map(Self::Phrases),
            _ => Wholeness::from_node(node, notes).map(Self::How),
        }
    }
}

impl FromNode for Written {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        match node.value {
            Value::Map(_) => Map::from_node(node, notes).map(Self::Map),
            Value::List(_) => Vec::from_node(node, notes).map(Self::Many),
            _ => At::from_node(node, notes).map(Self::One),
        }
    }
}

/// A phrase to seek and where it was written.
struct Phrase {
    text: String,
    whole: bool,
}

impl Written {
    /// Adds the phrases to the automaton of the rule's folding level.
    pub(crate) fn compile(&self, at: crate::rules::yaml::Place, c: &mut Compiler<'_>) -> LeafId {
        let leaf = c.new_leaf();
        let fold = c.fold;
        let phrases = self.phrases(c);
        if phrases.is_empty() && c.notes.mistakes.is_empty() {
            c.notes.mistake_with(at, "no phrases to seek", "give `words` or the name of a `list`");
        }
        for phrase in phrases {
            c.keywords.add(&phrase.text, phrase.whole, fold, leaf);
        }
        leaf
    }

    fn phrases(&self, c: &mut Compiler<'_>) -> Vec<Phrase> {
        let (words, lists, how): (&[At<String>], &[At<String>], _) = match self {
            Self::One(one) => (std::slice::from_ref(one), &[], None),
            Self::Many(many) => (many, &[], None),
            Self::Map(map) => {
                let (words, how): (&[At<String>], _) = match &map.words {
                    Some(Words::Phrases(phrases)) => (phrases, map.matching),
                    Some(Words::How(how)) => (&[], Some(*how)),
                    None => (&[], map.matching),
                };
                (words, map.list.as_ref().map_or(&[], |list| &list.0), how)
            }
        };
        let mut phrases = Vec::new();
        for word in words {
            if word.value.trim().is_empty() {
                c.notes.mistake(word.at, "an empty phrase would match everywhere");
                continue;
            }
            let whole = how != Some(Wholeness::Part);
            phrases.push(Phrase { text: word.value.clone(), whole });
        }
        for name in lists {
            if let Some(list) = c.list(name) {
                let whole = how.or(list.wholeness) != Some(Wholeness::Part);
                phrases.extend(list.items.iter().map(|text| Phrase { text: text.clone(), whole }));
            }
        }
        phrases
    }
}

/// Collects phrases while rules are compiled.
#[derive(Default)]
pub(crate) struct Builder {
    sets: HashMap<u8, Set>,
}

#[derive(Default)]
struct Set {
    ids: HashMap<(String, bool), usize>,
    phrases: Vec<Entry>,
}

struct Entry {
    text: String,
    whole: bool,
    leaves: Vec<LeafId>,
}

impl Builder {
    fn add(&mut self, phrase: &str, whole: bool, fold: Fold, leaf: LeafId) {
        let text = match fold {
            Fold::None => phrase.trim().to_owned(),
            _ => Folded::standard(phrase.trim()).as_str().to_owned(),
        };
        let set = self.sets.entry(fold as u8).or_default();
        let next = set.phrases.len();
        let id = *set.ids.entry((text.clone(), whole)).or_insert(next);
        if id == next {
            set.phrases.push(Entry { text, whole, leaves: Vec::new() });
        }
        set.phrases[id].leaves.push(leaf);
    }

    pub(crate) fn build(self) -> Result<Index, aho_corasick::BuildError> {
        let mut sets = Vec::new();
        for (fold, set) in self.sets {
            let automaton = AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .build(set.phrases.iter().map(|entry| &entry.text))?;
            sets.push((fold == Fold::None as u8, automaton, set.phrases));
        }
        Ok(Index { sets })
    }
}

/// All phrases of all rules, ready to be sought.
pub(crate) struct Index {
    sets: Vec<(bool, AhoCorasick, Vec<Entry>)>,
}

impl Index {
    /// Reports every phrase found and where.
    pub(crate) fn find(
        &self,
        none: &Folded,
        standard: &Folded,
        mut found: impl FnMut(LeafId, Span),
    ) {
        for (as_written, automaton, entries) in &self.sets {
            let folded = if *as_written { none } else { standard };
            let text = folded.as_str();
            for hit in automaton.find_overlapping_iter(text) {
                let entry = &entries[hit.pattern().as_usize()];
                if entry.whole && !is_whole(text, hit.start(), hit.end()) {
                    continue;
                }
                let (start, end) = folded.original(hit.start(), hit.end());
                for leaf in &entry.leaves {
                    found(*leaf, Span { start, end });
                }
            }
        }
    }
}

fn is_whole(text: &str, start: usize, end: usize) -> bool {
    let joins = |a: Option<char>, b: Option<char>| matches!((a, b), (Some(a), Some(b)) if is_word(a) && is_word(b));
    let (before, inside, after) = (&text[..start], &text[start..end], &text[end..]);
    !joins(before.chars().next_back(), inside.chars().next())
        && !joins(inside.chars().next_back(), after.chars().next())
}

/// A letter or digit of a script that writes words apart.
fn is_word(c: char) -> bool {
    c.is_alphanumeric()
        && !matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}
