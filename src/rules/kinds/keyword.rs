//! `keyword`: phrases, from a list or written in place.
//!
//! ```yaml
//! keyword: free gift card
//! keyword: [free gift card, 加微信私聊]
//! keyword: { list: contact-bait }
//! keyword: { words: [casino], match: part }
//! ```
//!
//! A list may be a file with one phrase a line; a tab and a severity behind a phrase give it that
//! severity instead of the rule's.
//!
//! A Latin phrase matches as whole words unless `match: part` (or `words: part` beside a list) says
//! otherwise; a Chinese, Japanese or Korean one matches anywhere. All phrases of all rules are sought
//! in one pass.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

use aho_corasick::{AhoCorasick, BuildError};
use schemars::JsonSchema;

use crate::model::Severity;
use crate::rules::compile::{Compiler, Findings, LeafId, Span, Via};
use crate::rules::decode::{At, FromNode, Notes, OneOrMany, TextsOr, written};
use crate::rules::file::{Fold, Wholeness};
use crate::rules::lexicon::{Lexicon, order};
use crate::rules::phrase::Phrase;
use crate::rules::sound::Sounding;
use crate::rules::yaml::{Node, Value};
use crate::text::{Kind, Reading, Run, Sound, Squeezed, Symbols, fold, loosen, undrawn};

/// What is written below `keyword`.
pub(crate) type Written = TextsOr<Map>;

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

/// A phrase to seek.
struct Sought {
    text: String,
    whole: bool,
    severity: Option<Severity>,
}

impl TextsOr<Map> {
    /// Adds the phrases at the rule's folding level: a leaf for those that have the rule's severity,
    /// and one for each severity that a list gives.
    pub(crate) fn compile(
        &self,
        at: crate::rules::yaml::Place,
        c: &mut Compiler<'_>,
    ) -> Vec<LeafId> {
        let leaf = c.new_leaf();
        let mut graded: BTreeMap<Severity, LeafId> = BTreeMap::new();
        let fold = c.fold;
        let phrases = self.phrases(c);
        if phrases.is_empty() && c.notes.mistakes.is_empty() {
            c.notes.mistake_with(at, "no phrases to seek", "give `words` or the name of a `list`");
        }
        for phrase in phrases {
            let leaf = match phrase.severity {
                None => leaf,
                Some(severity) => *graded.entry(severity).or_insert_with(|| c.new_leaf()),
            };
            c.keywords.add(&phrase.text, phrase.whole, fold, leaf);
        }
        c.graded.extend(graded.iter().map(|(severity, leaf)| (*leaf, *severity)));
        std::iter::once(leaf).chain(graded.into_values()).collect()
    }

    /// The first phrases, for telling which is nearest to a text.
    pub(crate) fn first_phrases(&self, c: &mut Compiler<'_>, into: &mut Vec<String>) {
        const ENOUGH: usize = 2000;
        let room = ENOUGH.saturating_sub(into.len());
        // Names of lists that are not there are noted when the matcher is compiled.
        let before = c.notes.mistakes.len();
        let phrases = self.phrases(c);
        c.notes.mistakes.truncate(before);
        into.extend(phrases.into_iter().take(room).map(|phrase| phrase.text));
    }

    fn phrases(&self, c: &mut Compiler<'_>) -> Vec<Sought> {
        let (words, lists, how): (&[At<String>], &[At<String>], _) = match self {
            Self::Texts(texts) => (&texts.0, &[], None),
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
            phrases.push(Sought { text: word.value.clone(), whole, severity: None });
        }
        for name in lists {
            if let Some(list) = c.list(name) {
                let whole = how.or(list.wholeness) != Some(Wholeness::Part);
                phrases.extend(list.items.iter().map(|item| Sought {
                    text: item.text.clone(),
                    whole,
                    severity: item.severity,
                }));
            }
        }
        phrases
    }
}

/// Collects phrases while rules are compiled.
#[derive(Default)]
pub(crate) struct Builder {
    ids: HashMap<(String, bool, Fold), usize>,
    phrases: Vec<(String, bool, Fold, Vec<LeafId>)>,
}

impl Builder {
    pub(crate) fn add(&mut self, phrase: &str, whole: bool, fold: Fold, leaf: LeafId) {
        let key = (phrase.to_owned(), whole, fold);
        let next = self.phrases.len();
        let id = *self.ids.entry(key).or_insert(next);
        if id == next {
            self.phrases.push((phrase.to_owned(), whole, fold, Vec::new()));
        }
        if self.phrases[id].3.last() != Some(&leaf) {
            self.phrases[id].3.push(leaf);
        }
    }

    pub(crate) fn build(self) -> Result<Index, BuildError> {
        let (mut written, mut hidden, mut sounding) = (Vec::new(), Vec::new(), Vec::new());
        let mut marked = Vec::new();
        for (text, whole, fold, leaves) in self.phrases {
            let symbols = Symbols::of(&text);
            let phrase = (fold != Fold::None).then(|| Phrase::new(&symbols, whole)).flatten();
            let Some(phrase) = phrase else {
                written.push(Exact { text: text.trim().to_owned(), whole, leaves });
                continue;
            };
            if has_marks(&text) {
                let leaves = leaves.clone();
                marked.push(Exact { text: text.trim().to_owned(), whole, leaves });
            }
            let aggressive = fold == Fold::Aggressive;
            if aggressive {
                let loose = loosen(&symbols);
                for way in Sounding::readings_of(loose.as_ref().unwrap_or(&symbols)) {
                    sounding.push((way.spelled(), Heard { phrase: way, leaves: leaves.clone() }));
                }
                if let Some(phrase) = phrase.backwards() {
                    let leaves = leaves.clone();
                    let backwards = Hidden { phrase, aggressive, backwards: true, leaves };
                    hidden.push((backwards.phrase.squeezed(), backwards));
                }
                if let Some(phrase) = loose.and_then(|loose| Phrase::new(&loose, whole)) {
                    let leaves = leaves.clone();
                    let loose = Hidden { phrase, aggressive, backwards: false, leaves };
                    hidden.push((loose.phrase.squeezed(), loose));
                }
            }
            let plain = Hidden { phrase, aggressive, backwards: false, leaves };
            hidden.push((plain.phrase.squeezed(), plain));
        }
        Ok(Index {
            written: AsWritten::build(written, Via::Written)?,
            marked: AsWritten::build(marked, Via::Folded)?,
            hidden: Looks::build(hidden),
            heard: Sounds::build(sounding),
        })
    }
}

/// All phrases of all rules, ready to be sought.
pub(crate) struct Index {
    written: Option<AsWritten>,
    /// Phrases with punctuation, which the search by looks takes for the end of a sentence or leaves out.
    marked: Option<AsWritten>,
    hidden: Option<Looks>,
    heard: Option<Sounds>,
}

impl Index {
    /// Reports every phrase found and where.
    pub(crate) fn find(&self, reading: &Reading<'_>, found: &mut Findings) {
        let text = reading.written();
        for phrases in self.written.iter().chain(&self.marked) {
            phrases.find(text, found);
        }
        let Some(hidden) = &self.hidden else { return };
        let symbols = reading.symbols();
        hidden.find(symbols, Via::Folded, found);
        if symbols.signs {
            hidden.find(&symbols.signs_as_letters(), Via::Signs, found);
        }
        if symbols.capitals {
            hidden.find(&symbols.capitals_as_drawn(), Via::Folded, found);
        }
        if let Some(drawn) = symbols.drawn.then(|| undrawn(symbols)).flatten() {
            hidden.find(&drawn.signs_as_letters(), Via::Drawn, found);
        }
        if symbols.reversed {
            hidden.find(&symbols.unreversed(text), Via::Reversed, found);
        }
        if let Some(heard) = &self.heard {
            let loose = reading.loose();
            if let Some(loose) = loose {
                hidden.find(loose, Via::Loose, found);
            }
            heard.find(loose.unwrap_or(symbols), found);
        }
    }
}

/// Whether a phrase holds what is neither letter nor space.
fn has_marks(phrase: &str) -> bool {
    phrase.chars().any(|c| !c.is_alphanumeric() && !c.is_whitespace())
}

/// Phrases sought in the text as it is written.
struct AsWritten {
    automaton: AhoCorasick,
    /// As folded, they do not tell upper from lower case.
    via: Via,
    phrases: Vec<Exact>,
}

struct Exact {
    text: String,
    whole: bool,
    leaves: Vec<LeafId>,
}

impl AsWritten {
    fn build(phrases: Vec<Exact>, via: Via) -> Result<Option<Self>, BuildError> {
        if phrases.is_empty() {
            return Ok(None);
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(via != Via::Written)
            .build(phrases.iter().map(|phrase| &phrase.text))?;
        Ok(Some(Self { automaton, via, phrases }))
    }

    fn find(&self, text: &str, found: &mut Findings) {
        for hit in self.automaton.find_overlapping_iter(text) {
            let phrase = &self.phrases[hit.pattern().as_usize()];
            let (start, end) = (hit.start(), hit.end());
            if phrase.whole && !is_whole(text, start, end) {
                continue;
            }
            for leaf in &phrase.leaves {
                found.add(*leaf, Span { start, end, via: self.via });
            }
        }
    }
}

fn is_whole(text: &str, start: usize, end: usize) -> bool {
    let word =
        |c: Option<char>| c.is_some_and(|c| matches!(fold(c).kind, Kind::Word | Kind::Digit));
    let joins = |a, b| word(a) && word(b);
    let (before, inside, after) = (&text[..start], &text[start..end], &text[end..]);
    !joins(before.chars().next_back(), inside.chars().next())
        && !joins(inside.chars().next_back(), after.chars().next())
}

/// Patterns each of which stands for one or several phrases.
struct Grouped<T> {
    lexicon: Lexicon,
    /// For each pattern where its phrases begin in `phrases`.
    starts: Vec<u32>,
    phrases: Vec<T>,
}

impl<T> Grouped<T> {
    fn build(mut phrases: Vec<(String, T)>) -> Option<Self> {
        if phrases.is_empty() {
            return None;
        }
        phrases.sort_by(|a, b| order(&a.0).cmp(&order(&b.0)));
        let mut patterns: Vec<&str> = Vec::new();
        let mut starts = Vec::new();
        for (at, (pattern, _)) in phrases.iter().enumerate() {
            if patterns.last() != Some(&pattern.as_str()) {
                patterns.push(pattern);
                starts.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
        starts.push(u32::try_from(phrases.len()).unwrap_or(u32::MAX));
        let lexicon = Lexicon::of(&patterns);
        Some(Self { lexicon, starts, phrases: phrases.into_iter().map(|(_, of)| of).collect() })
    }

    fn of(&self, pattern: usize) -> &[T] {
        &self.phrases[self.starts[pattern] as usize..self.starts[pattern + 1] as usize]
    }
}

/// A phrase sought whatever hides it.
struct Hidden {
    phrase: Phrase,
    aggressive: bool,
    /// The phrase is turned round.
    backwards: bool,
    leaves: Vec<LeafId>,
}

/// Phrases sought by their looks.
struct Looks {
    phrases: Grouped<Hidden>,
    /// Some match parts of words, too.
    parts: bool,
}

impl Looks {
    fn build(hidden: Vec<(String, Hidden)>) -> Option<Self> {
        let parts = hidden.iter().any(|(_, hidden)| !hidden.phrase.is_whole());
        Some(Self { phrases: Grouped::build(hidden)?, parts })
    }

    fn find(&self, symbols: &Symbols, via: Via, found: &mut Findings) {
        let Squeezed { text, starts } = Squeezed::of(symbols);
        // Made when something is found, which is seldom.
        let runs = OnceCell::new();
        let mut find_at = |at: usize| {
            self.phrases.lexicon.find_at(&text, at, |pattern, end| {
                let runs = runs.get_or_init(|| Run::all(symbols));
                let place = |at: usize| runs.partition_point(|run| (run.at as usize) < at);
                let runs = &runs[place(at)..place(end)];
                for hidden in self.phrases.of(pattern) {
                    let place = (hidden.aggressive || via != Via::Loose)
                        .then(|| hidden.phrase.verify(symbols, runs));
                    if let Some(place) = place.flatten() {
                        let via = if hidden.backwards { Via::Backwards } else { via };
                        report(symbols, place, via, &hidden.leaves, found);
                    }
                }
            });
        };
        if self.parts {
            for at in (0..text.len()).filter(|at| !is_continued(text[*at])) {
                find_at(at);
            }
        } else {
            for at in &starts {
                find_at(*at as usize);
            }
        }
    }
}

/// Whether a byte of UTF-8 goes on with a character that began before it.
fn is_continued(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// A phrase sought by its sound.
struct Heard {
    phrase: Sounding,
    leaves: Vec<LeafId>,
}

/// Phrases sought by their sound.
struct Sounds {
    /// Of two characters: they count only where one is spelled in Latin letters.
    pairs: Option<Grouped<Heard>>,
    longer: Option<Grouped<Heard>>,
}

impl Sounds {
    fn build(heard: Vec<(String, Heard)>) -> Option<Self> {
        let (pairs, longer) = heard.into_iter().partition(|(_, heard)| heard.phrase.is_pair());
        let (pairs, longer) = (Grouped::build(pairs), Grouped::build(longer));
        (pairs.is_some() || longer.is_some()).then_some(Self { pairs, longer })
    }

    fn find(&self, symbols: &Symbols, found: &mut Findings) {
        let sound = Sound::of(symbols);
        let mut seek = |heard: &Grouped<Heard>, start| {
            heard.lexicon.find_at(sound.text.as_bytes(), start, |pattern, end| {
                for heard in heard.of(pattern) {
                    let place = heard.phrase.verify(symbols, &sound, start, end);
                    if let Some(place) = place {
                        report(symbols, place, Via::Sound, &heard.leaves, found);
                    }
                }
            });
        };
        for place in sound.places(symbols) {
            if let Some(longer) = &self.longer {
                seek(longer, place.start);
            }
            if let Some(pairs) = self.pairs.as_ref().filter(|_| place.latin) {
                seek(pairs, place.start);
            }
        }
    }
}

fn report(
    symbols: &Symbols,
    (first, last): (usize, usize),
    via: Via,
    leaves: &[LeafId],
    found: &mut Findings,
) {
    let (start, end) = symbols.span(first, last);
    for leaf in leaves {
        found.add(*leaf, Span { start, end, via });
    }
}
