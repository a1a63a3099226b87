//! The role that keeps sweeps: recalls that an operator plans, looks at and applies.

use std::sync::Arc;

use async_trait::async_trait;

use super::{By, Conversation, Error};
use crate::model::{JobState, MsgSeq, PlanState, RulesVersion, Timestamp};

/// A row of the plans.
pub type PlanId = i64;

/// Keeps plans. A plan is applied in steps, each of them short, so that no callback waits for it; what
/// is left to do survives a crash.
#[async_trait]
pub trait Plans: Send + Sync {
    /// The messages that are meant, with what is known of them, in order of group, topic and
    /// sequence. Refuses more than `most` of them.
    async fn meant(&self, which: &Meant, most: usize) -> Result<Vec<MeantMessage>, Error>;

    /// Keeps a plan and the act of making it. A crash before its end leaves no plan that anyone sees.
    async fn keep(&self, by: &By, plan: NewPlan) -> Result<PlanId, Error>;

    /// A plan with the states of its jobs.
    async fn plan(&self, plan: PlanId) -> Result<Option<Plan>, Error>;

    /// The first so many messages of a plan.
    async fn planned(&self, plan: PlanId, most: usize) -> Result<Vec<PlannedMessage>, Error>;

    /// Lets a plan be applied from now on. Only one that is `planned`; one that is being applied, or
    /// was, stays as it is.
    async fn apply(&self, by: &By, plan: PlanId) -> Result<(), Error>;

    /// Lets a plan be cancelled from now on, whether it was applied or not: its waiting jobs end.
    async fn cancel(&self, by: &By, plan: PlanId) -> Result<(), Error>;

    /// Does the next step of a plan that is being applied or cancelled: queues the jobs of its next
    /// `most` messages, behind live traffic, or ends that many. Answers whether more is left.
    async fn step(&self, plan: PlanId, most: usize, at: Timestamp) -> Result<bool, Error>;

    /// Plans that are being applied or cancelled.
    async fn unfinished_plans(&self) -> Result<Vec<PlanId>, Error>;
}

/// Which messages are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// Of a group or topic, whether or not they were ever recorded.
    Sequences { group: String, topic: String, seqs: Vec<MsgSeq>, at: Timestamp },
    /// Of a sender, received since then.
    Sender { sender: String, group: Option<String>, since: Timestamp },
    /// Hit by a rule in whatever mode, received since then.
    Rule { rule: String, group: Option<String>, since: Timestamp },
    /// By their ids.
    Ids(Vec<i64>),
}

/// A message that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeantMessage {
    pub conversation: Arc<Conversation>,
    pub is_destroyed: bool,
    pub msg_seq: MsgSeq,
    /// `None` where it was never recorded.
    pub message_id: Option<i64>,
    /// Empty where it was never recorded.
    pub sender: String,
    /// Where it was never recorded, of the nearest message recorded after it, else of now: it is no
    /// younger than that, and where it is too old, Chat says so itself.
    pub sent_at: Timestamp,
    pub online_only: bool,
    /// The state of its latest job.
    pub job: Option<JobState>,
}

/// A plan to be kept.
#[derive(Clone, Debug)]
pub struct NewPlan {
    /// JSON: what was asked for.
    pub asked: String,
    pub digest: String,
    pub rules_version: RulesVersion,
    pub calls: u64,
    /// With the obstacle where it cannot be recalled.
    pub messages: Vec<(MeantMessage, Option<String>)>,
}

/// A plan as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub plan_id: PlanId,
    pub state: PlanState,
    pub asked: String,
    pub digest: String,
    pub rules_version: RulesVersion,
    pub messages: u64,
    pub groups: u64,
    pub recallable: u64,
    pub calls: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub applied_by: Option<String>,
    pub applied_at: Option<Timestamp>,
    /// Messages dealt with while applying.
    pub progress: u64,
    /// Why messages will not be recalled, and how many.
    pub obstacles: Vec<(String, u64)>,
    /// How many of its jobs stand in each state.
    pub jobs: Vec<(String, u64)>,
}

/// A message of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMessage {
    pub conversation: Arc<Conversation>,
    pub msg_seq: MsgSeq,
    pub sender: String,
    /// `None` where it was never recorded.
    pub sent_at: Option<Timestamp>,
    /// As recorded; empty where it was not.
    pub text: String,
    pub obstacle: Option<String>,
}
