//! Backtests in the background of a daemon, one at a time: what one reads and judges would else slow
//! another, and callbacks, down. One takes half of the processor's cores and half an hour at most.
//!
//! The latest reports are kept in memory. They end with the process: the same question gives the same
//! answer again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Options, Pace, Shown, run};
use crate::model::{Clock, GroupId, RulesVersion, Timestamp, UserId};
use crate::rules::CompiledRules;
use crate::store::{By, Error, Store};

/// How long one may take.
const LONGEST: Duration = Duration::from_mins(30);
/// How many are remembered; the one that began first makes room.
const MOST: usize = 10;
/// Samples of all rules together, new hits and lost ones apart: what keeps a report small, however
/// many rules the candidate has.
const MOST_SAMPLES: usize = 10_000;

/// What is asked of a backtest.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Messages received from then on; all of them where nothing is given.
    pub since: Option<Timestamp>,
    pub group: Option<GroupId>,
    /// Changed messages shown of each rule, new hits and lost ones apart.
    pub samples: usize,
    /// Groups and senders shown.
    pub limit: usize,
}

/// What a backtest counts on.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The account that quell calls as.
    pub identifier: UserId,
    pub pace: Pace,
}

/// How a backtest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    Done,
    Cancelled,
    Failed,
}

impl State {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// How far a backtest is.
#[derive(Clone, Debug)]
pub struct Progress {
    pub state: State,
    /// Messages done, of at most so many.
    pub done: u64,
    pub of: u64,
    pub finished_at: Option<Timestamp>,
    /// Why it failed.
    pub reason: Option<String>,
    pub report: Option<Arc<Shown>>,
}

/// A candidate on its way through the stored messages.
pub struct Backtest {
    /// No other one has it, those before a restart included.
    pub id: i64,
    pub requested_by: String,
    pub began_at: Timestamp,
    pub asked: Asked,
    pub rules_version: RulesVersion,
    progress: Mutex<Progress>,
    cancel: CancellationToken,
}

impl Backtest {
    #[must_use]
    pub fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    fn end(&self, at: Timestamp, state: State, reason: Option<String>, report: Option<Shown>) {
        let mut progress = lock(&self.progress);
        progress.state = state;
        progress.finished_at = Some(at);
        progress.reason = reason;
        progress.report = report.map(Arc::new);
    }
}

/// The backtests of a daemon.
pub struct Backtests {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    room: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// The one that began first comes first.
    kept: Mutex<VecDeque<Arc<Backtest>>>,
}

/// Room for the one backtest that may run.
pub struct Room {
    _permit: OwnedSemaphorePermit,
}

impl Backtests {
    /// They run under `tasks` and end with `stop`.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let room = Arc::new(Semaphore::new(1));
        Self { store, clock, room, stop, tasks, kept: Mutex::default() }
    }

    /// Room for one, unless another one runs or is about to.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        Arc::clone(&self.room).try_acquire_owned().ok().map(|permit| Room { _permit: permit })
    }

    /// Lets a candidate run over what is stored, and records who had it run.
    pub async fn start(
        &self,
        room: Room,
        by: &By,
        rules: &CompiledRules,
        asked: Asked,
        terms: Terms,
    ) -> Result<Arc<Backtest>, Error> {
        if let Some(group) = &asked.group
            && !self.store.knows_group(group.as_str()).await?
        {
            return Err(Error::Invalid(format!("no message of group {group} was ever recorded")));
        }
        // What operators let through holds for a candidate, too.
        let rules = Arc::new(rules.with_allowances(&self.store.allowances().await?));
        let detail = json!({
            "rules_version": rules.version(), "since": asked.since, "group": asked.group,
        });
        self.store.note(by, "backtest", detail.to_string(), None).await?;
        let backtest = self.keep(by, &rules, asked);
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let turn = Turn { backtest: Arc::clone(&backtest), clock, room: Some(room) };
        self.tasks.spawn(turn.take(store, rules, terms));
        Ok(backtest)
    }

    fn keep(&self, by: &By, rules: &CompiledRules, asked: Asked) -> Arc<Backtest> {
        let mut kept = lock(&self.kept);
        let last = kept.back().map_or(0, |last| last.id);
        let began_at = self.clock.now();
        let backtest = Arc::new(Backtest {
            id: began_at.millis().max(last + 1),
            requested_by: by.actor.clone(),
            began_at,
            asked,
            rules_version: rules.version().clone(),
            progress: Mutex::new(Progress {
                state: State::Running,
                done: 0,
                of: 0,
                finished_at: None,
                reason: None,
                report: None,
            }),
            cancel: self.stop.child_token(),
        });
        if kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&backtest));
        backtest
    }

    /// Those that are remembered, the latest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Backtest>> {
        lock(&self.kept).iter().rev().cloned().collect()
    }

    #[must_use]
    pub fn find(&self, id: i64) -> Option<Arc<Backtest>> {
        lock(&self.kept).iter().find(|known| known.id == id).cloned()
    }

    /// Ends one and records who did. Answers whether it was running; nothing where there is no such.
    pub async fn cancel(&self, by: &By, id: i64) -> Result<Option<bool>, Error> {
        let Some(backtest) = self.find(id) else { return Ok(None) };
        // First the work, then the books: it may be what keeps the books from being written.
        let ran = backtest.progress().state == State::Running && !backtest.cancel.is_cancelled();
        backtest.cancel.cancel();
        let detail = json!({ "backtest": id, "cancelled": ran }).to_string();
        self.store.note(by, "backtest cancelled", detail, None).await?;
        Ok(Some(ran))
    }
}

/// A backtest's turn. Ends it whatever happens.
struct Turn {
    backtest: Arc<Backtest>,
    clock: Arc<dyn Clock>,
    room: Option<Room>,
}

impl Turn {
    async fn take(mut self, store: Arc<dyn Store>, rules: Arc<CompiledRules>, terms: Terms) {
        let Terms { identifier, pace } = terms;
        let backtest = Arc::clone(&self.backtest);
        let Asked { since, group, samples, limit } = backtest.asked.clone();
        let samples = samples.min(MOST_SAMPLES / rules.summaries().len().max(1));
        let judges = available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        let options = Options { since, group, identifier, samples, judges };
        let running = run(Arc::clone(&rules), store, options, |done, of| {
            let mut progress = lock(&backtest.progress);
            (progress.done, progress.of) = (done, of);
        });
        let in_time = tokio::time::timeout(LONGEST, running);
        let ended = backtest.cancel.run_until_cancelled(in_time).await;
        let (state, reason, report) = match ended {
            None => (State::Cancelled, None, None),
            Some(Ok(Ok(report))) => {
                (State::Done, None, Some(Shown::of(&report, &rules, pace, limit)))
            }
            Some(Ok(Err(error))) => {
                tracing::warn!(%error, "a backtest failed");
                (State::Failed, Some(error.to_string()), None)
            }
            Some(Err(_)) => {
                let why = format!("it took longer than {} minutes", LONGEST.as_secs() / 60);
                (State::Failed, Some(why), None)
            }
        };
        // Whoever sees that it ended may start the next one.
        self.room.take();
        backtest.end(self.clock.now(), state, reason, report);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.backtest.progress().state == State::Running {
            let why = "it broke off: see the log".to_owned();
            self.backtest.end(self.clock.now(), State::Failed, Some(why), None);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SystemClock;
    use crate::rules::load_str;
    use crate::store::sqlite::{self, Options as StoreOptions};
    use crate::store::{Audit, Filter, View};

    #[tokio::test]
    async fn one_runs_at_a_time_is_recorded_and_can_be_ended() {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions::at(&folder.path().join("quell.db"));
        let store = Arc::new(sqlite::open(&options).await.unwrap());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let kept = Arc::clone(&store) as _;
        let backtests = Backtests::new(kept, Arc::new(SystemClock), stop.clone(), tasks.clone());
        let rules = load_str("r.yaml", "version: 1\nrules: []\n", folder.path()).unwrap().rules;
        let by = By::new("ada", SystemClock.now());
        let start = async |group: Option<&str>| {
            let asked = Asked { since: None, group: group.map(Into::into), samples: 1, limit: 1 };
            let pace = Pace { calls_per_second: 190, batch_size: 10 };
            let terms = Terms { identifier: "administrator".into(), pace };
            backtests.start(backtests.room().unwrap(), &by, &rules, asked, terms).await
        };
        assert!(matches!(start(Some("nowhere")).await, Err(Error::Invalid(_))));
        let one = start(None).await.unwrap();
        assert!(backtests.room().is_none() && one.progress().state == State::Running);
        // It has not had its turn yet: nothing here waited since.
        assert_eq!(backtests.cancel(&by, one.id).await.unwrap(), Some(true));
        let other = loop {
            match backtests.room() {
                Some(room) => {
                    drop(room);
                    break start(None).await.unwrap();
                }
                None => tokio::task::yield_now().await,
            }
        };
        assert_eq!(one.progress().state, State::Cancelled);
        assert!(one.progress().report.is_none() && other.id > one.id);
        tasks.close();
        tasks.wait().await;
        assert_eq!(other.progress().state, State::Done);
        assert_eq!(other.progress().report.unwrap().messages, 0);
        assert_eq!(backtests.cancel(&by, other.id).await.unwrap(), Some(false));
        assert_eq!(backtests.cancel(&by, 1).await.unwrap(), None);
        let acts = store.page(View::Operations, &Filter::default()).await.unwrap().objects();
        let acts: Vec<_> = acts.iter().map(|act| act["act"].as_str().unwrap()).collect();
        assert_eq!(acts, ["backtest cancelled", "backtest", "backtest cancelled", "backtest"]);
        for _ in 0..MOST {
            start(None).await.unwrap();
            tasks.wait().await;
        }
        assert!(backtests.find(other.id).is_none() && backtests.all().len() == MOST);
        stop.cancel();
        let last = start(None).await.unwrap();
        tasks.wait().await;
        assert_eq!(last.progress().state, State::Cancelled, "a stop ends it");
        store.close().await;
    }
}
