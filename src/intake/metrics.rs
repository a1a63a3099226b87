//! What the intake counts. Group and user ids are never labels: there is no end of them.

use metrics::{Counter, counter, describe_counter, describe_gauge, gauge};

use super::{Refused, Taken};
use crate::chat::verify::Rejection;
use crate::model::{Mode, RuleId, Verdict};
use crate::store::{Error, Recorded};

/// What can become of a callback.
const RESULTS: [&str; 11] = [
    "stored",
    "duplicate",
    "conflict",
    "noted",
    "unreadable",
    "overloaded",
    "unavailable",
    "late",
    "too_large",
    "broken_off",
    "slow_body",
];

/// Says what each metric means, and starts those with known labels at 0.
pub(super) fn describe() {
    describe_counter!("quell_callbacks_total", "Callbacks, by what became of them");
    describe_counter!("quell_messages_total", "Messages judged, by verdict");
    describe_counter!("quell_rule_hits_total", "Messages that a rule matched, by rule and mode");
    describe_counter!(
        "quell_unjudged_messages_total",
        "Messages recorded without a verdict of any rule, because judging them failed inside quell"
    );
    counter!("quell_unjudged_messages_total").absolute(0);
    describe_gauge!(
        "quell_rules_info",
        "1 for the version of the rules in force, 0 for those that were before it since the start"
    );
    for result in RESULTS {
        counter!("quell_callbacks_total", "result" => result).absolute(0);
    }
    for rejection in Rejection::ALL {
        counter!("quell_callbacks_total", "result" => rejection.reason()).absolute(0);
    }
    for verdict in Verdict::ALL {
        counter!("quell_messages_total", "verdict" => verdict.as_str()).absolute(0);
    }
}

/// Counters that every callback moves, looked up once.
pub(super) struct Counters {
    stored: Counter,
    /// In the order of [`Verdict::ALL`].
    verdicts: Vec<Counter>,
}

impl Counters {
    /// To be made when the recorder is in place: a counter made before counts nothing.
    pub(super) fn new() -> Self {
        let verdict =
            |verdict: &Verdict| counter!("quell_messages_total", "verdict" => verdict.as_str());
        Self {
            stored: counter!("quell_callbacks_total", "result" => "stored"),
            verdicts: Verdict::ALL.iter().map(verdict).collect(),
        }
    }

    pub(super) fn callback(&self, result: &'static str) {
        if result == "stored" {
            self.stored.increment(1);
        } else {
            counter!("quell_callbacks_total", "result" => result).increment(1);
        }
    }

    pub(super) fn judged(&self, verdict: Verdict, rules: &[(RuleId, Mode)]) {
        let place = Verdict::ALL.iter().position(|known| *known == verdict);
        if let Some(counter) = place.and_then(|place| self.verdicts.get(place)) {
            counter.increment(1);
        }
        for (rule, mode) in rules {
            let labels = [("rule", rule.to_string()), ("mode", mode.to_string())];
            counter!("quell_rule_hits_total", &labels).increment(1);
        }
    }
}

/// A message that no rule could be asked about.
pub(super) fn unjudged() {
    counter!("quell_unjudged_messages_total").increment(1);
}

pub(super) fn rejected(rejection: Rejection) -> &'static str {
    rejection.reason()
}

pub(super) fn result(taken: &Result<Taken, Refused>) -> &'static str {
    match taken {
        Ok(Taken::Recorded(Recorded::New)) => "stored",
        Ok(Taken::Recorded(Recorded::Duplicate)) => "duplicate",
        Ok(Taken::Recorded(Recorded::Conflict)) => "conflict",
        Ok(Taken::Noted) => "noted",
        Err(Refused::Unreadable(_)) => "unreadable",
        Err(Refused::Store(Error::Overloaded(_))) => "overloaded",
        Err(Refused::Store(_)) => "unavailable",
    }
}

pub(super) fn tripped(rule: &RuleId, tripped: bool) {
    gauge!("quell_rule_tripped", "rule" => rule.to_string()).set(if tripped { 1.0 } else { 0.0 });
}

/// Starts what a rule may count at 0, in either mode: a live one may fall to shadow.
pub(super) fn rule_in_force(rule: &RuleId) {
    for mode in [Mode::Shadow, Mode::Live] {
        let labels = [("rule", rule.to_string()), ("mode", mode.to_string())];
        counter!("quell_rule_hits_total", &labels).increment(0);
    }
}

pub(super) fn rules_in_force(version: &str) {
    static LATEST: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());
    let mut latest = LATEST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !latest.is_empty() {
        gauge!("quell_rules_info", "version" => latest.clone()).set(0.0);
    }
    gauge!("quell_rules_info", "version" => version.to_owned()).set(1.0);
    version.clone_into(&mut latest);
}
