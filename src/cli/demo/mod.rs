//! `quell demo`: the main job on one machine, without an account.

mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;

use self::report::{Queue, Report};
use super::{FINDINGS, logging, output};
use crate::app::App;
use crate::config::{Config, Log};
use crate::model::SystemClock;
use crate::sim::traffic::{DEMO_RULES, Traffic, TrafficOptions};
use crate::sim::{CallbackTarget, Faults, Sim, SimOptions};
use crate::store::Audit;

const APP_ID: u64 = 1_400_000_000;
const IDENTIFIER: &str = "administrator";
/// Neither protects anything: both ends run here.
const SECRET_KEY: &str = "the-secret-key-of-the-demo";
const CALLBACK_TOKEN: &str = "the-callback-token-of-the-demo";
/// After the traffic, waiting recalls get so long before they count as lost.
const DRAIN: Duration = Duration::from_mins(2);
/// Between looks at how it goes.
const TICK: Duration = Duration::from_millis(100);

/// Do the main job on this machine: no account, nothing to set up
///
/// Runs a simulated Chat, the daemon on an SQLite file, and made-up chat traffic: real callbacks over
/// loopback HTTP on free ports, answered by real recalls. At the end, three independent records are
/// compared (what was sent, what the store holds, what the simulated Chat was asked to do) and reported;
/// the exit code is 1 if quell broke a promise, or if that could not be seen. Ctrl-C ends the traffic, a
/// second Ctrl-C the demo, before all was recalled and so without a look at whether it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell demo                                        until Ctrl-C, with a dashboard to look at
  quell demo --seconds 20 --rate 2000 --faults      a busy and failing Chat
  quell demo --seconds 10 --json | jq .exposure_p99_ms")]
pub struct Args {
    /// Make traffic for so many seconds; without it, until Ctrl-C
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Messages a second
    #[arg(long, value_name = "MSGS_PER_S", default_value_t = 500.0, value_parser = positive)]
    rate: f64,
    /// Let the simulated Chat fail: 502s, resets before and after the deed, 10002, slow and lost answers
    #[arg(long)]
    faults: bool,
    /// Print the report as one JSON object on stdout
    #[arg(long)]
    json: bool,
    /// Keep the database and the rules in this folder instead of a temporary one
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Share of messages that break a rule
    #[arg(long, value_name = "SHARE", default_value_t = 0.03, value_parser = share)]
    violating: f64,
}

fn positive(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate > 0.0 && rate <= 100_000.0 { Ok(rate) } else { Err("not in 0 to 100000".to_owned()) }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("not in 0 to 1".to_owned()) }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    logging::start(&Log { level: "error".into(), ..Log::default() });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(demo(args))?;
    if args.json {
        output::line(report.json());
    } else {
        output::line(&report);
    }
    let kept = report.breaches().is_empty() && report.is_whole();
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) })
}

async fn demo(args: &Args) -> Result<Report> {
    let (folder, _kept) = folder(args.folder.as_deref())?;
    let sim = sim(args.faults).await?;
    let app = App::start(&config(&folder, &sim)?, Arc::new(SystemClock)).await?;
    let target = CallbackTarget {
        url: format!("http://{}/callback", app.callback_address()),
        token: Some(CALLBACK_TOKEN.into()),
    };
    sim.call_back(&target)?;
    output::note(format_args!("dashboard              http://{}/", app.admin_address()));
    output::note(format_args!("probes and metrics     http://{}/metrics", app.admin_address()));
    output::note(format_args!("callbacks              {}", target.url));
    output::note(format_args!("simulated Chat         {}", sim.url()));
    output::note(format_args!("database               {}", folder.join("quell.db").display()));
    let options = TrafficOptions {
        rate: args.rate,
        violating: args.violating,
        resend: args.faults,
        ..TrafficOptions::default()
    };
    let traffic = Traffic::start(&sim, &target, &options)?;
    let began = Instant::now();
    watch(args, &app, &sim, &traffic, began).await;
    let seconds = began.elapsed().as_secs_f64();
    let (_, records) = traffic.stop().await;
    let queue = drain(&app).await;
    let report = Report::compare(app.store().as_ref(), &sim, &records, seconds, queue).await?;
    app.stop().await;
    sim.shutdown().await;
    Ok(report)
}

/// The folder asked for, or a temporary one that lives as long as the second value.
fn folder(asked: Option<&Path>) -> Result<(PathBuf, Option<TempDir>)> {
    if let Some(folder) = asked {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("--folder: {}", folder.display()))?;
        let database = folder.join("quell.db");
        anyhow::ensure!(
            !database.exists(),
            "--folder: {} is there already: the report would mix two runs",
            database.display()
        );
        return Ok((folder.to_path_buf(), None));
    }
    let temporary = tempfile::Builder::new().prefix("quell-demo-").tempdir()?;
    Ok((temporary.path().to_path_buf(), Some(temporary)))
}

async fn sim(faults: bool) -> Result<Sim> {
    let options = SimOptions {
        unknown_exist: false,
        ..SimOptions::new(APP_ID, IDENTIFIER, SECRET_KEY.into())
    };
    let sim = Sim::start(options).await.context("the simulated Chat does not start")?;
    if faults {
        sim.set_faults(Faults::rough());
    }
    Ok(sim)
}

fn config(folder: &Path, sim: &Sim) -> Result<Config> {
    let rules = folder.join("rules.yaml");
    std::fs::write(&rules, DEMO_RULES).with_context(|| rules.display().to_string())?;
    let mut config = Config::default();
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.admin.listen = ([127, 0, 0, 1], 0).into();
    config.chat.sdk_app_id = APP_ID;
    config.chat.identifier = IDENTIFIER.into();
    config.chat.secret_key = SECRET_KEY.into();
    config.chat.base_url = sim.url();
    config.chat.callback_token = std::iter::once(CALLBACK_TOKEN).collect();
    config.store.url = format!("sqlite:{}", folder.join("quell.db").display());
    config.rules.path = rules;
    Ok(config)
}

/// Shows how it goes until the time is up or somebody presses Ctrl-C.
async fn watch(args: &Args, app: &App, sim: &Sim, traffic: &Traffic, began: Instant) {
    let end = args.seconds.map(|seconds| began + Duration::from_secs(seconds));
    let mut line = output::LiveLine::new(!args.json);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let mut last = Duration::ZERO;
    loop {
        let pause = end.map_or(TICK, |end| TICK.min(end.saturating_duration_since(Instant::now())));
        tokio::select! {
            _ = &mut interrupted => break,
            () = tokio::time::sleep(pause) => {}
        }
        let elapsed = began.elapsed();
        if elapsed.as_secs() > last.as_secs() {
            last = elapsed;
            let (progress, status) = (traffic.progress(), app.worker().status());
            line.show(format_args!(
                "{:>4} s  sent {}  acknowledged {}  violating {}  recalled {}  waiting {}",
                elapsed.as_secs(),
                progress.sent,
                progress.acknowledged,
                progress.violating,
                sim.recalls().len(),
                status.waiting + status.in_flight,
            ));
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
    }
    line.end();
}

/// Waits until no recall waits any more. Answers what came of it.
async fn drain(app: &App) -> Queue {
    let drained = async {
        let unfinished = || app.store().unfinished_by_state();
        // Where it cannot be read, nothing is known to be done.
        while unfinished()
            .await
            .map_or(true, |states| states.iter().any(|(state, _)| state != "held"))
        {
            tokio::time::sleep(TICK).await;
        }
    };
    tokio::select! {
        done = tokio::time::timeout(DRAIN, drained) => {
            if done.is_ok() { Queue::Empty } else { Queue::Waits }
        }
        _ = tokio::signal::ctrl_c() => Queue::Unknown,
    }
}
