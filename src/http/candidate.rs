//! Rules files that somebody sent: checked and tried, by the API and by the dashboard alike.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::admin::Admin;
use crate::backtest::{Asked, Backtest, Pace, Terms};
use crate::rules::{self, Checked, LoadError, Loaded};
use crate::store::{By, Error};

/// What such a file is called in messages.
const NAME: &str = "candidate.yaml";

/// One is compiled at a time: a large one takes a core for a while, and some memory.
static COMPILER: Semaphore = Semaphore::const_new(1);

/// Why a backtest did not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotBegun {
    /// Another one runs.
    #[error("another backtest runs: wait for it, or cancel it")]
    Busy,
    /// The candidate has mistakes.
    #[error(transparent)]
    Broken(#[from] LoadError),
    #[error(transparent)]
    Store(#[from] Error),
}

/// Everything that there is to say of a rules file, its examples run.
pub(super) async fn check(admin: &Admin, yaml: String) -> Checked {
    compiled(admin, yaml, rules::check).await
}

/// Lets a rules file run over what is stored, in the background.
pub(super) async fn backtest(
    admin: &Admin,
    by: &By,
    yaml: String,
    asked: Asked,
) -> Result<Arc<Backtest>, NotBegun> {
    let room = admin.backtests.room().ok_or(NotBegun::Busy)?;
    let candidate = compiled(admin, yaml, |loaded| loaded.map(|loaded| loaded.rules)).await?;
    let terms = admin.operator.sweep_terms();
    let terms = Terms {
        identifier: admin.operator.identifier(),
        pace: Pace { calls_per_second: terms.calls_per_second, batch_size: terms.batch_size },
    };
    Ok(admin.backtests.start(room, by, &candidate, asked, terms).await?)
}

/// Compiles on a thread of its own and does something with what comes of it there.
async fn compiled<T: Send + 'static>(
    admin: &Admin,
    yaml: String,
    then: impl FnOnce(Result<Loaded, LoadError>) -> T + Send + 'static,
) -> T {
    let turn = COMPILER.acquire().await;
    let (folder, in_force) = (admin.operator.rules_folder(), admin.operator.rules());
    let done = spawn_blocking(move || {
        // Kept to the end, also where nobody waits any more.
        let _turn = turn;
        then(rules::load_confined(NAME, &yaml, &folder, &in_force))
    });
    done.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
