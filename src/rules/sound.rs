//! Phrases by their sound: pinyin in place of characters, and characters that sound the same.
//!
//! A phrase of characters that all sound right and all look wrong is most often another phrase, so
//! only a part of them may be replaced, and characters that are everywhere count for little.

use crate::text::{Kind, Sound, Symbol, Symbols, readings, syllable};

/// A phrase as a row of syllables.
#[derive(Clone, Debug)]
pub(crate) struct Sounding {
    letters: Box<[(char, &'static str)]>,
}

/// Phrases with more characters than this are sought by their looks only.
const MAX_LETTERS: usize = 24;
/// How many ways to read a phrase are sought.
const MAX_READINGS: usize = 4;
/// Characters so common that one at the edge of a find belongs to the words beside it.
const EVERYWHERE: &str = "家价加在再是事有没不的得地到上下中国人个这那们我你他她了和就要会来去说时大为子以出年生行可能也过对里后好多看还让给与及其";

impl Sounding {
    /// Every way to read a phrase of Chinese characters; none where it holds anything else, or where
    /// one character is all there is.
    pub(crate) fn readings_of(phrase: &Symbols) -> Vec<Self> {
        let letters: Vec<char> =
            phrase.row.iter().filter(|s| s.is_letter()).map(|s| s.fold.shown).collect();
        if !(2..=MAX_LETTERS).contains(&letters.len()) {
            return Vec::new();
        }
        let mut ways: Vec<Vec<(char, &'static str)>> = vec![Vec::new()];
        for letter in letters {
            let sounds = readings(letter);
            if sounds.is_empty() {
                return Vec::new();
            }
            let mut longer = Vec::new();
            for sound in sounds {
                longer.extend(ways.iter().map(|way| {
                    let mut way = way.clone();
                    way.push((letter, sound));
                    way
                }));
            }
            longer.truncate(MAX_READINGS);
            ways = longer;
        }
        ways.into_iter().map(|way| Self { letters: way.into() }).collect()
    }

    /// Whether it has two characters only.
    pub(crate) fn is_pair(&self) -> bool {
        self.letters.len() == 2
    }

    /// What has to be looked for.
    pub(crate) fn spelled(&self) -> String {
        self.letters.iter().map(|(_, sound)| *sound).collect()
    }

    /// Whether a span of the sound of a text is this phrase: the first and the last symbol of it.
    pub(crate) fn verify(
        &self,
        symbols: &Symbols,
        sound: &Sound,
        start: usize,
        end: usize,
    ) -> Option<(usize, usize)> {
        let covered: Vec<usize> = sound.symbols_in(start, end)?.collect();
        let row = &symbols.row;
        let mut rest = covered.as_slice();
        let mut count = Count::default();
        for (letter, sound) in &self.letters {
            let (&first, others) = rest.split_first()?;
            if row[first].kind() == Kind::Free {
                let shown = row[first].fold.shown;
                if shown == *letter {
                    count.exact += 1;
                } else if syllable(shown) == Some(sound) {
                    count.homophones += 1;
                    count.outer_common |= is_common_at_edge(row, &covered, first);
                } else {
                    return None;
                }
                rest = others;
            } else {
                let spelled = rest.get(..sound.len())?;
                if !spelled.iter().map(|at| row[*at].fold.shown).eq(sound.chars()) {
                    return None;
                }
                count.latin += 1;
                count.latin_letters += sound.len();
                rest = &rest[sound.len()..];
            }
        }
        let (first, last) = (*covered.first()?, *covered.last()?);
        count.glued = last - first + 1 == covered.len();
        let fits = rest.is_empty()
            && self.enough(&count)
            && latin_edges_fit(row, &covered)
            && gaps_fit(row, &covered);
        fits.then_some((first, last))
    }

    fn enough(&self, count: &Count) -> bool {
        let all = self.letters.len();
        if count.homophones + count.latin == 0 || count.outer_common {
            return false;
        }
        if count.latin == all {
            // Two short words beside each other may well be two words of another language.
            return count.latin_letters >= 6 && (all > 2 || count.glued);
        }
        match all {
            2 => count.homophones == 0 && count.latin_letters >= 2,
            3 => count.homophones <= 1,
            _ => count.homophones * 2 <= all && count.exact + count.latin >= 2,
        }
    }
}

#[derive(Default)]
struct Count {
    exact: usize,
    homophones: usize,
    latin: usize,
    latin_letters: usize,
    /// Nothing stands between the first and the last symbol.
    glued: bool,
    /// A homophone at the edge is a character that is everywhere, with text right beside it.
    outer_common: bool,
}

/// 家 of 大家微信 is not the 加 of 加微信.
fn is_common_at_edge(row: &[Symbol], covered: &[usize], at: usize) -> bool {
    let outside = if covered.first() == Some(&at) {
        at.checked_sub(1)
    } else if covered.last() == Some(&at) {
        Some(at + 1)
    } else {
        None
    };
    let free = outside.and_then(|at| row.get(at)).is_some_and(|s| s.kind() == Kind::Free);
    free && EVERYWHERE.contains(row[at].fold.shown)
}

/// Latin letters at the edge are not the end of a longer word.
fn latin_edges_fit(row: &[Symbol], covered: &[usize]) -> bool {
    let word = |symbol: Option<&Symbol>| symbol.is_some_and(|s| s.kind() == Kind::Word);
    let inside = |edge: Option<&usize>, beside: Option<usize>| {
        let beside = beside.and_then(|at| row.get(at));
        word(edge.and_then(|at| row.get(*at))) && word(beside)
    };
    let first = covered.first();
    let last = covered.last();
    !inside(first, first.and_then(|at| at.checked_sub(1))) && !inside(last, last.map(|at| at + 1))
}

/// No sentence ends within, unless every character stands apart.
fn gaps_fit(row: &[Symbol], covered: &[usize]) -> bool {
    let gaps: Vec<&[Symbol]> = covered.windows(2).map(|w| &row[w[0] + 1..w[1]]).collect();
    let ends = |gap: &&[Symbol]| {
        gap.iter()
            .any(|s| s.kind() == Kind::WideEnd || (s.kind() == Kind::End && s.fold.plain != '.'))
    };
    let apart = gaps.iter().filter(|gap| !gap.is_empty()).count();
    let widest = gaps.iter().map(|gap| gap.len()).max().unwrap_or(0);
    let sentences = gaps.iter().any(ends);
    widest <= 8 && (!sentences || apart == gaps.len()) && (apart == 0 || covered.len() > 2)
}
