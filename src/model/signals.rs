//! What the stateful matchers saw when a message was judged. Recorded with the verdict, so that an
//! old verdict can be derived again from message, signals and rule set alone.

use serde::{Deserialize, Serialize};

/// Facts about a message that are not in the message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signals {}

impl Signals {
    /// Whether there is anything to record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
