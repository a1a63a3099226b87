//! The role that lets go of what need not be kept, and of what must not be.

use async_trait::async_trait;

use super::{By, Error};
use crate::model::{Timestamp, UserId};

/// Takes text and rows away, a few at a time, so that callbacks never wait for it.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Takes away what a sender wrote in up to `limit` messages behind `after`: text, elements, custom
    /// data, mentions, matched text. Verdicts, jobs and ids stay. `None` when nothing is left.
    async fn erase_some(
        &self,
        sender: &UserId,
        after: i64,
        limit: usize,
    ) -> Result<Option<Erased>, Error>;

    /// Drops callbacks in quarantine that name a sender. Answers how many.
    async fn erase_quarantined(&self, sender: &UserId) -> Result<u64, Error>;

    /// Takes away up to `limit` texts and `limit` rows of each table that are older than wanted.
    async fn prune_some(&self, before: Cutoffs, limit: usize) -> Result<Pruned, Error>;

    /// Has what was taken away overwritten in the file and its log. Answers whether that went all the
    /// way: a reader that holds an old state keeps it from doing so.
    async fn scrub(&self) -> Result<bool, Error>;

    /// Records that something was erased or pruned.
    async fn note_removal(&self, by: &By, act: &str, detail: String) -> Result<(), Error>;
}

/// Texts that were erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// Where to go on.
    pub after: i64,
    /// Messages looked at.
    pub messages: u64,
}

/// What is too old. Nothing of a kind is pruned where nothing is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cutoffs {
    /// Text of messages received earlier.
    pub text: Option<Timestamp>,
    /// Text of messages that a rule matched, received earlier.
    pub matched_text: Option<Timestamp>,
    /// Everything about messages received earlier, their calls included.
    pub rows: Option<Timestamp>,
}

/// What was pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub texts: u64,
    pub rows: u64,
    /// Whether there may be more.
    pub more: bool,
}
