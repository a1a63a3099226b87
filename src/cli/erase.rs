//! `quell erase` and `quell prune`: letting go of personal data.

use std::process::ExitCode;

use anyhow::Result;
use clap::builder::NonEmptyStringValueParser;

use super::daemon::Reach;
use super::output::LiveLine;
use super::{FINDINGS, Usage, on_runtime, output};
use crate::app;

/// Take away everything that a person wrote
///
/// Text, elements, custom data and mentions of the sender's messages, and what rules matched in them, are
/// taken out of the database and overwritten in the file and its write-ahead log; callbacks in quarantine
/// that name the sender are dropped. Verdicts, recalls, calls and ids stay, so that what was done can still
/// be answered for. What is written after this is recorded again. Copies made by `quell backup` or
/// `quell export` are yours to delete.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  quell erase --sender mallory --yes")]
pub struct EraseArgs {
    #[command(flatten)]
    reach: Reach,
    /// Whose messages
    #[arg(long, value_name = "USER_ID", value_parser = NonEmptyStringValueParser::new())]
    sender: String,
    /// Do it without being asked
    #[arg(long)]
    yes: bool,
}

/// Take away what is older than the configuration wants it kept
///
/// The daemon does this every hour by itself. The days stand in the configuration: `retention.text_days`,
/// `retention.matched_text_days` and `retention.rows_days`.
#[derive(Debug, clap::Args)]
pub struct PruneArgs {
    #[command(flatten)]
    reach: Reach,
}

pub fn erase(args: &EraseArgs) -> Result<ExitCode> {
    let loaded = match args.reach.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    let question = format_args!("erase what {} wrote? This cannot be undone.", args.sender);
    let agreed = if args.yes { Some(true) } else { output::confirmed(question)? };
    match agreed {
        Some(true) => {}
        Some(false) => {
            output::note("nothing was erased");
            return Ok(ExitCode::from(FINDINGS));
        }
        None => {
            let said = "nothing was erased: say --yes, or yes at a terminal";
            return Err(Usage(said.to_owned()).into());
        }
    }
    on_runtime(async {
        let target = args.reach.target(&loaded.config).await?;
        let mut line = LiveLine::on_terminal();
        let said = target.erase(&args.sender, |done| line.show(format_args!("{done} messages")));
        let said = said.await;
        line.clear();
        target.close().await;
        let said = said?;
        output::note(format_args!(
            "erased the text of {} messages and {} callbacks in quarantine",
            said["messages"], said["quarantined"]
        ));
        if said["scrubbed"] == true {
            return Ok(ExitCode::SUCCESS);
        }
        output::note(
            "somebody reads an old state of the database, so its log still holds the text: \
             end that reader and erase again",
        );
        Ok(ExitCode::from(FINDINGS))
    })
}

pub fn prune(args: &PruneArgs) -> Result<ExitCode> {
    let loaded = match args.reach.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    on_runtime(async {
        let target = args.reach.target(&loaded.config).await?;
        let mut line = LiveLine::on_terminal();
        let show = |done: crate::store::Pruned| {
            line.show(format_args!("{} texts, {} rows", done.texts, done.rows));
        };
        let said = target.prune(app::days(&loaded.config), show).await;
        line.clear();
        target.close().await;
        let said = said?;
        output::note(format_args!("pruned {} texts and {} rows", said["texts"], said["rows"]));
        Ok(ExitCode::SUCCESS)
    })
}
