//! The role that shows cases: messages with what was found in them and what became of it, as a
//! moderator looks at them. It reads only, and every question is bounded.

use async_trait::async_trait;

use super::Error;
use crate::model::{JobId, JobState, Mode, MsgSeq, Severity, Timestamp, Verdict};

/// Shows messages with their hits and recalls.
#[async_trait]
pub trait Cases: Send + Sync {
    /// The latest messages that are wanted, newest first. Of what was recorded only the latest
    /// [`LOOK_BACK`] messages are looked at.
    async fn recent(&self, wanted: &Wanted, limit: usize) -> Result<Vec<Case>, Error>;

    /// The id of the message that was recorded last; 0 where none was.
    async fn latest(&self) -> Result<i64, Error>;

    /// Messages by their ids, in that order; those that are not there are left out.
    async fn cases(&self, messages: &[i64]) -> Result<Vec<Case>, Error>;

    /// Held jobs with their messages, in the order in which they came, behind `after`.
    async fn held_cases(&self, after: JobId, limit: usize) -> Result<Vec<Case>, Error>;

    /// What was said in the same conversation just before a message, and just after it, so many
    /// messages on either side, in their order.
    async fn around(&self, message: i64, side: usize) -> Result<(Vec<Case>, Vec<Case>), Error>;

    /// The message of a group or topic, in its latest life.
    async fn find(&self, group: &str, topic: &str, seq: MsgSeq) -> Result<Option<i64>, Error>;

    /// What a word is the name of: a group, a sender, a rule of which anything is kept.
    async fn named(&self, word: &str) -> Result<NameOf, Error>;
}

/// So many of the latest messages are looked through.
pub const LOOK_BACK: i64 = 10_000;

/// What a word is the name of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameOf {
    pub group: bool,
    pub sender: bool,
    pub rule: bool,
}

/// Which messages are wanted. An empty one wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// No verdict milder than that.
    pub verdict: Verdict,
    pub group: Option<String>,
    pub sender: Option<String>,
    pub rule: Option<String>,
    /// Recorded later than this message.
    pub after: i64,
}

/// A message with what was found in it and how its latest recall stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// `None` for a recall of what was never recorded.
    pub message_id: Option<i64>,
    pub group_id: String,
    pub topic_id: String,
    pub group_type: String,
    /// Whether this life of its group or topic ended: no call reaches its messages any more.
    pub is_destroyed: bool,
    pub msg_seq: MsgSeq,
    pub sender: String,
    pub sent_at: Timestamp,
    pub received_at: Timestamp,
    pub online_only: bool,
    pub from_history: bool,
    pub platform: String,
    pub text: String,
    pub verdict: Verdict,
    pub rules_version: String,
    pub hits: Vec<CaseHit>,
    pub job: Option<CaseJob>,
}

/// A place that a rule matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseHit {
    pub rule: String,
    pub mode: Mode,
    pub severity: Severity,
    pub start: usize,
    pub end: usize,
    pub text: String,
}

/// A recall of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseJob {
    pub job_id: JobId,
    pub state: JobState,
    pub attempts: i64,
    pub ret_code: Option<i64>,
    pub reason: Option<String>,
    pub requested_by: String,
    pub created_at: Timestamp,
    pub called_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub confirmed_at: Option<Timestamp>,
    pub exposure_ms: Option<i64>,
}
