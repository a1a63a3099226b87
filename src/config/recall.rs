//! `[recall]`: how recalls leave.

use serde::{Deserialize, Serialize};

use super::{Mistake, require};

/// Whether recalls are made at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecallMode {
    #[default]
    Live,
    /// Everything is judged and recorded as if live, and no job is made.
    Shadow,
}

/// Pace, size and patience of recall calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recall {
    pub mode: RecallMode,
    pub calls_per_second: u32,
    pub batch_size: usize,
    pub timeout_ms: u64,
    pub max_in_flight: usize,
    pub max_attempts: u32,
    pub send_reason: bool,
}

/// What Chat allows for each command and application, in calls a second (chat-api page "rest-intro":
/// the default for every API used here).
pub const CALLS_PER_SECOND_AT_CHAT: u32 = 200;

/// Sequences in one call of `group_msg_recall` (page "recall").
pub(super) const SEQUENCES_PER_CALL: usize = 10;

impl Default for Recall {
    fn default() -> Self {
        Self {
            mode: RecallMode::Live,
            calls_per_second: 190,
            batch_size: SEQUENCES_PER_CALL,
            timeout_ms: 5_000,
            max_in_flight: 256,
            max_attempts: 12,
            send_reason: false,
        }
    }
}

impl Recall {
    pub(super) fn check(&self, found: &mut Vec<Mistake>) {
        require(
            (1..=CALLS_PER_SECOND_AT_CHAT).contains(&self.calls_per_second),
            "recall.calls_per_second",
            "must lie between 1 and 200, the most that Chat allows",
            found,
        );
        require(
            (1..=SEQUENCES_PER_CALL).contains(&self.batch_size),
            "recall.batch_size",
            "must lie between 1 and 10, the most sequences that a call may hold",
            found,
        );
        require(
            (100..=60_000).contains(&self.timeout_ms),
            "recall.timeout_ms",
            "must lie between 100 and 60000 ms; Chat itself takes up to 3000 ms",
            found,
        );
        require(
            (1..=10_000).contains(&self.max_in_flight),
            "recall.max_in_flight",
            "must lie between 1 and 10000 calls",
            found,
        );
        require(
            (1..=1_000).contains(&self.max_attempts),
            "recall.max_attempts",
            "must lie between 1 and 1000",
            found,
        );
    }
}
