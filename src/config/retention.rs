//! `[retention]`: how long what is kept.

use serde::{Deserialize, Serialize};

use super::{Mistake, require};

/// Whose text is stored at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreText {
    #[default]
    All,
    /// Of messages that a rule matched, in whatever mode.
    Matched,
    None,
}

/// In days; 0 keeps it for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    pub store_text: StoreText,
    pub text_days: u32,
    pub matched_text_days: u32,
    pub rows_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { store_text: StoreText::All, text_days: 30, matched_text_days: 30, rows_days: 400 }
    }
}

impl Retention {
    pub(super) fn check(&self, found: &mut Vec<Mistake>) {
        let longest = [self.text_days, self.matched_text_days];
        require(
            self.rows_days == 0 || longest.iter().all(|days| (1..=self.rows_days).contains(days)),
            "retention.rows_days",
            "must not be less than text_days and matched_text_days: a text goes with its row",
            found,
        );
    }
}
