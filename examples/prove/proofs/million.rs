//! `million`: a queue of a million costs little.
//!
//! The queue is filled through the store; then the real binary starts on it. It listens, with the
//! whole queue loaded, within 5 s; a few seconds into working it, it holds less than 1 GB of memory.
//! Choosing a batch costs the same however much waits: time per `next` of the scheduler, with what
//! it took replaced by new jobs so that the queue keeps its length.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use quell::model::{GroupType, JobId, Severity, Timestamp};
use quell::store::{Conversation, QueuedJob};
use quell::worker::scheduler::Scheduler;

use super::bed::{Bed, preload, spread, until};
use super::{Report, percentile};

const PATIENCE: Duration = Duration::from_secs(30);
/// Calls that it makes before its memory is looked at.
const INTO_WORK: usize = 1_000;
/// Rounds that the scheduler's cost is taken over.
const ROUNDS: usize = 20_000;

/// With so many jobs.
pub(crate) async fn prove(binary: &Path, jobs: usize) -> Result<Report> {
    let mut report = Report::new(format!("million: {jobs} pending jobs"));
    let bed = Bed::new(true).await?;
    let store = bed.store().await?;
    let began = Instant::now();
    preload(&store, spread(jobs, (jobs / 50).max(1))).await?;
    store.close().await;
    drop(store);
    report.figure("filling the queue", format!("{:.1} s", began.elapsed().as_secs_f64()));

    let began = Instant::now();
    let daemon = bed.spawn(binary).await?;
    let start = began.elapsed();
    let seconds = format!("{:.2} s", start.as_secs_f64());
    report.goal("start until it listens", seconds, "<= 5 s", start <= Duration::from_secs(5));
    let loaded = daemon.resident_mib()?;
    report.goal("memory, loaded", format!("{loaded} MiB"), "< 954 MiB", loaded < 954);
    let goal = INTO_WORK.min(jobs / 10);
    until(PATIENCE, async || Ok(bed.calls().len() >= goal)).await?;
    let made = bed.calls().len();
    report.goal("calls made meanwhile", made, format!(">= {goal}"), made >= goal);
    let working = daemon.resident_mib()?;
    report.goal("memory, at work", format!("{working} MiB"), "< 954 MiB", working < 954);
    daemon.kill().await?;

    let small = cost(&mut report, jobs / 1000);
    cost(&mut report, jobs / 10);
    let large = cost(&mut report, jobs);
    // A thousand times as much may cost the logarithm more, and memory that is no longer in cache.
    let ratio = large.as_secs_f64() / small.as_secs_f64();
    let flat = ratio <= 4.0 || large <= Duration::from_micros(100);
    report.goal("largest against smallest", format!("{ratio:.1}x"), "<= 4x or <= 0.1 ms", flat);
    Ok(report)
}

/// The median time of `next` with so many jobs waiting.
fn cost(report: &mut Report, waiting: usize) -> Duration {
    let now = Timestamp(1_700_000_000_000);
    let conversations: Vec<_> = (0..(waiting / 50).max(1)).map(conversation).collect();
    let mut scheduler = Scheduler::new(10);
    let mut next_id = 0;
    let mut push = |scheduler: &mut Scheduler, conversation: &Arc<Conversation>| {
        next_id += 1;
        scheduler.push(job(next_id, conversation, now), now);
    };
    for n in 0..waiting {
        push(&mut scheduler, &conversations[n % conversations.len()]);
    }
    let mut times = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let began = Instant::now();
        let batch = scheduler.next(now);
        times.push(began.elapsed());
        let taken = batch.map_or(0, |batch| batch.jobs.len());
        for n in 0..taken {
            // Other places than they came from, as it is with traffic.
            push(
                &mut scheduler,
                &conversations[(round * 7919 + n * 104_729) % conversations.len()],
            );
        }
    }
    assert_eq!(scheduler.len(), waiting, "the queue keeps its length");
    times.sort_unstable();
    let median = percentile(&times, 50);
    let p99 = percentile(&times, 99);
    report.figure(
        format!("next with {waiting} waiting, p50 / p99"),
        format!("{:.1} / {:.1} us", median.as_secs_f64() * 1e6, p99.as_secs_f64() * 1e6),
    );
    median
}

fn conversation(n: usize) -> Arc<Conversation> {
    Arc::new(Conversation {
        conversation_id: i64::try_from(n).unwrap_or(i64::MAX),
        group_id: format!("g{n}").into(),
        topic_id: "".into(),
        group_type: GroupType("Public".into()),
    })
}

fn job(job_id: JobId, conversation: &Arc<Conversation>, now: Timestamp) -> QueuedJob {
    let place = usize::try_from(job_id).unwrap_or(0);
    QueuedJob {
        job_id,
        conversation: Arc::clone(conversation),
        msg_seq: place as u64,
        severity: Severity::ALL[place / 7 % 4],
        background: false,
        sent_at: now,
        due_at: now,
    }
}
