//! `quell healthcheck`: asks a running daemon whether it is ready.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use super::settings::Settings;
use super::{FINDINGS, daemon, output};

/// Ask a running daemon whether it is ready; exit code 1 if not
///
/// Made for containers: it needs no other tool in the image.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    timeout: u64,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let loaded = match args.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (base, http) = daemon::admin(&loaded.config, Duration::from_secs(args.timeout))?;
    let asked = runtime.block_on(ask(&http, &format!("{base}/readyz")));
    match asked {
        Ok((true, said)) => {
            output::note(said);
            Ok(ExitCode::SUCCESS)
        }
        Ok((false, said)) => {
            output::note(said);
            Ok(ExitCode::from(FINDINGS))
        }
        Err(error) => {
            output::note(format_args!("no daemon answers at {base}: {error:#}"));
            Ok(ExitCode::from(FINDINGS))
        }
    }
}

async fn ask(http: &reqwest::Client, url: &str) -> Result<(bool, String)> {
    let response = http.get(url).send().await?;
    let ready = response.status().is_success();
    Ok((ready, response.text().await?.trim().to_owned()))
}
