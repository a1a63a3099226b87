//! `quell backfill`: reading history for what the callbacks missed.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::daemon::{Reach, Target};
use super::listing::{self, Columns, Format};
use super::{FINDINGS, Usage, on_runtime, output};
use crate::app::Backfiller;
use crate::model::{Clock, MsgSeq, SystemClock};
use crate::store::{By, Error, View};

/// Between looks at how it goes.
const TICK: Duration = Duration::from_millis(200);

/// Pull a group's history for what the callbacks missed
///
/// Reads from the newest message (or --to) down to --from, or as far as Chat keeps messages. What no
/// callback brought is judged by the rules in force, recorded with `source` = history, and recalled
/// where they say so. A running daemon does it, behind gaps that it found by itself; without one it is
/// done here, and recalls leave once a daemon runs. It can be broken off at any time: what is read is
/// kept, and a daemon, or the next backfill, goes on where it ended. `quell audit backfills` lists how
/// each of them stands. Exits 1 where Chat refuses it.
///
/// At 20 messages a call and 50 calls a second (`history.calls_per_second`), 1,000 messages take a
/// second. Audio-video groups have no history.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell backfill --group @TGS#2J4SZEAEL
  quell backfill --group @TGS#_mc10 --topic @TGS#_mc10@TOPIC#_1 --from 900 --to 1500
  quell backfill --cancel 7")]
pub struct Args {
    #[command(flatten)]
    reach: Reach,
    /// The group whose history is read
    #[arg(long, value_name = "GROUP_ID", required_unless_present = "cancel")]
    group: Option<String>,
    /// A topic of the group
    #[arg(long, value_name = "TOPIC_ID", requires = "group")]
    topic: Option<String>,
    /// The smallest sequence [default: where Chat's history begins]
    #[arg(long, value_name = "SEQ", value_parser = sequence())]
    from: Option<MsgSeq>,
    /// The largest sequence [default: the newest]
    #[arg(long, value_name = "SEQ", value_parser = sequence())]
    to: Option<MsgSeq>,
    /// Only start it, and let the daemon do it
    #[arg(long)]
    no_wait: bool,
    /// End a backfill by its number
    #[arg(long, value_name = "N", conflicts_with_all = ["group", "from", "to", "no_wait"])]
    cancel: Option<i64>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn sequence() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=u64::from(u32::MAX))
}

fn columns() -> Columns<'static> {
    Columns::some(super::audit::What::Backfills.columns(), View::Backfills.columns())
}

pub fn run(args: &Args) -> Result<ExitCode> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        return Err(Usage(format!("--from {from} is larger than --to {to}")).into());
    }
    let config = match args.reach.settings.load_complete() {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    on_runtime(async {
        let reader = match Backfiller::start(&config, Arc::new(SystemClock)).await {
            Ok(here) => Reader::Here(Box::new(here), args.reach.actor()),
            Err(error) if is_locked(&error) => Reader::Daemon(args.reach.target(&config).await?),
            Err(error) => return Err(error),
        };
        let done = reader.work(args).await;
        reader.close().await;
        done
    })
}

/// How far a backfill has come.
fn progress(id: i64, row: &Value) -> String {
    let at = row["next_seq"].as_u64().filter(|seq| *seq > 0);
    format!(
        "backfill {id}: {} pages, at {}; {} messages were missed, {} to be recalled{}",
        row["pages"],
        at.map_or_else(|| "the newest".to_owned(), |seq| format!("sequence {seq}")),
        row["recorded"],
        row["recalls"],
        row["reason"].as_str().map(|why| format!("; {why}")).unwrap_or_default(),
    )
}

fn is_locked(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Locked { .. }))
}

/// Who reads the history.
enum Reader {
    Daemon(Target),
    Here(Box<Backfiller>, String),
}

impl Reader {
    async fn work(&self, args: &Args) -> Result<ExitCode> {
        if let Some(id) = args.cancel {
            return self.cancel(id).await;
        }
        let id = self.begin(args).await?;
        if args.no_wait {
            output::note(format_args!("backfill {id} goes on in the daemon"));
            listing::print(&[self.look(id).await?], args.format, &columns())?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut line = output::LiveLine::new(true);
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(interrupted);
        let row = loop {
            let row = self.look(id).await?;
            if row["state"] != "running" {
                break row;
            }
            // Before its first page there is nothing to say, but for why it does not come.
            if row["pages"] != 0 || row["reason"].is_string() {
                line.show(progress(id, &row));
            }
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                _ = &mut interrupted => {
                    line.end();
                    let goes_on = match self {
                        Self::Daemon(_) => "the daemon goes on with it",
                        Self::Here(..) => {
                            "what was read is kept, the rest is read once a daemon runs, or by the \
                             next backfill"
                        }
                    };
                    output::note(format_args!(
                        "{goes_on}; quell backfill --cancel {id} ends it"
                    ));
                    return Ok(ExitCode::SUCCESS);
                }
            }
        };
        // The list says it all, and what was said on the way is behind it.
        line.clear();
        let failed = row["state"] != "done";
        listing::print(&[row], args.format, &columns())?;
        Ok(if failed { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
    }

    async fn begin(&self, args: &Args) -> Result<i64> {
        let group = args.group.as_deref().unwrap_or_default();
        let topic = args.topic.as_deref().unwrap_or_default();
        match self {
            Self::Daemon(target) => {
                let stretch =
                    json!({"group": group, "topic": topic, "from": args.from, "to": args.to});
                let started = daemon(target)?.post("/api/v1/backfills", &stretch).await?;
                started["backfill_id"].as_i64().context("the daemon answered without a number")
            }
            Self::Here(here, actor) => {
                anyhow::ensure!(!args.no_wait, "--no-wait: no daemon runs that could go on");
                let by = By::new(actor, SystemClock.now());
                let (from, to) = (args.from.unwrap_or(1), args.to.unwrap_or(0));
                Ok(here.read(&by, &group.into(), &topic.into(), from, to).await?)
            }
        }
    }

    async fn look(&self, id: i64) -> Result<Value> {
        match self {
            Self::Daemon(target) => {
                daemon(target)?.get(&format!("/api/v1/backfills/{id}"), &[]).await
            }
            Self::Here(here, _) => here.look(id).await?.context("the backfill is gone"),
        }
    }

    async fn cancel(&self, id: i64) -> Result<ExitCode> {
        let cancelled = match self {
            Self::Daemon(target) => {
                let path = format!("/api/v1/backfills/{id}/cancel");
                daemon(target)?.post(&path, &json!({})).await?["cancelled"] == true
            }
            Self::Here(here, actor) => here.cancel(&By::new(actor, SystemClock.now()), id).await?,
        };
        anyhow::ensure!(cancelled, "no backfill {id} is running");
        output::note(format_args!("backfill {id} is cancelled; what it read is kept"));
        Ok(ExitCode::SUCCESS)
    }

    async fn close(self) {
        match self {
            Self::Daemon(target) => target.close().await,
            Self::Here(here, _) => here.stop().await,
        }
    }
}

fn daemon(target: &Target) -> Result<&super::daemon::Daemon> {
    match target {
        Target::Daemon(daemon) => Ok(daemon),
        Target::Database(_) => bail!("the daemon ended just now: try again"),
    }
}
