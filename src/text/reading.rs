//! The readings of one text, each made once when it is first asked for.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::chars::{CharFold, Kind};
use super::loosen::loosen;
use super::symbols::{Symbol, Symbols};
use crate::model::Text;

/// A text in all its readings.
pub(crate) struct Reading<'a> {
    text: &'a Text,
    symbols: OnceCell<Symbols>,
    loose: OnceCell<Option<Symbols>>,
    folded: OnceCell<Folded<'a>>,
    loosely_folded: OnceCell<Folded<'a>>,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(text: &'a Text) -> Self {
        Self {
            text,
            symbols: OnceCell::new(),
            loose: OnceCell::new(),
            folded: OnceCell::new(),
            loosely_folded: OnceCell::new(),
        }
    }

    /// The text as it is written.
    pub(crate) fn written(&self) -> &'a str {
        self.text.as_str()
    }

    pub(crate) fn symbols(&self) -> &Symbols {
        self.symbols.get_or_init(|| Symbols::of(self.written()))
    }

    /// The loose reading, where it differs from the strict one.
    pub(crate) fn loose(&self) -> Option<&Symbols> {
        self.loose.get_or_init(|| loosen(self.symbols())).as_ref()
    }

    /// What patterns see at `fold: standard`: width, case, hidden characters, accents, look-alikes
    /// in Latin words and Traditional Chinese folded; separators and repeats as they are.
    pub(crate) fn folded(&self) -> &Folded<'a> {
        self.folded.get_or_init(|| {
            Folded::ascii(self.written()).unwrap_or_else(|| Folded::of(self.symbols(), false))
        })
    }

    /// The bytes of the text that a span of [`folded`](Self::folded) stands for.
    pub(crate) fn behind_folded(&self, start: usize, end: usize) -> (usize, usize) {
        self.folded().original(self.symbols(), false, start, end)
    }

    /// What patterns see at `fold: aggressive`: the loose reading, without what parts the characters
    /// of a text that has no word spaces.
    pub(crate) fn loosely_folded(&self) -> &Folded<'a> {
        self.loosely_folded.get_or_init(|| Folded::of(self.loose_or_strict(), true))
    }

    /// The bytes of the text that a span of [`loosely_folded`](Self::loosely_folded) stands for.
    pub(crate) fn behind_loosely_folded(&self, start: usize, end: usize) -> (usize, usize) {
        self.loosely_folded().original(self.loose_or_strict(), true, start, end)
    }

    fn loose_or_strict(&self) -> &Symbols {
        self.loose().unwrap_or_else(|| self.symbols())
    }
}

/// A folded text that can be read, with the way back.
#[derive(Debug)]
pub(crate) struct Folded<'a> {
    text: Cow<'a, str>,
    /// Made when something is found: the way back is not asked for in most texts.
    places: OnceCell<Vec<Place>>,
}

/// A character of a folded text: its first byte there, and the bytes of the original that it stands
/// for.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    start: u32,
    end: u32,
}

impl<'a> Folded<'a> {
    /// Plain ASCII needs nothing but lower case.
    fn ascii(text: &'a str) -> Option<Self> {
        let plain = |byte: u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
        if !text.bytes().all(plain) {
            return None;
        }
        let upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
        let text = if upper { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) };
        Some(Self { text, places: OnceCell::new() })
    }

    fn of(symbols: &Symbols, without_fillers: bool) -> Self {
        let mut text = String::with_capacity(symbols.row.len() * 3);
        readable(&symbols.row, without_fillers, |c, _| text.push(c));
        Self { text: Cow::Owned(text), places: OnceCell::new() }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The bytes of the original that a span of the folded text stands for.
    fn original(
        &self,
        symbols: &Symbols,
        without_fillers: bool,
        start: usize,
        end: usize,
    ) -> (usize, usize) {
        let places = self.places.get_or_init(|| {
            let mut places = Vec::with_capacity(symbols.row.len());
            let mut at = 0;
            readable(&symbols.row, without_fillers, |c, symbol| {
                places.push(Place { at, start: symbol.start, end: symbol.end });
                at += c.len_utf8();
            });
            places
        });
        let first = places.partition_point(|place| place.at < start);
        let behind = places.partition_point(|place| place.at < end);
        match places.get(first..behind) {
            Some([one]) => (one.start as usize, one.end as usize),
            Some([first, .., last]) => (first.start as usize, last.end.max(first.end) as usize),
            _ => (0, 0),
        }
    }
}

/// Goes through the characters of a text as they are read, each with its symbol.
#[inline]
fn readable(row: &[Symbol], without_fillers: bool, mut next: impl FnMut(char, &Symbol)) {
    // The word that was looked at last ends here, and is a Latin one.
    let (mut word_end, mut latin) = (0, false);
    let mut i = 0;
    while let Some(symbol) = row.get(i) {
        let fold = symbol.fold;
        // The two differ in letters of words only.
        let alike = fold.plain != fold.shown;
        if alike && word_end <= i {
            let is_word = |symbol: &&Symbol| symbol.kind() == Kind::Word;
            let start = i - row[..i].iter().rev().take_while(is_word).count();
            word_end = i + row[i..].iter().take_while(is_word).count();
            latin = is_latin(&row[start..word_end]);
        }
        next(if alike && !latin { fold.plain } else { fold.shown }, symbol);
        i += 1;
        if without_fillers && fold.kind == Kind::Free {
            i += filler(&row[i..]);
        }
    }
}

/// Whether look-alikes in a word are there in place of Latin letters: it has Latin ones, too.
fn is_latin(word: &[Symbol]) -> bool {
    word.iter().any(|symbol| !symbol.fold.has(CharFold::FOREIGN))
        && !word.iter().any(|s| s.fold.has(CharFold::GENUINE) && s.fold.shown == s.fold.plain)
}

/// How many symbols part two characters of one text without word spaces: none where a sentence
/// ends.
fn filler(row: &[Symbol]) -> usize {
    let gap = row.iter().take_while(|s| matches!(s.kind(), Kind::Mark | Kind::Space)).count();
    let free = row.get(gap).is_some_and(|symbol| symbol.kind() == Kind::Free);
    if free && gap <= 3 { gap } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folded_text_can_be_read_and_leads_back() {
        for (text, expected) in [
            ("FREE Ｇift", "free gift"),
            ("pаypаl и привет", "paypal и привет"),
            ("加\u{200b}V信：免費", "加v信:免费"),
            ("Crème ①②", "creme 12"),
        ] {
            let text = Text::bare(text);
            let reading = Reading::new(&text);
            let folded = reading.folded();
            assert_eq!(folded.as_str(), expected);
            for (at, c) in folded.as_str().char_indices() {
                let (start, end) = reading.behind_folded(at, at + c.len_utf8());
                assert!(text.as_str().get(start..end).is_some_and(|part| !part.is_empty()));
            }
        }
        let text = Text::bare("加 微*信 号");
        assert_eq!(Reading::new(&text).loosely_folded().as_str(), "加微信号");
    }
}
