//! The role that answers what a dashboard shows. Each read looks at a bounded number of rows, so that it
//! costs the same on a large database: where there are more, the latest are taken, or a sample, and the
//! answer says so.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::Error;
use crate::model::{JobId, RuleId, Timestamp, UserId};

/// Answers what is shown at a glance.
#[async_trait]
pub trait Figures: Send + Sync {
    /// How long recalled messages were visible, by when their recall was asked for: buckets of a length
    /// from a time up to another one, oldest first, empty ones included. At most 500 buckets.
    async fn exposure(
        &self,
        since: Timestamp,
        until: Timestamp,
        bucket: Duration,
    ) -> Result<Vec<Bucket>, Error>;

    /// Calls that left in each second from a time on, oldest first; seconds without one are left out. At
    /// most the ten minutes before `until`.
    async fn calls_per_second(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(Timestamp, u32)>, Error>;

    /// How many of the recalls asked for since then stand in each state; of the latest 100,000.
    async fn recalls_by_state(&self, since: Timestamp) -> Result<Vec<(String, u64)>, Error>;

    /// The rules that hit most since then, by the latest 100,000 hits, with what reviews say of them.
    async fn top_rules(&self, since: Timestamp, limit: usize) -> Result<Vec<RuleFigures>, Error>;

    /// The groups and the senders with most matched messages since then, by the latest 10,000 hits.
    async fn top_places(&self, since: Timestamp, limit: usize) -> Result<TopPlaces, Error>;

    /// Everything that is known of a message.
    async fn story(&self, message_id: i64) -> Result<Option<Story>, Error>;

    /// A sender: what is known of the latest 10,000 messages, and the latest `limit` of them behind a
    /// message, or from the newest on.
    async fn sender(
        &self,
        sender: &UserId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<SenderFigures, Error>;

    /// Held jobs behind one, oldest first, with text and hits of their messages.
    async fn held(&self, after: JobId, limit: usize) -> Result<Vec<HeldJob>, Error>;
}

/// Recalls that were asked for within a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub from: Timestamp,
    /// Recalls asked for, whatever became of them.
    pub asked: u64,
    /// Of those looked at, how many Chat answered with `RetCode` 0.
    pub recalled: u64,
    /// How long these were visible: the median, and what one in a hundred exceeds.
    pub p50_ms: Option<i64>,
    pub p99_ms: Option<i64>,
    /// Whether all were looked at; else a sample of them.
    pub whole: bool,
}

/// What there is to say of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFigures {
    pub rule: RuleId,
    /// Places that it matched, by the mode that it was in then.
    pub live_hits: u64,
    pub shadow_hits: u64,
    /// Reviews of all time: to be found, or a false alarm.
    pub right: u64,
    pub wrong: u64,
}

/// Where matched messages come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopPlaces {
    pub groups: Vec<Ranked>,
    pub senders: Vec<Ranked>,
    /// Whether all matched messages were looked at.
    pub whole: bool,
}

/// A group or a sender with its matched messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    pub name: String,
    /// With a verdict of recall.
    pub recall: u64,
    /// With a verdict of flag.
    pub flag: u64,
}

/// A message with everything about it; rows are objects with the columns of the view that is named.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// `v_messages`, and `body` (`MsgBody` as JSON; null where the text is all), `cloud_custom_data`,
    /// `detail`.
    pub message: Value,
    /// `v_hits`, in order of the text; those of conflicts behind.
    pub hits: Vec<Value>,
    /// `v_conflicts`.
    pub conflicts: Vec<Value>,
    /// `v_recalls`, newest first.
    pub recalls: Vec<Value>,
    /// `v_calls`: calls that held its sequence, newest first.
    pub calls: Vec<Value>,
    /// `v_reviews`, newest first.
    pub reviews: Vec<Value>,
    /// `v_operations` that name the message, its jobs, or its sender, newest first.
    pub operations: Vec<Value>,
}

/// What there is to say of a sender.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SenderFigures {
    pub messages: u64,
    pub flag: u64,
    pub recall: u64,
    /// Whether these are all of the sender's messages.
    pub whole: bool,
    /// `v_verdicts` with `text` and `recall_state`, newest first.
    pub latest: Vec<Value>,
    /// Give it as `before` to go on; `None` when nothing is left.
    pub next: Option<i64>,
}

/// A job that waits for an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldJob {
    /// `v_recalls`, and `text`, `verdict`, `received_at`: null where the message was never recorded.
    pub job: Value,
    /// `v_hits` of its message.
    pub hits: Vec<Value>,
}
