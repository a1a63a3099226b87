//! `[history]`: pulling what the callbacks missed.

use serde::{Deserialize, Serialize};

use super::{Mistake, require};

/// The budget of the history API, apart from that of recalls: Chat counts each command by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    pub calls_per_second: u32,
}

impl Default for History {
    fn default() -> Self {
        Self { calls_per_second: 50 }
    }
}

impl History {
    pub(super) fn check(&self, found: &mut Vec<Mistake>) {
        require(
            (1..=super::recall::CALLS_PER_SECOND_AT_CHAT).contains(&self.calls_per_second),
            "history.calls_per_second",
            "must lie between 1 and 200, the most that Chat allows",
            found,
        );
    }
}
