//! `quell pause` and `quell resume`: the kill switch.

use std::process::ExitCode;

use anyhow::Result;

use super::daemon::Reach;
use super::{on_runtime, output};

/// Stop all recalls within a second
///
/// Callbacks are still taken in, recorded and judged; recalls wait. Survives a restart.
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    #[command(flatten)]
    reach: Reach,
}

/// Let recalls leave again
///
/// Also tries at once where calls stand still because Chat refused them.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    reach: Reach,
}

pub fn pause(args: &PauseArgs) -> Result<ExitCode> {
    set(&args.reach, true, "recalls are paused; `quell resume` lets them leave again")
}

pub fn resume(args: &ResumeArgs) -> Result<ExitCode> {
    set(&args.reach, false, "recalls go on")
}

fn set(reach: &Reach, paused: bool, said: &str) -> Result<ExitCode> {
    let loaded = match reach.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    on_runtime(async {
        let target = reach.target(&loaded.config).await?;
        target.set_paused(paused).await?;
        target.close().await;
        output::note(said);
        Ok(ExitCode::SUCCESS)
    })
}
