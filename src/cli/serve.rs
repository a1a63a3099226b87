//! `quell serve`: the daemon.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::logging;
use super::service;
use super::settings::Settings;
use crate::app::{self, App};
use crate::config::Config;
use crate::model::SystemClock;

/// Run the daemon
///
/// Takes callbacks in, records and judges every message, and recalls what an enforced rule matches.
/// Set the address of the callback listener as the callback URL in the Chat console.
///
/// Under systemd it tells when it is ready, reloads and stops, and keeps a watchdog quiet while its writer
/// answers (config/quell.service).
///
/// SIGHUP reads the rules file and the certificates again; a broken one leaves the old one in force
/// and says so.
///
/// SIGTERM or Ctrl-C: answers what was accepted, finishes the calls under way, exits; a second
/// signal exits at once. Nothing acknowledged is lost either way.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell serve
  quell serve --config /etc/quell/quell.toml --set recall.mode=shadow")]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let config = match args.settings.load_complete() {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    logging::start(&config.log);
    #[cfg(feature = "fail")]
    crate::model::faults::heed_environment();
    for warning in app::warnings(&config) {
        tracing::warn!("{warning}");
    }
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(&config))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: &Config) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let app = tokio::select! {
        app = App::start(config, Arc::new(SystemClock)) => app?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    service::ready();
    run_on(&app, [&mut terminate, &mut interrupt], &mut hang_up).await?;
    service::stopping();
    tokio::select! {
        () = app.stop() => {}
        _ = terminate.recv() => tracing::warn!("stopped at once by a second signal"),
        _ = interrupt.recv() => tracing::warn!("stopped at once by a second signal"),
    }
    Ok(())
}

/// Goes on until it is told to stop, or cannot go on.
async fn run_on(app: &App, stops: [&mut Signal; 2], hang_up: &mut Signal) -> Result<()> {
    let [terminate, interrupt] = stops;
    // One of each for all of it: made anew with every signal, they would never get to look.
    let (broken, life) = (app.broken(), service::show_life(app));
    tokio::pin!(broken, life);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            why = &mut broken => anyhow::bail!("{why}: ends, to be started anew"),
            // Success and failure are logged where they happen.
            _ = hang_up.recv() => {
                service::reloading();
                drop(app.reload().await);
                service::ready();
            }
            () = &mut life => {}
        }
    }
}
