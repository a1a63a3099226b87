//! The role by which operators and guards steer. Every act leaves a row in `v_operations`, written in
//! the same transaction.

use async_trait::async_trait;

use super::Error;
use crate::model::{JobId, RuleId, Timestamp};

/// Who the acts of guards and of Chat are recorded under.
pub const QUELL: &str = "quell";

/// Steers the queue.
#[async_trait]
pub trait Control: Send + Sync {
    /// Who paused the recalls and when, if they are paused. Survives a restart.
    async fn paused(&self) -> Result<Option<Pause>, Error>;

    /// Pauses or resumes the recalls. The worker is told by whoever owns it.
    async fn set_paused(&self, by: &By, paused: bool) -> Result<(), Error>;

    /// Changes jobs. Answers how many were changed, those in a call included of which that is
    /// remembered.
    async fn change_jobs(
        &self,
        by: &By,
        change: JobChange,
        which: &JobFilter,
    ) -> Result<u64, Error>;

    /// Rules that fell to shadow.
    async fn tripped(&self) -> Result<Vec<Tripped>, Error>;

    /// Lets a rule fall to shadow: its waiting jobs are held. Tripping it again changes nothing.
    async fn trip(&self, by: &By, rule: &RuleId, why: &str) -> Result<(), Error>;

    /// Puts a tripped rule back in force. Its held jobs stay held: they are released or cancelled by
    /// [`Control::change_jobs`]. Answers whether it was tripped.
    async fn untrip(&self, by: &By, rule: &RuleId) -> Result<bool, Error>;

    /// Records something that happened, and tells the queue's worker where `limit` is what Chat says
    /// that it takes in a second.
    async fn note(
        &self,
        by: &By,
        act: &str,
        detail: String,
        limit: Option<u32>,
    ) -> Result<(), Error>;
}

/// Who does something, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    pub actor: String,
    pub at: Timestamp,
}

impl By {
    #[must_use]
    pub fn new(actor: &str, at: Timestamp) -> Self {
        Self { actor: actor.to_owned(), at }
    }
}

/// That recalls stand still because an operator wants it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub by: String,
    pub at: Timestamp,
}

/// What an operator does to jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobChange {
    /// Waiting jobs are kept back. One in a call is not tried again: should it have to be, it is held.
    Hold,
    /// Held jobs wait again.
    Release,
    /// Waiting and held jobs end. One in a call is not tried again: should it have to be, it ends.
    Cancel,
    /// Dead and refused jobs wait again, with a clean sheet.
    Retry,
}

impl JobChange {
    /// The word used in commands, paths and `v_operations`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Cancel => "cancel",
            Self::Retry => "retry",
        }
    }

    /// The change that a word stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Hold, Self::Release, Self::Cancel, Self::Retry]
            .into_iter()
            .find(|change| change.as_str() == word)
    }
}

/// Which jobs are meant. All conditions have to hold; none at all means every job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    pub jobs: Vec<JobId>,
    pub group: Option<String>,
    pub topic: Option<String>,
    pub sender: Option<String>,
    pub rule: Option<String>,
}

/// A rule that fell to shadow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tripped {
    pub rule: RuleId,
    pub at: Timestamp,
    pub why: String,
}
