//! `quell recall`: operator recalls, planned, looked at, applied.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::ArgGroup;
use serde_json::{Value, json};

use super::backtest::Format;
use super::daemon::{Reach, Target};
use super::listing::table;
use super::since::{Since, iso};
use super::{FINDINGS, on_runtime, output};
use crate::backtest::grouped;
use crate::model::{Clock, SystemClock, Timestamp};
use crate::store::{Filter, PlanId, View};
use crate::sweep::{Asked, Sequences};

/// Recall messages after the fact: plan, look, apply
///
/// Says which messages are meant, prints the plan, and asks before anything happens; where there
/// is no terminal to ask at, it ends there and says how to apply the plan. What arrives after the plan was
/// made is not in it. Applied, its recalls go out behind live traffic. A recall cannot be undone.
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("which").required(true)
        .args(["seq", "message", "sender", "rule", "like", "plan"]),
    after_help = "\
Examples:
  quell recall --group '@TGS#EXAMPLE' --seq 5,7,10-20   these messages, recorded or not
  quell recall --sender mallory --since 2h              what mallory wrote, in all groups
  quell recall --rule contact-bait --since 1d           what a rule hit, in shadow too
  quell recall --like '@TGS#EXAMPLE/15' --since 6h      that message and others like it, in all groups
  quell recall --plan 3                                 how plan 3 stands; apply it if it was not
  quell recall --plan 3 --yes                           apply it without being asked
  quell recall --plan 3 --cancel                        end what of it still waits"
)]
pub struct Args {
    #[command(flatten)]
    reach: Reach,
    /// Of this group alone
    #[arg(long, value_name = "GROUP_ID", conflicts_with_all = ["message", "like", "plan"])]
    group: Option<String>,
    /// A topic of the group
    #[arg(long, value_name = "TOPIC_ID", requires = "seq")]
    topic: Option<String>,
    /// Sequences of the group: 5,7,10-20
    #[arg(long, value_name = "LIST", requires = "group")]
    seq: Option<Sequences>,
    /// A recorded message, by the number that the records give it
    #[arg(long, value_name = "MESSAGE_ID")]
    message: Option<i64>,
    /// Messages of this sender
    #[arg(long, value_name = "USER_ID", requires = "since")]
    sender: Option<String>,
    /// Messages that this rule hit, in whatever mode
    #[arg(long, value_name = "RULE_ID", requires = "since")]
    rule: Option<String>,
    /// A message and those nearly the same, over all groups
    #[arg(long, value_name = "GROUP[/TOPIC]/SEQ|MESSAGE_ID")]
    like: Option<String>,
    /// Messages received from then on: 2h, 7d, or 2026-05-01T18:30Z [default for --like: 24h]
    #[arg(long, value_name = "SPAN|TIME", conflicts_with_all = ["seq", "message", "plan"])]
    since: Option<Since>,
    /// A plan that was made before
    #[arg(long, value_name = "N")]
    plan: Option<PlanId>,
    /// End what of the plan still waits
    #[arg(long, requires = "plan", conflicts_with = "yes")]
    cancel: bool,
    /// Apply without being asked
    #[arg(long)]
    yes: bool,
    /// How to print the plan
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let loaded = match args.reach.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    on_runtime(async {
        let target = args.reach.target(&loaded.config).await?;
        let done = act(args, &target).await;
        target.close().await;
        done
    })
}

async fn act(args: &Args, target: &Target) -> Result<ExitCode> {
    let plan = match args.plan {
        Some(plan) if args.cancel => target.cancel_plan(plan).await?,
        Some(plan) => target.plan(plan).await?,
        None => target.make_plan(&args.asked()).await?,
    };
    let number = plan["plan_id"].as_i64().unwrap_or(0);
    let can_apply = plan["state"] == "planned" && plan["recallable"] != 0;
    let unseen = is_unseen(&plan, target).await?;
    if args.yes && can_apply {
        return args.apply(number, &plan, unseen, target).await;
    }
    args.print(&plan, unseen)?;
    if args.yes && plan["state"] == "cancelled" {
        output::note(format_args!(
            "plan {number} was cancelled: nothing of it is recalled any more"
        ));
        return Ok(ExitCode::from(FINDINGS));
    }
    if plan["state"] != "planned" {
        return Ok(ExitCode::SUCCESS);
    }
    if plan["recallable"] == 0 {
        output::note("none of them can be recalled: there is nothing to apply");
        return Ok(ExitCode::SUCCESS);
    }
    let question = format_args!("recall {} messages? This cannot be undone.", plan["recallable"]);
    if !args.yes && output::confirmed(question)? != Some(true) {
        output::note(format_args!(
            "nothing was recalled; to apply it: quell recall --plan {number} --yes"
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let applied = target.apply_plan(number).await?;
    tell_applied(number, &applied);
    Ok(ExitCode::SUCCESS)
}

fn tell_applied(number: PlanId, applied: &Value) {
    let count = grouped(applied["recallable"].as_u64().unwrap_or(0));
    output::note(format_args!(
        "plan {number}: {count} recalls go out behind live traffic; how it stands: quell recall --plan {number}"
    ));
}

/// Whether a plan names sequences of a group or topic of which nothing was ever recorded: Chat may know
/// it, or its id is wrong.
async fn is_unseen(plan: &Value, target: &Target) -> Result<bool> {
    let asked = &plan["asked"];
    if asked["seq"].is_null() {
        return Ok(false);
    }
    let word = |name: &str| asked[name].as_str().map(str::to_owned);
    let (group, topic) = (word("group"), word("topic"));
    let filter = Filter { group, topic, limit: 1, ..Filter::default() };
    Ok(target.page(View::Messages, &filter).await?.0.is_empty())
}

impl Args {
    /// Applies a plan unasked, and prints it as it stands then.
    async fn apply(
        &self,
        number: PlanId,
        plan: &Value,
        unseen: bool,
        target: &Target,
    ) -> Result<ExitCode> {
        let applied = target.apply_plan(number).await;
        // Where that failed the plan is there all the same.
        self.print(applied.as_ref().unwrap_or(plan), unseen)?;
        tell_applied(number, &applied?);
        Ok(ExitCode::SUCCESS)
    }

    fn asked(&self) -> Asked {
        Asked {
            group: self.group.clone(),
            topic: self.topic.clone(),
            seq: self.seq.as_ref().map(Sequences::to_string),
            message_id: self.message,
            sender: self.sender.clone(),
            rule: self.rule.clone(),
            like: self.like.clone(),
            since: self.since.map(|since| since.from(SystemClock.now())),
        }
    }

    fn print(&self, plan: &Value, unseen: bool) -> Result<()> {
        match self.format {
            Format::Table => output::text(&text(plan, unseen)),
            Format::Json => {
                output::line(serde_json::to_string_pretty(plan)?);
                if unseen {
                    output::note(UNSEEN);
                }
            }
        }
        Ok(())
    }
}

/// What is said of a plan for a group that quell knows nothing of.
const UNSEEN: &str = "no message of this group or topic was ever recorded: is its id right?";

fn text(plan: &Value, unseen: bool) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(out, "{name:<12}{value}").expect("a string takes what is written");
    };
    let number = |name: &str| grouped(plan[name].as_u64().unwrap_or(0));
    let by = |who: &str, at: &str| {
        let at = plan[at].as_i64().map(|at| iso(Timestamp(at))).unwrap_or_default();
        format!("by {} at {at}", plan[who].as_str().unwrap_or_default())
    };
    line("plan", format!("{} ({})", plan["plan_id"], plan["digest"].as_str().unwrap_or_default()));
    line("state", plan["state"].as_str().unwrap_or_default().to_owned());
    line("asked", asked(&plan["asked"]));
    line("made", by("created_by", "created_at"));
    if plan["applied_at"].is_i64() {
        line("applied", by("applied_by", "applied_at"));
    }
    line("rules", plan["rules_version"].as_str().unwrap_or_default().to_owned());
    line("messages", number("messages"));
    line("groups", number("groups"));
    if unseen {
        line("  note", UNSEEN.to_owned());
    }
    line("recallable", number("recallable"));
    for (why, count) in plan["obstacles"].as_object().into_iter().flatten() {
        line("  not", format!("{}: {why}", grouped(count.as_u64().unwrap_or(0))));
    }
    let seconds = plan["seconds"].as_f64().unwrap_or(0.0);
    line("cost", format!("{} calls, {seconds:.1} s at the cap", number("calls")));
    for (state, count) in plan["jobs"].as_object().into_iter().flatten() {
        line("  jobs", format!("{} {state}", grouped(count.as_u64().unwrap_or(0))));
    }
    let rows: Vec<_> = plan["samples"].as_array().into_iter().flatten().map(sample).collect();
    let columns = ["message", "sender", "sent_at", "text", "not recalled because"];
    writeln!(out, "\n{}", table(&rows, &columns)).expect("a string takes what is written");
    let rest = plan["messages"].as_u64().unwrap_or(0).saturating_sub(rows.len() as u64);
    if rest > 0 {
        writeln!(out, " and {} more", grouped(rest)).expect("a string takes what is written");
    }
    out
}

fn sample(message: &Value) -> Value {
    let topic = message["topic_id"].as_str().filter(|topic| !topic.is_empty());
    let topic = topic.map(|topic| format!("/{topic}")).unwrap_or_default();
    let group = message["group_id"].as_str().unwrap_or_default();
    json!({
        "message": format!("{group}{topic}/{}", message["msg_seq"]),
        "sender": message["sender"],
        "sent_at": message["sent_at"].as_i64().map(|at| iso(Timestamp(at))),
        "text": message["text"],
        "not recalled because": message["obstacle"],
    })
}

/// What was asked for, as words of the command line.
fn asked(asked: &Value) -> String {
    let words = asked.as_object().into_iter().flatten().map(|(name, value)| match value {
        Value::Number(at) if name == "since" => {
            format!("--since {}", iso(Timestamp(at.as_i64().unwrap_or(0))))
        }
        value => format!("--{name} {}", value.as_str().unwrap_or_default()),
    });
    words.collect::<Vec<_>>().join(" ")
}
