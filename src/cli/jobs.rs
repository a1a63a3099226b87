//! `quell jobs`: the recall queue.

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use super::daemon::Reach;
use super::listing::{self, Columns, Format};
use super::{Usage, on_runtime, output};
use crate::store::{Filter, JobChange, JobFilter, View};

/// Look at the recall queue and change it
///
/// A job waits (pending, retry), is in a call (leased) or held, and ends as recalled, gone, refused,
/// dead or cancelled. Everything done here is a row in `v_operations`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell jobs list --state held             what is held, and why
  quell jobs release --rule contact-bait   it was right: let them go
  quell jobs cancel --group '@TGS#EXAMPLE' --sender mallory
  quell jobs retry 1507 1508
  quell jobs hold --all                    keep everything back that waits")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List jobs, newest first
    List(ListArgs),
    /// Try dead and refused jobs again, with a clean sheet
    Retry(ChangeArgs),
    /// End jobs that wait or are held; those in a call are not tried again
    Cancel(ChangeArgs),
    /// Keep waiting jobs back; those in a call are held should they fail
    Hold(ChangeArgs),
    /// Let held jobs go
    Release(ChangeArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    which: Which,
    /// Only jobs in this state
    #[arg(long, value_parser = ["pending", "leased", "retry", "held", "recalled", "gone", "refused", "dead", "cancelled"])]
    state: Option<String>,
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
struct ChangeArgs {
    #[command(flatten)]
    reach: Reach,
    /// Jobs by their numbers, as `quell jobs list` shows them
    #[arg(value_name = "JOB")]
    jobs: Vec<i64>,
    #[command(flatten)]
    which: Which,
    /// Every job; must be said where nothing else is
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Jobs in this group
    #[arg(long, value_name = "GROUP_ID")]
    group: Option<String>,
    /// A topic of the group
    #[arg(long, value_name = "TOPIC_ID", requires = "group")]
    topic: Option<String>,
    /// Jobs about messages of this sender
    #[arg(long, value_name = "USER_ID")]
    sender: Option<String>,
    /// Jobs that this rule asked for
    #[arg(long, value_name = "RULE_ID")]
    rule: Option<String>,
}

const COLUMNS: [&str; 9] = [
    "job_id",
    "state",
    "group_id",
    "msg_seq",
    "sender",
    "requested_by",
    "attempts",
    "created_at_iso",
    "reason",
];

pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::List(args) => list(args),
        What::Retry(args) => change(args, JobChange::Retry),
        What::Cancel(args) => change(args, JobChange::Cancel),
        What::Hold(args) => change(args, JobChange::Hold),
        What::Release(args) => change(args, JobChange::Release),
    }
}

fn list(args: &ListArgs) -> Result<ExitCode> {
    let loaded = match args.reach.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    let filter = Filter {
        group: args.which.group.clone(),
        topic: args.which.topic.clone(),
        sender: args.which.sender.clone(),
        rule: args.which.rule.clone(),
        state: args.state.clone(),
        cursor: args.cursor,
        limit: usize::from(args.limit),
        ..Filter::default()
    };
    on_runtime(async {
        let target = args.reach.target(&loaded.config).await?;
        let (rows, next) = super::audit::rows(&target, View::Recalls, filter).await?;
        target.close().await;
        listing::print(&rows, args.format, &Columns::some(&COLUMNS, View::Recalls.columns()))?;
        if let Some(next) = next {
            output::note(format_args!("more: --cursor {next}"));
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn change(args: &ChangeArgs, change: JobChange) -> Result<ExitCode> {
    let which = JobFilter {
        jobs: args.jobs.clone(),
        group: args.which.group.clone(),
        topic: args.which.topic.clone(),
        sender: args.which.sender.clone(),
        rule: args.which.rule.clone(),
    };
    if which == JobFilter::default() && !args.all {
        let said = "say which jobs: their numbers, --group, --sender, --rule, or --all";
        return Err(Usage(said.to_owned()).into());
    }
    let loaded = match args.reach.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    on_runtime(async {
        let target = args.reach.target(&loaded.config).await?;
        let changed = target.change_jobs(change, &which).await?;
        target.close().await;
        let named: HashSet<_> = args.jobs.iter().collect();
        output::note(done(change, changed, named.len()));
        Ok(ExitCode::SUCCESS)
    })
}

/// What was changed of the jobs that were meant, by number or otherwise.
fn done(change: JobChange, changed: u64, named: usize) -> String {
    let fit = match change {
        JobChange::Retry => "dead or refused, with no other job for its message",
        JobChange::Release => "held",
        JobChange::Hold => "waiting, or in a call and not to be held already",
        JobChange::Cancel => "waiting, held, or in a call and not to end already",
    };
    let jobs = if changed == 1 { "job" } else { "jobs" };
    let told = format!("{}: {changed} {jobs}", change.as_str());
    match changed {
        0 => format!("{told}: none of those is {fit}"),
        _ if changed < named as u64 => format!("{told}: no other of those is {fit}"),
        _ => told,
    }
}
