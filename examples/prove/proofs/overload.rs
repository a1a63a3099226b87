//! `overload`: more than can be done is refused or waits, what is done stays as much, and nothing is
//! acknowledged that is not stored.
//!
//! The peak is measured first, with as many callbacks under way as 256 connections hold. Then callbacks
//! come at half, once, twice and four times that, on a schedule that does not wait for answers: a
//! connection that is behind sends at once, and what is more than two seconds late was given up by
//! Chat. Load and daemon share this machine, so four times the peak asks for more than half of it
//! could ever send; what could not be sent counts as too late, as it would at Chat.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::bed::Bed;
use super::load::{Load, missing, send};
use super::{Report, percentile};

const CONNECTIONS: usize = 256;
/// More than the daemon's own cap would hold up the load itself.
const OVERLOADED_CONNECTIONS: usize = 2_000;
/// Goodput under overload, as a share of the peak.
const KEPT: f64 = 0.8;
/// Memory may grow by this much from the peak to four times the peak.
const GROWTH_MIB: u64 = 100;

/// With so long for the peak and for each factor.
pub(crate) async fn prove(binary: &Path, each: Duration) -> Result<Report> {
    let bed = Bed::new(true).await?;
    let daemon = bed.spawn_with(binary, &["history.repair=false"]).await?;
    let mut after = 0;
    let mut load = |connections, rate| {
        after += 1_000_000;
        Load { connections, rate, lasts: each, after, distinct: false }
    };
    let peak = send(daemon.callbacks, load(CONNECTIONS, None)).await?;
    let (most, before) = (peak.goodput(), daemon.resident_mib()?);
    let mut report = Report::new("overload: 0.5, 1, 2 and 4 times the measured peak");
    report.figure("peak, acknowledged a second", format!("{most:.0}"));
    report.figure("peak, p99", format!("{} us", percentile(&peak.micros, 99)));
    let mut acknowledged = peak.acknowledged;
    for factor in [0.5, 1.0, 2.0, 4.0] {
        let connections = if factor > 1.0 { OVERLOADED_CONNECTIONS } else { CONNECTIONS };
        let came = send(daemon.callbacks, load(connections, Some(most * factor))).await?;
        let goodput = came.goodput();
        let what = |what: &str| format!("{factor} x peak: {what}");
        if factor > 1.0 {
            let (met, goal) = (goodput >= KEPT * most, format!(">= {:.0}", KEPT * most));
            report.goal(what("acknowledged a second"), format!("{goodput:.0}"), goal, met);
        } else {
            report.figure(what("acknowledged a second"), format!("{goodput:.0}"));
        }
        report.figure(what("p99"), format!("{} us", percentile(&came.micros, 99)));
        report.figure(what("refused"), came.refused);
        report.figure(what("too late for Chat"), came.too_late);
        report.figure(what("memory"), format!("{} MiB", daemon.resident_mib()?));
        acknowledged.extend(came.acknowledged);
    }
    let grown = daemon.resident_mib()?.saturating_sub(before);
    let goal = format!("<= {GROWTH_MIB} MiB");
    report.goal("memory grown since the peak", format!("{grown} MiB"), goal, grown <= GROWTH_MIB);
    daemon.terminate().await?;
    let lost = missing(&bed, &acknowledged).await?;
    report.figure("acknowledged in all", acknowledged.len());
    report.goal("acknowledged and not stored", lost, "0", lost == 0);
    Ok(report)
}
