//! `[history]`: pulling what the callbacks missed.

use serde::{Deserialize, Serialize};

use super::{Mistake, require};

/// The budget of the history API, apart from that of recalls: Chat counts each command by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    pub calls_per_second: u32,
    pub repair: bool,
    pub grace_ms: u64,
    pub probe_after_seconds: u64,
    pub probe_active_hours: u64,
    pub reread_after_minutes: u64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            calls_per_second: 50,
            repair: true,
            grace_ms: 2000,
            probe_after_seconds: 20,
            probe_active_hours: 24,
            reread_after_minutes: 0,
        }
    }
}

impl History {
    pub(super) fn check(&self, found: &mut Vec<Mistake>) {
        require(
            (1..=super::CALLS_PER_SECOND_AT_CHAT).contains(&self.calls_per_second),
            "history.calls_per_second",
            "must lie between 1 and 200, the most that Chat allows",
            found,
        );
        require(
            self.grace_ms <= 600_000,
            "history.grace_ms",
            "must not exceed 600000: ten minutes are longer than any callback is on its way",
            found,
        );
        require(
            (1..=86_400).contains(&self.probe_after_seconds),
            "history.probe_after_seconds",
            "must lie between 1 and 86400",
            found,
        );
        require(
            (1..=24 * 365).contains(&self.probe_active_hours),
            "history.probe_active_hours",
            "must lie between 1 and 8760",
            found,
        );
        require(
            self.reread_after_minutes <= 60 * 24 * 365,
            "history.reread_after_minutes",
            "must not exceed 525600: Chat keeps nothing for longer than a year",
            found,
        );
    }
}
