//! `drain`: a backlog leaves as fast as Chat's limits allow.
//!
//! The queue is filled through the store, then the worker starts opposite a simulated Chat that
//! answers at once. No policy can need less than the sum over groups of ceil(n / 10) calls at the
//! configured 190 calls a second; the worker needs at most 1.05 times that, from its start until the
//! last job is recorded as recalled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use quell::chat::client::{Client, ClientOptions};
use quell::model::SystemClock;
use quell::store::Audit;
use quell::worker::{Options, Worker};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Report;
use super::bed::{APP_ID, Bed, IDENTIFIER, SECRET_KEY, preload, spread, until};

const RATE: u32 = 190;
const PATIENCE: Duration = Duration::from_mins(3);

/// With so many violations in each of the runs.
pub(crate) async fn prove(violations: usize) -> Result<Report> {
    let mut report = Report::new(format!("drain: {violations} violations"));
    for groups in [1, violations / 200, violations / 10] {
        run(&mut report, violations, groups.max(1)).await?;
    }
    Ok(report)
}

async fn run(report: &mut Report, violations: usize, groups: usize) -> Result<()> {
    let bed = Bed::new(true).await?;
    let store = bed.store().await?;
    preload(&store, spread(violations, groups)).await?;
    let key = SECRET_KEY.into();
    let client = Client::new(
        ClientOptions::new(&bed.sim.url(), APP_ID, IDENTIFIER, key),
        Arc::new(SystemClock),
    )?;
    let options = Options {
        calls_per_second: RATE,
        batch_size: 10,
        max_in_flight: 256,
        max_attempts: 12,
        send_reason: false,
        roaming: Duration::from_hours(7 * 24),
    };
    let began = Instant::now();
    let worker = Worker::start(
        Arc::clone(&store) as _,
        client,
        Arc::new(SystemClock),
        options,
        false,
        StdRng::seed_from_u64(1),
    )
    .await?;
    let drained = until(PATIENCE, async || {
        let status = worker.status();
        Ok(status.waiting + status.in_flight == 0 && store.unfinished_by_state().await?.is_empty())
    })
    .await?;
    let took = began.elapsed().as_secs_f64();
    worker.stop().await;
    store.close().await;

    let calls: usize = (0..groups)
        .map(|group| (violations + groups - 1 - group) / groups)
        .map(|n| n.div_ceil(10))
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "a count of some thousands")]
    let floor = calls as f64 / f64::from(RATE);
    let name = format!("{groups} groups");
    let recalled = bed.sim.recalled().len();
    report.goal(format!("{name}: recalled"), recalled, "all", drained && recalled == violations);
    let made = bed.calls().len();
    report.goal(format!("{name}: calls"), made, format!("{calls}"), made == calls);
    let most = bed.sim.max_calls_in_one_second();
    report.goal(format!("{name}: most calls in any second"), most, "<= 200", most <= 200);
    report.figure(format!("{name}: floor"), format!("{floor:.2} s"));
    let ratio = took / floor;
    report.goal(
        format!("{name}: took"),
        format!("{took:.2} s"),
        format!("<= 1.05x the floor (is {ratio:.3}x)"),
        ratio <= 1.05,
    );
    Ok(())
}
