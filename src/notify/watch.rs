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
            queue_told: None,
            gaps_told: now,
            summed_up: 0,
        };
        watch.summed_up = watch.summary_day(now);
        watch
    }

    pub(super) async fn run(mut self, alerts: mpsc::Sender<Alert>) {
        loop {
            match self.look().await {
                Ok(found) => {
                    for alert in found {
                        if let Err(error) = alerts.try_send(alert) {
                            tracing::error!(%error, "too many alerts wait: one was dropped");
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "what there is to tell cannot be read"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What is new since the last look.
    pub(super) async fn look(&mut self) -> Result<Vec<Alert>, Error> {
        let now = self.clock.now();
        let mut alerts = Vec::new();
        self.rules(&mut alerts).await?;
        self.calls(now, &mut alerts);
        self.queue(now, &mut alerts).await?;
        self.gaps(now, &mut alerts).await?;
        self.day(now, &mut alerts).await?;
        Ok(alerts)
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
        let halt = (self.halted)();
        if let Some(halt) = &halt
            && self.halt.as_ref() != Some(halt)
        {
            alerts.push(Alert::CallsHalted { halt: halt.clone(), at: now });
        }
        self.halt = halt;
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
