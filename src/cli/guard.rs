//! `quell guard`: rules that fell to shadow.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use super::daemon::Reach;
use super::listing::{self, Columns, Format};
use super::{FINDINGS, on_runtime, output};

/// Look at rules that fell to shadow, and put them back in force
///
/// A rule trips when within a minute it hits more than `guard.trip_share` of all senders. What it matches
/// is still judged; its recalls are held. After a look at them (`quell jobs list --state held`), cancel
/// or release them with `quell jobs`, and put the rule back in force here.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell guard list                  which rules tripped, when and why
  quell guard reset contact-bait    it is in force again")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List rules that tripped
    List {
        #[command(flatten)]
        reach: Reach,
        /// How to print the list
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Put a rule back in force; its held recalls stay held
    Reset {
        #[command(flatten)]
        reach: Reach,
        /// The rule
        #[arg(value_name = "RULE_ID")]
        rule: String,
    },
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let (What::List { reach, .. } | What::Reset { reach, .. }) = &args.what;
    let loaded = match reach.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    on_runtime(async {
        let target = reach.target(&loaded.config).await?;
        let code = match &args.what {
            What::List { format, .. } => {
                let rows = listing::with_iso(target.tripped().await?);
                let columns =
                    Columns::named(&["rule", "at_iso", "why"], &["rule", "at", "at_iso", "why"]);
                listing::print(&rows, *format, &columns)?;
                ExitCode::SUCCESS
            }
            What::Reset { rule, .. } if target.reset_rule(rule).await? => {
                output::note(format_args!("{rule} is in force again"));
                ExitCode::SUCCESS
            }
            What::Reset { rule, .. } => {
                output::note(format_args!("{rule} had not tripped"));
                ExitCode::from(FINDINGS)
            }
        };
        target.close().await;
        Ok(code)
    })
}
