//! `length`: how long a message's text is.
//!
//! ```yaml
//! length: { over: 500 }
//! length: { under: 3 }
//! length: { lines_over: 20 }
//! ```

use crate::rules::decode::written;

written! {
    /// Limits; everything given has to agree. Characters are Unicode scalar values.
    struct Written: "a length matcher" {
        /// More characters than this.
        over = "over": Option<u64>,
        /// Fewer characters than this.
        under = "under": Option<u64>,
        /// More lines than this.
        lines_over = "lines_over": Option<u64>,
    }
}

impl Written {
    pub(crate) fn holds(&self, text: &str) -> bool {
        let characters = text.chars().count() as u64;
        self.over.is_none_or(|limit| characters > limit)
            && self.under.is_none_or(|limit| characters < limit)
            && self.lines_over.is_none_or(|limit| text.lines().count() as u64 > limit)
    }
}
