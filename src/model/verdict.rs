//! What was found in a message, and what follows from it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{RuleId, RulesVersion};

macro_rules! words {
    ($name:ident: $($variant:ident = $word:literal),+ $(,)?) => {
        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The word used in YAML, JSON, tables and pages.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
            /// The value that a word stands for.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use words;

/// The outcome for a message. Only live rules decide it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    #[default]
    Pass,
    Flag,
    Recall,
}
words!(Verdict: Pass = "pass", Flag = "flag", Recall = "recall");

/// Whether a rule acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Off,
    /// Its hits are recorded and have no effect.
    Shadow,
    #[default]
    Live,
}
words!(Mode: Off = "off", Shadow = "shadow", Live = "live");

/// How bad a hit is; the order in which recalls leave.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    #[default]
    Medium,
    High,
    Critical,
}
words!(Severity: Low = "low", Medium = "medium", High = "high", Critical = "critical");

/// What a live rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Recall,
    Flag,
}
words!(Action: Recall = "recall", Flag = "flag");

/// A place in a message that a rule matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub rule: RuleId,
    pub mode: Mode,
    pub severity: Severity,
    /// What the rule asks for: [`Action::Recall`] wherever its actions hold it.
    pub action: Action,
    /// First matched character of the message's text, in Unicode scalar values. Start and end are
    /// both 0 where a rule matched something else than text.
    pub start: usize,
    /// One behind the last matched character.
    pub end: usize,
    /// The matched characters as they were written, fillers included.
    pub text: String,
}

/// Everything the rules have to say about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// In order of the rules file, then of the text. Shadow hits are among them.
    pub hits: Vec<Hit>,
    pub rules_version: RulesVersion,
}

impl Judgement {
    /// The hit that a recall is asked for by: live, of the highest severity, first in the file.
    #[must_use]
    pub fn recalled_by(&self) -> Option<&Hit> {
        let asks = |hit: &&Hit| hit.mode == Mode::Live && hit.action == Action::Recall;
        self.hits.iter().filter(asks).reduce(
            |best, hit| {
                if hit.severity > best.severity { hit } else { best }
            },
        )
    }
}
