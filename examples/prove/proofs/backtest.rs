//! `backtest`: the rules that were in force find no difference, quickly and in flat memory.
//!
//! Callbacks go through the path that they take in the daemon (verify, read, count, judge, record),
//! many at once, under rules with stateful matchers. Then the real binary backtests what is stored
//! with the same rules, while this process still holds the database: not one verdict and not one hit
//! may differ. Its speed and its peak memory are taken at a tenth of the messages and at all of them.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use quell::chat::verify::{Verifier, VerifierOptions, sign};
use quell::intake::{Intake, Limits, Options, StoreText};
use quell::model::{Clock, ManualClock, SystemClock};
use quell::sim::traffic::DEMO_RULES;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::Report;
use super::bed::{APP_ID, Bed, CALLBACK_TOKEN, IDENTIFIER};

/// What counts: the demo has no rule that remembers.
const STATEFUL: &str = "
  - id: flood
    severity: low
    when: { flood: { messages: 20, within: 10s, in: everywhere } }
  - id: repeated-text
    when: { repeat: { times: 3, within: 10m, near: true, in: everywhere } }
  - id: spread-text
    mode: shadow
    when: { repeat: { times: 20, senders: 8, within: 1h, by: anyone, in: everywhere } }
  - id: newcomer-link
    actions: [flag]
    when: { all: [{ newcomer: 3 }, { link: any }] }
";
const HARMLESS: &str = include_str!("../../../src/sim/traffic/harmless.txt");
const VIOLATING: &str = include_str!("../../../src/sim/traffic/violating.txt");
const GROUPS: u64 = 400;
const SENDERS: u64 = 20_000;
/// Callbacks under way at once.
const AT_ONCE: usize = 1_000;
/// Between two messages.
const PACE: Duration = Duration::from_millis(3);
/// Between two looks at the memory of the binary.
const LOOK: Duration = Duration::from_millis(10);

/// With so many messages.
pub(crate) async fn prove(binary: &Path, messages: u64) -> Result<Report> {
    let mut report = Report::new(format!("backtest: {messages} stored messages"));
    let bed = Bed::new(true).await?;
    std::fs::write(bed.folder.path().join("rules.yaml"), format!("{DEMO_RULES}{STATEFUL}"))?;
    let store = bed.store().await?;
    let clock = Arc::new(ManualClock::default());
    clock.set(SystemClock.now().before(PACE * u32::try_from(messages)?));
    let intake = Arc::new(intake(&bed, Arc::clone(&store) as _, Arc::clone(&clock) as _).await?);
    let began = Instant::now();
    let part = messages / 10;
    take_in(&intake, &clock, 0..part).await?;
    let small = run(&bed, binary).await?;
    take_in(&intake, &clock, part..messages).await?;
    report.figure("taking them in", format!("{:.1} s", began.elapsed().as_secs_f64()));
    let large = run(&bed, binary).await?;
    let count = |name: &str| large.said[name].as_u64().unwrap_or(u64::MAX);
    report.goal(
        "messages compared",
        count("messages"),
        messages.to_string(),
        count("messages") == messages,
    );
    for name in ["changed", "new", "lost"] {
        let met = count(name) == 0 && small.said[name] == 0;
        report.goal(format!("{name}, same rules"), count(name), "0", met);
    }
    for rule in large.said["rules"].as_array().into_iter().flatten() {
        report.figure(format!("hits of {}", rule["rule"].as_str().unwrap_or("")), &rule["same"]);
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of messages")]
    let rate = messages as f64 / large.took.as_secs_f64();
    report.figure("whole run", format!("{:.2} s", large.took.as_secs_f64()));
    report.goal("messages a second, took", format!("{rate:.0}"), ">= 100000", rate >= 100_000.0);
    report.figure(format!("peak memory, {part} messages"), format!("{} MiB", small.peak_mib));
    report.goal(
        format!("peak memory, {messages} messages"),
        format!("{} MiB", large.peak_mib),
        "no more than 32 MiB above that",
        large.peak_mib <= small.peak_mib + 32,
    );
    store.close().await;
    Ok(report)
}

async fn intake(
    bed: &Bed,
    store: Arc<dyn quell::store::Store>,
    clock: Arc<dyn Clock>,
) -> Result<Intake> {
    let verifier = Verifier::new(VerifierOptions {
        app_id: APP_ID,
        tokens: vec![CALLBACK_TOKEN.into()],
        tolerance: Duration::from_mins(1),
    });
    let rules = quell::rules::load(&bed.folder.path().join("rules.yaml"));
    let rules = rules.map_err(|error| anyhow::anyhow!("{error}"))?.rules;
    let options = Options {
        enforce: true,
        identifier: IDENTIFIER.into(),
        store_text: StoreText::All,
        guard: Limits {
            trip_share: 0.5,
            trip_min_senders: 50,
            rule_recalls_per_minute: 0,
            sender_recalls_per_minute: 0,
        },
    };
    Ok(Intake::new(verifier, rules, store, clock, options).await?)
}

/// Takes in callbacks, as many at once as a busy listener does.
async fn take_in(
    intake: &Arc<Intake>,
    clock: &Arc<ManualClock>,
    which: std::ops::Range<u64>,
) -> Result<()> {
    let texts = Texts::new();
    let mut under_way = JoinSet::new();
    for n in which {
        clock.advance(PACE);
        let (query, body) = (query(clock.now().secs()), callback(n, &texts, clock.as_ref()));
        let intake = Arc::clone(intake);
        under_way.spawn(async move {
            let authentic = intake.verify(&query).map_err(|why| anyhow::anyhow!("{why:?}"))?;
            intake.take(&authentic, body.as_bytes()).await?;
            anyhow::Ok(())
        });
        if under_way.len() >= AT_ONCE
            && let Some(taken) = under_way.join_next().await
        {
            taken??;
        }
    }
    while let Some(taken) = under_way.join_next().await {
        taken??;
    }
    Ok(())
}

fn query(seconds: i64) -> String {
    let signature = sign(CALLBACK_TOKEN, &seconds.to_string());
    format!(
        "SdkAppid={APP_ID}&CallbackCommand=Group.CallbackAfterSendMsg&contenttype=json\
         &ClientIP=203.0.113.7&OptPlatform=Android&Sign={signature}&RequestTime={seconds}"
    )
}

struct Texts {
    harmless: Vec<&'static str>,
    violating: Vec<&'static str>,
}

impl Texts {
    fn new() -> Self {
        let lines = |text: &'static str| {
            text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
        };
        Self { harmless: lines(HARMLESS), violating: lines(VIOLATING) }
    }
}

/// The n-th message: its text, sender and group follow from its number alone.
fn callback(n: u64, texts: &Texts, clock: &dyn Clock) -> String {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let pick = |list: &[&'static str], by: u64| list[usize::try_from(by).unwrap_or(0) % list.len()];
    // A few senders write much; some of what they write is the same again.
    let sender = if mixed.is_multiple_of(5) { mixed / 5 % 40 } else { mixed / 5 % SENDERS };
    let text = match mixed / 7 % 100 {
        0..3 => pick(&texts.violating, mixed / 700).to_owned(),
        3..6 => format!("see https://example{}.com/page", mixed / 700 % 50),
        6..10 => format!("every day the same story told once more, number {}", sender % 10),
        _ => format!("{} {}", pick(&texts.harmless, mixed / 700), mixed % 100_000),
    };
    let now = clock.now();
    serde_json::json!({
        "CallbackCommand": "Group.CallbackAfterSendMsg", "GroupId": format!("g{}", n % GROUPS),
        "Type": "Public", "From_Account": format!("user{sender}"),
        "Operator_Account": format!("user{sender}"), "Random": 7, "MsgSeq": n / GROUPS + 1,
        "MsgTime": now.secs(), "OnlineOnlyFlag": 0,
        "MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": text}}],
        "CloudCustomData": "", "EventTime": now.millis(),
    })
    .to_string()
}

/// What a run of the binary said, took and needed.
struct Run {
    said: Value,
    took: Duration,
    peak_mib: u64,
}

async fn run(bed: &Bed, binary: &Path) -> Result<Run> {
    let began = Instant::now();
    let mut child = Command::new(binary)
        .args(["backtest", "--format", "json", "--rules", "rules.yaml", "--config", "quell.toml"])
        .current_dir(bed.folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let status = format!("/proc/{}/status", child.id().context("it has ended")?);
    let mut stdout = child.stdout.take().context("its output is piped")?;
    let reading = tokio::spawn(async move {
        let mut said = Vec::new();
        stdout.read_to_end(&mut said).await.map(|_| said)
    });
    let mut peak_kib = 0;
    let ended = loop {
        tokio::select! {
            ended = child.wait() => break ended?,
            () = tokio::time::sleep(LOOK) => {
                let status = std::fs::read_to_string(&status).unwrap_or_default();
                let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
                peak_kib = kib.unwrap_or(0_u64).max(peak_kib);
            }
        }
    };
    let took = began.elapsed();
    if !ended.success() {
        bail!("the backtest ended with {ended}");
    }
    let said = serde_json::from_slice(&reading.await??)?;
    Ok(Run { said, took, peak_mib: peak_kib / 1024 })
}
