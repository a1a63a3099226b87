//! The one path that a callback takes, from bytes to recorded.
//!
//! Verify (before the body is read), read, judge, record; only then may it be acknowledged. Nothing is
//! kept in memory on the way: what could not be stored is refused, and what could not be read goes to
//! quarantine.

mod follow_up;
mod guard;
mod metrics;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use self::follow_up::{FollowUp, Pending, told};
use self::guard::{Guard, Ruling};
use self::metrics::Counters;
use crate::chat::verify::{Authentic, Rejection, Verifier};
use crate::chat::wire::{self, Event, Unreadable};
use crate::model::faults::fault;
use crate::model::{
    Action, Allowance, AllowanceKind, Clock, Hit, JobState, Judgement, Mentions, Message, Mode,
    RequestedBy, RuleId, Severity, Signals, Text, Timestamp, UserId, Verdict,
};
use crate::rules::{CompiledRules, Windows};
use crate::store::{
    By, Destroyed, Error, Explained, NewAllowance, NewJob, Quarantined, Recalled, Record, Recorded,
    RuleSet, Store,
};

pub use guard::Limits;

/// Messages that the memory of stateful matchers is refilled from at most. It is what that memory
/// holds; reading more would only delay the start.
const REFILL: usize = 200_000;
/// Of these, so many are read at once.
const REFILL_PAGE: usize = 500;

/// The command that our calls are limited by (page `overlimit`).
const RECALL_COMMAND: &str = "group_msg_recall";

/// How callbacks are taken in.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether recalls are made, or everything only judged and recorded.
    pub enforce: bool,
    /// The account that quell calls as: its recalls confirm ours, its own messages are left alone.
    pub identifier: UserId,
    pub store_text: StoreText,
    pub guard: Limits,
}

/// Whose text is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreText {
    #[default]
    All,
    /// Of messages that a rule matched, in whatever mode.
    Matched,
    None,
}

/// Takes in callbacks.
pub struct Intake {
    verifier: Verifier,
    rules: ArcSwap<CompiledRules>,
    /// Held while the rules are changed.
    changing: Mutex<()>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    follow_up: Arc<FollowUp>,
    windows: Windows,
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

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    pub recorded: Recorded,
    /// Whether a recall was asked for.
    pub recall: bool,
}

/// Why a callback was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The body cannot be read; it is in quarantine.
    #[error("unreadable: {0}")]
    Unreadable(Unreadable),
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
        let rules = rules.with_allowances(&store.allowances().await?);
        announce(store.as_ref(), &rules, clock.now()).await?;
        let tripped = store.tripped().await?;
        for rule in &tripped {
            metrics::tripped(&rule.rule, true);
        }
        let guard = Guard::new(options.guard, tripped.into_iter().map(|tripped| tripped.rule));
        let windows = Windows::default();
        refill(&windows, &rules, store.as_ref(), clock.now()).await?;
        let rules = ArcSwap::from_pointee(rules);
        let follow_up =
            FollowUp::new(Arc::clone(&store), Arc::clone(&clock), guard, Counters::new());
        Ok(Self {
            verifier,
            rules,
            changing: Mutex::default(),
            store,
            clock,
            follow_up: Arc::new(follow_up),
            windows,
            options,
        })
    }

    /// Whether a request comes from Chat. Looks at the query only.
    pub fn verify<'a>(&self, query: &'a str) -> Result<Authentic<'a>, Rejection> {
        self.verifier.verify(query, self.clock.now()).inspect_err(|rejection| {
            self.follow_up.counters.callback(metrics::rejected(*rejection));
        })
    }

    /// Takes in the body of a verified request. When this returns `Ok`, what it says is stored.
    pub async fn take(&self, authentic: &Authentic<'_>, body: &[u8]) -> Result<Taken, Refused> {
        let taken = self.take_in(authentic, body).await;
        self.follow_up.counters.callback(metrics::result(&taken));
        taken
    }

    /// Counts a callback that was refused before it could be taken in.
    pub fn refused(&self, result: &'static str) {
        self.follow_up.counters.callback(result);
    }

    /// Judges by other rules from now on, with what operators let through beside them.
    pub async fn reload(&self, rules: CompiledRules) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let rules = rules.with_allowances(&self.store.allowances().await?);
        let now = self.clock.now();
        announce(self.store.as_ref(), &rules, now).await?;
        refill(&self.windows, &rules, self.store.as_ref(), now).await?;
        fault!("on_rule_swap");
        self.rules.store(Arc::new(rules));
        Ok(())
    }

    /// Lets a sender or a phrase through from now on.
    pub async fn allow(&self, actor: &str, allowance: &NewAllowance) -> Result<Allowance, Error> {
        let _changing = self.changing.lock().await;
        let made = self.store.allow(&By::new(actor, self.clock.now()), allowance).await?;
        self.allowances_changed().await?;
        Ok(made)
    }

    /// No longer lets it through. Answers whether it did.
    pub async fn disallow(&self, actor: &str, kind: AllowanceKind, id: i64) -> Result<bool, Error> {
        let _changing = self.changing.lock().await;
        let by = By::new(actor, self.clock.now());
        let removed = self.store.disallow(&by, kind, id).await?;
        self.allowances_changed().await?;
        Ok(removed)
    }

    /// The rules stay those that were loaded, whatever their file holds by now; so does what stateful
    /// matchers remember.
    async fn allowances_changed(&self) -> Result<(), Error> {
        let rules = self.rules().with_allowances(&self.store.allowances().await?);
        announce(self.store.as_ref(), &rules, self.clock.now()).await?;
        self.rules.store(Arc::new(rules));
        Ok(())
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<CompiledRules> {
        self.rules.load_full()
    }

    async fn take_in(&self, authentic: &Authentic<'_>, body: &[u8]) -> Result<Taken, Refused> {
        let received_at = self.clock.now();
        let read = catch_unwind(|| wire::parse(authentic, body, received_at));
        match read.unwrap_or(Err(Unreadable::Failed)) {
            Ok(Event::Message(message)) => {
                let taken = self.record(message).await?;
                return Ok(Taken::Recorded(taken.recorded));
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
            Ok(Event::OverLimit { service, command, requests, limit }) => {
                tracing::warn!(command, requests, limit, "Chat warns of its limit of calls");
                let told = u32::try_from(limit).ok().filter(|_| command == RECALL_COMMAND);
                let detail = serde_json::json!({
                    "service": service, "command": command, "requests": requests, "limit": limit,
                });
                let by = By::new("chat", received_at);
                self.store.note(&by, "request over limit", detail.to_string(), told).await?;
            }
            Ok(Event::Other { .. }) => {}
            Err(unreadable) => {
                let command = authentic.command.clone().unwrap_or_default().into_owned();
                tracing::warn!(command, reason = %unreadable, "an authentic callback cannot be read");
                let reason = unreadable.to_string();
                let body = body.to_vec();
                self.store.quarantine(Quarantined { received_at, command, reason, body }).await?;
                return Err(Refused::Unreadable(unreadable));
            }
        }
        Ok(Taken::Noted)
    }

    /// Takes in messages that no callback brought, with what is known by now of the sequences around
    /// them. They are judged by the rules in force, in this order, and recalled like any other.
    pub async fn take_history(
        &self,
        messages: Vec<Message>,
        explained: Explained,
    ) -> Result<Vec<Judged>, Error> {
        let judged = messages.into_iter().map(|message| self.judge(Box::new(message)));
        let (records, pending): (Vec<_>, Vec<_>) = judged.unzip();
        self.follow_up.explain(explained, records, pending).await
    }

    /// Takes in a message that is another by now than when it was judged.
    pub async fn take_edited(&self, message: Message) -> Result<Judged, Error> {
        self.record(Box::new(message)).await
    }

    /// Judges a message and records it with what follows.
    async fn record(&self, message: Box<Message>) -> Result<Judged, Error> {
        let (record, pending) = self.judge(message);
        self.follow_up.record(record, pending).await
    }

    /// Judges a message. Answers what is to be recorded, and what is left to do then.
    fn judge(&self, message: Box<Message>) -> (Record, Pending) {
        let rules = self.rules.load();
        let asked = self.ask(&rules, &message);
        let unjudged = asked.is_none().then(|| unjudged(&message));
        let (signals, judgement) = asked.unwrap_or_else(|| (Signals::default(), no_hit(&rules)));
        let mut asking = asking(&judgement);
        asking.retain(|rule| rules.is_rolled_out(rule, &message.key));
        let trips = self.follow_up.guard.saw(&message.sender, &asking, message.received_at);
        let job = self.job(&message, &judgement, &asking);
        let going = job.as_ref().filter(|job| job.state == JobState::Pending).and_then(|job| {
            let RequestedBy::Rule(rule) = &job.requested_by else { return None };
            Some((message.sender.clone(), rule.clone()))
        });
        // The record goes to the store, so what is told of it afterwards is kept apart.
        let told = told(&message, &judgement);
        let pending = Pending { told, going, trips, unjudged, recall: job.is_some() };
        (self.to_store(Record { message, judgement, signals, job }), pending)
    }

    /// What the rules say of a message; nothing where they panic, which is a bug here. Such a message
    /// must neither be lost nor stand in the way of the others: it is recorded as one that no rule hit,
    /// and named in quarantine.
    fn ask(&self, rules: &CompiledRules, message: &Message) -> Option<(Signals, Judgement)> {
        let asked = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(feature = "fail")]
            poison(message);
            let signals = self.windows.observe(rules, message);
            let judgement = rules.judge(message, &signals);
            (signals, judgement)
        }));
        asked.ok()
    }

    /// Leaves out what is not to be stored: the same that erasing takes away. The digest of the content
    /// stays, so that repeated and conflicting callbacks are known all the same.
    fn to_store(&self, mut record: Record) -> Record {
        let keep = match self.options.store_text {
            StoreText::All => true,
            StoreText::Matched => !record.judgement.hits.is_empty(),
            StoreText::None => false,
        };
        if !keep {
            let message = &mut record.message;
            message.text = Text::bare("");
            message.elements.clear();
            message.cloud_custom_data.clear();
            message.mentions = Mentions::default();
            message.operator.clone_from(&message.sender);
            record.judgement.hits.iter_mut().for_each(|hit| hit.text.clear());
        }
        record
    }

    /// Puts a tripped rule back in force. Answers whether it was tripped.
    pub async fn reset_rule(&self, actor: &str, rule: &RuleId) -> Result<bool, Error> {
        self.follow_up.reset(&By::new(actor, self.clock.now()), rule).await
    }

    /// The recall job that a judgement asks for, if any.
    fn job(&self, message: &Message, judgement: &Judgement, asking: &[&RuleId]) -> Option<NewJob> {
        let hit = judgement.recalled_by()?;
        if !self.options.enforce || message.sender == self.options.identifier {
            return None;
        }
        let severity = recall_hits(judgement).map(|hit| hit.severity).max().unwrap_or_default();
        if message.online_only {
            // Recall works on what Chat keeps, and of this it keeps nothing.
            let why = "online-only: Chat keeps no copy to recall".to_owned();
            return Some(new_job(JobState::Refused, Some(why), severity, hit.rule.clone()));
        }
        let job = match self.follow_up.guard.rule(&message.sender, asking, message.received_at)? {
            Ruling::Go(rule) => new_job(JobState::Pending, None, severity, rule),
            Ruling::Hold(rule, why) => new_job(JobState::Held, Some(why), severity, rule),
        };
        Some(job)
    }
}

/// Notes a message that no rule could be asked about.
fn unjudged(message: &Message) -> Quarantined {
    metrics::unjudged();
    let key = &message.key;
    tracing::error!(
        group.id = %key.group_id,
        topic.id = %key.topic_id,
        msg.seq = key.msg_seq,
        "judging a message failed inside quell: it is recorded without a verdict of any rule"
    );
    let body = serde_json::json!({
        "GroupId": key.group_id, "TopicId": key.topic_id, "MsgSeq": key.msg_seq,
    });
    Quarantined {
        received_at: message.received_at,
        command: wire::AFTER_SEND_MSG.to_owned(),
        reason: "judging it failed inside quell; it is recorded as pass".to_owned(),
        body: body.to_string().into_bytes(),
    }
}

fn no_hit(rules: &CompiledRules) -> Judgement {
    let rules_version = rules.version().clone();
    Judgement { verdict: Verdict::Pass, hits: Vec::new(), rules_version }
}

/// A message that rules could panic on, for the tests.
#[cfg(feature = "fail")]
fn poison(message: &Message) {
    let poisonous = message.text.as_str().contains("poison");
    assert!(!(poisonous && crate::model::faults::strikes("judge")), "poison in {message:?}");
}

fn new_job(state: JobState, reason: Option<String>, severity: Severity, rule: RuleId) -> NewJob {
    NewJob { state, reason, severity, requested_by: RequestedBy::Rule(rule) }
}

/// Hits that ask for a recall.
fn recall_hits(judgement: &Judgement) -> impl Iterator<Item = &Hit> {
    let asks = |hit: &&Hit| hit.mode == Mode::Live && hit.action == Action::Recall;
    judgement.hits.iter().filter(asks)
}

/// The rules that ask for a recall, each once: the gravest first, else in order of the file.
fn asking(judgement: &Judgement) -> Vec<&RuleId> {
    let mut hits: Vec<_> = recall_hits(judgement).collect();
    hits.sort_by_key(|hit| std::cmp::Reverse(hit.severity));
    let mut rules: Vec<&RuleId> = Vec::new();
    for hit in hits {
        if !rules.contains(&&hit.rule) {
            rules.push(&hit.rule);
        }
    }
    rules
}

/// Tells stateful matchers what they would remember had the process never ended, as far as the store
/// goes back.
async fn refill(
    windows: &Windows,
    rules: &CompiledRules,
    store: &dyn Store,
    now: Timestamp,
) -> Result<(), Error> {
    let since = if Windows::looks_back_for_ever(rules) {
        Timestamp::default()
    } else {
        let span = Windows::longest_span(rules);
        if span.is_zero() {
            return Ok(());
        }
        now.before(span)
    };
    let mut after = store.message_before(since, REFILL).await?;
    loop {
        let page = store.messages_after(after, REFILL_PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.message_id;
        windows.refill(rules, page.iter().map(|stored| &stored.message));
    }
}

/// Makes a rule set known to the store and to whoever watches.
async fn announce(store: &dyn Store, rules: &CompiledRules, at: Timestamp) -> Result<(), Error> {
    let summaries: Vec<_> = rules
        .summaries()
        .into_iter()
        .map(|rule| {
            if rule.mode != Mode::Off {
                metrics::rule_in_force(&rule.id);
            }
            serde_json::json!({
                "id": rule.id, "why": rule.why, "mode": rule.mode, "severity": rule.severity,
                "actions": rule.actions, "counts": rule.counts,
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
