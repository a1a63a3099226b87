//! The most frequent of many, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;

use super::Tally;

/// Counted at most; beyond that the rarest are let go.
const MOST: usize = 50_000;

/// Who has most changes.
#[derive(Clone, Debug)]
pub(crate) struct Top<K> {
    counts: HashMap<K, Tally>,
    /// Whether some were let go, so that counts may be too low.
    pub(crate) rough: bool,
}

impl<K> Default for Top<K> {
    fn default() -> Self {
        Self { counts: HashMap::new(), rough: false }
    }
}

impl<K: Hash + Eq + Ord + Clone> Top<K> {
    pub(crate) fn add(&mut self, key: &K, tally: Tally) {
        match self.counts.get_mut(key) {
            Some(known) => known.add(tally),
            None => drop(self.counts.insert(key.clone(), tally)),
        }
        if self.counts.len() > MOST {
            self.let_go();
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.rough |= other.rough;
        for (key, tally) in other.counts {
            self.add(&key, tally);
        }
    }

    /// The first so many, those with most changes first.
    pub(crate) fn first(&self, most: usize) -> Vec<(&K, Tally)> {
        let mut all: Vec<_> = self.counts.iter().map(|(key, tally)| (key, *tally)).collect();
        all.sort_by(|(a, x), (b, y)| y.changes().cmp(&x.changes()).then_with(|| a.cmp(b)));
        all.truncate(most);
        all
    }

    fn let_go(&mut self) {
        self.rough = true;
        let mut all: Vec<u64> = self.counts.values().map(Tally::changes).collect();
        let middle = all.len() / 2;
        let (_, median, _) = all.select_nth_unstable(middle);
        let (least, mut room) = (*median, MOST / 2);
        self.counts.retain(|_, tally| {
            let stays = tally.changes() > least || (tally.changes() == least && room > 0);
            room -= usize::from(stays && room > 0);
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequent_stay_when_there_are_too_many() {
        let mut top = Top::default();
        for n in 0..200_000_u32 {
            top.add(&n, Tally { new: 1, lost: 0 });
            top.add(&7, Tally { new: 1, lost: 1 });
        }
        assert!(top.rough && top.counts.len() <= MOST);
        assert_eq!(top.first(1)[0].0, &7);
    }
}
