//! The role that tells what became of the messages of a call.

use async_trait::async_trait;
use serde_json::Value;

use super::Error;

/// Tells outcomes.
#[async_trait]
pub trait Outcomes: Send + Sync {
    /// The latest job of each message of a call, as rows of `v_recalls`.
    async fn outcomes(&self, call_id: i64) -> Result<Vec<Value>, Error>;

    /// Writes what is there already, the way that everything is written: fails or hangs where writing would.
    async fn pulse(&self) -> Result<(), Error>;
}
