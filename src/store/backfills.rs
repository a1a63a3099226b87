//! The role that keeps stretches of history that are being read.

use async_trait::async_trait;

use super::{By, Conversation, Error};
use crate::model::{GroupId, MsgSeq, Timestamp, TopicId};

/// Stretches of history that are read from the newest end down, a page at a time.
#[async_trait]
pub trait Backfills: Send + Sync {
    /// Has a stretch of history read. `to` 0 stands for the newest that there is.
    async fn start_backfill(
        &self,
        by: &By,
        group: &GroupId,
        topic: &TopicId,
        from: MsgSeq,
        to: MsgSeq,
    ) -> Result<i64, Error>;

    /// Stretches that may be read on now, those due longest first.
    async fn running_backfills(&self, now: Timestamp, limit: usize)
    -> Result<Vec<Backfill>, Error>;

    /// Notes how far a stretch was read.
    async fn backfilled(&self, step: BackfillStep) -> Result<(), Error>;

    /// Ends a running backfill. Answers whether there was one to end.
    async fn cancel_backfill(&self, by: &By, backfill_id: i64) -> Result<bool, Error>;
}

/// A stretch of history that is being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backfill {
    pub backfill_id: i64,
    pub conversation: Conversation,
    pub from_seq: MsgSeq,
    /// Where the next page starts; 0 at the newest.
    pub next_seq: MsgSeq,
    pub not_before: Timestamp,
    pub attempts: u32,
    /// Whether quell looks it up by itself.
    pub own: bool,
}

/// How far a stretch was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillStep {
    pub backfill_id: i64,
    pub outcome: StepOutcome,
    pub recorded: u32,
    pub recalls: u32,
    pub at: Timestamp,
}

/// How a step of a backfill ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// Goes on below.
    Next(MsgSeq),
    Done(String),
    /// Nothing came; again later.
    Again {
        why: String,
        due_at: Timestamp,
    },
    Failed(String),
}
