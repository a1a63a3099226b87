//! A digest of a text that changes little where the text does.

use std::hash::{DefaultHasher, Hasher};

use crate::text::{Squeezed, Symbols};

/// Texts with fewer characters have too few pairs to compare; only equal ones are alike.
pub(crate) const SHORTEST: usize = 12;

/// The `SimHash` of a text over its pairs of neighbouring characters.
pub(crate) fn simhash(text: &str) -> u64 {
    let mut weights = [0_i32; 64];
    let mut chars = text.chars();
    let mut previous = chars.next();
    for c in chars {
        if let Some(before) = previous.replace(c) {
            let mut hasher = DefaultHasher::new();
            hasher.write_u32(before as u32);
            hasher.write_u32(c as u32);
            let hash = hasher.finish();
            for (bit, weight) in weights.iter_mut().enumerate() {
                *weight += if hash >> bit & 1 == 1 { 1 } else { -1 };
            }
        }
    }
    weights
        .iter()
        .enumerate()
        .filter(|(_, weight)| **weight > 0)
        .fold(0, |hash, (bit, _)| hash | 1 << bit)
}

/// How many bits of two digests may differ for texts that count as the same.
pub(crate) const NEAR: u32 = 7;

/// A text as `repeat` compares it: folded, so that what only looks different is the same.
#[derive(Clone, Debug)]
pub struct Likeness {
    text: String,
    letters: usize,
    digest: u64,
}

impl Likeness {
    #[must_use]
    pub fn of(text: &str) -> Self {
        let text = Squeezed::of(&Symbols::of(text)).into_text();
        Self { letters: text.chars().count(), digest: simhash(&text), text }
    }

    /// Whether there is nothing to compare.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.letters == 0
    }

    /// Whether two texts are the same or little differs, as `repeat: { near: true }` has it.
    #[must_use]
    pub fn is_near(&self, other: &Self) -> bool {
        if self.letters >= SHORTEST && other.letters >= SHORTEST {
            (self.digest ^ other.digest).count_ones() <= NEAR
        } else {
            self.text == other.text
        }
    }
}

/// Pieces of a digest of which near ones share at least one: eight of eight bits for up to seven
/// differing bits.
pub(crate) fn bands(hash: u64) -> impl Iterator<Item = (u8, u8)> {
    (0..8_u8).zip(hash.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_change_moves_few_bits_and_another_text_many() {
        let bait = "加微信领红包每天稳赚三百元名额有限先到先得联系客服小美";
        let other = "明天下午三点在会议室开项目例会请大家准时参加并带上周报";
        let changed = format!("{bait}哦");
        let distance = |a: &str, b: &str| (simhash(a) ^ simhash(b)).count_ones();
        assert!(distance(bait, &changed) <= NEAR, "{}", distance(bait, &changed));
        assert!(distance(bait, other) > 2 * NEAR, "{}", distance(bait, other));
    }

    #[test]
    fn near_digests_share_a_band() {
        for flips in [[0, 8, 16, 24, 32, 40, 48], [7, 15, 23, 31, 39, 47, 63]] {
            let other = flips.into_iter().fold(u64::MAX / 3, |hash, bit| hash ^ 1 << bit);
            assert!(bands(u64::MAX / 3).zip(bands(other)).any(|(a, b)| a == b));
        }
    }
}
