//! What follows a judgement: its record, what is counted of it, and a rule that falls to shadow.
//!
//! Once a message is judged, guards have counted it and tell of a trip only once. So whatever follows
//! is brought to its end, even if whoever sent the callback has gone or is answered that it took too
//! long; and a trip is stored sooner or later, whatever ails the store at the moment.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::Judged;
use super::guard::Guard;
use super::metrics::{self, Counters};
use crate::model::{Clock, Judgement, Message, MessageKey, Mode, RuleId, UserId, Verdict};
use crate::store::{By, Error, Explained, QUELL, Quarantined, Record, Recorded, Store};

/// A trip that the store refused is tried again after so long.
const TRIP_AGAIN: Duration = Duration::from_millis(250);

pub(super) struct FollowUp {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    pub(super) guard: Guard,
    pub(super) counters: Counters,
    /// Held while a trip is stored or undone, so that no trip lands behind the reset that was for it.
    tripping: Mutex<()>,
}

/// What is left to do for a judged message once it is known what became of its record.
pub(super) struct Pending {
    pub(super) told: Told,
    /// Whose recall by which rule counts against the caps.
    pub(super) going: Option<(UserId, RuleId)>,
    /// Rules that tripped, and why.
    pub(super) trips: Vec<(RuleId, String)>,
    /// That no rule could be asked.
    pub(super) unjudged: Option<Quarantined>,
    pub(super) recall: bool,
}

impl FollowUp {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        guard: Guard,
        counters: Counters,
    ) -> Self {
        Self { store, clock, guard, counters, tripping: Mutex::default() }
    }

    /// Records what was judged and does what is left to do then, to the end, whoever waits for it.
    pub(super) fn record(
        self: &Arc<Self>,
        record: Record,
        pending: Pending,
    ) -> impl Future<Output = Result<Judged, Error>> + use<> {
        let this = Arc::clone(self);
        ToTheEnd(Some(Box::pin(async move {
            let recorded = this.store.record(record).await;
            this.conclude(pending, recorded).await
        })))
    }

    /// The same for what history brought, with what is known by now of the sequences around it.
    pub(super) fn explain(
        self: &Arc<Self>,
        explained: Explained,
        records: Vec<Record>,
        pending: Vec<Pending>,
    ) -> impl Future<Output = Result<Vec<Judged>, Error>> + use<> {
        let this = Arc::clone(self);
        ToTheEnd(Some(Box::pin(async move {
            let recorded = this.store.explain(explained, records).await;
            let mut taken = Vec::with_capacity(pending.len());
            for (at, pending) in pending.into_iter().enumerate() {
                let recorded = recorded.as_ref().map(|all| all[at]).map_err(Clone::clone);
                taken.push(this.conclude(pending, recorded).await);
            }
            recorded?;
            taken.into_iter().collect()
        })))
    }

    /// Does what is left to do once it is known what became of a record.
    async fn conclude(
        self: &Arc<Self>,
        pending: Pending,
        recorded: Result<Recorded, Error>,
    ) -> Result<Judged, Error> {
        let Pending { told, going, trips, unjudged, recall } = pending;
        if matches!(recorded, Ok(Recorded::New | Recorded::Conflict)) {
            told.tell(&self.counters);
        } else if let Some((sender, rule)) = going {
            self.guard.refund(&sender, &rule);
        }
        for (rule, why) in trips {
            self.trip(rule, why).await;
        }
        if let Some(unjudged) = unjudged {
            self.store.quarantine(unjudged).await?;
        }
        Ok(Judged { recorded: recorded?, recall })
    }

    /// Lets a rule fall to shadow. Its new jobs are held already; this holds the waiting ones.
    async fn trip(self: &Arc<Self>, rule: RuleId, why: String) {
        tracing::error!(rule.id = %rule, why, "a rule tripped: its recalls are held for an operator");
        metrics::tripped(&rule, true);
        let by = By::new(QUELL, self.clock.now());
        if self.store_trip(&by, &rule, &why).await {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TRIP_AGAIN).await;
                if this.store_trip(&by, &rule, &why).await {
                    return;
                }
            }
        });
    }

    /// Tries to store a trip. Answers whether that is done with.
    async fn store_trip(&self, by: &By, rule: &RuleId, why: &str) -> bool {
        let _in_order = self.tripping.lock().await;
        if !self.guard.is_tripped(rule) {
            return true;
        }
        let Err(error) = self.store.trip(by, rule, why).await else { return true };
        tracing::error!(error = %error, rule.id = %rule, "waiting jobs of a tripped rule go on");
        matches!(error, Error::Closed)
    }

    /// Puts a tripped rule back in force. Answers whether it was tripped.
    pub(super) async fn reset(&self, by: &By, rule: &RuleId) -> Result<bool, Error> {
        let _in_order = self.tripping.lock().await;
        let stored = self.store.untrip(by, rule).await?;
        let known = self.guard.reset(rule);
        metrics::tripped(rule, false);
        Ok(stored || known)
    }
}

/// A future that goes on by itself where nobody waits for it any more.
struct ToTheEnd<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(rest) = self.0.as_mut() else { return Poll::Pending };
        let polled = rest.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        // What panicked has no rest; without a runtime the process is at its end.
        if let Some(rest) = self.0.take()
            && !std::thread::panicking()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(rest);
        }
    }
}

/// What is counted and logged of a judgement once it is stored.
pub(super) struct Told {
    verdict: Verdict,
    /// Each rule that matched, with its mode.
    rules: Vec<(RuleId, Mode)>,
    /// For verdicts that act.
    key: Option<MessageKey>,
}

pub(super) fn told(message: &Message, judgement: &Judgement) -> Told {
    let mut rules: Vec<_> = judgement.hits.iter().map(|hit| (hit.rule.clone(), hit.mode)).collect();
    // Hits come in order of the rules, so a rule that matched twice stands twice in a row.
    rules.dedup();
    let acts = judgement.verdict != Verdict::Pass;
    Told { verdict: judgement.verdict, rules, key: acts.then(|| message.key.clone()) }
}

impl Told {
    fn tell(self, counters: &Counters) {
        counters.judged(self.verdict, &self.rules);
        if let Some(key) = self.key {
            tracing::info!(
                group.id = %key.group_id,
                topic.id = %key.topic_id,
                msg.seq = key.msg_seq,
                verdict = self.verdict.as_str(),
                rule.id = self.rules.first().map(|(rule, _)| rule.as_str()),
                "verdict"
            );
        }
    }
}
