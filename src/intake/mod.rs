//! The one path that a callback takes, from bytes to recorded.
//!
//! Verify (before the body is read), read, judge, record; only then may it be acknowledged. Nothing is
//! kept in memory on the way: what could not be stored is refused, and what could not be read goes to
//! quarantine.

mod metrics;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::chat::verify::{Authentic, Rejection, Verifier};
use crate::chat::wire::{self, Event};
use crate::model::{
    Action, Clock, JobState, Judgement, Message, Mode, RequestedBy, Signals, Timestamp, UserId,
};
use crate::rules::CompiledRules;
use crate::store::{
    Destroyed, Error, Intake as Store, NewJob, Quarantined, Recalled, Record, Recorded, RuleSet,
};

/// How callbacks are taken in.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether recalls are made, or everything only judged and recorded.
    pub enforce: bool,
    /// The account that quell calls as: its recalls confirm ours, its own messages are left alone.
    pub identifier: UserId,
}

/// Takes in callbacks.
pub struct Intake {
    verifier: Verifier,
    rules: ArcSwap<CompiledRules>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    options: Options,
}

/// What became of a callback that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A message; it is stored.
    Recorded(Recorded),
    /// Something else; what follows from it is stored.
    Noted,
}

/// Why a callback was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The body cannot be read; it is in quarantine.
    #[error("unreadable: {0}")]
    Unreadable(wire::Unreadable),
    /// It could not be stored. Nothing of it happened.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Intake {
    /// With rules in force from the start.
    pub async fn new(
        verifier: Verifier,
        rules: CompiledRules,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, Error> {
        metrics::describe();
        announce(store.as_ref(), &rules, clock.now()).await?;
        let rules = ArcSwap::from_pointee(rules);
        Ok(Self { verifier, rules, store, clock, options })
    }

    /// Whether a request comes from Chat. Looks at the query only.
    pub fn verify(&self, query: &str) -> Result<Authentic, Rejection> {
        self.verifier.verify(query, self.clock.now()).inspect_err(|rejection| {
            metrics::callback(metrics::rejected(*rejection));
        })
    }

    /// Takes in the body of a verified request. When this returns `Ok`, what it says is stored.
    pub async fn take(&self, authentic: &Authentic, body: &[u8]) -> Result<Taken, Refused> {
        let taken = self.take_in(authentic, body).await;
        metrics::callback(metrics::result(&taken));
        taken
    }

    /// Judges by other rules from now on.
    pub async fn reload(&self, rules: CompiledRules) -> Result<(), Error> {
        announce(self.store.as_ref(), &rules, self.clock.now()).await?;
        self.rules.store(Arc::new(rules));
        Ok(())
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<CompiledRules> {
        self.rules.load_full()
    }

    async fn take_in(&self, authentic: &Authentic, body: &[u8]) -> Result<Taken, Refused> {
        let received_at = self.clock.now();
        match wire::parse(authentic, body, received_at) {
            Ok(Event::Message(message)) => {
                let record = self.judge(*message);
                metrics::judged(&record.judgement);
                let recorded = self.store.record(record).await?;
                return Ok(Taken::Recorded(recorded));
            }
            Ok(Event::Recalled { group_id, topic_id, operator, seqs, at }) => {
                let ours = operator == self.options.identifier;
                let recalled = Recalled { group_id, topic_id, seqs, ours, operator, at };
                self.store.recalled(recalled).await?;
            }
            Ok(Event::GroupDestroyed { group_id, at }) => {
                let destroyed = Destroyed { group_id, topic_ids: Vec::new(), at };
                self.store.destroyed(destroyed).await?;
            }
            Ok(Event::TopicsDestroyed { group_id, topic_ids, at }) => {
                // Without a topic there is nothing to end; the group itself goes on.
                if !topic_ids.is_empty() {
                    self.store.destroyed(Destroyed { group_id, topic_ids, at }).await?;
                }
            }
            Ok(Event::OverLimit { command, requests, limit, .. }) => {
                tracing::warn!(
                    command,
                    requests,
                    limit,
                    "Chat warns of its limit of calls a second"
                );
            }
            Ok(Event::Other { .. }) => {}
            Err(unreadable) => {
                let command = authentic.command.clone().unwrap_or_default();
                tracing::warn!(command, reason = %unreadable, "an authentic callback cannot be read");
                let reason = unreadable.to_string();
                let body = body.to_vec();
                self.store.quarantine(Quarantined { received_at, command, reason, body }).await?;
                return Err(Refused::Unreadable(unreadable));
            }
        }
        Ok(Taken::Noted)
    }

    fn judge(&self, message: Message) -> Record {
        let rules = self.rules.load();
        let signals = Signals::default();
        let judgement = rules.judge(&message, &signals);
        let job = self.job(&message, &judgement);
        if judgement.verdict != crate::model::Verdict::Pass {
            tracing::info!(
                group.id = %message.key.group_id,
                topic.id = %message.key.topic_id,
                msg.seq = message.key.msg_seq,
                verdict = judgement.verdict.as_str(),
                rule.id = judgement.hits.first().map(|hit| hit.rule.as_str()),
                "verdict"
            );
        }
        Record { message, judgement, signals, job }
    }

    /// The recall job that a judgement asks for, if any.
    fn job(&self, message: &Message, judgement: &Judgement) -> Option<NewJob> {
        let hit = judgement.recalled_by()?;
        if !self.options.enforce || message.sender == self.options.identifier {
            return None;
        }
        let (state, reason) = if message.online_only {
            // Recall works on what Chat keeps, and of this it keeps nothing.
            (JobState::Refused, Some("online-only: Chat keeps no copy to recall".to_owned()))
        } else {
            (JobState::Pending, None)
        };
        let severity = judgement
            .hits
            .iter()
            .filter(|hit| hit.mode == Mode::Live && hit.action == Action::Recall)
            .map(|hit| hit.severity)
            .max()
            .unwrap_or_default();
        Some(NewJob { state, reason, severity, requested_by: RequestedBy::Rule(hit.rule.clone()) })
    }
}

/// Makes a rule set known to the store and to whoever watches.
async fn announce(store: &dyn Store, rules: &CompiledRules, at: Timestamp) -> Result<(), Error> {
    let summaries: Vec<_> = rules
        .summaries()
        .into_iter()
        .map(|rule| {
            serde_json::json!({
                "id": rule.id, "why": rule.why, "mode": rule.mode, "severity": rule.severity,
                "actions": rule.actions,
            })
        })
        .collect();
    let version = rules.version().clone();
    metrics::rules_in_force(version.as_str());
    tracing::info!(rules.version = %version, rules = summaries.len(), "rules in force");
    store
        .rules_loaded(RuleSet { version, rules: serde_json::json!(summaries).to_string(), at })
        .await
}
