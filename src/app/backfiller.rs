//! Reading history while no daemon runs.

use std::sync::Arc;

use anyhow::Result;

use super::{client, load_rules, open_store, repair_options, start_intake};
use crate::config::Config;
use crate::model::{Clock, GroupId, MsgSeq, TopicId};
use crate::repair::{Repair, Scope};
use crate::store::sqlite::Sqlite;
use crate::store::{self, Audit, Backfills, By, Filter, View};

/// Reads stretches of history while no daemon runs.
pub struct Backfiller {
    store: Arc<Sqlite>,
    repair: Repair,
}

impl Backfiller {
    /// Opens the store, under its lock, and loads the rules.
    pub async fn start(config: &Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let store = Arc::new(open_store(config).await?);
        let rules = load_rules(&config.rules.path)?;
        let intake = Arc::new(start_intake(config, rules, &store, &clock).await?);
        let repair = Repair::start(
            Arc::clone(&store) as _,
            intake,
            client(config, Arc::clone(&clock))?,
            clock,
            repair_options(config, Scope::Backfills),
            Box::new(|| false),
        );
        Ok(Self { store, repair })
    }

    /// Has a stretch of history read; `to` 0 stands for the newest. Answers its number.
    pub async fn read(
        &self,
        by: &By,
        group: &GroupId,
        topic: &TopicId,
        from: MsgSeq,
        to: MsgSeq,
    ) -> Result<i64, store::Error> {
        let id = self.store.start_backfill(by, group, topic, from, to).await?;
        self.repair.wake();
        Ok(id)
    }

    /// How far a stretch was read, as `v_backfills` shows it.
    pub async fn look(&self, id: i64) -> Result<Option<serde_json::Value>, store::Error> {
        let filter = Filter { cursor: Some(id.saturating_add(1)), limit: 1, ..Filter::default() };
        let page = self.store.page(View::Backfills, &filter).await?;
        Ok(page.objects().into_iter().find(|row| row["backfill_id"] == id))
    }

    /// Ends a backfill. Answers whether there was one to end.
    pub async fn cancel(&self, by: &By, id: i64) -> Result<bool, store::Error> {
        self.store.cancel_backfill(by, id).await
    }

    /// Finishes the call under way and closes the store.
    pub async fn stop(self) {
        self.repair.stop().await;
        self.store.close().await;
    }
}
