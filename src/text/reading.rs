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

    /// What patterns see at `fold: aggressive`: the loose reading, without what parts the characters
    /// of a text that has no word spaces.
    pub(crate) fn loosely_folded(&self) -> &Folded<'a> {
        self.loosely_folded
            .get_or_init(|| Folded::of(self.loose().unwrap_or_else(|| self.symbols()), true))
    }
}

/// A folded text that can be read, with the way back.
#[derive(Clone, Debug)]
pub(crate) struct Folded<'a> {
    text: Cow<'a, str>,
    /// For each character: its first byte in `text`, and the bytes of the original that it stands
    /// for. Empty where the folded text has the bytes of the original one by one.
    places: Vec<(u32, u32, u32)>,
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
        Some(Self { text, places: Vec::new() })
    }

    fn of(symbols: &Symbols, without_fillers: bool) -> Self {
        let row = &symbols.row;
        let mut text = String::with_capacity(row.len() * 3);
        let mut places = Vec::with_capacity(row.len());
        let mut i = 0;
        while i < row.len() {
            let word = row[i..].iter().take_while(|s| s.kind() == Kind::Word).count();
            let latin = is_latin(&row[i..i + word]);
            for symbol in &row[i..i + word.max(1)] {
                let c = if latin { symbol.fold.shown } else { symbol.fold.plain };
                let c = if symbol.kind() == Kind::Free { symbol.fold.shown } else { c };
                places.push((
                    u32::try_from(text.len()).unwrap_or(u32::MAX),
                    symbol.start,
                    symbol.end,
                ));
                text.push(c);
            }
            i += word.max(1);
            if without_fillers && row[i - 1].kind() == Kind::Free {
                i += filler(&row[i..]);
            }
        }
        Self { text: Cow::Owned(text), places }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The bytes of the original that a span of the folded text stands for.
    pub(crate) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        if self.places.is_empty() {
            return (start, end);
        }
        let first = self.places.partition_point(|(at, ..)| (*at as usize) < start);
        let behind = self.places.partition_point(|(at, ..)| (*at as usize) < end);
        match self.places.get(first..behind) {
            Some([one]) => (one.1 as usize, one.2 as usize),
            Some([first, .., last]) => (first.1 as usize, last.2.max(first.2) as usize),
            _ => (0, 0),
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
                let (start, end) = folded.original(at, at + c.len_utf8());
                assert!(text.as_str().get(start..end).is_some_and(|part| !part.is_empty()));
            }
        }
        let text = Text::bare("加 微*信 号");
        assert_eq!(Reading::new(&text).loosely_folded().as_str(), "加微信号");
    }
}
