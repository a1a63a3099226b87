//! `quell audit`: what was recorded and done, by filters.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::daemon::{Reach, Target};
use super::listing::{self, Columns, Format};
use super::since::Since;
use super::{Usage, on_runtime, output};
use crate::model::{Clock, SystemClock};
use crate::store::{Filter, View};

/// Ask what was recorded and done
///
/// Lists rows of the view of the same name (`v_messages`, `v_recalls`, ...), newest first. Filters
/// narrow the list, all of them have to hold; a list that has more rows says how to go on. The same
/// can be asked by SQL: the database can be read while the daemon runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell audit recalls --since 1d --state refused         what Chat would not take back, and why
  quell audit messages --sender mallory --since 2h       what mallory wrote
  quell audit verdicts --rule contact-bait --format csv  what a rule decided, for a spreadsheet
  quell audit gaps --state unrepairable                  what nobody can ever judge
  quell audit calls --since 10m --state failed           calls that Chat refused as a whole
  quell audit messages --text '加微信' --since 7d          what holds these words (store.search)
  quell audit operations --sender ann                    what ann did
  quell audit verify                                     whether anybody changed it afterwards")]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    verify: Option<Other>,
    /// Which list
    #[arg(value_enum, required = true)]
    what: Option<What>,
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

#[derive(Debug, Subcommand)]
enum Other {
    Verify(super::verify::Args),
}

/// Which rows are wanted.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// In this group
    #[arg(long, value_name = "GROUP_ID")]
    group: Option<String>,
    /// A topic of the group
    #[arg(long, value_name = "TOPIC_ID", requires = "group")]
    topic: Option<String>,
    /// Who wrote it; for operations, plans and backfills who did it
    #[arg(long, value_name = "USER_ID")]
    sender: Option<String>,
    /// What this rule hit; for recalls, what it asked for
    #[arg(long, value_name = "RULE_ID")]
    rule: Option<String>,
    /// How it stands: a verdict, a job's state, a hit's mode, a call's outcome, an act, whatever the list has
    #[arg(long)]
    state: Option<String>,
    /// Part of a message's text, for messages; wants store.search
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// From then on: 2h, 7d, or 2026-05-01T18:30Z
    #[arg(long, value_name = "SPAN|TIME")]
    since: Option<Since>,
    /// Before then
    #[arg(long, value_name = "SPAN|TIME")]
    until: Option<Since>,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum What {
    /// Recorded messages with their verdicts
    Messages,
    /// Verdicts and the rules that led to them
    Verdicts,
    /// Places that rules matched
    Hits,
    /// Recall jobs and how they stand
    Recalls,
    /// Calls to Chat
    Calls,
    /// Sequences that no callback brought
    Gaps,
    /// Other content that came under a known sequence
    Conflicts,
    /// Authentic callbacks that could not be read
    Quarantine,
    /// What operators did
    Operations,
    /// What people said of what the rules found
    Reviews,
    /// Recalls after the fact: what was asked, and how it stands
    Plans,
    /// Stretches of history that were read
    Backfills,
}

impl Which {
    /// Refuses filters that the list does not have, before anything is opened.
    pub(super) fn check(&self, what: What) -> Result<(), Usage> {
        let view = what.view();
        let given = [
            ("group", &self.group),
            ("topic", &self.topic),
            ("sender", &self.sender),
            ("rule", &self.rule),
            ("state", &self.state),
            ("text", &self.text),
        ];
        let known: Vec<_> = view.filters().iter().map(|(name, _)| *name).collect();
        let strange = given.iter().find(|(name, given)| given.is_some() && !known.contains(name));
        if let Some((name, _)) = strange {
            let mut ways: Vec<_> = known.iter().map(|name| format!("--{name}")).collect();
            ways.extend(["--since".to_owned(), "--until".to_owned()]);
            let (list, ways) = (view.word(), ways.join(", "));
            return Err(Usage(format!("{list} cannot be filtered by {name}, only by {ways}")));
        }
        one_of(self.state.as_deref(), view.states())
    }

    /// The same for what waits to be reviewed.
    pub(super) fn check_to_review(&self) -> Result<(), Usage> {
        if self.text.is_some() {
            return Err(Usage("what waits to be reviewed cannot be filtered by text".to_owned()));
        }
        one_of(self.state.as_deref(), &["flag", "recall", "held"])
    }

    /// The rows as a filter of pages.
    #[must_use]
    pub fn filter(&self) -> Filter {
        let now = SystemClock.now();
        Filter {
            group: self.group.clone(),
            topic: self.topic.clone(),
            sender: self.sender.clone(),
            rule: self.rule.clone(),
            state: self.state.clone(),
            text: self.text.clone(),
            since: self.since.map(|since| since.from(now)),
            until: self.until.map(|until| until.from(now)),
            ..Filter::default()
        }
    }
}

/// A state that no row can have would be an empty list, which looks as if all were well.
fn one_of(state: Option<&str>, known: &[&str]) -> Result<(), Usage> {
    match state {
        Some(state) if !known.is_empty() && !known.contains(&state) => {
            Err(Usage(format!("--state {state}: is one of {}", known.join(", "))))
        }
        _ => Ok(()),
    }
}

impl What {
    /// The view that holds it.
    #[must_use]
    pub fn view(self) -> View {
        match self {
            Self::Messages => View::Messages,
            Self::Verdicts => View::Verdicts,
            Self::Hits => View::Hits,
            Self::Recalls => View::Recalls,
            Self::Calls => View::Calls,
            Self::Gaps => View::Gaps,
            Self::Conflicts => View::Conflicts,
            Self::Quarantine => View::Quarantine,
            Self::Operations => View::Operations,
            Self::Reviews => View::Reviews,
            Self::Plans => View::Plans,
            Self::Backfills => View::Backfills,
        }
    }

    /// The columns that a table shows; the other formats hold all.
    pub(super) fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Messages | Self::Conflicts => {
                &["received_at_iso", "group_id", "topic_id", "msg_seq", "sender", "verdict", "text"]
            }
            Self::Verdicts => &[
                "judged_at_iso",
                "group_id",
                "msg_seq",
                "sender",
                "verdict",
                "rules",
                "shadow_rules",
            ],
            Self::Hits => &[
                "judged_at_iso",
                "group_id",
                "msg_seq",
                "sender",
                "rule_id",
                "mode",
                "matched_text",
            ],
            Self::Recalls => &[
                "created_at_iso",
                "group_id",
                "msg_seq",
                "sender",
                "state",
                "requested_by",
                "exposure_ms",
                "reason",
            ],
            Self::Calls => &[
                "started_at_iso",
                "group_id",
                "topic_id",
                "sequences",
                "duration_ms",
                "error_code",
                "outcome",
            ],
            Self::Gaps => {
                &["found_at_iso", "group_id", "topic_id", "from_seq", "to_seq", "state", "reason"]
            }
            Self::Quarantine => &["received_at_iso", "command", "reason"],
            Self::Operations => &["at_iso", "actor", "act", "detail"],
            Self::Reviews => {
                &["at_iso", "reviewer", "group_id", "msg_seq", "rule_id", "verdict", "note"]
            }
            Self::Plans => &[
                "plan_id",
                "state",
                "asked",
                "messages",
                "recallable",
                "created_by",
                "created_at_iso",
            ],
            Self::Backfills => &[
                "backfill_id",
                "group_id",
                "topic_id",
                "state",
                "pages",
                "recorded",
                "recalls",
                "reason",
            ],
        }
    }
}

/// Pages that a list is made of at most: what is rare may be far back.
const PAGES: usize = 50;

pub fn run(args: &Args) -> Result<ExitCode> {
    let what = match (&args.verify, args.what) {
        (Some(Other::Verify(args)), _) => return super::verify::run(args),
        (None, Some(what)) => what,
        (None, None) => return Err(Usage("say what to list".to_owned()).into()),
    };
    args.which.check(what)?;
    let loaded = match args.reach.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    let filter =
        Filter { cursor: args.cursor, limit: usize::from(args.limit), ..args.which.filter() };
    on_runtime(async {
        let target = args.reach.target(&loaded.config).await?;
        let found = rows(&target, what.view(), filter).await;
        target.close().await;
        let (rows, next) = found?;
        let columns = Columns::some(what.columns(), what.view().columns());
        listing::print(&rows, args.format, &columns)?;
        if rows.len() < usize::from(args.limit)
            && let Some(next) = next
        {
            output::note(format_args!(
                "nothing more so far back; to look further: --cursor {next}"
            ));
        } else if let Some(next) = next {
            output::note(format_args!("more: --cursor {next}"));
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Rows of a view up to the filter's limit. One page may hold fewer and still not be the last.
pub(super) async fn rows(
    target: &Target,
    view: View,
    mut filter: Filter,
) -> Result<(Vec<Value>, Option<i64>)> {
    let (wanted, mut rows) = (filter.limit, Vec::new());
    for _ in 0..PAGES {
        let (more, next) = target.page(view, &filter).await?;
        rows.extend(more);
        filter.cursor = next;
        filter.limit = wanted.saturating_sub(rows.len());
        if next.is_none() || filter.limit == 0 {
            break;
        }
    }
    Ok((rows, filter.cursor))
}
