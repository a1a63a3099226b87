//! `[guard]`: what keeps a bad rule from emptying a chat.

use serde::{Deserialize, Serialize};

use super::{Mistake, require};

/// Limits on what rules may do. They act on jobs, never on verdicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    pub trip_share: f64,
    pub trip_min_senders: u32,
    pub rule_recalls_per_minute: u32,
    pub sender_recalls_per_minute: u32,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            trip_share: 0.5,
            trip_min_senders: 50,
            rule_recalls_per_minute: 0,
            sender_recalls_per_minute: 0,
        }
    }
}

impl Guard {
    pub(super) fn check(&self, found: &mut Vec<Mistake>) {
        require(
            self.trip_share > 0.0 && self.trip_share <= 1.0,
            "guard.trip_share",
            "must be a share above 0 and at most 1",
            found,
        );
        require(self.trip_min_senders >= 1, "guard.trip_min_senders", "must be at least 1", found);
    }
}
