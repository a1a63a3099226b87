//! The role that keeps what people say of what the rules found.

use async_trait::async_trait;

use super::{By, Error, Filter, Page};
use crate::model::{MessageKey, RuleId};

/// Keeps reviews. The latest word on each rule of a message counts.
#[async_trait]
pub trait Reviews: Send + Sync {
    /// One page of what waits to be looked at, newest message first: messages with a verdict of flag or
    /// recall that nobody reviewed. `rule` narrows it to what one rule matched, in shadow too, and
    /// `state` to `flag`, `recall`, or `held`: messages whose recall is held. A page may hold fewer
    /// rows than wanted, or none, and still have a next one.
    async fn to_review(&self, filter: &Filter) -> Result<Page, Error>;

    /// The number of a recorded message; of the latest life of its group.
    async fn message_id(&self, key: &MessageKey) -> Result<Option<i64>, Error>;

    /// Keeps a review and records the act. All messages are reviewed, or none: [`Error::Invalid`] where
    /// one is not known, was neither matched nor recalled, or not matched by the rule that is named.
    async fn review(&self, by: &By, review: &Review) -> Result<(), Error>;

    /// How often each rule was right, for rules that were reviewed.
    async fn precision(&self) -> Result<Vec<Precision>, Error>;
}

/// What somebody says of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Their numbers.
    pub messages: Vec<i64>,
    /// The rule that it is about; every rule that matched, where none is named.
    pub rule: Option<RuleId>,
    /// Whether it was to be found.
    pub right: bool,
    pub note: String,
}

/// What reviews say of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precision {
    pub rule: RuleId,
    pub right: u64,
    pub wrong: u64,
}

impl Precision {
    /// The share that was right, of what was looked at.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "people do not review 2^53 messages")]
    pub fn share(&self) -> f64 {
        self.right as f64 / (self.right + self.wrong).max(1) as f64
    }
}
