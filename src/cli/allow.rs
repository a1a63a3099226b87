//! `quell allow`: what is let through beside the rules file.

use std::process::ExitCode;

use anyhow::Result;
use clap::builder::NonEmptyStringValueParser;
use clap::{Subcommand, ValueEnum};

use super::daemon::Reach;
use super::listing::{self, Columns, Format};
use super::{FINDINGS, on_runtime, output};
use crate::model::AllowanceKind;
use crate::store::NewAllowance;

/// Let a sender or a phrase through, beside the rules file
///
/// In force from the next message on, also over restarts and reloads, until it is taken back. It is part
/// of the rule set: verdicts name another version from then on. What is meant to stay is better written
/// into the rules file, as `exempt` or `unless`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  quell allow sender administrator                      every rule leaves this sender alone
  quell allow phrase 微信支付 --rule contact-bait        this rule spares the characters it covers
  quell allow list
  quell allow remove sender 3")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Leave a sender alone
    Sender(Allow),
    /// Spare the characters that a phrase covers
    Phrase(Allow),
    /// List what is let through
    List {
        #[command(flatten)]
        reach: Reach,
        /// How to print the list
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Take back what was let through
    Remove {
        #[command(flatten)]
        reach: Reach,
        /// What it is
        kind: Kind,
        /// The id that `quell allow list` shows
        id: i64,
    },
}

#[derive(Debug, clap::Args)]
struct Allow {
    #[command(flatten)]
    reach: Reach,
    /// The sender, or the phrase
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    value: String,
    /// By this rule alone [default: every rule]
    #[arg(long, value_name = "RULE_ID")]
    rule: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Sender,
    Phrase,
}

impl From<Kind> for AllowanceKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Sender => Self::Sender,
            Kind::Phrase => Self::Phrase,
        }
    }
}

const SHOWN: [&str; 7] = ["id", "kind", "value", "rule", "note", "by", "at_iso"];
const COLUMNS: [&str; 8] = ["id", "kind", "value", "rule", "note", "by", "at", "at_iso"];

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let (What::Sender(Allow { reach, .. })
    | What::Phrase(Allow { reach, .. })
    | What::List { reach, .. }
    | What::Remove { reach, .. }) = &args.what;
    let loaded = match reach.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    on_runtime(async {
        let target = reach.target(&loaded.config).await?;
        let make = async |kind, allow: &Allow| {
            let made = target
                .allow(&NewAllowance {
                    kind,
                    value: allow.value.trim().to_owned(),
                    rule: allow.rule.as_deref().map(Into::into),
                    note: allow.note.clone(),
                })
                .await?;
            output::note(format_args!("{kind} {made} is let through"));
            Ok::<_, anyhow::Error>(ExitCode::SUCCESS)
        };
        let code = match &args.what {
            What::Sender(allow) => make(AllowanceKind::Sender, allow).await?,
            What::Phrase(allow) => make(AllowanceKind::Phrase, allow).await?,
            What::List { format, .. } => {
                let rows = listing::with_iso(target.allowances().await?);
                listing::print(&rows, *format, &Columns::named(&SHOWN, &COLUMNS))?;
                ExitCode::SUCCESS
            }
            What::Remove { kind, id, .. } => {
                let kind = AllowanceKind::from(*kind);
                if target.disallow(kind, *id).await? {
                    output::note(format_args!("{kind} {id} is no longer let through"));
                    ExitCode::SUCCESS
                } else {
                    output::note(format_args!("there is no {kind} {id} to take back"));
                    ExitCode::from(FINDINGS)
                }
            }
        };
        target.close().await;
        Ok(code)
    })
}
