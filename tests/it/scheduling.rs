//! What the order of calls does to exposure: the scheduler against the two plain policies it has to
//! beat, on the same arrivals and the same call slots. No sockets, no clock: time is a number.
//!
//! Weighted exposure is the severity's weight times the time from arrival until the batch leaves,
//! summed over all messages of a trace.

mod policies;
mod traces;

use std::fmt::Write as _;
use std::time::Duration;

use quell::worker::scheduler::weight;

use self::policies::{FirstCome, Linger, Ours, Policy};
use self::traces::{Arrival, Trace};

/// Calls a second, evenly spaced.
const CALLS_PER_SECOND: u64 = 190;
/// Messages a call.
pub(crate) const BATCH: usize = 10;
/// Between two calls.
const SPACING: Duration = Duration::from_nanos(1_000_000_000 / CALLS_PER_SECOND + 1);

/// When each message of a trace left, by its place in the trace.
fn run(trace: &Trace, mut policy: impl Policy) -> Vec<Duration> {
    let mut left = vec![None; trace.arrivals.len()];
    let mut arrivals = trace.arrivals.iter().enumerate().peekable();
    let mut slot = Duration::ZERO;
    loop {
        while let Some((place, arrival)) = arrivals.next_if(|(_, arrival)| arrival.at <= slot) {
            policy.arrive(place, arrival);
        }
        let batch = policy.next(slot);
        if batch.is_empty() {
            // Nothing may leave yet: the slot waits for whatever comes first.
            let coming = arrivals.peek().map(|(_, arrival)| arrival.at);
            let Some(next) = coming.into_iter().chain(policy.wake()).min() else { break };
            slot = slot.max(next);
            continue;
        }
        assert!(batch.len() <= BATCH, "a call takes {BATCH} messages");
        let group = trace.arrivals[batch[0]].group;
        for place in batch {
            assert_eq!(trace.arrivals[place].group, group, "a call is for one group");
            assert!(left[place].replace(slot).is_none(), "a message leaves once");
        }
        slot += SPACING;
    }
    left.into_iter().map(|left| left.expect("every message leaves")).collect()
}

/// Weighted seconds of visibility.
fn exposure(trace: &Trace, left: &[Duration]) -> f64 {
    let weighted = |(arrival, left): (&Arrival, &Duration)| {
        f64::from(u32::try_from(weight(arrival.severity)).unwrap())
            * arrival.wait(*left).as_secs_f64()
    };
    trace.arrivals.iter().zip(left).map(weighted).sum()
}

struct Compared {
    name: &'static str,
    ours: f64,
    first_come: f64,
    linger: f64,
    longest: Duration,
}

fn compare(trace: &Trace) -> Compared {
    let ours = run(trace, Ours::new());
    no_message_starves(trace, &ours);
    let longest = trace.arrivals.iter().zip(&ours).map(|(arrival, left)| arrival.wait(*left)).max();
    Compared {
        name: trace.name,
        ours: exposure(trace, &ours),
        first_come: exposure(trace, &run(trace, FirstCome::default())),
        linger: exposure(trace, &run(trace, Linger::new(Duration::from_millis(200)))),
        longest: longest.unwrap_or_default(),
    }
}

/// However much comes behind it, a message waits at most for its patience to run out and then for
/// ten calls for each message that was there before it.
fn no_message_starves(trace: &Trace, left: &[Duration]) {
    let mut in_order = left.to_vec();
    in_order.sort_unstable();
    for (place, arrival) in trace.arrivals.iter().enumerate() {
        // What left until now came before, so the rest of what came before is still there.
        let older = place - in_order.partition_point(|left| *left < arrival.at);
        let bound = PATIENCE + SPACING * 10 * u32::try_from(older + 2).unwrap();
        let waited = arrival.wait(left[place]);
        assert!(
            waited <= bound,
            "{}: message {place} waited {waited:?} behind {older}, at most {bound:?} is promised",
            trace.name
        );
    }
}

/// As the scheduler documents it.
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn exposure_is_no_worse_than_either_plain_policys_on_any_trace() {
    let compared: Vec<_> = traces::all().iter().map(compare).collect();
    let mut table = String::from("trace, weighted exposure in s: ours, first come, linger\n");
    for row in &compared {
        let Compared { name, ours, first_come, linger, longest } = row;
        let _ = writeln!(
            table,
            "{name:<24}{ours:>14.1}{first_come:>14.1}{linger:>14.1}   {:>5.1} % {:>5.1} %  longest {longest:.1?}",
            100.0 * (1.0 - ours / first_come),
            100.0 * (1.0 - ours / linger),
        );
    }
    eprintln!("{table}");
    for row in &compared {
        // Sums of floating-point numbers: nothing but their rounding is forgiven.
        assert!(row.ours <= row.first_come * (1.0 + 1e-9), "{}\n{table}", row.name);
        assert!(row.ours <= row.linger * (1.0 + 1e-9), "{}\n{table}", row.name);
    }
    let mixed = compared.iter().find(|row| row.name == "mixed overload").unwrap();
    assert!(mixed.ours <= 0.7 * mixed.first_come.min(mixed.linger), "{table}");
}

#[test]
fn a_light_message_leaves_amid_endless_heavy_ones() {
    let trace = traces::one_light_among_heavy();
    let left = run(&trace, Ours::new());
    no_message_starves(&trace, &left);
    let (place, arrival) =
        trace.arrivals.iter().enumerate().find(|(_, arrival)| arrival.group == 0).unwrap();
    let waited = arrival.wait(left[place]);
    assert!(waited < Duration::from_secs(30), "{waited:?}");
}
