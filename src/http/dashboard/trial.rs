//! A candidate rules file tried against stored messages in the background, one at a time: what a
//! backtest reads and judges would else slow each other, and callbacks, down.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Dashboard;
use crate::backtest::{self, Options, Report};
use crate::model::Timestamp;
use crate::rules::{self, CompiledRules, LoadError};

/// Changed messages shown of a rule, new hits and lost ones apart.
const SAMPLES: usize = 3;

/// The latest trial.
#[derive(Default)]
pub(super) struct Trials {
    latest: Mutex<Option<Arc<Trial>>>,
}

/// A candidate on its way through the stored messages.
pub(super) struct Trial {
    pub by: String,
    pub began: Timestamp,
    pub stretch: Duration,
    pub rules: Arc<CompiledRules>,
    progress: Mutex<Progress>,
    end: CancellationToken,
}

/// How far it is.
#[derive(Clone)]
pub(super) enum Progress {
    /// Messages done, of at most so many.
    Running(u64, u64),
    Done(Arc<Report>),
    Ended,
    Failed(String),
}

/// Why a trial does not begin.
pub(super) enum NotNow {
    /// Another one runs.
    Busy,
    /// The candidate has mistakes.
    Broken(LoadError),
}

impl Trials {
    pub(super) fn latest(&self) -> Option<Arc<Trial>> {
        lock(&self.latest).clone()
    }

    /// Ends the trial that runs, if one does.
    pub(super) fn end(&self) {
        if let Some(trial) = self.latest() {
            trial.end.cancel();
        }
    }
}

impl Trial {
    pub(super) fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    fn is_running(&self) -> bool {
        matches!(self.progress(), Progress::Running(..))
    }

    fn set(&self, progress: Progress) {
        *lock(&self.progress) = progress;
    }
}

/// Compiles a candidate and lets it run over what was received within a stretch.
pub(super) async fn start(
    dashboard: &Dashboard,
    by: &str,
    candidate: String,
    stretch: Duration,
) -> Result<(), NotNow> {
    let admin = &dashboard.admin;
    let folder = admin.operator.rules_folder();
    let compiled = compile(candidate, &folder).await.map_err(NotNow::Broken)?;
    // What operators let through holds for a candidate, too. Where the store cannot be read, the run says so.
    let allowances = admin.store.allowances().await.unwrap_or_default();
    let began = admin.clock.now();
    let trial = Arc::new(Trial {
        by: by.to_owned(),
        began,
        stretch,
        rules: Arc::new(compiled.with_allowances(&allowances)),
        progress: Mutex::new(Progress::Running(0, 0)),
        end: admin.stopping.child_token(),
    });
    {
        let mut latest = lock(&dashboard.trials.latest);
        if latest.as_ref().is_some_and(|trial| trial.is_running()) {
            return Err(NotNow::Busy);
        }
        *latest = Some(Arc::clone(&trial));
    }
    let options = Options {
        since: Some(began.before(stretch)),
        group: None,
        identifier: admin.operator.identifier(),
        samples: SAMPLES,
    };
    let store = Arc::clone(&admin.store);
    tokio::spawn(async move {
        let shown = Arc::clone(&trial);
        let run = backtest::run(Arc::clone(&trial.rules), store, options, move |done, of| {
            shown.set(Progress::Running(done, of));
        });
        let ended = trial.end.clone().run_until_cancelled(run).await;
        trial.set(match ended {
            None => Progress::Ended,
            Some(Ok(report)) => Progress::Done(Arc::new(report)),
            Some(Err(error)) => {
                tracing::warn!(%error, "a trial of rules failed");
                Progress::Failed(error.to_string())
            }
        });
    });
    Ok(())
}

/// Compiles on a thread of its own: large lists take a while.
pub(super) async fn compile(candidate: String, folder: &Path) -> Result<CompiledRules, LoadError> {
    let folder = folder.to_path_buf();
    let compiled = tokio::task::spawn_blocking(move || {
        rules::load_confined("candidate.yaml", &candidate, &folder).map(|loaded| loaded.rules)
    });
    compiled.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
