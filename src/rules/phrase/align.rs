//! A find laid beside its phrase: which symbol of the text is which letter.

use super::{Before, Letter, Phrase};
use crate::text::{CharFold, Kind, Run, Symbol};

/// A symbol of the text and the letter of the phrase that it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) symbol: usize,
    pub(super) letter: usize,
}

impl Phrase {
    /// Whether a find plainly begins or ends inside a word: what most finds of short phrases are,
    /// told before anything is laid beside anything.
    pub(super) fn is_within_a_word(&self, row: &[Symbol], runs: &[Run]) -> bool {
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return true };
        let latin = |letter: Option<&Letter>| {
            letter.is_some_and(|l| matches!(l.fold.kind, Kind::Word | Kind::Digit))
        };
        self.whole
            && ((latin(self.letters.first()) && first.begins_within_a_word())
                || (latin(self.letters.last()) && ends_within_a_word(row, last)))
    }

    /// Lays the symbols of the runs beside the letters of the phrase.
    pub(super) fn align(&self, row: &[Symbol], runs: &[Run]) -> Option<Vec<Pair>> {
        let mut pairs = Vec::with_capacity(self.letters.len() + 4);
        let mut k = 0;
        for (i, run) in runs.iter().enumerate() {
            let class = self.letters.get(k)?.fold.class;
            let same = self.letters[k..].iter().take_while(|l| l.fold.class == class).count();
            if run.first == run.last && same == 1 {
                let symbol = run.first as usize;
                if !is_read_as(&row[symbol], self.letters[k].fold) {
                    return None;
                }
                pairs.push(Pair { symbol, letter: k });
                k += 1;
                continue;
            }
            let range = run.first as usize..=run.last as usize;
            let all: Vec<usize> = range.filter(|s| row[*s].is_letter()).collect();
            let apart = |at: usize| all[at] - all[at - 1] > 1;
            // What stands apart from the phrase at its edges belongs to the words beside it.
            let mut from = 0;
            if i == 0 {
                let latest = all.len().checked_sub(same)?;
                from = (1..=latest).rev().find(|at| apart(*at)).unwrap_or(0);
            }
            let mut to = all.len();
            if i + 1 == runs.len() {
                let earliest = from + same;
                to = (earliest..all.len()).find(|at| apart(*at)).unwrap_or(all.len());
            }
            self.align_run(row, all.get(from..to)?, k, same, &mut pairs)?;
            k += same;
        }
        (k == self.letters.len()).then_some(pairs)
    }

    /// Gives each symbol of a run of one class its letter: every letter at least one, in order.
    fn align_run(
        &self,
        row: &[Symbol],
        run: &[usize],
        k: usize,
        same: usize,
        pairs: &mut Vec<Pair>,
    ) -> Option<()> {
        if run.len() < same {
            return None;
        }
        let mut j = 0;
        for (t, &symbol) in run.iter().enumerate() {
            if t > 0 && j + 1 < same {
                let must = run.len() - t < same - j;
                let breaks =
                    symbol - run[t - 1] > 1 && self.letters[k + j + 1].before == Before::Space;
                let fits = is_read_as(&row[symbol], self.letters[k + j].fold);
                let exact = run.len() == same;
                if must || breaks || !fits || exact {
                    j += 1;
                }
            }
            if !is_read_as(&row[symbol], self.letters[k + j].fold) {
                return None;
            }
            pairs.push(Pair { symbol, letter: k + j });
        }
        (j + 1 == same).then_some(())
    }
}

/// Whether no whole word can end with a run: it is one letter, and another stands right behind it.
fn ends_within_a_word(row: &[Symbol], run: &Run) -> bool {
    let last = run.last as usize;
    run.first == run.last && is_wordy(row.get(last)) && is_wordy(row.get(last + 1))
}

pub(super) fn is_wordy(symbol: Option<&Symbol>) -> bool {
    symbol.is_some_and(Symbol::is_wordy)
}

/// Whether a symbol of the same class can be read as a letter.
fn is_read_as(symbol: &Symbol, letter: &CharFold) -> bool {
    let (seen, wanted) = (symbol.fold.shown, letter.shown);
    if seen == wanted {
        return true;
    }
    if symbol.fold.class != letter.class {
        return false;
    }
    match (symbol.kind(), letter.kind) {
        (Kind::Digit, Kind::Word) => true,
        (Kind::Word, Kind::Digit) => matches!((seen, wanted), ('o', '0') | ('i' | 'l', '1')),
        // A capital I is drawn like an l, and so are signs and foreign strokes.
        (Kind::Word, Kind::Word) => {
            symbol.fold.has(CharFold::SIGN | CharFold::FOREIGN)
                || symbol.fold.has(CharFold::UPPER) && seen == 'i'
        }
        _ => false,
    }
}
