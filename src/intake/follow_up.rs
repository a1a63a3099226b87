//! What follows a judgement: its record, what is counted of it, and a rule that falls to shadow.
//!
//! Once a message is judged, guards have counted it and tell of a trip only once. So whatever follows
//! is brought to its end, even if whoever sent the callback has gone or is answered that it took too
//! long; and a trip is stored sooner or later, whatever ails the store at the moment.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::Judged;
use super::guard::Guard;
use super::metrics::{self, Counters};
use crate::model::{Clock, Judgement, Message, MessageKey, Mode, RuleId, UserId, Verdict};
use crate::store::{By, Error, Explained, QUELL, Quarantined, Record, Recorded, Recording, Store};

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
    pub(super) fn record(self: &Arc<Self>, record: Record, pending: Pending) -> Recorder<'_> {
        let recording = self.store.record(record);
        Recorder { follow_up: self, recording, left: Some(pending), rest: ToTheEnd(None) }
    }

    /// The same for what history brought, with what is known by now of the sequences around it.
    pub(super) fn explain(
        self: &Arc<Self>,
        explained: Explained,
        records: Vec<Record>,
        pending: Vec<Pending>,
    ) -> impl Future<Output = Result<Vec<Judged>, Error>> + use<> {
        let this = Arc::clone(self);
        ToTheEnd::new(async move {
            let recorded = this.store.explain(explained, records).await;
            let mut taken = Vec::with_capacity(pending.len());
            for (at, pending) in pending.into_iter().enumerate() {
                let recorded = recorded.as_ref().map(|all| all[at]).map_err(Clone::clone);
                taken.push(this.conclude(pending, recorded).await);
            }
            recorded?;
            taken.into_iter().collect()
        })
    }

    /// Does what is left to do once it is known what became of a record.
    async fn conclude(
        self: &Arc<Self>,
        pending: Pending,
        recorded: Result<Recorded, Error>,
    ) -> Result<Judged, Error> {
        self.count(&pending, &recorded);
        let Pending { trips, unjudged, recall, .. } = pending;
        for (rule, why) in trips {
            self.trip(rule, why).await;
        }
        if let Some(unjudged) = unjudged {
            self.store.quarantine(unjudged).await?;
        }
        Ok(Judged { recorded: recorded?, recall })
    }

    /// Counts and logs what was stored; takes back what was counted of the rest.
    fn count(&self, pending: &Pending, recorded: &Result<Recorded, Error>) {
        if matches!(recorded, Ok(Recorded::New | Recorded::Conflict)) {
            pending.told.tell(&self.counters);
        } else if let Some((sender, rule)) = &pending.going {
            self.guard.refund(sender, rule);
        }
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

impl<T: Send + 'static> ToTheEnd<T> {
    fn new(rest: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(rest)))
    }
}

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
        if let Some(rest) = self.0.take() {
            go_on(rest);
        }
    }
}

/// Does by itself what nobody waits for any more.
fn go_on<T: Send + 'static>(rest: impl Future<Output = T> + Send + 'static) {
    // What panicked has no rest; without a runtime the process is at its end.
    if !std::thread::panicking()
        && let Ok(runtime) = Handle::try_current()
    {
        runtime.spawn(rest);
    }
}

/// What [`ToTheEnd`] is to any future, this is to a message's record, and more cheaply: only where there
/// is more to do than to count does it need a future of its own.
pub(super) struct Recorder<'a> {
    follow_up: &'a Arc<FollowUp>,
    recording: Recording,
    left: Option<Pending>,
    rest: ToTheEnd<Result<Judged, Error>>,
}

impl Future for Recorder<'_> {
    type Output = Result<Judged, Error>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left.is_some() {
            let recorded = ready!(Pin::new(&mut self.recording).poll(context));
            let Some(pending) = self.left.take() else { return Poll::Pending };
            let this = self.follow_up;
            if pending.trips.is_empty() && pending.unjudged.is_none() {
                this.count(&pending, &recorded);
                return Poll::Ready(
                    recorded.map(|recorded| Judged { recorded, recall: pending.recall }),
                );
            }
            let this = Arc::clone(this);
            self.rest = ToTheEnd::new(async move { this.conclude(pending, recorded).await });
        }
        Pin::new(&mut self.rest).poll(context)
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        if let Some(pending) = self.left.take() {
            let this = Arc::clone(self.follow_up);
            let none = Recording::refused(Error::Closed);
            let recording = std::mem::replace(&mut self.recording, none);
            go_on(async move { this.conclude(pending, recording.await).await });
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
    fn tell(&self, counters: &Counters) {
        counters.judged(self.verdict, &self.rules);
        if let Some(key) = &self.key {
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
