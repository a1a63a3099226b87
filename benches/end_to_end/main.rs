//! What a callback costs from end to end, beside the barest server that reads one:
//!
//! ```text
//! cargo bench --profile dist --bench end_to_end   # as it is shipped; --help shows what can be varied
//! ```
//!
//! Both servers run as processes of their own and get the same load in turns; quell checks the
//! signature, judges by 1,000 phrases and 100 patterns, commits to disk, and recalls what hits
//! at a simulated Chat. CPU time is the system's account of the server's process, so it holds while
//! the load shares the processors; response times do depend on who else is at work.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people to read"
)]

mod load;
#[path = "../pool/mod.rs"]
mod pool;
mod reference;
mod server;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use quell::sim::{Sim, SimOptions};

use self::load::{Answers, Load};
use self::pool::Pool;
use self::server::Server;

const APP_ID: u64 = 1_400_000_001;
const ADMIN: &str = "administrator";
const KEY: &str = "key-of-the-benchmark";
const TOKEN: &str = "token-of-the-benchmark";

/// What a callback costs from end to end, beside the barest server that reads one.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
struct Args {
    /// Rounds; each loads the reference and quell in turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a round's load.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds of load before those, which open connections and make groups known.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Groups that the messages are spread over.
    #[arg(long, default_value_t = 1000)]
    groups: usize,
    /// Senders that the messages come from.
    #[arg(long, default_value_t = 20_000)]
    senders: u32,
    /// Phrases in the rules file.
    #[arg(long, default_value_t = 1000)]
    keywords: usize,
    /// Patterns in the rules file.
    #[arg(long, default_value_t = 100)]
    patterns: usize,
    /// How hard texts are folded: none, standard or aggressive.
    #[arg(long, default_value = "standard")]
    fold: String,
    /// Judge by this rules file instead.
    #[arg(long)]
    rules: Option<PathBuf>,
    /// Begin with a copy of this database instead of an empty one.
    #[arg(long)]
    database: Option<PathBuf>,
    /// Callbacks a second instead of as many as are answered.
    #[arg(long)]
    rate: Option<f64>,
    /// Further settings of quell: section.key=value.
    #[arg(long)]
    set: Vec<String>,
    /// Measure quell alone.
    #[arg(long)]
    alone: bool,
    /// Folder for the database; a temporary one where none is given.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Folder with `texts.txt`, `kw_N.txt` and `re_N.txt` to use instead of made-up ones.
    #[arg(long)]
    pool: Option<PathBuf>,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Serve as the reference.
    #[arg(long, hide = true)]
    reference: bool,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    if args.reference {
        return reference::serve();
    }
    quell::chat::client::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run(&args));
}

/// What a round showed.
struct Round {
    answers: Answers,
    /// Of the server, for each callback answered.
    cpu_micros: f64,
    rss_mib: f64,
    rows_per_commit: f64,
}

async fn run(args: &Args) {
    let pool = Pool::open(args.pool.as_deref());
    let texts = Arc::new(pool.texts(20_000));
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let folder = args.folder.as_deref().unwrap_or(scratch.path());
    let rules = folder.join("rules.yaml");
    match &args.rules {
        Some(given) => std::fs::copy(given, &rules).map(drop),
        None => std::fs::write(&rules, pool.rules(&args.fold, args.keywords, args.patterns)),
    }
    .expect("a folder that can be written");
    if let Some(database) = &args.database {
        std::fs::copy(database, folder.join("quell.db")).expect("a copy of the database");
    }
    let sim = Sim::start(SimOptions::new(APP_ID, ADMIN, KEY.into())).await.expect("a simulation");
    let quell = Server::quell(folder, &sim.url(), &args.set).await;
    let reference = if args.alone { None } else { Some(Server::reference().await) };
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for number in 0..args.rounds {
        for server in reference.iter().chain([&quell]) {
            let load = Load {
                address: server.address,
                app_id: APP_ID,
                token: TOKEN,
                texts: Arc::clone(&texts),
                connections: args.connections,
                groups: args.groups,
                senders: args.senders,
                rate: args.rate,
                seconds: args.seconds,
                warm_up: args.warm_up,
                run: format!("{:x}N{number}", std::process::id()),
            };
            let commits = server.commits().await;
            let under_way = load::begin(&load).await;
            let cpu = server.cpu();
            let answers = load::end(under_way).await;
            let (cpu, later) = (server.cpu().saturating_sub(cpu), server.commits().await);
            let rows_per_commit = (later.rows - commits.rows) / (later.commits - commits.commits);
            let round = Round {
                cpu_micros: cpu.as_secs_f64() * 1e6 / answers.ok.max(1) as f64,
                rss_mib: server.rss_mib(),
                rows_per_commit,
                answers,
            };
            let name = if server.admin.is_some() { "quell" } else { "reference" };
            note(&format!("round {} of {}: {name}: {}", number + 1, args.rounds, round.line()));
            if server.admin.is_some() { ours.push(round) } else { theirs.push(round) }
        }
    }
    report(args, &theirs, &ours);
    quell.stop().await;
    if let Some(reference) = reference {
        reference.stop().await;
    }
}

fn note(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("somebody who reads it");
}

impl Round {
    fn line(&self) -> String {
        let answers = &self.answers;
        format!(
            "{:.0}/s, {:.1} us of CPU each, p50 {:.2} ms, p99 {:.2} ms, {} refused, {} failed, \
             {:.0} MiB{}",
            answers.per_second(),
            self.cpu_micros,
            answers.quantile(0.5),
            answers.quantile(0.99),
            answers.refused,
            answers.failed,
            self.rss_mib,
            if self.rows_per_commit.is_finite() {
                format!(", {:.0} rows a commit", self.rows_per_commit)
            } else {
                String::new()
            }
        )
    }
}

/// The middle one.
fn median(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(args: &Args, theirs: &[Round], ours: &[Round]) {
    type Figure = (&'static str, &'static str, fn(&Round) -> f64);
    let figures: [Figure; 7] = [
        ("cpu_us", "CPU a callback, us", |round| round.cpu_micros),
        ("per_second", "callbacks a second", |round| round.answers.per_second()),
        ("p50_ms", "answered, p50, ms", |round| round.answers.quantile(0.5)),
        ("p99_ms", "answered, p99, ms", |round| round.answers.quantile(0.99)),
        ("p999_ms", "answered, p99.9, ms", |round| round.answers.quantile(0.999)),
        ("rss_mib", "memory, MiB", |round| round.rss_mib),
        ("rows_per_commit", "rows a commit", |round| round.rows_per_commit),
    ];
    let mut out = std::io::stdout().lock();
    if args.json {
        let of = |rounds: &[Round]| {
            let figures = figures.iter().map(|(name, _, figure)| {
                ((*name).to_owned(), serde_json::json!(median(rounds, figure)))
            });
            serde_json::Value::Object(figures.collect())
        };
        let report = serde_json::json!({
            "reference": (!theirs.is_empty()).then(|| of(theirs)),
            "quell": of(ours),
        });
        return writeln!(out, "{report}").expect("somebody who reads it");
    }
    let mut line = |name: &str, cells: [String; 3]| {
        let [reference, quell, ratio] = cells;
        writeln!(out, "{name:<22} {reference:>12} {quell:>12} {ratio:>8}").expect("a reader");
    };
    line("median of the rounds", ["reference", "quell", "ratio"].map(str::to_owned));
    for (_, name, figure) in figures {
        let (their, our) = (median(theirs, figure), median(ours, figure));
        let number = |number: f64, digits| {
            if number.is_finite() { format!("{number:.digits$}") } else { "-".to_owned() }
        };
        let digits = if our < 1000.0 { 2 } else { 0 };
        line(name, [number(their, digits), number(our, digits), number(our / their, 2)]);
    }
}
