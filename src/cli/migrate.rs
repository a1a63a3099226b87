//! `quell migrate`: brings the database up to date.

use std::process::ExitCode;

use anyhow::Result;

use super::output;
use super::settings::Settings;
use crate::app;
use crate::store::sqlite;

/// Bring the database up to date
///
/// `quell serve` does this by itself unless store.migrate is false. Each step is one transaction:
/// killed half-way, it never happened, and the next run goes on from there.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let loaded = match args.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    let options = app::store_options(&loaded.config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (from, to) = runtime.block_on(sqlite::migrate(&options))?;
    let path = options.path.display();
    if from == to {
        output::note(format_args!("{path} is up to date: schema version {to}"));
    } else {
        output::note(format_args!("{path}: schema version {from} -> {to}"));
    }
    Ok(ExitCode::SUCCESS)
}
