//! A phrase, and whether what the search found is that phrase.
//!
//! The search reads letters only, one for each class of look-alikes, without separators and
//! repeats. So it misses nothing that is hidden by them, and finds too much: `gift is free. Card` for
//! `free card`, `he'll` for `hell`. Here each find is laid beside the phrase, character by character,
//! and refused where a reader would not see the phrase.

mod align;
mod fit;
mod gap;

use self::fit::Find;
use crate::text::{CharFold, Kind, Run, Symbols, fold};

/// What stands before a character of a phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    Space,
    Mark(char),
}

/// A character of a phrase.
#[derive(Clone, Copy, Debug)]
struct Letter {
    fold: &'static CharFold,
    before: Before,
}

/// A phrase to look for.
#[derive(Clone, Debug)]
pub(crate) struct Phrase {
    letters: Box<[Letter]>,
    /// Latin edges have to be edges of words.
    whole: bool,
    /// How many words it has, where a text without word spaces is one.
    words: usize,
}

/// Words of six letters and more that make another one in reverse.
const WORDS_BOTH_WAYS: &str = "animal lamina deliver reviled denier reined denies seined desserts \
    stressed diaper repaid diapers drawer reward drawers rewards drawees gateman nametag looter \
    retool looters pupils slipup recaps spacer redraw warder relive eviler reknit tinker reknits \
    stinker robert trebor sleets steels sloops spools sniper repins snoops spoons sports strops";

fn is_a_word_both_ways(word: &str) -> bool {
    WORDS_BOTH_WAYS.split_whitespace().any(|known| known == word)
}

impl Phrase {
    /// Reads a phrase; `None` where it holds no letter or digit at all.
    pub(crate) fn new(symbols: &Symbols, whole: bool) -> Option<Self> {
        let mut letters: Vec<Letter> = Vec::new();
        let mut before = Before::Nothing;
        for (i, symbol) in symbols.row.iter().enumerate() {
            let next = symbols.row.get(i + 1);
            let next_is_word = next.is_some_and(|next| next.kind() == Kind::Word);
            match symbol.kind() {
                Kind::Word | Kind::Digit | Kind::Free => {
                    if letters.is_empty() {
                        before = Before::Nothing;
                    }
                    letters.push(Letter { fold: symbol.fold, before });
                    before = Before::Nothing;
                }
                Kind::Space | Kind::Line => before = Before::Space,
                // `ca$h`: the sign is part of the word as it is known.
                _ if matches!(symbol.fold.plain, '$' | '@')
                    && next_is_word
                    && before == Before::Nothing
                    && letters.last().is_some_and(|l| l.fold.kind == Kind::Word) =>
                {
                    letters.push(Letter { fold: fold(symbol.fold.sign), before });
                }
                _ if before == Before::Nothing => before = Before::Mark(symbol.fold.plain),
                _ => {}
            }
        }
        let spaces = letters.iter().filter(|letter| letter.before == Before::Space).count();
        (!letters.is_empty()).then(|| Self { letters: letters.into(), whole, words: spaces + 1 })
    }

    fn has_free(&self) -> bool {
        self.letters.iter().any(|letter| letter.fold.kind == Kind::Free)
    }

    /// What has to be looked for: the classes of the letters, repeats once.
    pub(crate) fn squeezed(&self) -> String {
        let mut squeezed = String::new();
        let mut previous = None;
        for letter in &self.letters {
            if previous != Some(letter.fold.class) {
                squeezed.push(letter.fold.class);
            }
            previous = Some(letter.fold.class);
        }
        squeezed
    }

    /// Whether the runs found are this phrase: the first and the last symbol of it.
    pub(crate) fn verify(&self, symbols: &Symbols, runs: &[Run]) -> Option<(usize, usize)> {
        if self.is_within_a_word(&symbols.row, runs) {
            return None;
        }
        let pairs = self.align(&symbols.row, runs)?;
        let (first, last) = (pairs.first()?.symbol, pairs.last()?.symbol);
        let found = Find { phrase: self, symbols, pairs: &pairs, first, last };
        let fits = found.edges_fit() && found.free_text_fits() && found.words_fit();
        fits.then_some((first, last))
    }

    /// The phrase with its letters in reverse, where nothing innocent is likely to be written like
    /// that: short words and pairs of characters often are words both ways.
    pub(crate) fn backwards(&self) -> Option<Self> {
        let count = |kind| self.letters.iter().filter(|l| l.fold.kind == kind).count();
        let (free, latin) = (count(Kind::Free), count(Kind::Word));
        let word: String = self.letters.iter().map(|letter| letter.fold.shown).collect();
        let long_enough = match (free, self.words) {
            (0, 1) => self.whole && latin >= 6 && !is_a_word_both_ways(&word),
            (0, _) => self.whole && latin >= 7,
            _ => free >= 4,
        };
        let behind = |at: usize| self.letters.get(at + 1).map_or(Before::Nothing, |l| l.before);
        let letters = self.letters.iter().enumerate().rev();
        let letters = letters.map(|(at, letter)| Letter { before: behind(at), ..*letter });
        let turned = Self { letters: letters.collect(), ..*self };
        (long_enough && turned.squeezed() != self.squeezed()).then_some(turned)
    }

    /// Whether Latin edges have to be edges of words.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }
}
