//! `quell config`: is it right, and what holds.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use toml::Table;

use super::settings::{self, Settings};
use super::{BAD_CONFIG, output};
use crate::app;

/// Check the configuration, or show what holds
///
/// Values come from the file, then the environment (`QUELL__SECTION__KEY`), then --set; the later wins. A
/// secret can be read from a file: `chat.secret_key_file`, `QUELL__CHAT__SECRET_KEY_FILE`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell config check --config /etc/quell/quell.toml
  quell config print --set recall.mode=shadow")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say everything that is wrong; exit code 78 if anything is
    ///
    /// Every value, and the files that a daemon reads when it starts: the rules with their lists, the
    /// certificates with their keys. Nothing is opened or listened to.
    Check(Settings),
    /// Print every value and where it was set, secrets hidden
    Print(Settings),
}

pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Check(settings) => Ok(check(settings)),
        What::Print(settings) => print(settings),
    }
}

fn check(settings: &Settings) -> ExitCode {
    let (loaded, mistakes) = match settings.examine() {
        Ok(examined) => examined,
        Err(code) => return code,
    };
    settings::tell(&mistakes);
    let (wrong, doubtful) = app::files(&loaded.config);
    for warning in app::warnings(&loaded.config) {
        output::note(format_args!("warning: {warning}"));
    }
    for warning in &doubtful {
        output::note(format_args!("warning: {warning}"));
    }
    for mistake in &wrong {
        output::note(format_args!("error: {mistake}"));
    }
    if !mistakes.is_empty() || !wrong.is_empty() {
        return ExitCode::from(BAD_CONFIG);
    }
    output::note("the configuration is fine");
    ExitCode::SUCCESS
}

fn print(settings: &Settings) -> Result<ExitCode> {
    let loaded = match settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    let file = loaded.path.as_ref().map_or("none".to_owned(), |path| path.display().to_string());
    output::line(format_args!("# configuration file: {file}"));
    for (section, keys) in Table::try_from(&loaded.config)? {
        output::line(format_args!("\n[{section}]"));
        for (key, value) in keys.as_table().into_iter().flatten() {
            let source = loaded.sources.get(&format!("{section}.{key}"));
            let source = source.map_or("default", String::as_str);
            output::line(format_args!("{key} = {value}  # {source}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
