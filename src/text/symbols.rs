//! A text as a row of symbols: what is seen of it, one symbol a character, each with its place in
//! the original.

use unicode_normalization::char::compose;

use super::chars::{CharFold, Kind, expand, fold, letter};

/// One visible character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub(crate) fold: &'static CharFold,
    /// Bytes of the original text that it stands for.
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Symbol {
    pub(crate) fn kind(&self) -> Kind {
        self.fold.kind
    }
    /// Whether it is part of a word, a number or a text without word spaces.
    pub(crate) fn is_letter(&self) -> bool {
        matches!(self.fold.kind, Kind::Word | Kind::Digit | Kind::Free)
    }
    /// A letter or digit of a word, not a sign in the place of one.
    pub(crate) fn is_wordy(&self) -> bool {
        matches!(self.fold.kind, Kind::Word | Kind::Digit) & !self.fold.has(CharFold::SIGN)
    }
    pub(crate) fn is_gap(&self) -> bool {
        !self.is_letter()
    }
}

/// The symbols of a text, and what is worth knowing about it as a whole.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "six facts about a text")]
pub(crate) struct Symbols {
    pub(crate) row: Vec<Symbol>,
    /// Letters that can only be Greek or Cyrillic are among them: such words are meant.
    pub(crate) genuine: bool,
    /// A sign that could be a letter stands beside one.
    pub(crate) signs: bool,
    /// There are capitals that are drawn like another letter than their small forms.
    pub(crate) capitals: bool,
    /// Chinese, Japanese, Korean or Thai is among them.
    pub(crate) free: bool,
    /// There are controls that show text in reverse.
    pub(crate) reversed: bool,
    /// There are signs that letters are drawn with.
    pub(crate) drawn: bool,
}

const RIGHT_TO_LEFT_OVERRIDE: char = '\u{202e}';
const POP_DIRECTION: char = '\u{202c}';
const POP_ISOLATE: char = '\u{2069}';

impl Symbols {
    /// Reads a text.
    pub(crate) fn of(text: &str) -> Self {
        let mut symbols = Self::default();
        let mut row = Vec::with_capacity(text.chars().count());
        // The flags of all characters together.
        let mut flags = 0;
        let mut sign_before = false;
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            let fold = fold(c);
            let (start, end) = (offset(at), offset(chars.offset()));
            let symbol = |fold| Symbol { fold, start, end };
            flags |= fold.flags;
            symbols.free |= fold.kind == Kind::Free;
            let rare = matches!(fold.kind, Kind::Hidden | Kind::Several);
            if !(rare || sign_before || fold.has(CharFold::SIGN | CharFold::JOINS)) {
                row.push(symbol(fold));
                continue;
            }
            match fold.kind {
                Kind::Hidden => symbols.reversed |= c == RIGHT_TO_LEFT_OVERRIDE,
                Kind::Several => row.extend(expand(c).iter().map(symbol)),
                Kind::Free => {
                    sign_before = false;
                    if !fold.has(CharFold::JOINS) || !join(&mut row, fold.plain, end) {
                        row.push(symbol(fold));
                    }
                }
                kind => {
                    let sign = fold.has(CharFold::SIGN);
                    let wordy = matches!(kind, Kind::Word | Kind::Digit);
                    let beside = row.last().is_some_and(Symbol::is_letter);
                    // Most exclamation marks stand behind a word and are just that.
                    let within = sign && fold.plain != '!' && beside;
                    symbols.signs |= within || (sign_before && wordy) || is_regional(fold);
                    sign_before = sign;
                    row.push(symbol(fold));
                }
            }
        }
        let seen = |flag| flags & flag != 0;
        symbols.genuine = seen(CharFold::GENUINE);
        symbols.drawn = seen(CharFold::STROKE);
        symbols.capitals = seen(CharFold::CAPITAL);
        Self { row, ..symbols }
    }

    /// The symbols in the order in which a screen shows them: what stands behind a right-to-left
    /// override is turned round.
    pub(crate) fn unreversed(&self, text: &str) -> Self {
        let mut turned = self.clone();
        let mut open = None;
        for (at, c) in text.char_indices() {
            match (c, open) {
                (RIGHT_TO_LEFT_OVERRIDE, None) => open = Some(offset(at)),
                (POP_DIRECTION | POP_ISOLATE | '\n', Some(from)) => {
                    turned.reverse(from, offset(at));
                    open = None;
                }
                _ => {}
            }
        }
        if let Some(from) = open {
            turned.reverse(from, u32::MAX);
        }
        turned
    }

    fn reverse(&mut self, from: u32, to: u32) {
        let first = self.row.partition_point(|symbol| symbol.start < from);
        let behind = self.row.partition_point(|symbol| symbol.start < to);
        self.row[first..behind.max(first)].reverse();
    }

    /// What is known about the text, without its symbols.
    pub(super) fn flags(&self) -> Self {
        Self { row: Vec::new(), ..*self }
    }

    /// Signs among letters taken for the letters they look like: `c4$1n0`, `g1f+`.
    pub(crate) fn signs_as_letters(&self) -> Self {
        let mut read = self.clone();
        let last = read.row.len();
        read.regional_as_letters();
        // Once from each side: a sign may stand beside another that a letter makes a letter.
        for i in (0..last).rev() {
            read.sign_as_letter(i, i + 1, true);
        }
        for i in 1..last {
            read.sign_as_letter(i, i - 1, false);
        }
        read
    }

    /// Letters of flags, except where two of them are one.
    fn regional_as_letters(&mut self) {
        for run in self.row.chunk_by_mut(|a, b| is_regional(a.fold) == is_regional(b.fold)) {
            if run.len() != 2 && is_regional(run[0].fold) {
                for symbol in run {
                    symbol.fold = fold(symbol.fold.sign);
                }
            }
        }
    }

    /// Capitals taken for the Latin ones they are drawn like: `ΜΟΝΕΥ`.
    pub(crate) fn capitals_as_drawn(&self) -> Self {
        let mut read = self.clone();
        for symbol in &mut read.row {
            if symbol.fold.has(CharFold::CAPITAL) {
                let flags = symbol.fold.flags & CharFold::FOREIGN | CharFold::UPPER;
                symbol.fold = letter(symbol.fold.sign, flags);
            }
        }
        read.genuine = read.row.iter().any(|symbol| symbol.fold.has(CharFold::GENUINE));
        read
    }

    fn sign_as_letter(&mut self, at: usize, beside: usize, inside: bool) {
        let fold = self.row[at].fold;
        let wordy = |s: &Symbol| matches!(s.kind(), Kind::Word | Kind::Digit);
        let is_sign = fold.has(CharFold::SIGN) && !wordy(&self.row[at]) && !is_regional(fold);
        if !is_sign || !self.row.get(beside).is_some_and(wordy) {
            return;
        }
        // An exclamation mark behind a word is one, unless another sign goes on with the word.
        let goes_on = || {
            self.row.get(at + 1).is_some_and(|next| {
                next.fold.has(CharFold::SIGN) && !matches!(next.fold.plain, '!' | '$' | '@')
            })
        };
        if inside || fold.plain != '!' || goes_on() {
            self.row[at].fold = letter(fold.sign, CharFold::SIGN);
        }
    }

    /// The bytes of the original that a range of symbols stands for.
    pub(crate) fn span(&self, first: usize, last: usize) -> (usize, usize) {
        let row = &self.row[first.min(last)..=first.max(last)];
        let start = row.iter().map(|symbol| symbol.start).min().unwrap_or(0);
        let end = row.iter().map(|symbol| symbol.end).max().unwrap_or(0);
        (start as usize, end as usize)
    }
}

/// Puts a mark onto the character before it, where the two make one.
fn join(row: &mut [Symbol], mark: char, end: u32) -> bool {
    let Some(last) = row.last_mut() else { return false };
    let Some(whole) = compose(last.fold.plain, mark) else { return false };
    (last.fold, last.end) = (fold(whole), end);
    true
}

fn is_regional(fold: &CharFold) -> bool {
    matches!(fold.plain, '\u{1f1e6}'..='\u{1f1ff}')
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// What phrases are sought in: the classes of the letters, separators left out, repeats once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Squeezed {
    /// The text, in UTF-8.
    pub(crate) text: Vec<u8>,
    /// Where in it a whole word may begin: everywhere but within Latin words.
    pub(crate) starts: Vec<u32>,
}

impl Squeezed {
    /// Without branches: words are so short that a processor guesses wrong where they end. What is
    /// not to stay is written as well, and written over by what follows.
    #[expect(clippy::needless_bitwise_bool, reason = "a second condition would be a branch")]
    pub(crate) fn of(symbols: &Symbols) -> Self {
        let row = &symbols.row;
        let mut text = vec![0; row.len() * 4 + 4];
        let mut starts = vec![0; row.len() + 1];
        let (mut length, mut count) = (0, 0);
        let (mut class, mut begin, mut joined) = ([0; 4], 0, false);
        let mut wordy_before = false;
        for symbol in row {
            let wordy = symbol.is_wordy();
            let letter = symbol.is_letter();
            let next = symbol.fold.class_in_utf8;
            let new = letter & (next.bytes != class);
            if letter & !new & joined {
                // A letter written twice may be two: the second one begins nothing, the first may.
                starts[count] = offset(begin);
                count += 1;
                joined = false;
            }
            if let Some(place) = text[length..].first_chunk_mut() {
                *place = next.bytes;
            }
            starts[count] = offset(length);
            let within = wordy & wordy_before;
            count += usize::from(new & !within);
            class = if letter { next.bytes } else { class };
            begin = if new { length } else { begin };
            joined = (joined & !new) | (within & new);
            length += usize::from(next.length) * usize::from(new);
            wordy_before = wordy;
        }
        text.truncate(length);
        starts.truncate(count);
        Self { text, starts }
    }

    pub(crate) fn into_text(self) -> String {
        String::from_utf8(self.text).unwrap_or_default()
    }
}

/// One character of a squeezed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Where it begins in the squeezed text.
    pub(crate) at: u32,
    /// The first and the last symbol that it stands for.
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// The first one stands within a word or number.
    joined: bool,
}

impl Run {
    /// Whether no whole word can begin with it: it is one letter, and another stands right before it.
    pub(crate) fn begins_within_a_word(&self) -> bool {
        self.joined && self.first == self.last
    }

    /// The characters of a squeezed text.
    pub(crate) fn all(symbols: &Symbols) -> Vec<Self> {
        let mut runs = Vec::with_capacity(symbols.row.len());
        let mut length = 0;
        each_run(&symbols.row, |class, run| {
            runs.push(Self { at: offset(length), ..run });
            length += class.len_utf8();
        });
        runs
    }
}

/// Squeezes a row of symbols: each class of letters that differs from the one before it, with what
/// it stands for; where it begins is for the caller to say.
#[inline]
fn each_run(row: &[Symbol], mut next: impl FnMut(char, Run)) {
    let mut open: Option<(char, Run)> = None;
    let mut wordy_before = false;
    for (symbol, i) in row.iter().zip(0..) {
        let wordy = symbol.is_wordy();
        let joined = wordy && wordy_before;
        wordy_before = wordy;
        if symbol.is_gap() {
            continue;
        }
        let class = symbol.fold.class;
        match &mut open {
            Some((of, run)) if *of == class => {
                run.last = i;
                continue;
            }
            Some((of, run)) => next(*of, *run),
            None => {}
        }
        open = Some((class, Run { at: 0, first: i, last: i, joined }));
    }
    if let Some((class, run)) = open {
        next(class, run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squeeze(text: &str) -> String {
        Squeezed::of(&Symbols::of(text)).into_text()
    }

    #[test]
    fn separators_and_repeats_leave_no_trace() {
        for (text, expected) in [
            ("f.r.e.e  GIFT", "fregift"),
            ("ｆｒｅｅ", "fre"),
            ("加 微\u{200b}信", "加微信"),
            ("招聘聘兼職", "招聘兼职"),
            ("c4s1n0", "casino"),
            ("ｶﾞ", "ガ"),
            ("か\u{3099}", "が"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
        ] {
            assert_eq!(squeeze(text), expected, "{text}");
        }
    }

    #[test]
    fn words_begin_where_no_run_is_within_one() {
        for text in [
            "see you, hello l l",
            "haiihhh 你好hello ab1c",
            "a a bb b",
            "x|y $aa a$",
            "加wweell微信vx信信",
            "",
        ] {
            let symbols = Symbols::of(text);
            let (squeezed, runs) = (Squeezed::of(&symbols), Run::all(&symbols));
            let begins = runs.iter().filter(|run| !run.begins_within_a_word());
            assert_eq!(squeezed.starts, begins.map(|run| run.at).collect::<Vec<_>>(), "{text}");
            assert_eq!(squeezed.into_text().chars().count(), runs.len(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_in_reverse_is_turned_round() {
        let text = "say \u{202e}onisac\u{202c} yes";
        let turned = Symbols::of(text).unreversed(text);
        assert_eq!(Squeezed::of(&turned).into_text(), "saycasinoyes");
    }

    #[test]
    fn signs_among_letters_are_letters() {
        let read = |text| Squeezed::of(&Symbols::of(text).signs_as_letters()).into_text();
        assert_eq!(read("ca$h g1f+ !!"), "cashgift");
        assert_eq!(read("well!"), "wei");
        assert_eq!(read("d3p05!+"), "deposit");
        assert_eq!(read("well!!"), "wei");
        assert_eq!(read("🇨🇦🇸🇮🇳🇴 🇫 🇷 🇪 🇪"), "casinofre");
        assert_eq!(read("f🇺🇸ree 🇺🇸"), "fre");
    }

    #[test]
    fn capitals_may_be_drawn_like_other_letters_than_small_ones() {
        let read = |text| Squeezed::of(&Symbols::of(text).capitals_as_drawn()).into_text();
        assert_eq!(read("ΜΟΝΕΥ"), "money");
        assert_eq!(read("𝚴ow"), "now");
        assert_eq!(squeeze("Νέα"), squeeze("νέα"));
    }
}
