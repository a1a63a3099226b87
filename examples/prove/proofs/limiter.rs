//! `limiter`: never more than 200 calls in any second, whatever happens, and the configured rate is
//! used.
//!
//! A queue of one message a group, so that every message costs a call, is worked by the real binary
//! opposite a simulated Chat that answers at once. In between the daemon is killed with SIGKILL and
//! started again, frozen with SIGSTOP and continued, told to stop and started again, and Chat fails in
//! every way it can. Chat's own record of arrivals shows:
//!
//! - at most 200 calls in any sliding second, over everything;
//! - while saturated and healthy, at least 97 % of the configured 190 calls a second: counted from
//!   the first call to the last of each healthy stretch.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use quell::sim::Faults;

use super::Report;
use super::bed::{Bed, preload, spread, until};

/// What the daemon is configured for.
const RATE: f64 = 190.0;
/// Chat's limit.
const LIMIT: usize = 200;
/// Calls that are made beside those that are counted: some seconds' worth.
const SPARE: usize = 3_000;
const PATIENCE: Duration = Duration::from_mins(2);
/// Shorter than Chat's window, and longer.
const FROZEN: [Duration; 3] =
    [Duration::from_millis(400), Duration::from_millis(1_100), Duration::from_millis(2_500)];
/// So long after Chat works again its failures have no more effect: calls it left hanging have
/// timed out.
const AFTERMATH: Duration = Duration::from_secs(6);

/// With so many calls as the healthy stretches are to have together.
pub(crate) async fn prove(binary: &Path, calls: usize) -> Result<Report> {
    let bed = Bed::new(true).await?;
    let store = bed.store().await?;
    // Everything that is spent on faults and restarts must not empty the queue.
    let jobs = calls * 2 + SPARE;
    preload(&store, spread(jobs, jobs)).await?;
    store.close().await;
    drop(store);

    let mut healthy = Vec::new();
    let daemon = bed.spawn(binary).await?;
    healthy.push(stretch(&bed, calls / 4).await?);
    daemon.kill().await?;
    let daemon = bed.spawn(binary).await?;
    healthy.push(stretch(&bed, calls / 4).await?);
    // What it did not send while it was frozen must not be made up for.
    for frozen in FROZEN {
        daemon.freeze(frozen).await?;
        arrivals(&bed, calls / 16).await?;
    }
    // Every fault but a complaint of too many calls, which rightly slows it down for long.
    bed.sim.set_faults(Faults { too_frequent: 0.0, ..Faults::rough() });
    arrivals(&bed, calls / 8).await?;
    daemon.kill().await?;
    let daemon = bed.spawn(binary).await?;
    arrivals(&bed, calls / 8).await?;
    bed.sim.set_faults(Faults::default());
    tokio::time::sleep(AFTERMATH).await;
    healthy.push(stretch(&bed, calls / 4).await?);
    daemon.terminate().await?;
    let daemon = bed.spawn(binary).await?;
    healthy.push(stretch(&bed, calls / 4).await?);
    // At last Chat complains, and killing the daemon makes it forget that it was slowed down.
    bed.sim.set_faults(Faults { too_frequent: 0.2, ..Faults::rough() });
    arrivals(&bed, calls / 16).await?;
    daemon.kill().await?;
    let daemon = bed.spawn(binary).await?;
    arrivals(&bed, calls / 16).await?;
    let left = daemon.unfinished().await?;
    daemon.terminate().await?;

    let arrived = bed.calls().len();
    let most = bed.sim.max_calls_in_one_second();
    let (gaps, seconds) = healthy
        .iter()
        .fold((0, 0.0), |(gaps, seconds), stretch| (gaps + stretch.0, seconds + stretch.1));
    #[expect(clippy::cast_precision_loss, reason = "a count of some thousands")]
    let used = 100.0 * gaps as f64 / seconds / RATE;
    let mut report =
        Report::new("limiter: Chat's own record; kill -9, SIGSTOP, SIGTERM, a failing Chat");
    report.figure("calls that arrived", arrived);
    report.figure("seconds saturated and healthy", format!("{seconds:.1}"));
    report.goal("jobs left at the end", left, "1 or more", left > 0);
    report.goal("most calls in any second", most, format!("<= {LIMIT}"), most <= LIMIT);
    report.goal("of the configured rate used", format!("{used:.2} %"), ">= 97 %", used >= 97.0);
    Ok(report)
}

/// Lets so many calls arrive.
async fn arrivals(bed: &Bed, count: usize) -> Result<()> {
    let goal = bed.calls().len() + count;
    let came = until(PATIENCE, async || Ok(bed.calls().len() >= goal)).await?;
    anyhow::ensure!(came, "fewer than {count} calls came within {PATIENCE:?}");
    Ok(())
}

/// Lets so many calls arrive and answers how many gaps between calls there were in how many
/// seconds.
async fn stretch(bed: &Bed, count: usize) -> Result<(usize, f64)> {
    let before = bed.calls().len();
    arrivals(bed, count).await?;
    let calls = bed.calls();
    let calls = &calls[before..];
    let (first, last) = (&calls[0], &calls[calls.len() - 1]);
    Ok((calls.len() - 1, last.at.saturating_sub(first.at).as_secs_f64()))
}
