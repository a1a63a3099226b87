//! Whether a find is read as its phrase by a reader: words are whole or spelled letter by letter,
//! no sentence ends within, and what stands in the place of letters can pass for them.

use super::align::{Pair, is_wordy};
use super::gap::Gap;
use super::{Before, Letter, Phrase};
use crate::text::{CharFold, Kind, Symbol, Symbols};

/// Gaps longer than this join nothing.
const MAX_GAP: usize = 16;

/// A find beside the phrase it may be.
pub(super) struct Find<'a> {
    pub(super) phrase: &'a Phrase,
    pub(super) symbols: &'a Symbols,
    pub(super) pairs: &'a [Pair],
    pub(super) first: usize,
    pub(super) last: usize,
}

impl Find<'_> {
    fn letter(&self, pair: Pair) -> &Letter {
        &self.phrase.letters[pair.letter]
    }
    fn symbol(&self, pair: Pair) -> &Symbol {
        &self.symbols.row[pair.symbol]
    }
    fn gap(&self, a: Pair, b: Pair) -> Gap {
        let (low, high) = (a.symbol.min(b.symbol), a.symbol.max(b.symbol));
        Gap::of(&self.symbols.row[low + 1..high.max(low + 1)])
    }

    /// Latin edges of the phrase are edges of words in the text.
    pub(super) fn edges_fit(&self) -> bool {
        if !self.phrase.whole {
            return true;
        }
        let joins = |letter: &Letter| matches!(letter.fold.kind, Kind::Word | Kind::Digit);
        let row = &self.symbols.row;
        let starts = self.phrase.letters.first().is_some_and(joins);
        let ends = self.phrase.letters.last().is_some_and(joins);
        let before = self.first.checked_sub(1).and_then(|i| row.get(i));
        let glued = starts && is_wordy(before) || ends && is_wordy(row.get(self.last + 1));
        !glued
    }

    /// Every Latin word of the phrase is one in the text, plain or written apart letter by letter.
    pub(super) fn words_fit(&self) -> bool {
        let mut words: Vec<Word> = Vec::new();
        let mut between: Vec<Gap> = Vec::new();
        let mut previous: Option<Pair> = None;
        let mut repeats = Repeats::default();
        for &pair in self.pairs {
            let (letter, symbol) = (self.letter(pair), self.symbol(pair));
            if letter.fold.kind == Kind::Free {
                previous = None;
                continue;
            }
            let repeated = previous.is_some_and(|p| p.letter == pair.letter);
            match previous {
                Some(before) if repeated || letter.before != Before::Space => {
                    let gap = self.gap(before, pair);
                    if let Before::Mark(mark) = letter.before
                        && !repeated
                    {
                        // The phrase itself has a mark here: `t.me`, `don't`.
                        let optional = is_apostrophe(mark);
                        if (gap.is_empty() && !optional) || (mark == '.' && gap.mark != Some('.')) {
                            return false;
                        }
                    } else if let Some(word) = words.last_mut() {
                        word.joint(&gap, repeated);
                    }
                    let doubled = pair
                        .letter
                        .checked_sub(1)
                        .is_some_and(|i| self.phrase.letters[i].fold.class == letter.fold.class);
                    repeats.seen(repeated && gap.is_empty(), symbol, doubled);
                }
                Some(before) => {
                    between.push(self.gap(before, pair));
                    words.push(Word::default());
                }
                None => {
                    if !words.is_empty() {
                        between.push(Gap::default());
                    }
                    words.push(Word::default());
                }
            }
            if let Some(word) = words.last_mut() {
                word.add(symbol, letter, repeated);
            }
            repeats.disguised |=
                symbol.fold.shown != letter.fold.shown || symbol.fold.has(CharFold::FOREIGN);
            previous = Some(pair);
        }
        let letters: usize = words.iter().map(|word| word.letters).sum();
        let gaps: usize = words.iter().map(|word| word.gaps).sum();
        let one_word = self.phrase.words == 1 && words.len() == 1;
        if one_word && gaps == 0 && repeats.is_spelling() {
            return false;
        }
        words.iter().all(|word| self.word_fits(word, letters))
            && self.letters_fit(&words, letters)
            && between.iter().zip(words.windows(2)).all(|(gap, sides)| {
                let glued = gap.is_empty() && self.phrase.words > 1;
                let spelled = sides.iter().all(|w| w.is_spelled() || w.letters == 1);
                gap.symbols <= MAX_GAP
                    && (!gap.sentence || spelled && letters >= 6)
                    && (!glued || letters >= 8 || !self.is_latin())
            })
            && self.stands_alone(&words)
    }

    fn is_latin(&self) -> bool {
        !self.phrase.has_free()
    }

    /// Some of what is read as letters are letters, and of a script that the words can be in.
    fn letters_fit(&self, words: &[Word], letters: usize) -> bool {
        let real: usize = words.iter().map(|word| word.real).sum();
        let foreign: usize = words.iter().map(|word| word.foreign).sum();
        // Among several words one may be all digits (`5311` for sell), if the others show the way.
        let enough = real * 9 >= letters && (self.phrase.words > 1 || self.phrase.has_free());
        words.iter().all(|word| {
            let drawn = word.wanted_letters == 0 || word.real > 0 || word.drawn >= 3 || enough;
            // One letter in the phrase's own script tells that the word is not a Latin one.
            let script = if word.foreign_wanted > 0 {
                word.foreign_exact > 0
            } else {
                // Words of letters that are all foreign, among others that can only be foreign.
                let alone = letters >= 4 || self.phrase.has_free();
                word.foreign == 0 || foreign < real || (!self.symbols.genuine && alone)
            };
            drawn && script
        })
    }

    fn word_fits(&self, word: &Word, letters: usize) -> bool {
        let several = self.phrase.words > 1;
        if word.gaps == 0 {
            return true;
        }
        if word.is_spelled() {
            let long_enough = word.letters >= 3 || several || self.phrase.has_free();
            return long_enough && (word.sentences == 0 || letters >= 4);
        }
        if word.sentences > 0 {
            return false;
        }
        if word.spaces > 0 {
            return several && letters >= 10 || word.is_torn();
        }
        if word.gaps == word.apostrophes {
            return false;
        }
        word.letters >= 5 || word.everyday_marks == 0
    }

    /// A short word written letter by letter is not the tail of a longer one written so.
    fn stands_alone(&self, words: &[Word]) -> bool {
        let [word] = words else { return true };
        if !word.is_spelled() || word.letters > 4 || !self.is_latin() {
            return true;
        }
        let row = &self.symbols.row;
        let lone = |at: Option<usize>, beyond: Option<usize>| {
            let letter = at.and_then(|at| row.get(at)).is_some_and(Symbol::is_letter);
            letter && beyond.and_then(|at| row.get(at)).is_none_or(Symbol::is_gap)
        };
        let before = lone(self.first.checked_sub(2), self.first.checked_sub(3));
        let after = lone(Some(self.last + 2), Some(self.last + 3));
        !before && !after
    }

    /// Text without word spaces may be torn apart by anything but the end of a sentence.
    pub(super) fn free_text_fits(&self) -> bool {
        let (mut joints, mut gaps, mut sentences, mut widest) = (0, 0, 0, 0);
        let mut filled = true;
        for side in self.pairs.windows(2) {
            let free = side.iter().any(|pair| self.letter(*pair).fold.kind == Kind::Free);
            if !free {
                continue;
            }
            joints += 1;
            let gap = self.gap(side[0], side[1]);
            gaps += usize::from(!gap.is_empty());
            sentences += usize::from(gap.free_sentence);
            widest = widest.max(gap.symbols);
            filled &= gap.is_filler();
        }
        if gaps == 0 {
            return true;
        }
        let spelled = gaps == joints && joints >= 2;
        if widest > MAX_GAP || (sentences > 0 && !spelled) {
            return false;
        }
        let row = &self.symbols.row;
        let free = |symbol: Option<&Symbol>| symbol.is_some_and(|s| s.kind() == Kind::Free);
        let before = self.first.checked_sub(1).and_then(|i| row.get(i));
        // Two characters torn apart are found in any text; they count where they stand alone, or
        // where what parts them parts nothing else.
        self.phrase.letters.len() > 2 || filled || !(free(before) || free(row.get(self.last + 1)))
    }
}

/// How the letters of one Latin word of the phrase are written in the text.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    letters: usize,
    joints: usize,
    gaps: usize,
    /// Gaps with a space in them.
    spaces: usize,
    /// Those of them that part a letter from itself.
    stretches: usize,
    sentences: usize,
    /// Marks that also stand within and between real words: `he'll`, `re-sign`, `and/or`.
    everyday_marks: usize,
    apostrophes: usize,
    /// Characters that are letters, not digits or signs in their place.
    real: usize,
    /// Letters drawn with several signs.
    drawn: usize,
    wanted_letters: usize,
    foreign: usize,
    foreign_wanted: usize,
    foreign_exact: usize,
}

impl Word {
    /// Written letter by letter.
    fn is_spelled(&self) -> bool {
        self.joints > 0 && self.gaps == self.joints
    }
    /// Torn apart nearly everywhere, and by spaces only where a letter goes on: `he e,e,l/lo//o`.
    fn is_torn(&self) -> bool {
        let marks = self.gaps - self.spaces;
        let everywhere = marks >= 3 && self.gaps * 2 > self.joints;
        self.letters >= 5 && self.spaces == self.stretches && everywhere
    }
}

impl Word {
    fn joint(&mut self, gap: &Gap, repeated: bool) {
        self.joints += 1;
        if gap.is_empty() {
            return;
        }
        self.gaps += 1;
        self.spaces += usize::from(gap.space);
        self.stretches += usize::from(gap.space && repeated);
        self.sentences += usize::from(gap.sentence);
        let everyday = matches!(gap.mark, Some('-' | '/' | '&' | ':' | '‐' | '–'));
        let apostrophe = gap.symbols == 1 && gap.mark.is_some_and(is_apostrophe);
        self.everyday_marks += usize::from((everyday || apostrophe) && !repeated);
        self.apostrophes += usize::from(apostrophe);
    }

    fn add(&mut self, symbol: &Symbol, letter: &Letter, repeated: bool) {
        let real = symbol.kind() == Kind::Word && !symbol.fold.has(CharFold::SIGN);
        self.real += usize::from(real);
        self.drawn += usize::from(symbol.fold.has(CharFold::STROKE));
        self.foreign += usize::from(real && symbol.fold.has(CharFold::FOREIGN));
        if repeated {
            return;
        }
        self.letters += 1;
        self.wanted_letters += usize::from(letter.fold.kind == Kind::Word);
        if letter.fold.has(CharFold::FOREIGN | CharFold::GENUINE) {
            self.foreign_wanted += 1;
            self.foreign_exact += usize::from(symbol.fold.plain == letter.fold.plain);
        }
    }
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '`' | '´' | 'ʼ')
}

/// Letters written more often than the phrase has them.
#[derive(Default)]
struct Repeats {
    extra: usize,
    unusual: bool,
    disguised: bool,
}

impl Repeats {
    fn seen(&mut self, repeated: bool, symbol: &Symbol, doubled: bool) {
        if repeated {
            self.extra += 1;
            self.unusual |= !"bcdefglmnoprstz".contains(symbol.fold.shown);
            self.unusual |= symbol.fold.shown != symbol.fold.plain || doubled;
        }
    }
    /// One letter doubled that many words have double is another word, not the same one stretched:
    /// Cassino is a town.
    fn is_spelling(&self) -> bool {
        self.extra == 1 && !self.unusual && !self.disguised
    }
}
