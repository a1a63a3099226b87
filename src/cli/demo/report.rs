//! The honest report: what the traffic sent, what the store holds and what the simulated Chat was
//! asked to do, three records kept by three parties, compared message by message.

use std::collections::{HashMap, HashSet};
use std::fmt;

use anyhow::Result;
use serde_json::json;

use crate::model::MessageKey;
use crate::sim::Sim;
use crate::sim::traffic::{Outcome, Record};
use crate::store::{Audit, Cell, Filter, Page, View};

/// Sequences that a call may hold, and calls that Chat takes in a second (pages `recall`,
/// `rest-intro`).
const LIMITS: (usize, usize) = (10, 200);
/// Rows read at once.
const PAGE: usize = 10_000;

/// How the queue of recalls was left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Queue {
    /// Somebody did not wait for it.
    #[default]
    Unknown,
    Waits,
    Empty,
}

/// The figures of a run.
#[derive(Debug, Default)]
pub(super) struct Report {
    seconds: f64,
    sent: usize,
    acknowledged: usize,
    stored: usize,
    violating: usize,
    matched: usize,
    recalled: usize,
    /// Violating, and kept nowhere by Chat.
    online_only: usize,
    calls: usize,
    batch_fill: f64,
    largest_batch: usize,
    max_calls_in_1s: usize,
    exposure_p50_ms: i64,
    exposure_p99_ms: i64,
    /// Acknowledged and not stored.
    lost_messages: usize,
    /// Stored, violating, recallable, and still visible.
    lost_recalls: usize,
    /// Recalled without having violated anything.
    wrongly_recalled: usize,
    queue: Queue,
}

impl Report {
    pub(super) async fn compare(
        store: &dyn Audit,
        sim: &Sim,
        sent: &[Record],
        seconds: f64,
        queue: Queue,
    ) -> Result<Self> {
        let stored = stored(store).await?;
        let mut exposures = exposures(store).await?;
        exposures.sort_unstable();
        let recalled = sim.recalled();
        let calls: Vec<_> =
            sim.log().into_iter().filter(|call| call.command == "group_msg_recall").collect();
        let sequences: usize = calls.iter().map(|call| call.seqs.len()).sum();
        let mut report = Self {
            seconds,
            sent: sent.len(),
            recalled: recalled.len(),
            calls: calls.len(),
            batch_fill: ratio(sequences, calls.len()),
            largest_batch: calls.iter().map(|call| call.seqs.len()).max().unwrap_or(0),
            max_calls_in_1s: sim.max_calls_in_one_second(),
            exposure_p50_ms: percentile(&exposures, 50),
            exposure_p99_ms: percentile(&exposures, 99),
            queue,
            ..Self::default()
        };
        let mut innocent: HashSet<&MessageKey> = recalled.iter().collect();
        for record in sent {
            let verdict = stored.get(&record.key);
            report.acknowledged += usize::from(record.outcome == Outcome::Acknowledged);
            report.violating += usize::from(record.violating);
            report.stored += usize::from(verdict.is_some());
            report.matched += usize::from(verdict.is_some_and(|verdict| verdict == "recall"));
            if record.outcome == Outcome::Acknowledged && verdict.is_none() {
                report.lost_messages += 1;
            }
            if record.violating {
                innocent.remove(&record.key);
                if record.online_only {
                    report.online_only += 1;
                } else if queue != Queue::Unknown
                    && verdict.is_some()
                    && !recalled.contains(&record.key)
                {
                    report.lost_recalls += 1;
                }
            }
        }
        report.wrongly_recalled = innocent.len();
        Ok(report)
    }

    /// Whether it was waited for all that was to come, so that every promise could be looked at.
    pub(super) fn is_whole(&self) -> bool {
        self.queue != Queue::Unknown
    }

    /// The promises that were not kept.
    pub(super) fn breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        let mut unless = |kept: bool, breach: String| {
            if !kept {
                breaches.push(breach);
            }
        };
        let Self { lost_messages, lost_recalls, wrongly_recalled, max_calls_in_1s, .. } = self;
        unless(
            *lost_messages == 0,
            format!("{lost_messages} messages acknowledged and not stored"),
        );
        unless(*lost_recalls == 0, format!("{lost_recalls} violating messages not recalled"));
        unless(*wrongly_recalled == 0, format!("{wrongly_recalled} messages wrongly recalled"));
        unless(*max_calls_in_1s <= LIMITS.1, format!("{max_calls_in_1s} calls in one second"));
        unless(
            self.largest_batch <= LIMITS.0,
            format!("a call with {} sequences", self.largest_batch),
        );
        unless(self.queue != Queue::Waits, "recalls still wait".to_owned());
        let Self { sent, acknowledged, .. } = self;
        // A run that took nothing in proves nothing.
        unless(
            acknowledged * 10 >= sent * 9 && *sent > 0,
            format!("only {acknowledged} of {sent} messages were acknowledged"),
        );
        breaches
    }

    pub(super) fn json(&self) -> serde_json::Value {
        json!({
            "seconds": round(self.seconds),
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "stored": self.stored,
            "violating": self.violating,
            "matched": self.matched,
            "recalled": self.recalled,
            "online_only": self.online_only,
            "calls": self.calls,
            "batch_fill": round(self.batch_fill),
            "max_calls_in_1s": self.max_calls_in_1s,
            "exposure_p50_ms": self.exposure_p50_ms,
            "exposure_p99_ms": self.exposure_p99_ms,
            "lost": self.lost_messages + self.lost_recalls,
            "wrongly_recalled": self.wrongly_recalled,
            "breaches": self.breaches(),
            "stopped": !self.is_whole(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row =
            |name: &str, value: String, what: &str| writeln!(f, "{name:<18}{value:>12}  {what}");
        let number = |n: usize| n.to_string();
        row("sent", number(self.sent), "messages that the traffic made")?;
        row("acknowledged", number(self.acknowledged), "callbacks answered 200")?;
        row("stored", number(self.stored), "messages in the database")?;
        row("violating", number(self.violating), "of those sent, by construction")?;
        row("matched", number(self.matched), "of those stored, by the rules")?;
        row("online-only", number(self.online_only), "violating, kept nowhere by Chat: no recall")?;
        row("recalled", number(self.recalled), "at the simulated Chat")?;
        row("calls", number(self.calls), "recall calls that arrived there")?;
        row("batch fill", format!("{:.2}", self.batch_fill), "messages a call")?;
        row(
            "calls in 1 s",
            number(self.max_calls_in_1s),
            "the most in any second; 200 is the limit",
        )?;
        row("exposure p50", format!("{} ms", self.exposure_p50_ms), "from sent to recalled")?;
        row("exposure p99", format!("{} ms", self.exposure_p99_ms), "")?;
        row("lost", number(self.lost_messages + self.lost_recalls), "must be 0")?;
        row("wrongly recalled", number(self.wrongly_recalled), "must be 0")?;
        let breaches = self.breaches();
        let mut said = Vec::new();
        if !breaches.is_empty() {
            said.push(format!("BROKEN: {}", breaches.join("; ")));
        }
        if !self.is_whole() {
            let stopped =
                "stopped before the queue was empty: whether all was recalled was not checked";
            said.push(stopped.to_owned());
        }
        if said.is_empty() {
            said.push("every promise was kept".to_owned());
        }
        write!(f, "{}", said.join("\n"))
    }
}

/// Verdicts of everything that the store holds.
async fn stored(store: &dyn Audit) -> Result<HashMap<MessageKey, String>> {
    let mut stored = HashMap::new();
    pages(store, View::Messages, |page, row| {
        let text = |column| match page.cell(row, column) {
            Cell::Text(text) => text.clone(),
            _ => String::new(),
        };
        let Cell::Integer(seq) = page.cell(row, "msg_seq") else { return };
        let key = MessageKey {
            group_id: text("group_id").into(),
            topic_id: text("topic_id").into(),
            msg_seq: u64::try_from(*seq).unwrap_or(0),
        };
        stored.insert(key, text("verdict"));
    })
    .await?;
    Ok(stored)
}

async fn exposures(store: &dyn Audit) -> Result<Vec<i64>> {
    let mut exposures = Vec::new();
    pages(store, View::Recalls, |page, row| {
        if let Cell::Integer(exposure) = page.cell(row, "exposure_ms") {
            exposures.push(*exposure);
        }
    })
    .await?;
    Ok(exposures)
}

async fn pages(store: &dyn Audit, view: View, mut look: impl FnMut(&Page, &[Cell])) -> Result<()> {
    let mut filter = Filter { limit: PAGE, ..Filter::default() };
    loop {
        let page = store.page(view, &filter).await?;
        page.rows.iter().for_each(|row| look(&page, row));
        filter.cursor = page.next;
        if page.next.is_none() {
            return Ok(());
        }
    }
}

/// The value below which so many percent lie, of sorted values.
fn percentile(sorted: &[i64], percent: usize) -> i64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a demo")]
fn ratio(a: usize, b: usize) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<i64> = (1..=100).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99)), (50, 99));
        assert_eq!((percentile(&[7], 50), percentile(&[7], 99), percentile(&[], 50)), (7, 7, 0));
    }

    #[test]
    fn each_broken_promise_is_named() {
        let fine = Report {
            sent: 10,
            acknowledged: 9,
            queue: Queue::Empty,
            max_calls_in_1s: 200,
            largest_batch: 10,
            ..Report::default()
        };
        assert_eq!(fine.breaches(), Vec::<String>::new());
        let broken = Report {
            lost_messages: 1,
            lost_recalls: 2,
            wrongly_recalled: 3,
            max_calls_in_1s: 201,
            largest_batch: 11,
            queue: Queue::Waits,
            ..Report::default()
        };
        assert_eq!(broken.breaches().len(), 7);
        assert_eq!(broken.json()["lost"], 3);
    }

    #[test]
    fn a_queue_that_nobody_waited_for_is_no_broken_promise() {
        let report = |queue| Report { sent: 1, acknowledged: 1, queue, ..Report::default() };
        let stopped = report(Queue::Unknown);
        assert_eq!(stopped.breaches(), Vec::<String>::new());
        assert!(!stopped.is_whole() && stopped.json()["stopped"] == true);
        let said = stopped.to_string();
        assert!(said.contains("stopped before") && !said.contains("BROKEN"), "{said}");
        assert!(!said.contains("every promise was kept"), "{said}");
        assert!(report(Queue::Empty).to_string().ends_with("every promise was kept"));
        assert!(report(Queue::Waits).to_string().contains("BROKEN: recalls still wait"));
    }
}
