//! What the stateful matchers saw when a message was judged. Recorded with the verdict, so that an
//! old verdict can be derived again from message, signals and rule set alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Facts about a message that are not in the message: counts, by the name of what was counted, such
/// as `flood/group/10s` or `newcomer/everywhere`.
///
/// Absent means that nobody counted; a matcher that asks for it does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signals {
    pub counts: BTreeMap<Arc<str>, u32>,
}

impl Signals {
    /// Whether there is anything to record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
    /// What was counted under a name.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<u32> {
        self.counts.get(name).copied()
    }
}
