//! Keeps the picture of what waits, and leases what may leave.
//!
//! The store's table is the truth; the picture only says what to lease next. Leases run a few batches
//! ahead of the limiter, since each is a commit and must not stand between permit and call.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::runner::{Leased, RECORD_AGAIN, Report, Shared, Status, lock};
use super::scheduler::{Batch, Scheduler};
use super::sender::count;
use crate::model::{JobState, Timestamp};
use crate::store::{Error, JobEvent, JobEvents, LeaseRequest, QueuedJob};

/// Jobs read at once when the picture is built.
const PAGE: usize = 50_000;
/// Members notice a recall in an audio-video group for one hour only (page `recall`).
const AV_CHAT_ROOM_LIMIT: Duration = Duration::from_hours(1);

pub(super) struct Planner {
    pub(super) shared: Arc<Shared>,
    pub(super) scheduler: Scheduler,
    /// Leases that were handed over and not yet reported on.
    pub(super) in_flight: usize,
    pub(super) ready: mpsc::Sender<Leased>,
    pub(super) status: watch::Sender<Status>,
    /// The picture may lack something.
    pub(super) reload: bool,
}

impl Planner {
    /// Adds to the picture what waits and is not in it.
    pub(super) async fn load(&mut self) -> Result<(), Error> {
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

    pub(super) async fn run(
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
            JobEvent::Unwanted(leased) => lock(&self.shared.unwanted).extend(leased),
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
            lock(&self.shared.unwanted).remove(&job.job_id);
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
