//! Leases, sends, records.
//!
//! Two tasks and one for each call under way. The *planner* keeps the picture of what waits, leases
//! a few batches ahead of the limiter (each lease is a commit, so it must not stand between permit and
//! call), and takes in what calls report. The *sender* waits for the limiter and lets each call leave
//! at the very moment of its permit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::circuit::{Circuit, Halt, Sign};
use super::limit::Limiter;
use super::ruling::{self, Circumstances, Ruling};
use super::scheduler::{Batch, Scheduler};
use crate::chat::client::Client;
use crate::model::{Clock, JobId, JobState, Timestamp};
use crate::store::{
    CallOutcome, Error, FinishedCall, JobEvent, JobEvents, JobUpdate, Jobs, Lease, LeaseRequest,
    LeasedJob, QueuedJob, SettledJob,
};

/// Leases that wait for their permit. At 190 calls a second eight of them cover 42 ms of a slow
/// commit, and hold up a graver message that comes meanwhile for no longer.
const AHEAD: usize = 8;
/// Connections that may be in the making while further calls leave. Calls that wait for theirs arrive
/// in a burst; with the default pace, so many fit between it and Chat's limit.
const CONNECTING: usize = 8;
/// Jobs read at once when the picture is built.
const PAGE: usize = 50_000;
/// A call of an earlier process counts until it has left Chat's window of a second; the rest is for
/// the way there.
const WINDOW: Duration = Duration::from_millis(1_500);
/// Between attempts to record what a call did.
const RECORD_AGAIN: Duration = Duration::from_millis(250);
/// So often while stopping.
const RECORD_WHILE_STOPPING: u32 = 20;
/// A call that panicked is made again after so long, its jobs one by one.
const PANICKED_AGAIN: Duration = Duration::from_secs(1);
/// Members notice a recall in an audio-video group for one hour only (page `recall`).
const AV_CHAT_ROOM_LIMIT: Duration = Duration::from_hours(1);

/// How the queue is worked.
#[derive(Clone, Debug)]
pub struct Options {
    pub calls_per_second: u32,
    pub batch_size: usize,
    pub max_in_flight: usize,
    pub max_attempts: u32,
    pub send_reason: bool,
    /// How long Chat keeps messages: older ones are refused without a call.
    pub roaming: Duration,
}

/// Where the worker stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Jobs that wait.
    pub waiting: usize,
    /// Calls leased or under way.
    pub in_flight: usize,
    /// Why calls stand still, if they do.
    pub halted: Option<Halt>,
    pub paused: bool,
    /// Calls a second at the moment.
    pub rate: u32,
}

/// A worker that runs.
pub struct Worker {
    pause: watch::Sender<bool>,
    status: watch::Receiver<Status>,
    try_now: mpsc::Sender<()>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Shared {
    store: Arc<dyn Jobs>,
    client: Client,
    clock: Arc<dyn Clock>,
    options: Options,
    limiter: Limiter,
    circuit: Mutex<Circuit>,
    random: Mutex<StdRng>,
    pause: watch::Receiver<bool>,
    /// The sender took a lease, so there is room for another.
    taken: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A lease and what it is for.
struct Leased {
    lease: Lease,
    batch: Batch,
}

/// What a call left behind.
struct Report {
    batch: Batch,
    /// Jobs to be tried again, and when.
    again: HashMap<JobId, Timestamp>,
    alone: bool,
}

impl Worker {
    /// Puts back what an earlier process left, builds the picture of what waits, and starts.
    pub async fn start(
        store: Arc<dyn Jobs>,
        client: Client,
        clock: Arc<dyn Clock>,
        options: Options,
        paused: bool,
        random: StdRng,
    ) -> Result<Self, Error> {
        let events = store.subscribe().await?;
        let now = clock.now();
        let put_back = store.recover(now).await?;
        let limiter = Limiter::new(options.calls_per_second);
        // Calls of an earlier process may still be in Chat's window. When they left is not asked: the
        // clock may have been set since.
        if store.last_call_at().await?.is_some() {
            limiter.hold(WINDOW);
        }
        let (pause, paused_in) = watch::channel(paused);
        let (status_out, status) = watch::channel(Status::default());
        let (try_now, try_now_in) = mpsc::channel(1);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shared = Arc::new(Shared {
            store,
            client,
            clock,
            options,
            limiter,
            circuit: Mutex::new(Circuit::default()),
            random: Mutex::new(random),
            pause: paused_in,
            taken: Notify::new(),
            stop: stop.clone(),
            tasks: tasks.clone(),
        });
        let (ready, ready_in) = mpsc::channel(AHEAD);
        let (reports, reports_in) = mpsc::channel(AHEAD);
        let mut planner = Planner {
            shared: Arc::clone(&shared),
            scheduler: Scheduler::new(shared.options.batch_size),
            in_flight: 0,
            ready,
            status: status_out,
            reload: false,
        };
        planner.load().await?;
        tracing::info!(waiting = planner.scheduler.len(), put_back, "recall queue loaded");
        tasks.spawn(planner.run(events, reports_in, try_now_in));
        tasks.spawn(send(shared, ready_in, reports));
        tasks.close();
        Ok(Self { pause, status, try_now, stop, tasks })
    }

    /// Lets no call leave any more, or lets them leave again. Takes hold at once.
    pub fn pause(&self, paused: bool) {
        self.pause.send_replace(paused);
    }

    /// Tries again where calls were stopped, without waiting for the next probe.
    pub fn try_now(&self) {
        // One request in the channel is enough.
        let _ = self.try_now.try_send(());
    }

    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Follows the status.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Whether it works: false once its planner has ended, which only a bug or a stop can do.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.status.has_changed().is_ok()
    }

    /// Leases nothing more, gives back what did not leave, waits for the calls under way.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Planner {
    shared: Arc<Shared>,
    scheduler: Scheduler,
    /// Leases that were handed over and not yet reported on.
    in_flight: usize,
    ready: mpsc::Sender<Leased>,
    status: watch::Sender<Status>,
    /// The picture may lack something.
    reload: bool,
}

impl Planner {
    /// Adds to the picture what waits and is not in it.
    async fn load(&mut self) -> Result<(), Error> {
        let mut after = 0;
        loop {
            let page = self.shared.store.waiting(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.job_id;
            let now = self.shared.clock.now();
            for job in page {
                self.scheduler.push(job, now);
            }
        }
    }

    async fn run(
        mut self,
        mut events: JobEvents,
        mut reports: mpsc::Receiver<Report>,
        mut try_now: mpsc::Receiver<()>,
    ) {
        let shared = Arc::clone(&self.shared);
        let mut pause = shared.pause.clone();
        loop {
            if self.reload {
                self.reload = self.load().await.is_err();
            }
            let wake = self.plan().await;
            self.publish();
            tokio::select! {
                () = shared.stop.cancelled() => break,
                Some(report) = reports.recv() => {
                    self.take_in(report);
                    while let Ok(report) = reports.try_recv() {
                        self.take_in(report);
                    }
                }
                Some(event) = events.recv() => {
                    self.apply(event);
                    while let Ok(event) = events.try_recv() {
                        self.apply(event);
                    }
                }
                Some(()) = try_now.recv() => {
                    lock(&self.shared.circuit).try_now(Instant::now());
                }
                Ok(()) = pause.changed() => {}
                () = shared.taken.notified() => {}
                () = sleep_until(wake) => {}
            }
        }
        // Closing the channel ends the sender once it gave back what is in it. Reports of calls
        // under way need no picture any more: they recorded what they did themselves.
        drop(self.ready);
        while reports.recv().await.is_some() {}
    }

    fn apply(&mut self, event: JobEvent) {
        match event {
            JobEvent::Queued(job) => self.scheduler.push(job, self.shared.clock.now()),
            JobEvent::Withdrawn(jobs) => {
                for job_id in jobs {
                    self.scheduler.withdraw(job_id);
                }
            }
            // Something may have been committed that nobody was told of.
            JobEvent::Failed => self.reload = true,
            JobEvent::Limit(calls_per_second) => {
                self.shared.limiter.limit_to(calls_per_second);
                tracing::warn!(rate = self.shared.limiter.rate(), "Chat told its limit");
            }
        }
    }

    fn take_in(&mut self, report: Report) {
        self.in_flight -= 1;
        let now = self.shared.clock.now();
        for job in report.batch.jobs {
            if let Some(&due_at) = report.again.get(&job.job_id) {
                let job = QueuedJob { due_at, ..job };
                if report.alone {
                    self.scheduler.push_alone(job, now);
                } else {
                    self.scheduler.push(job, now);
                }
            }
        }
    }

    /// Leases what may leave and hands it to the sender. Answers when to look again at the latest.
    async fn plan(&mut self) -> Option<Instant> {
        loop {
            let now = self.shared.clock.now();
            if *self.shared.pause.borrow() || !self.scheduler.has_ready(now) {
                return self.next_due(now);
            }
            let gate = lock(&self.shared.circuit).gate(Instant::now(), self.in_flight);
            if let Err(again) = gate {
                return Some(again);
            }
            let halted = lock(&self.shared.circuit).halt().is_some();
            let room = if halted { 1 } else { self.room() };
            if room == 0 {
                // Whoever makes room wakes us: the sender or a report.
                return None;
            }
            let batches = self.batches(room, now).await;
            if let Err(error) = self.lease(batches, now).await {
                tracing::error!(error = %error, "recall jobs cannot be leased");
                return Some(Instant::now() + RECORD_AGAIN);
            }
        }
    }

    fn room(&self) -> usize {
        let calls = self.shared.options.max_in_flight.saturating_sub(self.in_flight);
        self.ready.capacity().min(calls)
    }

    fn next_due(&self, now: Timestamp) -> Option<Instant> {
        self.scheduler.next_due().map(|due_at| Instant::now() + due_at.since(now))
    }

    /// Up to so many batches of jobs that a call can still help.
    async fn batches(&mut self, most: usize, now: Timestamp) -> Vec<Batch> {
        let mut batches = Vec::new();
        while batches.len() < most
            && let Some(mut batch) = self.scheduler.next(now)
        {
            let too_late = |job: &QueuedJob| {
                let limit = if batch.conversation.group_type.is_av_chat_room() {
                    AV_CHAT_ROOM_LIMIT
                } else {
                    self.shared.options.roaming
                };
                now.since(job.sent_at) >= limit
            };
            let (late, good): (Vec<_>, Vec<_>) =
                std::mem::take(&mut batch.jobs).into_iter().partition(too_late);
            if !late.is_empty() {
                self.give_up(late, &batch, now).await;
            }
            if !good.is_empty() {
                batches.push(Batch { jobs: good, ..batch });
            }
        }
        batches
    }

    /// Ends jobs that Chat would refuse by now.
    async fn give_up(&mut self, jobs: Vec<QueuedJob>, batch: &Batch, now: Timestamp) {
        let reason = if batch.conversation.group_type.is_av_chat_room() {
            "older than the hour that an audio-video group allows"
        } else {
            "older than the messages that Chat keeps"
        };
        let ids = jobs.iter().map(|job| job.job_id).collect();
        let ended = self.shared.store.give_up(ids, JobState::Refused, reason.to_owned(), now).await;
        match ended {
            Ok(settled) => count(&settled),
            Err(error) => {
                tracing::error!(error = %error, "recall jobs cannot be ended");
                let later = now.after(RECORD_AGAIN);
                for job in jobs {
                    self.scheduler.push(QueuedJob { due_at: later, ..job }, now);
                }
            }
        }
    }

    async fn lease(&mut self, batches: Vec<Batch>, now: Timestamp) -> Result<(), Error> {
        let requests = batches.iter().map(|batch| LeaseRequest {
            conversation_id: batch.conversation.conversation_id,
            jobs: batch.jobs.iter().map(|job| job.job_id).collect(),
            at: now,
        });
        let leases = match self.shared.store.lease(requests.collect()).await {
            Ok(leases) => leases,
            Err(error) => {
                let later = now.after(RECORD_AGAIN);
                for job in batches.into_iter().flat_map(|batch| batch.jobs) {
                    self.scheduler.push(QueuedJob { due_at: later, ..job }, now);
                }
                return Err(error);
            }
        };
        for (mut batch, lease) in batches.into_iter().zip(leases) {
            // What was withdrawn meanwhile is in no lease.
            batch.jobs.retain(|job| lease.jobs.iter().any(|leased| leased.job_id == job.job_id));
            if lease.jobs.is_empty() {
                continue;
            }
            self.in_flight += 1;
            // There is room, and the sender lives as long as we do.
            let _ = self.ready.send(Leased { lease, batch }).await;
        }
        Ok(())
    }

    fn publish(&self) {
        let status = Status {
            waiting: self.scheduler.len(),
            in_flight: self.in_flight,
            halted: lock(&self.shared.circuit).halt().cloned(),
            paused: *self.shared.pause.borrow(),
            rate: self.shared.limiter.rate(),
        };
        self.status.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

/// The sender: one permit, one call.
async fn send(
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
        if permitted {
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
    let seqs: Vec<_> = lease.jobs.iter().map(|job| job.msg_seq).collect();
    let reason = shared.options.send_reason.then(|| reason(&lease)).flatten();
    let conversation = &batch.conversation;
    let started_at = shared.clock.now();
    let began = Instant::now();
    let result = shared
        .client
        .recall(&conversation.group_id, &conversation.topic_id, &seqs, reason.as_deref())
        .await;
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

fn count(settled: &[SettledJob]) {
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
