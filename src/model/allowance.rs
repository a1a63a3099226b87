//! What operators let through beside the rules file.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::verdict::words;
use super::{RuleId, Timestamp};

/// Somebody, or a phrase, that rules leave alone. Allowances are part of the rule set: with them its
/// version is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    pub id: i64,
    pub kind: AllowanceKind,
    /// The sender, or the phrase.
    pub value: String,
    /// The rule that it is about; every rule, where none is named.
    pub rule: Option<RuleId>,
    pub note: String,
    pub by: String,
    pub at: Timestamp,
}

/// What is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AllowanceKind {
    /// Whatever a sender writes.
    Sender,
    /// The characters that a phrase covers, as `unless` does in a rules file.
    Phrase,
}
words!(AllowanceKind: Sender = "sender", Phrase = "phrase");
