//! What keeps a bad rule from emptying a chat. Guards act on jobs, never on verdicts.
//!
//! - A rule **trips** when in the last minute it hit more than a share of all distinct senders seen,
//!   and at least so many of them: a rule that is right does not hit half of everybody. One sender's
//!   flood counts once, so it can never switch a rule off.
//! - **Caps** hold what a rule, or recalls of one sender, ask for beyond so many a minute.
//!
//! Time is when a callback came in, by our clock. Memory is bounded: beyond [`KEPT`] senders a sample
//! of them, chosen by hash, stands for all. After a restart the minute begins anew; rules that had
//! tripped stay so.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{RuleId, Timestamp, UserId};

/// How long guards look back.
const MINUTE: i64 = 60_000;
/// The minute slides in steps of so many milliseconds.
const STEP: i64 = 5_000;
/// Senders kept of each minute before a sample stands for them, small enough to stay in the processor's
/// cache: half as many tell a share of a half to within a hundredth (two standard deviations).
const KEPT: usize = 1 << 14;
/// A sample of fewer is too coarse for those who come by now: a flood has passed.
const FEW: usize = KEPT / 4;
/// Senders whose recalls are counted before those who had none within the minute are forgotten.
const COUNTED: usize = 1 << 16;

/// Limits on what rules may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Share of all distinct senders.
    pub trip_share: f64,
    /// Distinct senders hit at least.
    pub trip_min_senders: u32,
    /// 0: no cap.
    pub rule_recalls_per_minute: u32,
    /// 0: no cap.
    pub sender_recalls_per_minute: u32,
}

/// What guards say to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It may go.
    Go(RuleId),
    /// It is held, with why.
    Hold(RuleId, String),
}

/// Follows senders, hits and jobs.
pub(super) struct Guard {
    limits: Limits,
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The latest step.
    step: i64,
    /// Only senders are kept whose hashes end in so many zero bits, of a rule's the same as of all: shares
    /// are right though the sample is small.
    sampled_bits: u32,
    senders: Distinct,
    hit_by: HashMap<RuleId, Distinct>,
    tripped: HashSet<RuleId>,
    by_rule: HashMap<RuleId, VecDeque<i64>>,
    by_sender: Counted,
}

/// What is counted of each sender's recalls.
#[derive(Default)]
struct Counted {
    recalls: BySender<VecDeque<i64>>,
    /// How many were left when idle ones were last forgotten, and when that was.
    left: usize,
    looked_at: i64,
}

/// What is kept of senders, by a hash of theirs that nobody outside can foresee.
type BySender<T> = HashMap<u64, T, BuildHasherDefault<Hashed>>;

/// Takes what is a hash already for one. Halves are swapped: a sample is of hashes that end alike, and
/// maps look at the end first.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash.rotate_left(32);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

impl Guard {
    /// With rules that tripped before and were not put back in force since.
    pub(super) fn new(limits: Limits, tripped: impl IntoIterator<Item = RuleId>) -> Self {
        let state = State { tripped: tripped.into_iter().collect(), ..State::default() };
        Self { limits, hasher: RandomState::new(), state: Mutex::new(state) }
    }

    /// Takes in a message and the live rules that asked to recall it. Answers the rules that trip
    /// because of it, with why.
    pub(super) fn saw(
        &self,
        sender: &UserId,
        rules: &[&RuleId],
        at: Timestamp,
    ) -> Vec<(RuleId, String)> {
        let sender = self.hasher.hash_one(sender);
        let mut state = self.state();
        if !state.samples(sender, at.millis().div_euclid(STEP)) {
            return Vec::new();
        }
        let State { step, sampled_bits, senders, hit_by, tripped, .. } = &mut *state;
        senders.saw(sender, *step);
        let mut trips = Vec::new();
        for rule in rules {
            let hit = hit_by.entry((*rule).clone()).or_default();
            hit.saw(sender, *step);
            let (hit, all) = (hit.estimate(*sampled_bits), senders.estimate(*sampled_bits));
            if hit >= f64::from(self.limits.trip_min_senders)
                && hit > self.limits.trip_share * all
                && tripped.insert((*rule).clone())
            {
                let why = format!("hit {hit:.0} of {all:.0} senders within a minute");
                trips.push(((*rule).clone(), why));
            }
        }
        state.bound();
        trips
    }

    /// Decides about the job that these rules ask for, the one that matters most first: it is held
    /// only if every rule that asks for it is tripped or over its cap.
    pub(super) fn rule(&self, sender: &UserId, rules: &[&RuleId], at: Timestamp) -> Option<Ruling> {
        let first = *rules.first()?;
        let mut state = self.state();
        let mut why = None;
        let Limits { rule_recalls_per_minute, sender_recalls_per_minute, .. } = self.limits;
        for rule in rules {
            if state.tripped.contains(*rule) {
                why = Some("rule tripped".to_owned());
                continue;
            }
            let used = state.by_rule.entry((*rule).clone()).or_default();
            if !has_room(used, rule_recalls_per_minute, at) {
                why = Some(format!(
                    "rule over its cap of {rule_recalls_per_minute} recalls a minute"
                ));
                continue;
            }
            let key = self.hasher.hash_one(sender);
            if sender_recalls_per_minute > 0 {
                let used = state.by_sender.recalls.entry(key).or_default();
                if !has_room(used, sender_recalls_per_minute, at) {
                    why = Some(format!(
                        "sender over the cap of {sender_recalls_per_minute} recalls a minute"
                    ));
                    continue;
                }
                used.push_back(at.millis());
                state.by_sender.forget_idle(at);
            }
            if rule_recalls_per_minute > 0 {
                state.by_rule.entry((*rule).clone()).or_default().push_back(at.millis());
            }
            return Some(Ruling::Go((*rule).clone()));
        }
        Some(Ruling::Hold(first.clone(), why.unwrap_or_default()))
    }

    /// Gives back what [`Guard::rule`] counted for a job that was not made after all.
    pub(super) fn refund(&self, sender: &UserId, rule: &RuleId) {
        let mut state = self.state();
        if let Some(used) = state.by_rule.get_mut(rule) {
            used.pop_back();
        }
        let key = self.hasher.hash_one(sender);
        if let Some(used) = state.by_sender.recalls.get_mut(&key) {
            used.pop_back();
        }
    }

    /// Whether a rule tripped and was not put back in force since.
    pub(super) fn is_tripped(&self, rule: &RuleId) -> bool {
        self.state().tripped.contains(rule)
    }

    /// An operator put a rule back in force. It starts with a clean sheet. Answers whether it was
    /// tripped.
    pub(super) fn reset(&self, rule: &RuleId) -> bool {
        let mut state = self.state();
        state.hit_by.remove(rule);
        state.tripped.remove(rule)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether fewer than the cap lie within the last minute; forgets older ones.
fn has_room(used: &mut VecDeque<i64>, cap: u32, at: Timestamp) -> bool {
    while used.front().is_some_and(|then| at.millis() - then >= MINUTE) {
        used.pop_front();
    }
    cap == 0 || used.len() < cap as usize
}

impl State {
    /// Begins a step, unless it is under way, and answers whether a sender is one of the sample.
    fn samples(&mut self, sender: u64, step: i64) -> bool {
        // A clock that steps back must not open steps of the past.
        if step > self.step {
            self.step = step;
            self.senders.forget_before(step - MINUTE / STEP + 1);
            let kept = self.senders.last_seen.len().max(1);
            if kept < FEW {
                // Those who came before count for less from here on, hit or not.
                let bits = (FEW / kept).ilog2().max(1);
                self.sampled_bits = self.sampled_bits.saturating_sub(bits);
            }
        }
        sender.trailing_zeros() >= self.sampled_bits
    }

    /// Keeps fewer where there are too many. Whoever was hit is one of all.
    fn bound(&mut self) {
        while self.senders.last_seen.len() > KEPT {
            self.sampled_bits += 1;
            for distinct in self.hit_by.values_mut().chain([&mut self.senders]) {
                distinct.thin(self.sampled_bits);
            }
        }
    }
}

impl Counted {
    /// Keeps the counts of senders from growing without end. Goes through them once they have doubled, or
    /// once a minute: a flood of senders must not have all of them looked at for each.
    fn forget_idle(&mut self, at: Timestamp) {
        let now = at.millis();
        let is_due = self.recalls.len() > 2 * self.left || now - self.looked_at >= MINUTE;
        if self.recalls.len() > COUNTED && is_due {
            self.recalls.retain(|_, used| used.back().is_some_and(|then| now - then < MINUTE));
            self.left = self.recalls.len();
            self.looked_at = now;
        }
    }
}

/// Distinct senders of the last minute, by hash.
#[derive(Default)]
struct Distinct {
    /// The step that a sender was last seen in.
    last_seen: BySender<i64>,
    /// Senders by the step that they were seen in, some of them seen again since.
    steps: VecDeque<(i64, Vec<u64>)>,
}

impl Distinct {
    fn saw(&mut self, sender: u64, step: i64) {
        self.forget_before(step - MINUTE / STEP + 1);
        if self.last_seen.insert(sender, step) == Some(step) {
            return;
        }
        match self.steps.back_mut() {
            Some((latest, senders)) if *latest == step => senders.push(sender),
            _ => self.steps.push_back((step, vec![sender])),
        }
    }

    fn thin(&mut self, bits: u32) {
        self.last_seen.retain(|sender, _| sender.trailing_zeros() >= bits);
        for (_, senders) in &mut self.steps {
            senders.retain(|sender| sender.trailing_zeros() >= bits);
        }
    }

    fn forget_before(&mut self, step: i64) {
        while let Some((oldest, _)) = self.steps.front()
            && *oldest < step
        {
            let Some((oldest, senders)) = self.steps.pop_front() else { return };
            for sender in senders {
                if self.last_seen.get(&sender) == Some(&oldest) {
                    self.last_seen.remove(&sender);
                }
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn estimate(&self, sampled_bits: u32) -> f64 {
        self.last_seen.len() as f64 * f64::from(sampled_bits).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_764_000_000_000);

    fn guard(limits: Limits) -> Guard {
        Guard::new(limits, [])
    }

    fn limits() -> Limits {
        Limits {
            trip_share: 0.5,
            trip_min_senders: 50,
            rule_recalls_per_minute: 0,
            sender_recalls_per_minute: 0,
        }
    }

    fn user(n: usize) -> UserId {
        format!("u{n}").into()
    }

    fn seconds(n: i64) -> Timestamp {
        Timestamp(NOW.millis() + n * 1000)
    }

    #[test]
    fn a_rule_that_hits_half_of_everybody_trips_once() {
        let guard = guard(limits());
        let rule = RuleId::from("all");
        for n in 0..60 {
            assert_eq!(guard.saw(&user(n), &[], NOW), []);
        }
        let mut trips = Vec::new();
        for n in 0..200 {
            trips.extend(guard.saw(&user(100 + n), &[&rule], NOW));
        }
        assert_eq!(trips.len(), 1);
        assert_eq!(trips[0].1, "hit 61 of 121 senders within a minute");
        assert_eq!(
            guard.rule(&user(1), &[&rule], NOW),
            Some(Ruling::Hold(rule.clone(), "rule tripped".into()))
        );
        let other = RuleId::from("other");
        assert_eq!(guard.rule(&user(1), &[&rule, &other], NOW), Some(Ruling::Go(other)));
        guard.reset(&rule);
        assert_eq!(guard.rule(&user(1), &[&rule], NOW), Some(Ruling::Go(rule)));
    }

    #[test]
    fn one_senders_flood_never_trips_a_rule() {
        let guard = guard(limits());
        let rule = RuleId::from("bait");
        for _ in 0..100_000 {
            assert_eq!(guard.saw(&user(1), &[&rule], NOW), []);
        }
    }

    #[test]
    fn few_senders_or_a_small_share_trip_nothing() {
        let guard = guard(limits());
        let rule = RuleId::from("bait");
        for n in 0..49 {
            assert_eq!(guard.saw(&user(n), &[&rule], NOW), []);
        }
        for n in 49..1000 {
            guard.saw(&user(n), &[], NOW);
        }
        for n in 1000..1800 {
            assert_eq!(guard.saw(&user(n), &[&rule], NOW), []);
        }
    }

    #[test]
    fn the_minute_slides() {
        let guard = guard(limits());
        let rule = RuleId::from("bait");
        for n in 0..1000 {
            guard.saw(&user(n), &[], NOW);
        }
        for n in 0..40 {
            assert_eq!(guard.saw(&user(n), &[&rule], seconds(30)), []);
        }
        // The thousand are forgotten; the forty are still within the minute.
        let mut trips = Vec::new();
        for n in 40..50 {
            trips.extend(guard.saw(&user(n), &[&rule], seconds(75)));
        }
        assert_eq!(trips.len(), 1);
    }

    #[test]
    fn caps_hold_the_surplus_alone() {
        let guard =
            guard(Limits { rule_recalls_per_minute: 3, sender_recalls_per_minute: 2, ..limits() });
        let rule = RuleId::from("bait");
        let go = |n, at| matches!(guard.rule(&user(n), &[&rule], at), Some(Ruling::Go(_)));
        assert!(go(1, NOW) && go(1, NOW));
        assert!(!go(1, NOW), "the sender is over its cap");
        assert!(go(2, NOW));
        assert!(!go(2, seconds(59)), "the rule is over its cap");
        assert!(go(2, seconds(60)));
        guard.refund(&user(2), &rule);
        assert!(go(2, seconds(60)));
    }

    #[test]
    fn senders_without_recalls_within_the_minute_are_forgotten() {
        let guard = guard(Limits { sender_recalls_per_minute: 2, ..limits() });
        let rule = RuleId::from("bait");
        for n in 0..COUNTED {
            guard.rule(&user(n), &[&rule], NOW);
        }
        assert_eq!(guard.state().by_sender.recalls.len(), COUNTED);
        for n in 0..COUNTED / 2 {
            guard.rule(&user(COUNTED + n), &[&rule], seconds(61));
        }
        assert_eq!(guard.state().by_sender.recalls.len(), COUNTED / 2);
        // All of these are within the minute: they are gone through once they have doubled.
        for n in 0..COUNTED {
            guard.rule(&user(2 * COUNTED + n), &[&rule], seconds(62));
        }
        let state = guard.state();
        assert_eq!(state.by_sender.recalls.len(), COUNTED / 2 + COUNTED);
        assert_eq!(state.by_sender.left, COUNTED + 1);
        drop(state);
        // A minute later all of them are idle.
        guard.rule(&user(1), &[&rule], seconds(123));
        assert_eq!(guard.state().by_sender.recalls.len(), 1);
    }

    #[test]
    fn memory_is_bounded_and_the_share_stays_right() {
        let guard = guard(limits());
        let rule = RuleId::from("some");
        for n in 0..KEPT * 3 {
            let rules: &[&RuleId] = if n % 10 == 0 { &[&rule] } else { &[] };
            assert_eq!(guard.saw(&user(n), rules, NOW), []);
        }
        let state = guard.state();
        assert!(state.senders.last_seen.len() <= KEPT);
        let bits = state.sampled_bits;
        let (all, hit) = (state.senders.estimate(bits), state.hit_by[&rule].estimate(bits));
        let share = hit / all;
        assert!((0.08..0.12).contains(&share), "{share}");
        let kept = f64::from(u32::try_from(KEPT).unwrap());
        assert!((2.85..3.15).contains(&(all / kept)), "{all}");
    }

    #[test]
    fn after_a_flood_shares_are_right_again() {
        let guard = guard(limits());
        let rule = RuleId::from("some");
        for n in 0..KEPT * 40 {
            guard.saw(&user(n), &[], NOW);
        }
        assert!(guard.state().sampled_bits > 4);
        // Two minutes in which the same few talk, a third of whom are hit.
        for second in 1..=120 {
            for n in 0..300 {
                let rules: &[&RuleId] = if n % 3 == 0 { &[&rule] } else { &[] };
                assert_eq!(guard.saw(&user(n), rules, seconds(second)), [], "{second}");
            }
        }
        let state = guard.state();
        assert_eq!(state.sampled_bits, 0);
        assert_eq!(
            (state.senders.last_seen.len(), state.hit_by[&rule].last_seen.len()),
            (300, 100)
        );
    }

    #[test]
    fn a_share_of_one_is_never_passed() {
        let guard = guard(Limits { trip_share: 1.0, ..limits() });
        let rule = RuleId::from("all");
        for n in 0..KEPT * 2 {
            assert_eq!(guard.saw(&user(n), &[&rule], NOW), []);
        }
    }
}
