//! Chinese by its sound: every character as its syllable without tone, Latin letters as they are.

use pinyin::ToPinyin;

use super::chars::Kind;
use super::symbols::Symbols;

/// Characters with a second common reading that senders play on.
const OTHER_READINGS: &[(char, &str)] = &[
    ('行', "hang"),
    ('长', "chang"),
    ('重', "chong"),
    ('乐', "yue"),
    ('单', "shan"),
    ('传', "chuan"),
    ('色', "shai"),
    ('还', "huan"),
    ('调', "tiao"),
    ('薄', "bao"),
    ('便', "pian"),
    ('说', "shui"),
    ('会', "kuai"),
    ('车', "ju"),
    ('都', "du"),
    ('藏', "zang"),
    ('率', "shuai"),
    ('给', "ji"),
    ('约', "yao"),
    ('觉', "jiao"),
    ('校', "jiao"),
    ('种', "chong"),
    ('朝', "zhao"),
    ('卡', "qia"),
    ('弹', "dan"),
    ('系', "ji"),
];

/// The syllable of a character, without its tone.
pub(crate) fn syllable(c: char) -> Option<&'static str> {
    c.to_pinyin().map(pinyin::Pinyin::plain)
}

/// Every reading worth seeking: the common one first.
pub(crate) fn readings(c: char) -> Vec<&'static str> {
    let others = OTHER_READINGS.iter().filter(|(of, _)| *of == c).map(|(_, reading)| *reading);
    let mut readings: Vec<_> = syllable(c).into_iter().chain(others).collect();
    readings.dedup();
    readings
}

/// A text by its sound, with the way back to its symbols.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sound {
    pub(crate) text: String,
    /// Where each letter symbol begins in `text`, and which symbol it is.
    starts: Vec<(u32, u32)>,
}

/// Where a phrase may begin in the sound of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) start: usize,
    /// What stands here or next is spelled in Latin letters.
    pub(crate) latin: bool,
}

impl Sound {
    pub(crate) fn of(symbols: &Symbols) -> Self {
        let mut sound = Self {
            text: String::with_capacity(symbols.row.len() * 4),
            starts: Vec::with_capacity(symbols.row.len()),
        };
        for (i, symbol) in symbols.row.iter().enumerate() {
            if symbol.is_gap() {
                continue;
            }
            let at = u32::try_from(sound.text.len()).unwrap_or(u32::MAX);
            sound.starts.push((at, u32::try_from(i).unwrap_or(u32::MAX)));
            match (symbol.kind(), syllable(symbol.fold.shown)) {
                (Kind::Free, Some(syllable)) => sound.text.push_str(syllable),
                (Kind::Free, None) => sound.text.push('#'),
                _ => sound.text.push(symbol.fold.shown),
            }
        }
        sound
    }

    /// Where a phrase may begin: at a character, or at the first letter of a Latin word.
    pub(crate) fn places(&self, symbols: &Symbols) -> impl Iterator<Item = Place> {
        let word = |at: usize| symbols.row.get(at).is_some_and(|s| s.kind() == Kind::Word);
        self.starts.iter().enumerate().filter_map(move |(i, (start, symbol))| {
            let symbol = *symbol as usize;
            let latin = word(symbol);
            if latin && symbol > 0 && word(symbol - 1) {
                return None;
            }
            let next = || self.starts.get(i + 1).is_some_and(|(_, next)| word(*next as usize));
            Some(Place { start: *start as usize, latin: latin || next() })
        })
    }

    /// The symbols that a span of the sound covers; `None` where it begins within one.
    pub(crate) fn symbols_in(
        &self,
        start: usize,
        end: usize,
    ) -> Option<impl Iterator<Item = usize>> {
        let first = self.starts.partition_point(|(at, _)| (*at as usize) < start);
        let behind = self.starts.partition_point(|(at, _)| (*at as usize) < end);
        let whole = self.starts.get(first).is_some_and(|(at, _)| *at as usize == start);
        whole.then(|| self.starts[first..behind].iter().map(|(_, symbol)| *symbol as usize))
    }
}
