//! `quell review`: what people say of what the rules found.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use super::audit::Which;
use super::daemon::{Reach, Reviewed};
use super::listing::{self, Columns, Format};
use super::{Usage, on_runtime, output};
use crate::store::{Filter, REVIEWABLE};

/// Say whether what the rules found was right
///
/// Messages that a rule flagged or had recalled wait to be looked at. Each is right (it was to be found)
/// or wrong (a false alarm); the share that was right is the rule's precision. The latest word on a rule
/// of a message counts, and every word is a row in `v_operations`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell review list --rule contact-bait --since 1d   what that rule matched, in shadow too
  quell review list --state held                     messages whose recall is held
  quell review right 1507 1508
  quell review wrong '@TGS#EXAMPLE/15' --note 'quotes the warning'
  quell review precision                             how often each rule was right")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List what nobody looked at yet, newest first; --state is flag, recall or held
    List(ListArgs),
    /// It was to be found
    Right(SayArgs),
    /// It is a false alarm
    Wrong(SayArgs),
    /// How often each rule was right
    Precision(PrecisionArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    which: Which,
    /// Rows at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Go on where a list ended
    #[arg(long, value_name = "N")]
    cursor: Option<i64>,
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct SayArgs {
    #[command(flatten)]
    reach: Reach,
    /// Messages by their numbers, as `quell review list` shows them, or as GROUP/SEQ
    #[arg(value_name = "MESSAGE", required = true)]
    messages: Vec<String>,
    /// A topic of the group, for GROUP/SEQ
    #[arg(long, value_name = "TOPIC_ID", default_value = "", hide_default_value = true)]
    topic: String,
    /// The rule that it is about [default: every rule that matched]
    #[arg(long, value_name = "RULE_ID")]
    rule: Option<String>,
    /// Why, for whoever reads it later
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
}

#[derive(Debug, clap::Args)]
struct PrecisionArgs {
    #[command(flatten)]
    reach: Reach,
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const COLUMNS: [&str; 9] = [
    "message_id",
    "received_at_iso",
    "group_id",
    "sender",
    "verdict",
    "rules",
    "shadow_rules",
    "recall_state",
    "text",
];

pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::List(args) => list(args),
        What::Right(args) => say(args, true),
        What::Wrong(args) => say(args, false),
        What::Precision(args) => precision(args),
    }
}

fn list(args: &ListArgs) -> Result<ExitCode> {
    args.which.check_to_review()?;
    let loaded = match args.reach.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    let mut filter =
        Filter { cursor: args.cursor, limit: usize::from(args.limit), ..args.which.filter() };
    on_runtime(async {
        let target = args.reach.target(&loaded.config).await?;
        let mut rows = Vec::new();
        // A page may end before it is full: what was reviewed already lies between.
        while filter.limit > 0 {
            let (more, next) = target.to_review(&filter).await?;
            filter.limit -= more.len().min(filter.limit);
            filter.cursor = next;
            rows.extend(more);
            if next.is_none() {
                break;
            }
        }
        target.close().await;
        listing::print(&rows, args.format, &Columns::some(&COLUMNS, REVIEWABLE))?;
        if let Some(next) = filter.cursor {
            output::note(format_args!("more: --cursor {next}"));
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn say(args: &SayArgs, right: bool) -> Result<ExitCode> {
    let mut numbers = Vec::new();
    let mut keys = Vec::new();
    for message in &args.messages {
        match message.parse::<i64>() {
            Ok(number) => numbers.push(number),
            Err(_) => keys.push(key(message)?),
        }
    }
    if keys.is_empty() && !args.topic.is_empty() {
        return Err(Usage("--topic goes with messages given as GROUP/SEQ".to_owned()).into());
    }
    let loaded = match args.reach.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    on_runtime(async {
        let target = args.reach.target(&loaded.config).await?;
        let about =
            |which| Reviewed { which, rule: args.rule.clone(), right, note: args.note.clone() };
        let mut said = 0;
        if !numbers.is_empty() {
            said += target.review(&about(super::daemon::Which::Numbers(numbers))).await?;
        }
        for (group, seq) in keys {
            let topic = args.topic.clone();
            said += target.review(&about(super::daemon::Which::Key { group, topic, seq })).await?;
        }
        target.close().await;
        let word = if right { "right" } else { "wrong" };
        output::note(format_args!("{word}: {said} messages"));
        Ok(ExitCode::SUCCESS)
    })
}

/// A message as GROUP/SEQ. A group's id may hold a slash itself.
fn key(message: &str) -> Result<(String, u64), Usage> {
    let Some((group, seq)) = message.rsplit_once('/') else {
        return Err(Usage(format!("{message}: neither a number nor GROUP/SEQ")));
    };
    let seq = seq.parse().map_err(|_| Usage(format!("{message}: {seq:?} is no sequence")))?;
    if group.is_empty() {
        return Err(Usage(format!("{message}: the group is missing")));
    }
    Ok((group.to_owned(), seq))
}

fn precision(args: &PrecisionArgs) -> Result<ExitCode> {
    let loaded = match args.reach.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    on_runtime(async {
        let target = args.reach.target(&loaded.config).await?;
        let rows = target.precision().await?;
        target.close().await;
        let columns = Columns::of(&["rule", "right", "wrong", "precision"]);
        listing::print(&rows, args.format, &columns)?;
        Ok(ExitCode::SUCCESS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_in_a_sequence() {
        assert_eq!(key("@TGS#a/b/15").unwrap(), ("@TGS#a/b".to_owned(), 15));
        for bad in ["x", "/5", "g/", "g/x"] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }
}
