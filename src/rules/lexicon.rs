//! Many patterns, sought at the places of a text where one may begin.
//!
//! An automaton over 100,000 phrases is many times larger than the processor's cache, and waits for
//! memory at nearly every byte. Here most places are done with after a look into a table of bits that
//! fits the cache: whether any pattern begins with what stands there. What is left is looked up by a
//! longer prefix, and at last by order among the few patterns that share it. So the cost of a place
//! hardly depends on the number of patterns, and not on how alike they are.
//!
//! Patterns are found at the places asked for only. They may not be empty or hold a NUL.

use std::collections::HashSet;
use std::ops::Range;

/// The lengths of prefix by which patterns are looked up: each by the longest one that it fills.
/// Latin letters take one byte, Chinese characters three.
const LENGTHS: [usize; 7] = [1, 2, 3, 4, GATE, 9, 12];
/// The length of prefix that all longer patterns are first asked for: two Chinese characters.
const GATE: usize = 6;
/// Where the lengths behind the gate begin in [`LENGTHS`].
const BEHIND_GATE: usize = 4;
/// Bits for each entry of a table of bits: one look in eight at most is in vain. More of them would
/// push one another out of the cache.
const BITS_EACH: usize = 8;
/// Bits that any table has: few enough to stay in the cache beside everything else.
const LEAST_BITS: usize = 1 << 15;

/// Patterns by their prefixes.
pub(crate) struct Lexicon {
    /// For each first byte the lengths of prefix by which patterns shorter than the gate are sought.
    short: Box<[u8; 256]>,
    /// The first bytes of all patterns that reach the gate.
    gate: Bits,
    /// The prefixes of all patterns.
    prefixes: Bits,
    /// Where the patterns of a prefix are, by the hash of the prefix.
    slots: Box<[Slot]>,
    bytes: Box<[u8]>,
    /// For each pattern where it begins in `bytes`; they are in the order of length of prefix, then
    /// of their bytes.
    starts: Box<[u32]>,
    /// For each pattern the longest other one that it begins with.
    shorter: Box<[Option<u32>]>,
}

/// The patterns that share a prefix.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u32,
    first: u32,
    behind: u32,
}

/// The order in which patterns are given to [`Lexicon::of`].
pub(crate) fn order(pattern: &str) -> (usize, &str) {
    (length(pattern.len()), pattern)
}

/// Which of the lengths of prefix a pattern fills.
fn length(bytes: usize) -> usize {
    LENGTHS.partition_point(|length| *length <= bytes).saturating_sub(1)
}

impl Lexicon {
    /// Patterns in [`order`], each once.
    pub(crate) fn of(patterns: &[&str]) -> Self {
        let mut lexicon = Self {
            short: Box::new([0; 256]),
            gate: Bits::for_entries(count(
                patterns.iter().filter_map(|p| p.as_bytes().get(..GATE)),
            )),
            prefixes: Bits::for_entries(count(patterns.iter().map(|pattern| prefix(pattern).1))),
            slots: vec![Slot::default(); (patterns.len() * 2).next_power_of_two()].into(),
            bytes: patterns.concat().into_bytes().into(),
            starts: starts(patterns),
            shorter: shorter(patterns),
        };
        let mut first = 0;
        while first < patterns.len() {
            let (of, prefix) = prefix(patterns[first]);
            let same = |pattern: &&&str| self::prefix(pattern) == (of, prefix);
            let behind = first + patterns[first..].iter().take_while(same).count();
            lexicon.add(of, prefix, first..behind);
            first = behind;
        }
        lexicon
    }

    fn add(&mut self, of: usize, prefix: &[u8], patterns: Range<usize>) {
        let window = Window::of(prefix);
        if of < BEHIND_GATE {
            self.short[usize::from(prefix[0])] |= 1 << of;
        } else {
            self.gate.set(gate_hash(window.0));
        }
        let hash = window.hash();
        self.prefixes.set(hash);
        let mut at = self.home(hash);
        while self.slots[at].behind > 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        let number = |n| u32::try_from(n).unwrap_or(u32::MAX);
        let (first, behind) = (number(patterns.start), number(patterns.end));
        self.slots[at] = Slot { hash: tag(hash), first, behind };
    }

    /// Reports each pattern that stands at a place of a text, with its number and its end.
    #[inline]
    pub(crate) fn find_at(&self, text: &[u8], at: usize, found: impl FnMut(usize, usize)) {
        let text = text.get(at..).unwrap_or_default();
        let next = first_word(text);
        let short = self.short[usize::from(next.to_le_bytes()[0])];
        let long = self.gate.has(gate_hash(next));
        // This is all that is done at most places.
        if short != 0 || long {
            self.find_here(text, at, (short, long), found);
        }
    }

    /// The patterns that a text begins with, where some of a length may be among them.
    #[inline(never)]
    fn find_here(
        &self,
        text: &[u8],
        at: usize,
        (mut short, long): (u8, bool),
        mut found: impl FnMut(usize, usize),
    ) {
        let window = Window::of(text);
        // The NULs behind the end are no part of a prefix.
        let mut find = |of: usize| {
            if LENGTHS[of] <= text.len() {
                let found = |pattern, length| found(pattern, at + length);
                self.find_prefix(window.prefix(of), text, found);
            }
        };
        while short != 0 {
            find(short.trailing_zeros() as usize);
            short &= short - 1;
        }
        if long {
            (BEHIND_GATE..LENGTHS.len()).for_each(find);
        }
    }

    fn find_prefix(&self, prefix: Window, text: &[u8], mut found: impl FnMut(usize, usize)) {
        let hash = prefix.hash();
        if !self.prefixes.has(hash) {
            return;
        }
        let mut slot = self.home(hash);
        while self.slots[slot].behind > 0 {
            let Slot { hash: of, first, behind } = self.slots[slot];
            if of == tag(hash) {
                self.find_among(first as usize..behind as usize, text, &mut found);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// The patterns of a range, in order, that a text begins with. The last one that is not behind
    /// the text begins with all of them.
    fn find_among(&self, range: Range<usize>, text: &[u8], found: &mut impl FnMut(usize, usize)) {
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = low.midpoint(high);
            if self.pattern(middle) <= text { low = middle + 1 } else { high = middle }
        }
        let mut next = low.checked_sub(1);
        while let Some(pattern) = next.filter(|pattern| *pattern >= range.start) {
            let bytes = self.pattern(pattern);
            if text.starts_with(bytes) {
                found(pattern, bytes.len());
            }
            next = self.shorter[pattern].map(|shorter| shorter as usize);
        }
    }

    fn pattern(&self, pattern: usize) -> &[u8] {
        &self.bytes[self.starts[pattern] as usize..self.starts[pattern + 1] as usize]
    }

    fn home(&self, hash: u64) -> usize {
        usize::try_from(hash).unwrap_or(0) & (self.slots.len() - 1)
    }
}

/// The part of a hash by which slots are told apart.
fn tag(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0)
}

fn prefix(pattern: &str) -> (usize, &[u8]) {
    let of = length(pattern.len());
    (of, &pattern.as_bytes()[..LENGTHS[of]])
}

/// How many different ones there are.
fn count<'a>(prefixes: impl Iterator<Item = &'a [u8]>) -> usize {
    prefixes.collect::<HashSet<_>>().len()
}

fn starts(patterns: &[&str]) -> Box<[u32]> {
    let mut at = 0;
    let mut starts = vec![0];
    for pattern in patterns {
        at += u32::try_from(pattern.len()).unwrap_or(u32::MAX);
        starts.push(at);
    }
    starts.into()
}

fn shorter(patterns: &[&str]) -> Box<[Option<u32>]> {
    let mut open: Vec<usize> = Vec::new();
    let mut shorter = Vec::with_capacity(patterns.len());
    for (at, pattern) in patterns.iter().enumerate() {
        while open.last().is_some_and(|last| !pattern.starts_with(patterns[*last])) {
            open.pop();
        }
        shorter.push(open.last().and_then(|last| u32::try_from(*last).ok()));
        open.push(at);
    }
    shorter.into()
}

/// The next bytes of a text, as many as the longest prefix needs; NUL behind its end.
#[derive(Clone, Copy, Debug)]
struct Window(u64, u64);

impl Window {
    fn of(text: &[u8]) -> Self {
        Self(first_word(text), first_word(text.get(8..).unwrap_or_default()))
    }

    fn prefix(self, of: usize) -> Self {
        match LENGTHS[of] {
            length @ 0..8 => Self(self.0 & ((1 << (8 * length)) - 1), 0),
            length => Self(self.0, self.1 & ((1 << (8 * (length - 8))) - 1)),
        }
    }

    fn hash(self) -> u64 {
        let mixed = (self.0 ^ self.1.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
    }
}

/// The first eight bytes of a text; NUL behind its end.
#[inline]
fn first_word(text: &[u8]) -> u64 {
    if let Some(bytes) = text.first_chunk() {
        return u64::from_le_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    bytes[..text.len()].copy_from_slice(text);
    u64::from_le_bytes(bytes)
}

/// The hash of as many first bytes as the gate looks at. Of it the upper bits are used, which one
/// multiplication mixes well enough.
#[inline]
fn gate_hash(word: u64) -> u64 {
    (word << (64 - 8 * GATE)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A set of hashes that may hold more than was put in.
struct Bits {
    words: Box<[u64]>,
    /// How many of the lower bits of a hash are not looked at.
    unused: u32,
}

impl Bits {
    fn for_entries(entries: usize) -> Self {
        let bits = (entries * BITS_EACH).next_power_of_two().max(LEAST_BITS);
        Self { words: vec![0; bits / 64].into(), unused: 64 - bits.trailing_zeros() }
    }

    #[inline]
    fn place(&self, hash: u64) -> (usize, u64) {
        let at = hash >> self.unused;
        (usize::try_from(at >> 6).unwrap_or(0) & (self.words.len() - 1), 1 << (at & 63))
    }

    fn set(&mut self, hash: u64) {
        let (word, bit) = self.place(hash);
        self.words[word] |= bit;
    }

    #[inline]
    fn has(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        self.words[word] & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn found(patterns: &[String], text: &str) -> BTreeSet<(usize, String)> {
        let mut sorted: Vec<&str> = patterns.iter().map(String::as_str).collect();
        sorted.sort_by_key(|pattern| order(pattern));
        sorted.dedup();
        let lexicon = Lexicon::of(&sorted);
        let mut found = BTreeSet::new();
        for (at, _) in text.char_indices() {
            lexicon.find_at(text.as_bytes(), at, |pattern, end| {
                assert_eq!(&text[at..end], sorted[pattern]);
                assert!(found.insert((at, sorted[pattern].to_owned())), "reported twice");
            });
        }
        found
    }

    fn there(patterns: &[String], text: &str) -> BTreeSet<(usize, String)> {
        let at = |at| patterns.iter().filter(move |p| text[at..].starts_with(p.as_str()));
        text.char_indices().flat_map(|(byte, _)| at(byte).map(move |p| (byte, p.clone()))).collect()
    }

    #[test]
    fn every_pattern_is_found_wherever_it_stands() {
        // All strings of up to seven letters over a small alphabet, so that they share prefixes of
        // every length; a third of them are patterns.
        let alphabet = ['a', 'b', '微'];
        let mut all = vec![String::new()];
        for from in 0.. {
            if all[from].chars().count() == 7 {
                break;
            }
            for c in alphabet {
                all.push(format!("{}{c}", all[from]));
            }
        }
        let patterns: Vec<String> = all.iter().skip(1).step_by(3).cloned().collect();
        for text in all.iter().skip(900).step_by(97) {
            let text = text.repeat(5);
            assert_eq!(found(&patterns, &text), there(&patterns, &text), "{text}");
        }
    }

    #[test]
    fn no_pattern_finds_nothing() {
        assert_eq!(found(&[], "text"), BTreeSet::new());
        assert_eq!(found(&["text".to_owned()], ""), BTreeSet::new());
    }
}
