//! Looking for what is worth an alert: every few seconds, at what the store and the worker know.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

use super::{Alert, Halt};
use crate::model::{Clock, RuleId, Timestamp};
use crate::store::{Error, Filter, Store, View};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// Unrepairable gaps are told of together, and no more often than this.
const GAPS_EVERY: Duration = Duration::from_mins(10);
/// A queue that is too old is told of again after so long.
const QUEUE_AGAIN: Duration = Duration::from_hours(1);
/// Calls that still stand still are told of again after so long.
const HALT_AGAIN: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const MINUTE_MS: i64 = 60_000;
/// Audio-video groups have no history: that their gaps cannot be filled is no news.
const WITHOUT_HISTORY: &str = "AVChatRoom";

/// What was seen so far.
pub(super) struct Watch {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    halted: Box<dyn Fn() -> Option<Halt> + Send + Sync>,
    queue_age: Duration,
    summary_minute: Option<u32>,
    tripped: HashSet<RuleId>,
    halt: Option<Halt>,
    refusal_told: Option<Timestamp>,
    outage_told: Option<Timestamp>,
    queue_told: Option<Timestamp>,
    gaps_told: Timestamp,
    summed_up: i64,
}

impl Watch {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        halted: Box<dyn Fn() -> Option<Halt> + Send + Sync>,
        queue_age: Duration,
        summary_minute: Option<u32>,
    ) -> Self {
        let now = clock.now();
        let mut watch = Self {
            store,
            clock,
            halted,
            queue_age,
            summary_minute,
            tripped: HashSet::new(),
            halt: None,
            refusal_told: None,
            outage_told: None,
            queue_told: None,
            gaps_told: now,
            summed_up: 0,
        };
        watch.summed_up = watch.summary_day(now);
        watch
    }

    pub(super) async fn run(mut self, receivers: Vec<mpsc::Sender<Alert>>) {
        loop {
            let mut found = Vec::new();
            if let Err(error) = self.look(&mut found).await {
                tracing::warn!(%error, "what there is to tell cannot be read");
            }
            for alert in &found {
                for receiver in &receivers {
                    if receiver.try_send(alert.clone()).is_err() {
                        tracing::error!(
                            alert = alert.kind(),
                            "too many alerts wait: one was dropped"
                        );
                        metrics::counter!("quell_notifications_total", "result" => "dropped")
                            .increment(1);
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Adds what is new since the last look: also what was seen before the store could not be asked.
    pub(super) async fn look(&mut self, alerts: &mut Vec<Alert>) -> Result<(), Error> {
        let now = self.clock.now();
        self.calls(now, alerts);
        self.rules(alerts).await?;
        self.queue(now, alerts).await?;
        self.gaps(now, alerts).await?;
        self.day(now, alerts).await
    }

    async fn rules(&mut self, alerts: &mut Vec<Alert>) -> Result<(), Error> {
        let tripped = self.store.tripped().await?;
        let known = std::mem::take(&mut self.tripped);
        for rule in tripped {
            self.tripped.insert(rule.rule.clone());
            if !known.contains(&rule.rule) {
                alerts.push(Alert::RuleTripped { rule: rule.rule, why: rule.why, at: rule.at });
            }
        }
        Ok(())
    }

    fn calls(&mut self, now: Timestamp, alerts: &mut Vec<Alert>) {
        let before = std::mem::replace(&mut self.halt, (self.halted)());
        let Some(halt) = &self.halt else { return };
        let (news, told) = if halt.needs_person {
            (before.as_ref() != Some(halt), &mut self.refusal_told)
        } else {
            // Where Chat comes and goes, calls stand still and go on, over and over: that is no news.
            (false, &mut self.outage_told)
        };
        if news || told.is_none_or(|told| now.since(told) >= HALT_AGAIN) {
            *told = Some(now);
            alerts.push(Alert::CallsHalted { halt: halt.clone(), at: now });
        }
    }

    async fn queue(&mut self, now: Timestamp, alerts: &mut Vec<Alert>) -> Result<(), Error> {
        if self.queue_age.is_zero() {
            return Ok(());
        }
        let oldest = self.store.waiting(0, 1).await?;
        // While an operator wants it so, nothing is late.
        let paused = self.store.paused().await?.is_some();
        let age = oldest.first().filter(|_| !paused).map(|job| now.since(job.due_at));
        let Some(age) = age.filter(|age| *age > self.queue_age) else {
            self.queue_told = None;
            return Ok(());
        };
        if self.queue_told.is_some_and(|told| now.since(told) < QUEUE_AGAIN) {
            return Ok(());
        }
        self.queue_told = Some(now);
        let states = self.store.unfinished_by_state().await?;
        let waiting = states.iter().filter(|(state, _)| state != "held").map(|(_, count)| count);
        let waiting = u64::try_from(waiting.sum::<i64>()).unwrap_or(0);
        alerts.push(Alert::QueueOld { age, waiting, at: now });
        Ok(())
    }

    async fn gaps(&mut self, now: Timestamp, alerts: &mut Vec<Alert>) -> Result<(), Error> {
        if now.since(self.gaps_told) < GAPS_EVERY {
            return Ok(());
        }
        let filter =
            Filter { state: Some("unrepairable".into()), limit: 1000, ..Filter::default() };
        let page = self.store.page(View::Gaps, &filter).await?.objects();
        let since = self.gaps_told.millis();
        let new: Vec<_> = page
            .iter()
            .filter(|gap| gap["closed_at"].as_i64().is_some_and(|at| at >= since))
            .filter(|gap| gap["group_type"] != WITHOUT_HISTORY)
            .collect();
        self.gaps_told = now;
        let Some(latest) = new.first() else { return Ok(()) };
        alerts.push(Alert::GapUnrepairable {
            sequences: new.iter().filter_map(|gap| gap["sequences"].as_u64()).sum(),
            gaps: new.len() as u64,
            reason: latest["reason"].as_str().unwrap_or("no reason is known").to_owned(),
            at: now,
        });
        Ok(())
    }

    /// The day, counted from when days are summed up.
    fn summary_day(&self, now: Timestamp) -> i64 {
        let offset = i64::from(self.summary_minute.unwrap_or(0)) * MINUTE_MS;
        (now.millis() - offset).div_euclid(24 * 60 * MINUTE_MS)
    }

    async fn day(&mut self, now: Timestamp, alerts: &mut Vec<Alert>) -> Result<(), Error> {
        let day = self.summary_day(now);
        if self.summary_minute.is_none() || day <= self.summed_up {
            return Ok(());
        }
        let since = now.before(DAY);
        let store = self.store.as_ref();
        let messages = store.stretch(Some(since)).await?.most();
        let states = store.recalls_by_state(since).await?;
        let exposure = store.exposure(since, now, DAY).await?;
        let rules = store.top_rules(since, 3).await?;
        let rules: Vec<_> = rules
            .iter()
            .map(|rule| json!({ "rule": rule.rule, "hits": rule.live_hits + rule.shadow_hits }))
            .collect();
        let count = |name: &str| {
            states.iter().find(|(state, _)| state == name).map_or(0, |(_, count)| *count)
        };
        let summary = json!({
            "messages": messages,
            "recalled": count("recalled"), "gone": count("gone"), "refused": count("refused"),
            "dead": count("dead"), "held": count("held"),
            "exposure_p50_ms": exposure.first().and_then(|bucket| bucket.p50_ms),
            "exposure_p99_ms": exposure.first().and_then(|bucket| bucket.p99_ms),
            "top_rules": rules,
            "chain_head": store.head().await?,
        });
        self.summed_up = day;
        alerts.push(Alert::DailySummary { summary, at: now });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::model::ManualClock;
    use crate::store::sqlite::{self, Options};
    use crate::store::{By, Control};

    const START: Timestamp = Timestamp(1_764_000_000_000);

    struct Bed {
        watch: Watch,
        store: Arc<sqlite::Sqlite>,
        clock: Arc<ManualClock>,
        halt: Arc<Mutex<Option<Halt>>>,
        _folder: tempfile::TempDir,
    }

    impl Bed {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = sqlite::open(&Options::at(&folder.path().join("quell.db"))).await.unwrap();
            let store = Arc::new(store);
            let clock = Arc::new(ManualClock::at(START));
            let halt = Arc::new(Mutex::new(None));
            let halted = {
                let halt = Arc::clone(&halt);
                Box::new(move || halt.lock().unwrap().clone())
            };
            let (age, minute) = (Duration::from_mins(1), Some(480));
            let watch =
                Watch::new(Arc::clone(&store) as _, Arc::clone(&clock) as _, halted, age, minute);
            Self { watch, store, clock, halt, _folder: folder }
        }

        fn halt(&self, why: &str, needs_person: bool) {
            *self.halt.lock().unwrap() = Some(Halt { why: why.into(), needs_person });
        }

        async fn kinds(&mut self) -> Vec<&'static str> {
            let mut found = Vec::new();
            self.watch.look(&mut found).await.unwrap();
            found.iter().map(Alert::kind).collect()
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_at_once_and_again_while_it_lasts() {
        let mut bed = Bed::new().await;
        assert_eq!(bed.kinds().await, [""; 0]);
        bed.halt("60026: wrong region", true);
        assert_eq!(bed.kinds().await, ["credential.refused"]);
        assert_eq!(bed.kinds().await, [""; 0]);
        bed.halt("70009: another key", true);
        assert_eq!(bed.kinds().await, ["credential.refused"], "it is another one");
        bed.clock.advance(HALT_AGAIN);
        assert_eq!(bed.kinds().await, ["credential.refused"], "it lasts");
    }

    #[tokio::test]
    async fn a_chat_that_comes_and_goes_is_told_of_once() {
        let mut bed = Bed::new().await;
        let mut told = Vec::new();
        for _ in 0..20 {
            bed.halt("connection refused", false);
            told.extend(bed.kinds().await);
            *bed.halt.lock().unwrap() = None;
            told.extend(bed.kinds().await);
            bed.clock.advance(Duration::from_secs(30));
        }
        assert_eq!(told, ["calls.halted"]);
    }

    #[tokio::test]
    async fn a_day_is_summed_up_when_it_is_over() {
        let mut bed = Bed::new().await;
        let by = By::new("quell", START);
        bed.store.trip(&by, &"bait".into(), "60 of 100 senders").await.unwrap();
        assert_eq!(bed.kinds().await, ["rule.tripped"]);
        // It is 16:00 UTC; days are summed up at 08:00.
        bed.clock.advance(Duration::from_hours(15));
        assert_eq!(bed.kinds().await, [""; 0]);
        bed.clock.advance(Duration::from_hours(1));
        assert_eq!(bed.kinds().await, ["daily.summary"]);
        assert_eq!(bed.kinds().await, [""; 0]);
    }

    #[tokio::test]
    async fn what_was_seen_is_told_though_the_store_fails() {
        let mut bed = Bed::new().await;
        bed.halt("60026: wrong region", true);
        bed.store.close().await;
        let mut found = Vec::new();
        assert!(bed.watch.look(&mut found).await.is_err());
        assert_eq!(found.len(), 1);
    }
}
