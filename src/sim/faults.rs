//! What may go wrong at the simulated Chat, switched while it runs: over HTTP
//! (`PUT /sim/faults`) or by hand in a test.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// Shares are between 0 and 1. A call meets at most one of the faults that end it; they are drawn
/// in the order of the fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Every call is answered with this `ErrorCode` and does nothing.
    pub error_code: Option<i64>,
    /// Every message of a recall is answered with this `RetCode` and stays.
    pub ret_code: Option<i64>,
    /// Share answered 502 with an HTML body, as a gateway does. Nothing is done.
    pub bad_gateway: f64,
    /// Share whose connection breaks before anything is done.
    pub reset_before: f64,
    /// Share whose connection breaks after everything is done.
    pub reset_after: f64,
    /// Share that is done and never answered.
    pub hang: f64,
    /// Share answered 10002. Nothing is done.
    pub internal_error: f64,
    /// Share answered 60007. Nothing is done.
    pub too_frequent: f64,
    /// Share of recalls whose answer leaves one message out.
    pub missing_item: f64,
    /// Share of recalls whose answer lists the messages in another order.
    pub shuffled: f64,
    /// Share of calls that take `slow_ms` longer, done first.
    pub slow: f64,
    /// Shortest and longest delay of a slow call, in milliseconds.
    pub slow_ms: [u64; 2],
    /// Share of callbacks that are never sent.
    pub dropped_callbacks: f64,
    /// Share of callbacks that are sent twice.
    pub repeated_callbacks: f64,
    /// Calls of one command that are let through in any second; Chat's own limit is 200
    /// (page `rest-intro`).
    pub calls_per_second: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            error_code: None,
            ret_code: None,
            bad_gateway: 0.0,
            reset_before: 0.0,
            reset_after: 0.0,
            hang: 0.0,
            internal_error: 0.0,
            too_frequent: 0.0,
            missing_item: 0.0,
            shuffled: 0.0,
            slow: 0.0,
            slow_ms: [50, 500],
            dropped_callbacks: 0.0,
            repeated_callbacks: 0.0,
            calls_per_second: 200,
        }
    }
}

impl Faults {
    /// A bit of everything that a caller must survive without losing or wrongly recalling a
    /// message: what `quell demo --faults` switches on.
    #[must_use]
    pub fn rough() -> Self {
        Self {
            bad_gateway: 0.03,
            reset_before: 0.02,
            reset_after: 0.02,
            hang: 0.002,
            internal_error: 0.03,
            too_frequent: 0.01,
            missing_item: 0.02,
            shuffled: 0.2,
            slow: 0.1,
            slow_ms: [20, 400],
            repeated_callbacks: 0.1,
            ..Self::default()
        }
    }

    /// What is wrong with the values, where something is.
    pub fn check(&self) -> Result<(), String> {
        let shares = [
            ("bad_gateway", self.bad_gateway),
            ("reset_before", self.reset_before),
            ("reset_after", self.reset_after),
            ("hang", self.hang),
            ("internal_error", self.internal_error),
            ("too_frequent", self.too_frequent),
            ("missing_item", self.missing_item),
            ("shuffled", self.shuffled),
            ("slow", self.slow),
            ("dropped_callbacks", self.dropped_callbacks),
            ("repeated_callbacks", self.repeated_callbacks),
        ];
        if let Some((name, share)) = shares.iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(format!("{name} is a share between 0 and 1, not {share}"));
        }
        if self.slow_ms[0] > self.slow_ms[1] {
            return Err("slow_ms is the shortest delay, then the longest".to_owned());
        }
        Ok(())
    }
}

/// The fault that ends a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    ErrorCode,
    BadGateway,
    ResetBefore,
    ResetAfter,
    Hang,
    InternalError,
    TooFrequent,
}

/// Faults and the dice that decide about them.
#[derive(Debug)]
pub(super) struct Dice {
    pub(super) faults: Faults,
    rng: StdRng,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { faults: Faults::default(), rng: StdRng::seed_from_u64(seed) }
    }

    /// Whether something of this share happens. Draws nothing where it cannot, so that a fault
    /// that is off does not move the others.
    pub(super) fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.random::<f64>() < share
    }

    /// The fault that ends this call, if any.
    pub(super) fn fault(&mut self) -> Option<Fault> {
        if self.faults.error_code.is_some() {
            return Some(Fault::ErrorCode);
        }
        let faults = [
            (self.faults.bad_gateway, Fault::BadGateway),
            (self.faults.reset_before, Fault::ResetBefore),
            (self.faults.reset_after, Fault::ResetAfter),
            (self.faults.hang, Fault::Hang),
            (self.faults.internal_error, Fault::InternalError),
            (self.faults.too_frequent, Fault::TooFrequent),
        ];
        faults.into_iter().find_map(|(share, fault)| self.happens(share).then_some(fault))
    }

    /// How much longer this call takes.
    pub(super) fn delay_ms(&mut self) -> u64 {
        if !self.happens(self.faults.slow) {
            return 0;
        }
        let [shortest, longest] = self.faults.slow_ms;
        self.rng.random_range(shortest..=longest)
    }

    /// A place in a list.
    pub(super) fn below(&mut self, len: usize) -> usize {
        self.rng.random_range(0..len)
    }

    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        use rand::seq::SliceRandom;
        list.shuffle(&mut self.rng);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_faults() {
        let run = |seed| {
            let mut dice = Dice::new(seed);
            dice.faults = Faults { bad_gateway: 0.3, hang: 0.3, ..Faults::default() };
            (0..50).map(|_| dice.fault()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn shares_are_checked() {
        assert!(Faults::rough().check().is_ok());
        assert!(Faults { hang: 1.5, ..Faults::default() }.check().is_err());
        assert!(Faults { slow: f64::NAN, ..Faults::default() }.check().is_err());
        assert!(Faults { slow_ms: [9, 1], ..Faults::default() }.check().is_err());
    }
}
