//! What the text matchers found in a text, for all rules at once.

use super::file::Fold;
use crate::model::RuleId;

/// A matcher that finds places in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LeafId(pub(crate) u32);

/// A place in the original text, in bytes, and the reading in which it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) via: Via,
}

/// The readings of a text, the plainest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Via {
    Written,
    /// Folded as patterns and links see it: separators and repeats are still there.
    Readable,
    Folded,
    Signs,
    Drawn,
    Reversed,
    Loose,
    Sound,
    Backwards,
}

/// The most places noted in one text. A text that holds more is full of them anyway.
const MAX_FINDINGS: usize = 4096;

/// Where the text matchers matched.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: Vec<(LeafId, Span)>,
    /// What operators let through: for rules of a folding, and for one rule or all.
    spared: Vec<(Fold, Option<RuleId>, Span)>,
}

impl Findings {
    pub(crate) fn add(&mut self, leaf: LeafId, span: Span) {
        if self.found.len() < MAX_FINDINGS {
            self.found.push((leaf, span));
        }
    }
    pub(crate) fn of(&self, leaf: LeafId) -> impl Iterator<Item = Span> {
        self.found.iter().filter(move |(of, _)| *of == leaf).map(|(_, span)| *span)
    }
    pub(crate) fn all(&self) -> impl Iterator<Item = Span> {
        self.found.iter().map(|(_, span)| *span)
    }
    pub(crate) fn leaves(&self) -> impl Iterator<Item = LeafId> {
        self.found.iter().map(|(leaf, _)| *leaf)
    }
    pub(crate) fn with_leaves(&self) -> impl Iterator<Item = (LeafId, Span)> {
        self.found.iter().copied()
    }
    /// Notes a place that an operator lets through.
    pub(crate) fn spare(&mut self, fold: Fold, rule: Option<RuleId>, span: Span) {
        self.spared.push((fold, rule, span));
    }
    /// The places that a rule has to let through.
    pub(crate) fn spared(&self, fold: Fold, rule: &RuleId) -> impl Iterator<Item = Span> {
        let meant = move |of: &Option<RuleId>| of.as_ref().is_none_or(|of| of == rule);
        let spared = self.spared.iter();
        spared.filter(move |(of, which, _)| *of == fold && meant(which)).map(|(.., span)| *span)
    }
}
