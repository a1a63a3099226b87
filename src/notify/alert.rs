//! What is told, in words and as data.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::model::{RuleId, Timestamp};

/// Why calls stand still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    pub why: String,
    /// Whether only a person can mend it, such as a refused credential.
    pub needs_person: bool,
}

/// Something that needs a person, or that a person wants to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Alert {
    /// A rule fell to shadow, and its recalls are held.
    RuleTripped { rule: RuleId, why: String, at: Timestamp },
    /// No call leaves any more.
    CallsHalted { halt: Halt, at: Timestamp },
    /// The oldest waiting recall is older than it may be.
    QueueOld { age: Duration, waiting: u64, at: Timestamp },
    /// Messages that nobody can judge any more.
    GapUnrepairable { sequences: u64, gaps: u64, reason: String, at: Timestamp },
    /// What a day brought.
    DailySummary { summary: Value, at: Timestamp },
}

impl Alert {
    /// The type, as the Standard Webhooks specification writes them.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RuleTripped { .. } => "rule.tripped",
            Self::CallsHalted { halt, .. } if halt.needs_person => "credential.refused",
            Self::CallsHalted { .. } => "calls.halted",
            Self::QueueOld { .. } => "queue.old",
            Self::GapUnrepairable { .. } => "gap.unrepairable",
            Self::DailySummary { .. } => "daily.summary",
        }
    }

    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::RuleTripped { at, .. }
            | Self::CallsHalted { at, .. }
            | Self::QueueOld { at, .. }
            | Self::GapUnrepairable { at, .. }
            | Self::DailySummary { at, .. } => *at,
        }
    }

    /// The same for the same happening, however often it is told.
    #[must_use]
    pub fn id(&self) -> String {
        let what = json!([self.kind(), self.at(), self.data()]).to_string();
        let digest = Sha256::digest(what.as_bytes());
        format!("msg_{}", URL_SAFE_NO_PAD.encode(&digest[..16]))
    }

    /// What there is to know, for programs.
    #[must_use]
    pub fn data(&self) -> Value {
        match self {
            Self::RuleTripped { rule, why, .. } => json!({ "rule": rule, "why": why }),
            Self::CallsHalted { halt, .. } => {
                json!({ "why": halt.why, "needs_person": halt.needs_person })
            }
            Self::QueueOld { age, waiting, .. } => {
                json!({ "age_seconds": age.as_secs(), "waiting": waiting })
            }
            Self::GapUnrepairable { sequences, gaps, reason, .. } => {
                json!({ "sequences": sequences, "gaps": gaps, "reason": reason })
            }
            Self::DailySummary { summary, .. } => summary.clone(),
        }
    }

    /// The same in words.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::RuleTripped { rule, why, .. } => format!(
                "quell: rule {rule} tripped: {why}. Its recalls are held until somebody decides: \
                 quell jobs release or cancel --rule {rule}, then quell guard reset {rule}."
            ),
            Self::CallsHalted { halt, .. } if halt.needs_person => format!(
                "quell: Chat refuses our calls, and only a person can mend it: {}. The queue is kept.",
                halt.why
            ),
            Self::CallsHalted { halt, .. } => {
                format!("quell: recalls stand still: {}. The queue is kept.", halt.why)
            }
            Self::QueueOld { age, waiting, .. } => format!(
                "quell: the oldest recall has been waiting for {} s; {waiting} wait.",
                age.as_secs()
            ),
            Self::GapUnrepairable { sequences, gaps, reason, .. } => format!(
                "quell: {sequences} messages in {gaps} gaps can be judged by nobody any more: {reason}."
            ),
            Self::DailySummary { summary, .. } => summary_text(summary),
        }
    }
}

fn summary_text(summary: &Value) -> String {
    let number = |key: &str| summary[key].as_u64().map_or("0".to_owned(), |n| n.to_string());
    let ms = |key: &str| summary[key].as_u64().map_or("-".to_owned(), |ms| format!("{ms} ms"));
    let rules = summary["top_rules"].as_array().into_iter().flatten();
    let rules: Vec<_> = rules
        .map(|rule| format!("{} {}", rule["rule"].as_str().unwrap_or(""), rule["hits"]))
        .collect();
    format!(
        "quell, the last 24 hours: {} messages; {} recalled, {} refused, {} dead, {} held; visible for \
         {} (median), {} (99 in 100). Most hits: {}. Chain head {}.",
        number("messages"),
        number("recalled"),
        number("refused"),
        number("dead"),
        number("held"),
        ms("exposure_p50_ms"),
        ms("exposure_p99_ms"),
        if rules.is_empty() { "none".to_owned() } else { rules.join(", ") },
        summary["chain_head"].as_str().filter(|head| !head.is_empty()).unwrap_or("-"),
    )
}
