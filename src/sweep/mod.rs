//! Sweeps: retroactive recalls as plan, look, apply.
//!
//! A plan pins the messages that are meant and the rule set in force: what arrives later is not in
//! it. Nothing follows from it until it is applied; then its jobs are queued behind live traffic, a
//! few hundred at a time, so that no callback waits for them. A crash in between leaves a plan that
//! goes on where it stood.

mod asked;
mod like;
mod sweeper;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::model::{Clock, GroupId, JobState, MsgSeq, RulesVersion, Timestamp, TopicId, excerpt};
use crate::store::{
    By, Error, Meant, MeantMessage, NewPlan, Plan, PlanId, PlannedMessage, Plans, Replay,
};

pub use asked::{Asked, Sequences};
pub use sweeper::Sweeper;

/// The most messages in one plan.
pub const MOST: usize = 100_000;
/// Jobs queued or ended in one transaction: some milliseconds.
const STEP: usize = 500;
/// Messages shown of a plan.
const SAMPLES: usize = 10;
/// Characters of a message shown.
const EXCERPT: usize = 60;
/// Members notice a recall in an audio-video group for one hour only (page `recall`).
const AV_CHAT_ROOM_LIMIT: Duration = Duration::from_hours(1);

/// What Chat allows.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long Chat keeps messages.
    pub roaming: Duration,
    pub calls_per_second: u32,
    /// Messages a call.
    pub batch_size: usize,
}

/// Makes a plan of what is asked for. Refuses what makes no sense, and what means no message.
pub async fn make(
    store: &(impl Plans + Replay + ?Sized),
    by: &By,
    asked: &Asked,
    terms: &Terms,
    rules_version: RulesVersion,
) -> Result<PlanId, Error> {
    let which = match asked.meant(by.at)? {
        Ok(which) => which,
        Err(like) => Meant::Ids(like.find(store, MOST).await?),
    };
    let meant = store.meant(&which, MOST).await?;
    if meant.is_empty() {
        return Err(Error::Invalid("no message is meant by that".into()));
    }
    let messages: Vec<_> = meant
        .into_iter()
        .map(|message| {
            let obstacle = obstacle(&message, terms, by.at);
            (message, obstacle)
        })
        .collect();
    let plan = NewPlan {
        asked: serde_json::to_string(asked).unwrap_or_default(),
        digest: digest(&rules_version, &messages),
        rules_version,
        calls: calls(&messages, terms.batch_size),
        messages,
    };
    store.keep(by, plan).await
}

/// Does all that is left of a plan which is being applied or cancelled.
pub async fn finish(
    store: &(impl Plans + ?Sized),
    plan: PlanId,
    clock: &dyn Clock,
) -> Result<(), Error> {
    while store.step(plan, STEP, clock.now()).await? {}
    Ok(())
}

/// A plan for people and programs.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Plan)]
pub struct Shown {
    pub plan_id: PlanId,
    /// `planned`, `applying`, `applied`, `cancelling` or `cancelled`.
    pub state: &'static str,
    pub asked: Asked,
    /// Over the rule set and the messages: two plans that do the same have the same.
    pub digest: String,
    /// The rules that were in force; empty where none could be loaded.
    #[schema(value_type = String)]
    pub rules_version: RulesVersion,
    pub messages: u64,
    pub groups: u64,
    /// Of the messages, those that a call can help.
    pub recallable: u64,
    pub calls: u64,
    /// What the calls take at least.
    pub seconds: f64,
    pub created_by: String,
    #[schema(value_type = i64)]
    pub created_at: Timestamp,
    pub applied_by: Option<String>,
    #[schema(value_type = Option<i64>)]
    pub applied_at: Option<Timestamp>,
    /// Messages dealt with while applying.
    pub progress: u64,
    /// Why messages will not be recalled, and how many.
    pub obstacles: BTreeMap<String, u64>,
    /// How many of its jobs stand in each state.
    pub jobs: BTreeMap<String, u64>,
    /// The first messages.
    pub samples: Vec<ShownMessage>,
}

/// A message of a plan for people and programs.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = PlannedMessage)]
pub struct ShownMessage {
    #[schema(value_type = String)]
    pub group_id: GroupId,
    #[schema(value_type = String)]
    pub topic_id: TopicId,
    pub msg_seq: MsgSeq,
    /// Empty where the message was never recorded.
    pub sender: String,
    /// Null where the message was never recorded.
    #[schema(value_type = Option<i64>)]
    pub sent_at: Option<Timestamp>,
    /// Its beginning.
    pub text: String,
    /// Why it will not be recalled, if so.
    pub obstacle: Option<String>,
}

/// A plan as it stands.
pub async fn show(
    store: &(impl Plans + ?Sized),
    plan: PlanId,
    terms: &Terms,
) -> Result<Option<Shown>, Error> {
    let Some(plan) = store.plan(plan).await? else { return Ok(None) };
    let samples = store.planned(plan.plan_id, SAMPLES).await?;
    Ok(Some(shown(plan, samples, terms)))
}

fn shown(plan: Plan, samples: Vec<PlannedMessage>, terms: &Terms) -> Shown {
    let calls = u32::try_from(plan.calls).unwrap_or(u32::MAX);
    let sample = |message: PlannedMessage| ShownMessage {
        group_id: message.conversation.group_id.clone(),
        topic_id: message.conversation.topic_id.clone(),
        msg_seq: message.msg_seq,
        sender: message.sender,
        sent_at: message.sent_at,
        text: excerpt(&message.text, EXCERPT),
        obstacle: message.obstacle,
    };
    Shown {
        plan_id: plan.plan_id,
        state: plan.state.as_str(),
        asked: serde_json::from_str(&plan.asked).unwrap_or_default(),
        digest: plan.digest,
        rules_version: plan.rules_version,
        messages: plan.messages,
        groups: plan.groups,
        recallable: plan.recallable,
        calls: plan.calls,
        seconds: f64::from(calls) / f64::from(terms.calls_per_second),
        created_by: plan.created_by,
        created_at: plan.created_at,
        applied_by: plan.applied_by,
        applied_at: plan.applied_at,
        progress: plan.progress,
        obstacles: plan.obstacles.into_iter().collect(),
        jobs: plan.jobs.into_iter().collect(),
        samples: samples.into_iter().map(sample).collect(),
    }
}

/// Why a message will not be recalled, if so.
fn obstacle(message: &MeantMessage, terms: &Terms, now: Timestamp) -> Option<String> {
    let age = now.since(message.sent_at);
    let why = if message.is_destroyed {
        "group destroyed"
    } else if message.job == Some(JobState::Recalled) {
        "already recalled"
    } else if message.job == Some(JobState::Gone) {
        "already recalled by somebody else"
    } else if message.job.is_some_and(|state| !state.is_final()) {
        "a recall is waiting already"
    } else if message.online_only {
        "online-only: Chat keeps no copy to recall"
    } else if message.conversation.group_type.is_av_chat_room() && age >= AV_CHAT_ROOM_LIMIT {
        "older than the hour that an audio-video group allows"
    } else if age >= terms.roaming {
        "older than the messages that Chat keeps"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// A digest over the rule set and the messages with their obstacles, short enough to compare by eye.
fn digest(rules: &RulesVersion, messages: &[(MeantMessage, Option<String>)]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(rules.as_str());
    for (message, obstacle) in messages {
        let conversation = &message.conversation;
        let line = json!([
            conversation.group_id,
            conversation.topic_id,
            conversation.conversation_id,
            message.msg_seq,
            obstacle
        ]);
        hasher.update(line.to_string());
    }
    hasher.finalize().iter().take(8).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// The calls that a plan takes. Its messages are in order of group and topic.
fn calls(messages: &[(MeantMessage, Option<String>)], batch_size: usize) -> u64 {
    let conversation =
        |(message, _): &(MeantMessage, Option<String>)| message.conversation.conversation_id;
    let each = messages.chunk_by(|a, b| conversation(a) == conversation(b));
    let sum: usize = each
        .map(|of_one| {
            let recallable = of_one.iter().filter(|(_, obstacle)| obstacle.is_none()).count();
            recallable.div_ceil(batch_size.max(1))
        })
        .sum();
    sum as u64
}
