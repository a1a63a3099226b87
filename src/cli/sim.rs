//! `quell sim`: a simulated Chat to try a daemon, a client or a script against.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use secrecy::SecretString;

use super::{Usage, output};
use crate::model::AppId;
use crate::sim::{CallbackTarget, Sim, SimOptions};

/// Run a simulated Chat: its REST API, and the callbacks it would send
///
/// Needs no account. Point the base URL of a daemon, or of any client of the provider's API, at the
/// address that it prints, with the same application id, identifier and secret key. The switches
/// under /sim/ ask for no credentials, so listen on loopback.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// The application's id, as the console shows it
    #[arg(long, value_name = "N")]
    sdk_app_id: AppId,
    /// The administrator account that calls are accepted from
    #[arg(long, value_name = "ACCOUNT")]
    identifier: String,
    /// The application's secret key; others see it in the list of processes
    #[arg(long, value_name = "KEY", required_unless_present = "secret_key_file")]
    secret_key: Option<SecretString>,
    /// A file that holds the secret key
    #[arg(long, value_name = "FILE", conflicts_with = "secret_key")]
    secret_key_file: Option<PathBuf>,
    /// Where to send callbacks: plain http, such as <http://127.0.0.1:8080/callback>
    #[arg(long, value_name = "URL")]
    callback_url: Option<String>,
    /// What the callbacks are signed with
    #[arg(long, value_name = "TOKEN", requires = "callback_url")]
    callback_token: Option<SecretString>,
    /// Know only the groups and messages that were made here, as the provider does
    ///
    /// Without it, a group or message that the simulation never saw is taken to exist, so that
    /// callbacks made by hand can be followed by a recall.
    #[arg(long)]
    strict: bool,
    /// Seed of the dice that decide about faults
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

const AFTER_HELP: &str = "\
Example:
  quell sim --sdk-app-id 1400000000 --identifier administrator --secret-key try-it

While it runs:
  POST /sim/send      a member sends a message, its callback is sent:
                      {\"group\":\"g1\",\"from\":\"ann\",\"text\":\"hello\"}
  GET  /sim/summary   counts, and the most recall calls within one second
  GET  /sim/recalled  what was recalled
  GET  /sim/log       every call that arrived and what it was answered
  GET  /sim/faults    what goes wrong at present; PUT the same JSON to change it:
                      {\"bad_gateway\":0.05,\"reset_after\":0.02,\"slow\":0.1,\"slow_ms\":[50,500]}

Ctrl-C ends it.";

/// Runs until interrupted.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let secret_key = match (args.secret_key.clone(), &args.secret_key_file) {
        (Some(key), _) => key,
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("secret key file {}", path.display()))?;
            SecretString::from(text.trim_end())
        }
        (None, None) => {
            return Err(Usage("--secret-key or --secret-key-file is needed".to_owned()).into());
        }
    };
    let callback = args
        .callback_url
        .clone()
        .map(|url| CallbackTarget { url, token: args.callback_token.clone() });
    let options = SimOptions {
        listen: args.listen,
        callback,
        unknown_exist: !args.strict,
        seed: args.seed,
        ..SimOptions::new(args.sdk_app_id, &args.identifier, secret_key)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: SimOptions) -> anyhow::Result<ExitCode> {
    let listen = options.listen;
    let sim = Sim::start(options).await.with_context(|| format!("cannot start at {listen}"))?;
    output::line(format_args!("simulated Chat at {}", sim.url()));
    interrupted().await?;
    sim.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C, or the signal that service managers send.
async fn interrupted() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupt = tokio::signal::ctrl_c() => interrupt?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}
