//! Lets calls leave at the moment of their permit, and records what came of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::circuit::Sign;
use super::ruling::{self, Circumstances, Ruling};
use super::runner::{Leased, RECORD_AGAIN, Report, Shared, lock};
use crate::model::JobState;
use crate::model::faults::fault;
use crate::store::{CallOutcome, Error, FinishedCall, JobUpdate, Lease, LeasedJob, SettledJob};

/// Connections that may be in the making while further calls leave. Calls that wait for theirs arrive
/// in a burst; with the default pace, so many fit between it and Chat's limit.
const CONNECTING: usize = 8;
/// So often while stopping.
const RECORD_WHILE_STOPPING: u32 = 20;
/// A call that panicked is made again after so long, its jobs one by one.
const PANICKED_AGAIN: Duration = Duration::from_secs(1);

/// The sender: one permit, one call.
pub(super) async fn send(
    shared: Arc<Shared>,
    mut ready: mpsc::Receiver<Leased>,
    reports: mpsc::Sender<Report>,
) {
    let mut pause = shared.pause.clone();
    while let Some(leased) = ready.recv().await {
        shared.taken.notify_one();
        let permitted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => false,
            _ = pause.wait_for(|paused| *paused) => false,
            () = permit(&shared) => true,
        };
        if permitted && is_wanted(&shared, &leased.lease) {
            let (shared, reports) = (Arc::clone(&shared), reports.clone());
            let tasks = shared.tasks.clone();
            tasks.spawn(async move {
                let report = call_contained(&shared, leased).await;
                // The planner is gone only when everything ends.
                let _ = reports.send(report).await;
            });
        } else {
            let report = give_back(&shared, leased).await;
            let _ = reports.send(report).await;
        }
    }
}

/// Whether all jobs of a lease are still to be recalled. If not, it is given back, and those that are
/// go into a call of their own.
fn is_wanted(shared: &Shared, lease: &Lease) -> bool {
    let unwanted = lock(&shared.unwanted);
    unwanted.is_empty()
        || lease.jobs.iter().all(|job| unwanted.get(&job.job_id) != Some(&job.lease))
}

/// Waits until a call may leave and will leave at once: a call that waits for its connection would
/// reach Chat at a time that nobody paced.
async fn permit(shared: &Shared) {
    shared.client.connected(CONNECTING).await;
    shared.limiter.permit().await;
}

/// Gives back a lease whose call did not leave.
async fn give_back(shared: &Shared, leased: Leased) -> Report {
    let Leased { lease, batch } = leased;
    let now = shared.clock.now();
    let again = batch.jobs.iter().map(|job| (job.job_id, now)).collect();
    let done =
        persist(shared, "a lease cannot be given back", || shared.store.unlease(lease.clone()));
    // If it fails for good, the lease stays until the next start puts it back.
    let again = if done.await.is_some() { again } else { HashMap::new() };
    Report { batch, again, alone: false }
}

/// Makes a call; a panic within it ends as this call's failure, its outcome unclear.
async fn call_contained(shared: &Arc<Shared>, leased: Leased) -> Report {
    let (lease, batch) = (leased.lease.clone(), leased.batch.clone());
    let task = {
        let shared = Arc::clone(shared);
        tokio::spawn(async move { call(&shared, leased).await })
    };
    if let Ok(report) = task.await {
        return report;
    }
    tracing::error!(call.id = lease.call_id, "a recall call panicked");
    let now = shared.clock.now();
    let due_at = now.after(PANICKED_AGAIN);
    let update = |job: &LeasedJob| {
        let failures = job.failures + 1;
        let dead = failures >= shared.options.max_attempts;
        JobUpdate {
            job_id: job.job_id,
            lease: job.lease,
            state: if dead { JobState::Dead } else { JobState::Retry },
            ret_code: None,
            reason: Some("the call failed inside quell: see the log".to_owned()),
            due_at,
            failed: true,
            unclear: true,
        }
    };
    let updates: Vec<_> = lease.jobs.iter().map(update).collect();
    let finished = FinishedCall {
        call_id: lease.call_id,
        started_at: now,
        finished_at: now,
        duration_ms: 0,
        http_status: None,
        error_code: None,
        outcome: CallOutcome::Unclear,
    };
    record(shared, &finished, &updates).await;
    let waits = updates.iter().filter(|update| update.state == JobState::Retry);
    let again = waits.map(|update| (update.job_id, due_at)).collect();
    Report { batch, again, alone: true }
}

/// Makes one call and records what came of it.
async fn call(shared: &Shared, leased: Leased) -> Report {
    let Leased { lease, batch } = leased;
    fault!("after_claim");
    let seqs: Vec<_> = lease.jobs.iter().map(|job| job.msg_seq).collect();
    let reason = shared.options.send_reason.then(|| reason(&lease)).flatten();
    let conversation = &batch.conversation;
    let started_at = shared.clock.now();
    let began = Instant::now();
    let result = shared
        .client
        .recall(&conversation.group_id, &conversation.topic_id, &seqs, reason.as_deref())
        .await;
    fault!("after_send_before_record");
    let (finished_at, duration) = (shared.clock.now(), began.elapsed());
    let circumstances = {
        let circuit = lock(&shared.circuit);
        Circumstances {
            now: finished_at,
            conversation_id: conversation.conversation_id,
            healthy: circuit.is_healthy(Instant::now()),
            permitted_elsewhere: circuit.is_permitted_elsewhere(conversation.conversation_id),
            halted: circuit.halt().is_some(),
            max_attempts: shared.options.max_attempts,
        }
    };
    let ruling = ruling::rule(&lease.jobs, &result, &circumstances, &mut *lock(&shared.random));
    heed(shared, &ruling, began);
    let Ruling { updates, alone, .. } = &ruling;
    let again = updates
        .iter()
        .filter(|update| update.state == JobState::Retry)
        .map(|update| (update.job_id, update.due_at))
        .collect();
    let finished = FinishedCall {
        call_id: lease.call_id,
        started_at,
        finished_at,
        duration_ms: i64::try_from(duration.as_millis()).unwrap_or(i64::MAX),
        http_status: ruling.http_status,
        error_code: ruling.error_code,
        outcome: ruling.outcome,
    };
    tracing::info!(
        group.id = %conversation.group_id,
        topic.id = %conversation.topic_id,
        call.id = lease.call_id,
        call.messages = lease.jobs.len(),
        call.outcome = ruling.outcome.as_str(),
        call.code = ruling.error_code,
        duration_ms = finished.duration_ms,
        "recall call"
    );
    let code =
        ruling.error_code.map_or_else(|| ruling.outcome.as_str().to_owned(), |c| c.to_string());
    metrics::counter!("quell_recall_calls_total", "code" => code).increment(1);
    metrics::histogram!("quell_recall_call_seconds").record(duration);
    record(shared, &finished, updates).await;
    Report { batch, again, alone: *alone }
}

/// The id of the rule that asked, where it is one rule for all.
fn reason(lease: &Lease) -> Option<String> {
    let first = lease.jobs.first()?.requested_by.strip_prefix("rule:")?;
    let same = lease.jobs.iter().all(|job| job.requested_by.strip_prefix("rule:") == Some(first));
    same.then(|| first.to_owned())
}

/// Slows down, stops or goes on as the answer asks.
fn heed(shared: &Shared, ruling: &Ruling, began: Instant) {
    if let Some(wait) = ruling.slow_down {
        shared.limiter.slow_down(wait);
        tracing::warn!(
            call.code = ruling.error_code,
            rate = shared.limiter.rate(),
            "Chat complains of too many calls"
        );
    }
    if matches!(ruling.sign, Sign::Credential(_)) {
        shared.client.renew_user_sig();
    }
    let mut circuit = lock(&shared.circuit);
    if circuit.saw(ruling.sign.clone(), began, Instant::now()) {
        if let Some(halt) = circuit.halt() {
            metrics::gauge!("quell_recall_halted").set(1.0);
            tracing::error!(
                why = %halt.why,
                needs_person = halt.needs_person,
                "recalls stand still; the queue is kept and one call at a time probes"
            );
        } else {
            metrics::gauge!("quell_recall_halted").set(0.0);
            tracing::info!("recalls go on");
        }
    }
}

/// Records a call's end, however long that takes: what Chat did must not be forgotten.
async fn record(shared: &Shared, finished: &FinishedCall, updates: &[JobUpdate]) {
    let recorded = persist(shared, "a call's end cannot be recorded", || {
        shared.store.finish(finished.clone(), updates.to_vec())
    });
    if let Some(settled) = recorded.await {
        count(&settled);
    }
}

/// Repeats what the store refuses until it does it. While stopping, patience ends: the next start
/// finds the lease and treats its outcome as unclear.
async fn persist<T, F>(shared: &Shared, failure: &str, mut attempt: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut while_stopping = 0;
    loop {
        match attempt().await {
            Ok(done) => return Some(done),
            Err(error) => {
                tracing::error!(error = %error, "{failure}");
                while_stopping += u32::from(shared.stop.is_cancelled());
                if matches!(error, Error::Closed) || while_stopping > RECORD_WHILE_STOPPING {
                    return None;
                }
                tokio::time::sleep(RECORD_AGAIN).await;
            }
        }
    }
}

/// Counts and logs how jobs ended.
pub(super) fn count(settled: &[SettledJob]) {
    for job in settled {
        if job.state.is_final() {
            metrics::counter!("quell_recalled_messages_total", "result" => job.state.as_str())
                .increment(1);
            tracing::info!(
                job.id = job.job_id,
                job.state = job.state.as_str(),
                exposure_ms = job.exposure.map(|exposure| exposure.total_ms()),
                "recall job ended"
            );
        }
        if let Some(exposure) = job.exposure {
            let time = |ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
            metrics::histogram!("quell_exposure_seconds").record(time(exposure.total_ms()));
            let parts = [
                ("delivery", exposure.delivery_ms),
                ("queue", exposure.queue_ms),
                ("call", exposure.call_ms),
            ];
            for (part, ms) in parts {
                metrics::histogram!("quell_exposure_part_seconds", "part" => part).record(time(ms));
            }
        }
    }
}
