//! `outage`: a minute without the daemon is made up for as fast as the history budget allows.
//!
//! Traffic over groups of every type; after a while the daemon is killed, and started again later, the traffic still going on. What no callback brought needs one history call for twenty
//! messages of a group, and each group that was active one probe. From the moment the daemon listens
//! until everything is explained may take 1.2 times as long as these calls at 50 a second.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use quell::model::MsgSeq;
use quell::sim::CallbackTarget;
use quell::sim::traffic::{Outcome, Traffic, TrafficOptions};
use quell::store::View;

use super::Report;
use super::bed::{Bed, CALLBACK_TOKEN, until};
use super::history::ledger::Ledger;
use super::history::{pages, text};

const RATE: f64 = 300.0;
const CALLS_A_SECOND: f64 = 50.0;
const PATIENCE: Duration = Duration::from_mins(5);

pub(crate) async fn prove(binary: &Path, down: Duration) -> Result<Report> {
    let bed = Bed::new(false).await?;
    let road = Ledger::start(&bed.folder.path().join("ledger.jsonl")).await?;
    let target = CallbackTarget { url: road.url(), token: Some(CALLBACK_TOKEN.into()) };
    bed.sim.call_back(&target)?;
    let daemon = bed.spawn(binary).await?;
    road.forward_to(daemon.callbacks);
    let options = TrafficOptions { rate: RATE, ..TrafficOptions::default() };
    let traffic = Traffic::start(&bed.sim, &target, &options)?;
    // Every group has been heard of by then.
    tokio::time::sleep(Duration::from_secs(5)).await;
    daemon.kill().await?;
    tokio::time::sleep(down).await;
    let daemon = bed.spawn(binary).await?;
    let began = Instant::now();
    road.forward_to(daemon.callbacks);
    // The last change of the count of what was found is when it was done.
    let mut found = 0.0;
    let mut done_at = began;
    let settled = until(PATIENCE, async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = daemon.metric("quell_explained_sequences_total").await?;
        let open = daemon.metric("quell_gaps_open_sequences").await?;
        if now > found {
            (found, done_at) = (now, Instant::now());
        }
        Ok(open < 1.0 && found > 0.0 && done_at.elapsed() > Duration::from_secs(5))
    })
    .await?;
    let (_, sent) = traffic.stop().await;
    daemon.terminate().await?;
    let mut lost: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut groups: BTreeMap<(String, String), MsgSeq> = BTreeMap::new();
    for sent in &sent {
        let place = (sent.key.group_id.to_string(), sent.key.topic_id.to_string());
        if place.0.starts_with("live-room-") {
            continue;
        }
        *groups.entry(place.clone()).or_default() += 1;
        if sent.outcome != Outcome::Acknowledged {
            *lost.entry(place).or_default() += 1;
        }
    }
    let store = bed.store().await?;
    let (mut stored, mut open) = (0_usize, 0_usize);
    pages(store.as_ref(), View::Messages, |_, _| stored += 1).await?;
    pages(store.as_ref(), View::Gaps, |page, row| {
        open += usize::from(text(page, row, "state") == "open");
    })
    .await?;
    store.close().await;
    let pages_needed: u64 = lost.values().map(|lost| lost.div_ceil(20)).sum();
    #[expect(clippy::cast_precision_loss, reason = "thousands of calls")]
    let needed = (pages_needed + groups.len() as u64) as f64 / CALLS_A_SECOND;
    let took = done_at.duration_since(began).as_secs_f64();
    let mut report = Report::new("outage: the daemon killed for a minute under traffic");
    report.figure("messages sent", sent.len());
    report.figure("stored", stored);
    report.figure("missed, in groups with history", lost.values().sum::<u64>());
    report.figure("groups with history", groups.len());
    report.figure("calls needed: pages and probes", pages_needed + groups.len() as u64);
    report.goal("settled", settled, "true", settled);
    report.goal("open gaps", open, "0", open == 0);
    report.figure("needed at 50 calls a second", format!("{needed:.1} s"));
    let ratio = took / needed;
    report.goal("took", format!("{took:.1} s, {ratio:.2}x"), "<= 1.2x", ratio <= 1.2);
    Ok(report)
}
