//! Does what is left of plans while a daemon runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::finish;
use crate::model::Clock;
use crate::store::{Error, Plans};

/// Between attempts while the store fails.
const AGAIN: Duration = Duration::from_secs(1);

/// Works plans one after the other, those that a crash interrupted first.
pub struct Sweeper {
    store: Arc<dyn Plans>,
    clock: Arc<dyn Clock>,
    turned: Notify,
}

impl Sweeper {
    #[must_use]
    pub fn new(store: Arc<dyn Plans>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, turned: Notify::new() }
    }

    /// A plan was told to go or to end.
    pub fn plans_turned(&self) {
        self.turned.notify_one();
    }

    /// Works for ever. May be dropped at any moment: what is left is found at the next start.
    pub async fn run(self: Arc<Self>) {
        loop {
            match self.work().await {
                Ok(()) => self.turned.notified().await,
                Err(Error::Closed) => return,
                Err(error) => {
                    tracing::error!(error = %error, "a plan cannot go on");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn work(&self) -> Result<(), Error> {
        for plan in self.store.unfinished_plans().await? {
            finish(self.store.as_ref(), plan, self.clock.as_ref()).await?;
            tracing::info!(plan.id = plan, "a plan is queued or cancelled");
        }
        Ok(())
    }
}
