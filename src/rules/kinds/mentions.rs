//! `mentions`: who is called by `@`.
//!
//! ```yaml
//! mentions: { over: 5 }
//! mentions: { everyone: true }
//! ```

use crate::model::Message;
use crate::rules::decode::written;

written! {
    /// Either is enough.
    struct Written: "a mentions matcher" {
        /// More accounts called than this.
        over = "over": Option<u64>,
        /// Everybody in the group is called.
        everyone = "everyone": Option<bool>,
    }
}

impl Written {
    pub(crate) fn holds(&self, message: &Message) -> bool {
        let accounts = message.mentions.accounts.len() as u64;
        self.over.is_some_and(|limit| accounts > limit)
            || (self.everyone == Some(true) && message.mentions.everyone)
    }
}
