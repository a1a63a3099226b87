//! A phrase, and whether what the search found is that phrase.
//!
//! The search reads letters only, one for each class of look-alikes, without separators and
//! repeats. So it misses nothing that is hidden by them, and finds too much: `gift is free. Card` for
//! `free card`, `he'll` for `hell`. Here each find is laid beside the phrase, character by character,
//! and refused where a reader would not see the phrase.

use crate::text::{CharFold, Kind, Run, Symbol, Symbols, fold};

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
    fold: CharFold,
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

/// Gaps longer than this join nothing.
const MAX_GAP: usize = 16;

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

    /// Whether a find plainly begins or ends inside a word: what most finds of short phrases are,
    /// told before anything is laid beside anything.
    fn is_within_a_word(&self, row: &[Symbol], runs: &[Run]) -> bool {
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return true };
        let latin = |letter: Option<&Letter>| {
            letter.is_some_and(|l| matches!(l.fold.kind, Kind::Word | Kind::Digit))
        };
        self.whole
            && ((latin(self.letters.first()) && begins_within_a_word(row, first))
                || (latin(self.letters.last())
                    && is_glued(row, last, row.get(last.last as usize + 1))))
    }

    /// Lays the symbols of the runs beside the letters of the phrase.
    fn align(&self, row: &[Symbol], runs: &[Run]) -> Option<Vec<Pair>> {
        let mut pairs = Vec::with_capacity(self.letters.len() + 4);
        let mut k = 0;
        for (i, run) in runs.iter().enumerate() {
            let class = self.letters.get(k)?.fold.class;
            let same = self.letters[k..].iter().take_while(|l| l.fold.class == class).count();
            if run.first == run.last && same == 1 {
                let symbol = run.first as usize;
                if !is_read_as(&row[symbol], &self.letters[k].fold) {
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
                let fits = is_read_as(&row[symbol], &self.letters[k + j].fold);
                let exact = run.len() == same;
                if must || breaks || !fits || exact {
                    j += 1;
                }
            }
            if !is_read_as(&row[symbol], &self.letters[k + j].fold) {
                return None;
            }
            pairs.push(Pair { symbol, letter: k + j });
        }
        (j + 1 == same).then_some(())
    }
}

/// Whether no whole word can begin with a run: it is one letter, and another stands right before it.
pub(crate) fn begins_within_a_word(row: &[Symbol], run: &Run) -> bool {
    let before = (run.first as usize).checked_sub(1).and_then(|at| row.get(at));
    is_glued(row, run, before)
}

/// Whether a run is one letter of a word that goes on beside it.
fn is_glued(row: &[Symbol], run: &Run, beside: Option<&Symbol>) -> bool {
    run.first == run.last && is_wordy(row.get(run.first as usize)) && is_wordy(beside)
}

/// A letter or digit of a word, not a sign in the place of one.
fn is_wordy(symbol: Option<&Symbol>) -> bool {
    symbol.is_some_and(|s| {
        matches!(s.kind(), Kind::Word | Kind::Digit) && !s.fold.has(CharFold::SIGN)
    })
}

/// A symbol of the text and the letter of the phrase that it is.
#[derive(Clone, Copy, Debug)]
struct Pair {
    symbol: usize,
    letter: usize,
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

/// What stands between two letters of a find.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four facts that hold or not")]
struct Gap {
    symbols: usize,
    space: bool,
    line: bool,
    /// A sentence, or a part of one, ends here.
    sentence: bool,
    /// The same for text without word spaces, where no space has to follow.
    free_sentence: bool,
    /// The only mark, where there is one.
    mark: Option<char>,
}

impl Gap {
    fn of(row: &[Symbol]) -> Self {
        let mut gap = Self { symbols: row.len(), ..Self::default() };
        let mut end_before = false;
        for symbol in row {
            let kind = symbol.kind();
            match kind {
                Kind::Space | Kind::Line => {
                    gap.space |= kind == Kind::Space;
                    gap.line |= kind == Kind::Line;
                    gap.sentence |= end_before;
                    gap.free_sentence |= end_before;
                }
                Kind::WideEnd => (gap.sentence, gap.free_sentence) = (true, true),
                Kind::End => {
                    gap.free_sentence |= symbol.fold.plain != '.';
                    end_before = true;
                }
                _ => {}
            }
            if !matches!(kind, Kind::Space | Kind::Line) {
                gap.mark = Some(symbol.fold.plain);
            }
        }
        gap
    }
    fn is_empty(&self) -> bool {
        self.symbols == 0
    }
}

/// A find beside the phrase it may be.
struct Find<'a> {
    phrase: &'a Phrase,
    symbols: &'a Symbols,
    pairs: &'a [Pair],
    first: usize,
    last: usize,
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
    fn edges_fit(&self) -> bool {
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
    fn words_fit(&self) -> bool {
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
        let enough = real * 6 >= letters && (self.phrase.words > 1 || self.phrase.has_free());
        words.iter().all(|word| {
            let drawn = word.wanted_letters == 0 || word.real > 0 || word.drawn >= 3 || enough;
            // One letter in the phrase's own script tells that the word is not a Latin one.
            let script = if word.foreign_wanted > 0 {
                word.foreign_exact > 0
            } else {
                // Words of letters that are all foreign, among others that can only be foreign.
                word.foreign == 0 || foreign < real || (!self.symbols.genuine && letters >= 4)
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
            let long_enough = word.letters >= 3 || several;
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
    fn free_text_fits(&self) -> bool {
        let (mut joints, mut gaps, mut sentences, mut widest) = (0, 0, 0, 0);
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
        // Two characters torn apart are found in any text; they count where they stand alone.
        self.phrase.letters.len() > 2 || !(free(before) || free(row.get(self.last + 1)))
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
