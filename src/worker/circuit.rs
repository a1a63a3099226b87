//! Whether calling makes sense at the moment.
//!
//! Calls stop when Chat says that nothing works until a person changes something, and when it cannot
//! be reached at all. The queue is kept; one call at a time probes whether things are mended, ever
//! more rarely, and the first success opens the circuit again.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::ConversationId;

/// So many failures in a row, without any answer between, mean that Chat cannot be reached ...
const UNREACHABLE_AFTER: u32 = 10;
/// ... if they span at least this long: a burst that one broken connection took down is none.
const UNREACHABLE_FOR: Duration = Duration::from_secs(1);
/// Quiet for so long, failures begin a new row.
const STALE_AFTER: Duration = Duration::from_secs(10);
/// So many groups without permission and none with it mean that the account has none.
const GROUPS_WITHOUT_PERMISSION: usize = 3;
/// An answer this fresh shows that failures are not Chat's state as a whole.
const HEALTHY_FOR: Duration = Duration::from_secs(30);
/// Between probes, first and at the most.
const PROBES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// What a call says about calling in general.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Chat recalled a message.
    Recalled(ConversationId),
    /// Chat refused for the message's own sake.
    Answered,
    /// Chat is there and asks for patience.
    Busy,
    /// The account may not do this in this group.
    NotPermitted(ConversationId),
    /// The credential was refused.
    Credential(String),
    /// Nothing will work until a person changes something.
    Configuration(String),
    /// No answer, or none that is Chat's.
    Unreachable(String),
}

/// Why calls stand still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    pub why: String,
    /// Whether only a person can mend it.
    pub needs_person: bool,
}

/// Follows the signs of calls.
#[derive(Debug, Default)]
pub struct Circuit {
    halted: Option<Halted>,
    last_answer: Option<Instant>,
    failures: u32,
    first_failure: Option<Instant>,
    last_failure: Option<Instant>,
    credential_refused: bool,
    /// A credential was made anew then: refusals of calls that began earlier are about the old one.
    renewed_at: Option<Instant>,
    /// When each group first said that the account may not, since it last let it.
    without_permission: HashMap<ConversationId, Instant>,
    last_recall: Option<Instant>,
}

#[derive(Debug)]
struct Halted {
    halt: Halt,
    next_probe: Instant,
    wait: Duration,
}

impl Circuit {
    /// Whether a call may leave now, given how many are under way; else when to ask again.
    pub fn gate(&self, now: Instant, under_way: usize) -> Result<(), Instant> {
        match &self.halted {
            None => Ok(()),
            Some(halted) if under_way == 0 && now >= halted.next_probe => Ok(()),
            Some(halted) => Err(halted.next_probe.max(now + PROBES[0])),
        }
    }

    /// Whether failures of single calls are about these calls, not about Chat as a whole.
    #[must_use]
    pub fn is_healthy(&self, now: Instant) -> bool {
        let fresh = |at: Instant| now.saturating_duration_since(at) < HEALTHY_FOR;
        self.halted.is_none() && self.last_answer.is_some_and(fresh)
    }

    /// Whether the account was let do its work elsewhere since this group first refused it, so that
    /// it is the group's affair.
    #[must_use]
    pub fn is_permitted_elsewhere(&self, group: ConversationId) -> bool {
        let refused_at = self.without_permission.get(&group);
        refused_at.is_some_and(|at| self.last_recall.is_some_and(|recalled_at| recalled_at > *at))
    }

    /// Why calls stand still, if they do.
    #[must_use]
    pub fn halt(&self) -> Option<&Halt> {
        self.halted.as_ref().map(|halted| &halted.halt)
    }

    /// Lets the next call through at once: somebody says that it is mended.
    pub fn try_now(&mut self, now: Instant) {
        if let Some(halted) = &mut self.halted {
            halted.next_probe = now;
            halted.wait = PROBES[0];
        }
    }

    /// Takes in what a call that began then showed. Answers whether calls stopped or went on because
    /// of it.
    pub fn saw(&mut self, sign: Sign, began: Instant, now: Instant) -> bool {
        let was_halted = self.halted.is_some();
        if !matches!(sign, Sign::Unreachable(_)) {
            self.failures = 0;
            self.first_failure = None;
        }
        match sign {
            Sign::Recalled(group) => {
                self.last_recall = Some(now);
                self.without_permission.remove(&group);
                self.answered(now);
            }
            Sign::Answered | Sign::Busy => self.answered(now),
            Sign::NotPermitted(group) => {
                self.without_permission.entry(group).or_insert(now);
                let since = |at: &&Instant| self.last_recall.is_none_or(|recall| **at >= recall);
                let groups = self.without_permission.values().filter(since).count();
                if was_halted || groups >= GROUPS_WITHOUT_PERMISSION {
                    let why = "10007 in every group: the account has no permission";
                    self.stop(why.into(), now, true);
                }
            }
            Sign::Credential(_) if self.renewed_at.is_some_and(|renewed_at| began < renewed_at) => {
            }
            Sign::Credential(why) => {
                if self.credential_refused || was_halted {
                    self.stop(why, now, true);
                }
                self.credential_refused = true;
                self.renewed_at = Some(now);
            }
            Sign::Configuration(why) => self.stop(why, now, true),
            Sign::Unreachable(why) => {
                // Failures far apart have nothing to do with each other.
                let stale = |at: Instant| now.saturating_duration_since(at) > STALE_AFTER;
                if self.last_failure.replace(now).is_some_and(stale) {
                    self.failures = 0;
                    self.first_failure = None;
                }
                self.failures += 1;
                let since = *self.first_failure.get_or_insert(now);
                let long = now.saturating_duration_since(since) >= UNREACHABLE_FOR;
                if was_halted || (self.failures >= UNREACHABLE_AFTER && long) {
                    self.stop(why, now, false);
                }
            }
        }
        was_halted != self.halted.is_some()
    }

    fn answered(&mut self, now: Instant) {
        self.last_answer = Some(now);
        self.credential_refused = false;
        self.halted = None;
    }

    fn stop(&mut self, why: String, now: Instant, needs_person: bool) {
        let (wait, next_probe) = match &self.halted {
            // A call that was under way when calls stopped is no probe.
            Some(halted) if now < halted.next_probe => (halted.wait, halted.next_probe),
            Some(halted) => {
                let wait = (halted.wait * 2).min(PROBES[1]);
                (wait, now + wait)
            }
            None => (PROBES[0], now + PROBES[0]),
        };
        self.halted = Some(Halted { halt: Halt { why, needs_person }, next_probe, wait });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> Sign {
        Sign::Unreachable("reset".into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_configuration_error_stops_calls_until_a_probe_succeeds() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        assert!(circuit.gate(now, 5).is_ok());
        assert!(circuit.saw(Sign::Configuration("10041".into()), now, now));
        assert!(circuit.halt().is_some_and(|halt| halt.needs_person));
        assert!(circuit.gate(now, 0).is_err());
        let later = now + PROBES[0];
        assert!(circuit.gate(later, 1).is_err(), "one probe at a time");
        assert!(circuit.gate(later, 0).is_ok());
        assert!(!circuit.saw(Sign::Configuration("10041".into()), later, later));
        assert!(circuit.gate(later + PROBES[0], 0).is_err(), "probes grow rarer");
        circuit.try_now(later);
        assert!(circuit.gate(later, 0).is_ok());
        assert!(circuit.saw(Sign::Answered, later, later));
        assert!(circuit.gate(later, 100).is_ok());
    }

    #[test]
    fn a_credential_is_renewed_once() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        assert!(!circuit.saw(Sign::Credential("70001".into()), now, now));
        assert!(!circuit.saw(Sign::Answered, now, now));
        assert!(!circuit.saw(Sign::Credential("70001".into()), now, now));
        assert!(circuit.saw(Sign::Credential("70001".into()), now, now));
    }

    #[test]
    fn no_permission_in_one_group_is_that_groups_affair() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        assert!(!circuit.saw(Sign::NotPermitted(1), now, now));
        assert!(!circuit.saw(Sign::NotPermitted(1), now, now));
        assert!(!circuit.is_permitted_elsewhere(1));
        for group in 2..9_i64 {
            let now = now + Duration::from_secs(group.unsigned_abs());
            circuit.saw(Sign::Recalled(100), now, now);
            assert!(circuit.is_permitted_elsewhere(1));
            assert!(!circuit.saw(Sign::NotPermitted(group), now, now));
        }
    }

    #[test]
    fn calls_under_way_do_not_make_probes_rarer() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        for _ in 0..50 {
            circuit.saw(Sign::Configuration("10041".into()), now, now);
        }
        assert!(circuit.gate(now + PROBES[0], 0).is_ok());
    }

    #[test]
    fn refusals_of_the_old_credential_do_not_count_against_the_new_one() {
        let mut circuit = Circuit::default();
        let began = Instant::now();
        let now = began + Duration::from_millis(50);
        for _ in 0..10 {
            assert!(!circuit.saw(Sign::Credential("70001".into()), began, now));
        }
        assert!(circuit.saw(Sign::Credential("70001".into()), now, now));
    }

    #[test]
    fn a_permission_that_is_taken_away_stops_calls() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        circuit.saw(Sign::Recalled(1), now, now);
        let later = now + Duration::from_secs(1);
        assert!(!circuit.saw(Sign::NotPermitted(1), later, later));
        assert!(!circuit.saw(Sign::NotPermitted(2), later, later));
        assert!(circuit.saw(Sign::NotPermitted(3), later, later));
    }

    #[test]
    fn no_permission_anywhere_stops_calls() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        assert!(!circuit.saw(Sign::NotPermitted(1), now, now));
        assert!(!circuit.saw(Sign::NotPermitted(2), now, now));
        assert!(circuit.saw(Sign::NotPermitted(3), now, now));
    }

    #[test]
    fn failures_in_a_row_stop_calls_and_stray_ones_do_not() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        for n in 0..100 {
            let sign = if n % 5 == 0 { Sign::Answered } else { unreachable() };
            assert!(!circuit.saw(sign, now, now + Duration::from_millis(n * 100)));
        }
        let later = now + Duration::from_secs(20);
        for _ in 0..100 {
            assert!(
                !circuit.saw(unreachable(), later, later),
                "all at once: one broken connection"
            );
        }
        assert!(circuit.saw(unreachable(), later, later + UNREACHABLE_FOR));
        assert!(!circuit.is_healthy(later));
        assert!(circuit.halt().is_some_and(|halt| !halt.needs_person));
    }
}
