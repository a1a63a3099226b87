//! `soak`: hours of rated load, half of the measured peak, change nothing: memory and write-ahead log
//! of the second half are those of the first.
//!
//! `distinct`: a million senders in a hundred thousand groups, none of them seen before, by rules that
//! count: what is remembered of them has a cap.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::bed::{Bed, Daemon};
use super::load::{Load, missing, send};
use super::{Report, percentile};

const CONNECTIONS: usize = 256;
const PEAK: Duration = Duration::from_secs(5);
/// Memory of the last quarter may differ from the third by this share.
const FLAT: f64 = 0.05;
/// The log is cut back to 64 MiB; between two checkpoints it may grow somewhat beyond.
const LOG_MIB: u64 = 80;
const DISTINCT_MIB: u64 = 300;
/// Every rule that remembers anything.
const COUNTING: &str = "version: 1
rules:
  - id: flood
    actions: [flag]
    when: { flood: { messages: 100, within: 60s } }
  - id: repeat
    actions: [flag]
    when: { repeat: { times: 50, within: 10m, by: anyone, in: everywhere, near: true } }
  - id: newcomer
    actions: [flag]
    when: { all: [{ newcomer: 3 }, { link: any }] }
";

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    resident_mib: u64,
    log_mib: u64,
}

fn sample(bed: &Bed, daemon: &Daemon) -> Result<Sample> {
    let mut log = bed.database().into_os_string();
    log.push("-wal");
    let log_mib = std::fs::metadata(log).map_or(0, |log| log.len() >> 20);
    Ok(Sample { resident_mib: daemon.resident_mib()?, log_mib })
}

fn mean(samples: &[Sample]) -> f64 {
    let sum: u64 = samples.iter().map(|sample| sample.resident_mib).sum();
    super::load::count(usize::try_from(sum).unwrap_or(usize::MAX))
        / super::load::count(samples.len().max(1))
}

/// For so long.
pub(crate) async fn prove(binary: &Path, lasts: Duration) -> Result<Report> {
    let bed = Bed::new(true).await?;
    let daemon = bed.spawn_with(binary, &["history.repair=false"]).await?;
    let peak = Load {
        connections: CONNECTIONS,
        rate: None,
        lasts: PEAK.min(lasts),
        after: 0,
        distinct: false,
    };
    let measured = send(daemon.callbacks, peak).await?;
    let rated = measured.goodput() / 2.0;
    let load = Load { rate: Some(rated), lasts, after: 10_000_000, ..peak };
    let every = (lasts / 200).clamp(Duration::from_millis(50), Duration::from_secs(5));
    let sending = send(daemon.callbacks, load);
    tokio::pin!(sending);
    let mut samples = Vec::new();
    let mut tick = tokio::time::interval(every);
    let came = loop {
        tokio::select! {
            came = &mut sending => break came?,
            _ = tick.tick() => samples.push(sample(&bed, &daemon)?),
        }
    };
    daemon.terminate().await?;
    let (third, fourth) =
        (&samples[samples.len() / 2..samples.len() * 3 / 4], &samples[samples.len() * 3 / 4..]);
    let (before, after) = (mean(third), mean(fourth));
    let log = samples.iter().map(|sample| sample.log_mib).max().unwrap_or(0);
    let mut report = Report::new(format!("soak: {} s at half of the peak", lasts.as_secs()));
    report.figure("rated load, callbacks a second", format!("{rated:.0}"));
    report.figure("acknowledged", came.acknowledged.len());
    report.goal(
        "refused or too late",
        came.refused + came.too_late,
        "0",
        came.refused + came.too_late == 0,
    );
    report.figure("p99", format!("{} us", percentile(&came.micros, 99)));
    let flat = (after - before).abs() <= FLAT * before.max(1.0);
    report.figure(
        "memory at the start",
        format!("{} MiB", samples.first().copied().unwrap_or_default().resident_mib),
    );
    report.figure("memory, third quarter", format!("{before:.1} MiB"));
    report.goal("memory, last quarter", format!("{after:.1} MiB"), "within 5 % of it", flat);
    report.goal(
        "largest write-ahead log",
        format!("{log} MiB"),
        format!("<= {LOG_MIB} MiB"),
        log <= LOG_MIB,
    );
    let lost = missing(&bed, &came.acknowledged).await?;
    report.goal("acknowledged and not stored", lost, "0", lost == 0);
    Ok(report)
}

/// With so many senders.
pub(crate) async fn prove_distinct(binary: &Path, senders: usize) -> Result<Report> {
    let bed = Bed::new(true).await?;
    std::fs::write(bed.folder.path().join("rules.yaml"), COUNTING)?;
    let daemon = bed.spawn_with(binary, &[]).await?;
    let began = Instant::now();
    let (mut acknowledged, mut most) = (Vec::new(), 0);
    while acknowledged.len() < senders {
        let after = acknowledged.len() as u64;
        let load = Load {
            connections: CONNECTIONS.min(senders),
            rate: None,
            lasts: Duration::from_secs(1),
            after,
            distinct: true,
        };
        let came = send(daemon.callbacks, load).await?;
        anyhow::ensure!(came.refused + came.too_late == 0, "a callback was refused");
        acknowledged.extend(came.acknowledged);
        most = most.max(daemon.resident_mib()?);
    }
    let took = began.elapsed();
    daemon.terminate().await?;
    let mut report = Report::new("distinct: senders and groups that were never seen before");
    report.figure("senders", acknowledged.len());
    report.figure("groups", acknowledged.len().min(100_000));
    report.figure(
        "callbacks a second",
        format!("{:.0}", super::load::count(acknowledged.len()) / took.as_secs_f64()),
    );
    report.goal(
        "most memory",
        format!("{most} MiB"),
        format!("< {DISTINCT_MIB} MiB"),
        most < DISTINCT_MIB,
    );
    let lost = missing(&bed, &acknowledged).await?;
    report.goal("acknowledged and not stored", lost, "0", lost == 0);
    Ok(report)
}
