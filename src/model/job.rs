//! A recall as a job: the states it goes through and who asked for it.

use std::fmt;

use super::RuleId;
use super::verdict::words;

/// Where a recall job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Waits for its first call.
    Pending,
    /// In a call now, or in one whose outcome a crash kept from us.
    Leased,
    /// Waits after a failure that passes.
    Retry,
    /// Kept back by a guard or an operator.
    Held,
    /// Chat said that it recalled the message, or an unclear attempt was confirmed later.
    Recalled,
    /// The message was no longer there: somebody else recalled it first.
    Gone,
    /// Chat will not recall this message, or quell knows that it could not.
    Refused,
    /// Given up: an error that blames this message alone, or no retries left.
    Dead,
    /// An operator's word.
    Cancelled,
}
words!(JobState:
    Pending = "pending", Leased = "leased", Retry = "retry", Held = "held", Recalled = "recalled",
    Gone = "gone", Refused = "refused", Dead = "dead", Cancelled = "cancelled",
);

impl JobState {
    /// Whether nothing more will happen to the job by itself or by an operator's release.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Leased | Self::Retry | Self::Held)
    }
}

/// Where a plan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlanState {
    /// Made, and nothing follows from it yet.
    Planned,
    /// Its jobs are being queued.
    Applying,
    /// Its jobs are queued; how far they are is theirs to tell.
    Applied,
    /// Its jobs are being ended.
    Cancelling,
    Cancelled,
}
words!(PlanState:
    Planned = "planned", Applying = "applying", Applied = "applied", Cancelling = "cancelling",
    Cancelled = "cancelled",
);

/// Who asked for a recall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestedBy {
    Rule(RuleId),
    Operator(String),
    Plan(String),
}

impl fmt::Display for RequestedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(id) => write!(f, "rule:{id}"),
            Self::Operator(name) => write!(f, "operator:{name}"),
            Self::Plan(id) => write!(f, "plan:{id}"),
        }
    }
}
