//! `latency`: under light load, a recall leaves at once.
//!
//! Forty callbacks a second on one kept connection, every second one violating, each violation in a
//! group of its own, to the real binary opposite a simulated Chat that answers at once. Measured
//! from when the callback is handed to its socket here until Chat has read the call: longer than
//! what is promised, callback received to call sent, by two ways over loopback and the reading. Half
//! of them take at most 5 ms, 99 % at most 25 ms. Judging and the synced commit are inside.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::bed::{Bed, Line, callback, until};
use super::{Report, percentile};

/// Between two callbacks, on average.
const PAUSE: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_secs(30);

/// With so many callbacks.
pub(crate) async fn prove(binary: &Path, callbacks: u64) -> Result<Report> {
    let bed = Bed::new(true).await?;
    let daemon = bed.spawn(binary).await?;
    let mut line = Line::default();
    let mut random = StdRng::seed_from_u64(1);
    let mut sent = HashMap::new();
    for n in 0..callbacks {
        tokio::time::sleep(PAUSE.mul_f64(2.0 * random.random::<f64>())).await;
        let violating = n % 2 == 0;
        let group = format!("g{n}");
        let text = if violating { "free crypto giveaway" } else { "see you at seven" };
        let request = callback(&group, 1, text);
        if violating {
            sent.insert(group, Instant::now());
        }
        let reply = line.exchange(daemon.callbacks, &request).await?;
        anyhow::ensure!(reply.status == 200, "a callback was answered {}", reply.status);
    }
    let all = until(PATIENCE, async || Ok(bed.calls().len() >= sent.len())).await?;
    daemon.terminate().await?;
    let mut times: Vec<Duration> = Vec::new();
    for call in bed.calls() {
        if let Some(sent) = sent.get(call.group_id.as_str()) {
            times.push((bed.began + call.at).saturating_duration_since(*sent));
        }
    }
    times.sort_unstable();
    let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
    let mut report = Report::new("latency: callback sent to recall call arrived, light load");
    report.goal("recalls", times.len(), "every violation", all && times.len() == sent.len());
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    report.goal("p50", ms(p50), "<= 5 ms", p50 <= Duration::from_millis(5));
    report.goal("p99", ms(p99), "<= 25 ms", p99 <= Duration::from_millis(25));
    report.figure("longest", ms(times.last().copied().unwrap_or_default()));
    Ok(report)
}
