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
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::circuit::{Circuit, Halt};
use super::limit::Limiter;
use super::planner::Planner;
use super::scheduler::{Batch, Scheduler};
use super::sender::send;
use crate::chat::client::Client;
use crate::model::{Clock, JobId, Timestamp};
use crate::store::{Error, Jobs, Lease};

/// Leases that wait for their permit. At 190 calls a second eight of them cover 42 ms of a slow
/// commit, and hold up a graver message that comes meanwhile for no longer.
const AHEAD: usize = 8;
/// A call of an earlier process counts until it has left Chat's window of a second; the rest is for
/// the way there.
const WINDOW: Duration = Duration::from_millis(1_500);
/// Between attempts to record what a call did.
pub(super) const RECORD_AGAIN: Duration = Duration::from_millis(250);

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

/// What planner, sender and calls have in common.
pub(super) struct Shared {
    pub(super) store: Arc<dyn Jobs>,
    pub(super) client: Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: Options,
    pub(super) limiter: Limiter,
    pub(super) circuit: Mutex<Circuit>,
    pub(super) random: Mutex<StdRng>,
    pub(super) pause: watch::Receiver<bool>,
    /// Leased jobs that should not be, with the number of that lease. Of a call that had ended before
    /// this was told an entry stays; it means no later lease.
    pub(super) unwanted: Mutex<HashMap<JobId, i64>>,
    /// The sender took a lease, so there is room for another.
    pub(super) taken: Notify,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// A lease and what it is for.
pub(super) struct Leased {
    pub(super) lease: Lease,
    pub(super) batch: Batch,
}

/// What a call left behind.
pub(super) struct Report {
    pub(super) batch: Batch,
    /// Jobs to be tried again, and when.
    pub(super) again: HashMap<JobId, Timestamp>,
    pub(super) alone: bool,
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
            unwanted: Mutex::default(),
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

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
