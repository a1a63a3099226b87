//! Arrivals of violating messages, made up from a seed or recorded.

use std::time::Duration;

use quell::model::Severity;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A violating message comes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub at: Duration,
    pub group: u32,
    pub severity: Severity,
}

impl Arrival {
    /// How long it waited until it left.
    pub(super) fn wait(&self, left: Duration) -> Duration {
        left.checked_sub(self.at).expect("nothing leaves before it came")
    }
}

/// What came in, in order of time.
pub(super) struct Trace {
    pub name: &'static str,
    pub arrivals: Vec<Arrival>,
}

/// Low, medium, high, critical: mostly nuisances, a few that are grave.
const USUAL: [f64; 4] = [0.45, 0.3, 0.17, 0.08];
const ALIKE: [f64; 4] = [0.0, 1.0, 0.0, 0.0];
const EVEN: [f64; 4] = [0.25, 0.25, 0.25, 0.25];

/// Every trace that the policies are compared on.
pub(super) fn all() -> Vec<Trace> {
    vec![
        steady("light", 1, 20, 20.0, &flat(50), USUAL),
        steady("light, one group", 2, 20, 30.0, &flat(1), USUAL),
        steady("half the limit", 3, 20, 95.0, &flat(1000), USUAL),
        steady("just below the limit", 4, 30, 185.0, &flat(5000), USUAL),
        steady("flood of one group", 5, 10, 2500.0, &flat(1), USUAL),
        flood_and_others(),
        steady("many groups, skewed", 7, 30, 1200.0, &skewed(2000), USUAL),
        steady("many groups, all alike", 8, 30, 600.0, &flat(400), ALIKE),
        steady("skewed, all alike", 9, 30, 800.0, &skewed(1000), ALIKE),
        steady("mixed severities", 10, 30, 300.0, &flat(20_000), EVEN),
        mixed_overload(),
        bursts(),
        recorded(),
    ]
}

/// Groups that are all as busy.
fn flat(groups: usize) -> Vec<f64> {
    vec![1.0; groups]
}

/// A few busy groups, many quiet ones.
fn skewed(groups: u32) -> Vec<f64> {
    (0..groups).map(|rank| 1.0 / (f64::from(rank) + 3.0)).collect()
}

/// Messages at random times around a steady rate.
fn steady(
    name: &'static str,
    seed: u64,
    seconds: u32,
    rate: f64,
    groups: &[f64],
    severities: [f64; 4],
) -> Trace {
    let mut rng = StdRng::seed_from_u64(seed);
    let arrivals = poisson(&mut rng, 0.0, f64::from(seconds), rate, groups, severities);
    Trace { name, arrivals }
}

fn poisson(
    rng: &mut StdRng,
    from: f64,
    to: f64,
    rate: f64,
    groups: &[f64],
    severities: [f64; 4],
) -> Vec<Arrival> {
    let groups = WeightedIndex::new(groups).unwrap();
    let severities = WeightedIndex::new(severities).unwrap();
    let mut arrivals = Vec::new();
    let mut at = from;
    loop {
        at -= (1.0 - rng.random::<f64>()).ln() / rate;
        if at >= to {
            return arrivals;
        }
        arrivals.push(Arrival {
            at: Duration::from_secs_f64(at),
            group: u32::try_from(groups.sample(rng)).unwrap(),
            severity: Severity::ALL[severities.sample(rng)],
        });
    }
}

fn in_order(name: &'static str, mut arrivals: Vec<Arrival>) -> Trace {
    arrivals.sort_by_key(|arrival| arrival.at);
    Trace { name, arrivals }
}

/// One group full of nuisances, and grave messages here and there elsewhere.
fn flood_and_others() -> Trace {
    let mut rng = StdRng::seed_from_u64(6);
    let mut arrivals = poisson(&mut rng, 0.0, 10.0, 3000.0, &flat(1), [1.0, 0.0, 0.0, 0.0]);
    let others = poisson(&mut rng, 0.0, 20.0, 60.0, &flat(500), USUAL);
    arrivals.extend(others.into_iter().map(|other| Arrival { group: other.group + 1, ..other }));
    in_order("flood beside others", arrivals)
}

/// A minute of far more than can leave: some raided groups, a skewed crowd, and lone messages in
/// thousands of quiet groups, of all severities.
fn mixed_overload() -> Trace {
    let mut rng = StdRng::seed_from_u64(11);
    let mut arrivals = poisson(&mut rng, 0.0, 60.0, 300.0, &skewed(3000), USUAL);
    let raided = poisson(&mut rng, 10.0, 50.0, 400.0, &flat(20), USUAL);
    arrivals.extend(raided.into_iter().map(|one| Arrival { group: one.group + 10_000, ..one }));
    let lone = poisson(&mut rng, 0.0, 60.0, 120.0, &flat(50_000), USUAL);
    arrivals.extend(lone.into_iter().map(|one| Arrival { group: one.group + 20_000, ..one }));
    in_order("mixed overload", arrivals)
}

/// Waves that fill the queue at once, and quiet between.
fn bursts() -> Trace {
    let mut rng = StdRng::seed_from_u64(12);
    let mut arrivals = poisson(&mut rng, 0.0, 40.0, 20.0, &flat(300), USUAL);
    for wave in 0..8 {
        let from = f64::from(wave) * 5.0;
        arrivals.extend(poisson(&mut rng, from, from + 0.2, 6000.0, &skewed(300), USUAL));
    }
    in_order("bursts", arrivals)
}

/// Violating messages as they came in during a demo run.
fn recorded() -> Trace {
    let lines = include_str!("../../cases/arrivals_of_a_demo.csv").lines();
    let arrivals = lines.filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<u32> = line.split(',').map(|field| field.parse().unwrap()).collect();
        Arrival {
            at: Duration::from_millis(fields[0].into()),
            group: fields[1],
            severity: Severity::ALL[fields[2] as usize],
        }
    });
    in_order("recorded", arrivals.collect())
}

/// One light message in group 0, and heavy full batches for a minute that would take every slot.
pub(super) fn one_light_among_heavy() -> Trace {
    let mut rng = StdRng::seed_from_u64(13);
    let grave = [0.0, 0.0, 0.0, 1.0];
    let heavy = poisson(&mut rng, 0.0, 60.0, 2200.0, &flat(50), grave);
    let mut arrivals: Vec<_> =
        heavy.into_iter().map(|one| Arrival { group: one.group + 1, ..one }).collect();
    let at = Duration::from_secs(2);
    arrivals.push(Arrival { at, group: 0, severity: Severity::Low });
    in_order("one light among heavy", arrivals)
}
