//! Proves with real sockets what quell promises of its recalls, and prints the figures.
//!
//! ```text
//! cargo run --release --example prove -- limiter            # about 45 s
//! cargo run --release --example prove -- drain              # about 1 min
//! cargo run --release --example prove -- latency            # about 35 s
//! cargo run --release --example prove -- history --cycles 50 # about 2 min
//! cargo run --release --example prove -- million            # about 2 min
//! cargo run --release --example prove -- gaps               # about 4 min
//! cargo run --release --example prove -- outage             # about 2 min
//! cargo run --release --example prove -- backtest           # about 1 min
//! cargo run --release --example prove -- overload           # about 2 min
//! cargo run --release --example prove -- distinct           # about 3 min
//! cargo run --release --example prove -- soak --minutes 20  # as long as it says
//! cargo run --release --features fail --example prove -- steps # about 1 min
//! ```
//!
//! Each prints a table of figures with their goals and exits 1 where a goal is missed. What each
//! promises stands at the top of its file in `proofs/`. Everything runs on loopback with a simulated
//! Chat in this process; where a daemon is killed it is the binary, built first if need be. Figures
//! are worth something on a machine that does nothing else.

#![expect(clippy::disallowed_macros, reason = "a program that prints")]

mod proofs;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::proofs::Report;

const USAGE: &str = "usage: prove limiter | drain | latency | history [--cycles N] | million | gaps | outage | \
     backtest [--messages N] | overload | distinct | soak --minutes N";

fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report: Report = match args.as_slice() {
        ["limiter"] => runtime.block_on(proofs::limiter::prove(&binary()?, 4_500)),
        ["drain"] => runtime.block_on(proofs::drain::prove(20_000)),
        ["latency"] => runtime.block_on(proofs::latency::prove(&binary()?, 1_200)),
        ["history"] => runtime.block_on(proofs::history::prove(&binary()?, 50)),
        ["history", "--cycles", cycles] => {
            let cycles = cycles.parse().context("--cycles wants a number")?;
            runtime.block_on(proofs::history::prove(&binary()?, cycles))
        }
        #[cfg(feature = "fail")]
        ["steps"] => runtime.block_on(proofs::history::prove_steps(&binary()?)),
        ["million"] => runtime.block_on(proofs::million::prove(&binary()?, 1_000_000)),
        ["gaps"] => {
            let (lossy, silent) = (Duration::from_secs(15), Duration::from_secs(30));
            runtime.block_on(proofs::gaps::prove(&binary()?, lossy, silent))
        }
        ["outage"] => runtime.block_on(proofs::outage::prove(&binary()?, Duration::from_mins(1))),
        ["overload"] => {
            runtime.block_on(proofs::overload::prove(&binary()?, Duration::from_secs(15)))
        }
        ["distinct"] => runtime.block_on(proofs::soak::prove_distinct(&binary()?, 1_000_000)),
        ["soak", "--minutes", minutes] => {
            let minutes: u64 = minutes.parse().context("--minutes wants a number")?;
            runtime.block_on(proofs::soak::prove(&binary()?, Duration::from_mins(minutes)))
        }
        ["backtest"] => runtime.block_on(proofs::backtest::prove(&binary()?, 1_000_000)),
        ["backtest", "--messages", messages] => {
            let messages = messages.parse().context("--messages wants a number")?;
            runtime.block_on(proofs::backtest::prove(&binary()?, messages))
        }
        _ => {
            eprintln!("{USAGE}");
            return Ok(ExitCode::from(2));
        }
    }?;
    print!("{report}");
    Ok(if report.missed().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The daemon of the same build, brought up to date: an example does not build it by itself.
fn binary() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder = here.ancestors().nth(2).context("an example lies in target/PROFILE/examples")?;
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--bin", "quell"]);
        if cfg!(feature = "fail") {
            build.args(["--features", "fail"]);
        }
        if folder.ends_with("release") {
            build.arg("--release");
        }
        if !build.status()?.success() {
            bail!("the daemon cannot be built");
        }
    }
    let binary = folder.join("quell");
    anyhow::ensure!(binary.exists(), "{} is missing: cargo build --release", binary.display());
    Ok(binary)
}
