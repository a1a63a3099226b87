//! The role that remembers what was answered to acts that may be asked for twice.

use async_trait::async_trait;

use super::Error;
use crate::model::Timestamp;

/// Remembers answers by the key that the client chose.
#[async_trait]
pub trait Answers: Send + Sync {
    /// What was answered under a key since then.
    async fn answer(&self, key: &str, since: Timestamp) -> Result<Option<Answer>, Error>;

    /// Remembers an answer, and forgets those from before `since`.
    async fn remember(&self, key: &str, answer: &Answer, since: Timestamp) -> Result<(), Error>;

    /// Forgets all of them: they may hold what somebody wrote.
    async fn forget_answers(&self) -> Result<(), Error>;
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub at: Timestamp,
    /// A digest of what was asked for.
    pub request: String,
    pub status: u16,
    pub content_type: String,
    pub body: String,
}
