//! What the text matchers found in a text, for all rules at once.

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
pub(crate) struct Findings(Vec<(LeafId, Span)>);

impl Findings {
    pub(crate) fn add(&mut self, leaf: LeafId, span: Span) {
        if self.0.len() < MAX_FINDINGS {
            self.0.push((leaf, span));
        }
    }
    pub(crate) fn of(&self, leaf: LeafId) -> impl Iterator<Item = Span> {
        self.0.iter().filter(move |(of, _)| *of == leaf).map(|(_, span)| *span)
    }
    pub(crate) fn all(&self) -> impl Iterator<Item = Span> {
        self.0.iter().map(|(_, span)| *span)
    }
    pub(crate) fn leaves(&self) -> impl Iterator<Item = LeafId> {
        self.0.iter().map(|(leaf, _)| *leaf)
    }
}
