//! Finding and mending what the callbacks missed.
//!
//! Callbacks are not sent again by default (page `wh-config`): whatever is sent while the daemon, the
//! network or the console's setting is down would never be judged. But sequences are dense at Chat,
//! and history can be pulled.
//!
//! - [`ledger`] knows which sequences are missing; `keeper` feeds it and notes what it finds.
//! - [`probes`] says when a quiet conversation should be asked for what came last.
//! - [`page`] reads from a page of history what each sequence is.
//! - `puller` spends the budget of history calls: gaps first, then probes, stretches that an operator
//!   asked for, and last a second look at messages that may have been edited.
//!
//! What is found goes the way of every message: judged by the same rules, recorded, recalled.

mod keeper;
pub mod ledger;
mod metrics;
pub mod page;
pub mod probes;
mod puller;
mod reread;
mod work;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::ledger::Ledger;
use self::probes::Probes;
use crate::chat::client::Client;
use crate::intake::Intake;
use crate::model::Clock;
use crate::store::{Error, Store};
use crate::worker::limit::Limiter;

/// Calls of a command in a second that Chat takes (page `history`).
const CHAT_LIMIT: u32 = 200;
/// Chat's second and what calls may be late by.
const AFTER_RESTART: Duration = Duration::from_millis(1500);

/// How history is pulled.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most attempts in any sliding second: a budget of its own, since Chat counts by command.
    pub calls_per_second: u32,
    /// Callbacks overtake each other; a hole counts once it has lasted so long.
    pub grace: Duration,
    /// A quiet conversation is asked so long after its latest message, and then ever more rarely ...
    pub probe_after: Duration,
    /// ... until it has been quiet for so long.
    pub probe_active: Duration,
    /// Messages are read once more so long after they came; zero switches that off.
    pub reread_after: Duration,
    pub scope: Scope,
}

/// What is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Whatever was missed.
    Everything,
    /// Only stretches that were asked for.
    Backfills,
}

/// Whether recalls wait: pulling history leaves them the way.
pub type RecallsWait = Box<dyn Fn() -> bool + Send + Sync>;

/// Repair that runs.
pub struct Repair {
    shared: Arc<Shared>,
}

/// What keeper and puller have in common.
struct Shared {
    store: Arc<dyn Store>,
    intake: Arc<Intake>,
    client: Client,
    clock: Arc<dyn Clock>,
    limiter: Limiter,
    recalls_wait: RecallsWait,
    options: Options,
    ledger: Mutex<Ledger>,
    probes: Mutex<Probes>,
    trouble: Mutex<puller::Trouble>,
    /// How many pages in a row told a backfill nothing.
    barren: Mutex<HashMap<i64, u32>>,
    /// Messages that could not be read once more and will be tried again.
    reread_again: Mutex<VecDeque<work::Stretch>>,
    /// There may be something to pull.
    wake: Notify,
    /// There may be something to note.
    note: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Repair {
    /// Takes up the account where an earlier process left it, asks the conversations that were active
    /// lately, and follows what comes from now on. Must come before the first message is recorded.
    #[must_use]
    pub fn start(
        store: Arc<dyn Store>,
        intake: Arc<Intake>,
        client: Client,
        clock: Arc<dyn Clock>,
        options: Options,
        recalls_wait: RecallsWait,
    ) -> Self {
        metrics::describe();
        let probes = Probes::new(options.probe_after, options.probe_active);
        let limiter = Limiter::new(options.calls_per_second);
        // What an earlier process asked for may still be in Chat's window. Two rates of half its limit
        // fit in there.
        if options.calls_per_second > CHAT_LIMIT / 2 {
            limiter.hold(AFTER_RESTART);
        }
        let shared = Arc::new(Shared {
            store,
            intake,
            client,
            clock,
            limiter,
            recalls_wait,
            options,
            ledger: Mutex::default(),
            probes: Mutex::new(probes),
            trouble: Mutex::default(),
            barren: Mutex::default(),
            reread_again: Mutex::default(),
            wake: Notify::new(),
            note: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        if shared.options.scope == Scope::Everything {
            let sightings = shared.store.sightings();
            shared.tasks.spawn(keeper::keep(Arc::clone(&shared), sightings));
        }
        shared.tasks.spawn(puller::pull_all(Arc::clone(&shared)));
        Self { shared }
    }

    /// Says that there may be something new to pull.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Finishes the calls under way and notes how far the account has come.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Shared {
    /// Waits until a call may leave. While recalls wait, four of five turns are let go by: what is
    /// known to be bad comes before what may be.
    async fn permit(&self) {
        self.limiter.permit().await;
        if (self.recalls_wait)() {
            for _ in 0..4 {
                self.limiter.permit().await;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Logs what the store could not do; whatever it was comes up again.
fn unless_logged<T>(result: Result<T, Error>, what: &str) -> Option<T> {
    result.inspect_err(|error| tracing::warn!(%error, "{what}")).ok()
}
