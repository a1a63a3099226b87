//! `quell backtest`: a candidate rules file over stored messages.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::json;

use super::listing::{table, visible};
use super::output::LiveLine;
use super::settings::Settings;
use super::since::{Since, iso};
use super::{on_runtime, output, rules};
use crate::app;
use crate::backtest::{self, Pace, Report, RuleTally, Sample, Shown, ShownCost, Tally, grouped};
use crate::model::{Clock, Mode, SystemClock, Verdict};
use crate::store::sqlite;

/// Judge stored messages by another rules file and compare
///
/// Reads the database of the configuration, also while a daemon runs, and changes nothing. With the
/// rules that were in force it finds no difference; with others it tells which hits would be new and
/// which would be lost, where, and what enforcing the rules would cost.
///
/// What stateful matchers (flood, repeat, newcomer) saw is taken as it was recorded. What nobody
/// counted then is counted now over the stored messages, from before --since where need be.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  quell backtest --rules new.yaml                     every stored message
  quell backtest --rules new.yaml --since 7d          those of the last week
  quell backtest --rules new.yaml --group '@TGS#EXAMPLE' --samples 20
  quell backtest --rules new.yaml --format json | jq '.rules[] | select(.lost > 0)'")]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
    /// The rules file to try
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// Messages received from then on: 2h, 7d, or 2026-05-01T18:30Z [default: all]
    #[arg(long, value_name = "SPAN|TIME")]
    since: Option<Since>,
    /// Messages of this group alone
    #[arg(long, value_name = "GROUP_ID")]
    group: Option<String>,
    /// Messages shown for each rule, new hits and lost ones apart
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=1000))]
    samples: u16,
    /// Groups and senders shown
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=1000))]
    limit: u16,
    /// How to print the report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How the report is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    /// One object
    Json,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let candidate = match rules::load(&args.rules) {
        Ok(rules) => Arc::new(rules),
        Err(code) => return Ok(code),
    };
    let loaded = match args.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    let config = &loaded.config;
    let options = backtest::Options {
        since: args.since.map(|since| since.from(SystemClock.now())),
        group: args.group.as_deref().map(Into::into),
        identifier: config.chat.identifier.as_str().into(),
        samples: usize::from(args.samples),
        judges: available_parallelism().map_or(1, usize::from),
    };
    on_runtime(async {
        let store = Arc::new(sqlite::open_to_read(&app::store_options(config)).await?);
        // What operators let through holds for a candidate, too.
        let candidate = Arc::new(candidate.with_allowances(&store.allowances().await?));
        let began = Instant::now();
        let mut bar = Bar::new();
        let rules = Arc::clone(&candidate);
        let report =
            backtest::run(rules, Arc::clone(&store) as _, options, |done, of| bar.show(done, of))
                .await?;
        bar.end();
        store.close().await;
        let pace = Pace {
            calls_per_second: config.recall.calls_per_second,
            batch_size: config.recall.batch_size,
        };
        let shown = Shown::of(&report, &candidate, pace, usize::from(args.limit));
        match args.format {
            Format::Table => {
                output::text(&Printed { args, pace, report: &report, shown: &shown }.text());
            }
            Format::Json => output::line(serde_json::to_string_pretty(&shown)?),
        }
        output::note(format_args!(
            "{} messages in {:.1} s",
            grouped(report.messages),
            began.elapsed().as_secs_f64()
        ));
        Ok(ExitCode::SUCCESS)
    })
}

/// A progress bar; nothing where stderr is no terminal.
struct Bar {
    line: LiveLine,
    shown: Instant,
}

impl Bar {
    fn new() -> Self {
        Self { line: LiveLine::on_terminal(), shown: Instant::now() }
    }

    fn show(&mut self, done: u64, of: u64) {
        if self.shown.elapsed().as_millis() < 100 && done < of {
            return;
        }
        self.shown = Instant::now();
        let percent = done * 100 / of.max(1);
        let full = usize::try_from(percent * 30 / 100).unwrap_or(0);
        let (bar, rest) = ("#".repeat(full), "-".repeat(30_usize.saturating_sub(full)));
        self.line.show(format_args!("[{bar}{rest}] {percent} %  {} messages", grouped(done)));
    }

    fn end(&mut self) {
        self.line.end();
    }
}

/// A report on its way to people.
struct Printed<'a> {
    args: &'a Args,
    pace: Pace,
    report: &'a Report,
    shown: &'a Shown,
}

impl Printed<'_> {
    fn text(&self) -> String {
        let mut out = String::new();
        self.head(&mut out);
        self.rules_and_samples(&mut out);
        let report = self.report;
        let most = usize::from(self.args.limit);
        let groups = report.groups(most);
        list(&mut out, "group", groups.into_iter().map(|(id, tally)| (id.as_str(), tally)));
        let senders = report.senders(most);
        list(&mut out, "sender", senders.into_iter().map(|(id, tally)| (id.as_str(), tally)));
        self.costs(&mut out);
        for note in &self.shown.notes {
            push(&mut out, format_args!("\nnote: {note}"));
        }
        out
    }

    fn head(&self, out: &mut String) {
        let report = self.report;
        push(
            out,
            format_args!("rules    {} ({})", self.args.rules.display(), report.rules_version),
        );
        let span = match (report.first_received_at, report.last_received_at) {
            (Some(first), Some(last)) => format!(", {} to {}", iso(first), iso(last)),
            _ => String::new(),
        };
        push(out, format_args!("messages {}{span}", grouped(report.messages)));
        let share = percent(report.changed, report.messages);
        push(out, format_args!("changed  {}{share}\n", grouped(report.changed)));
        let row = |then: &Verdict| {
            let counts = report.verdicts[*then as usize];
            json!({
                "then \\ now": then.as_str(), "pass": grouped(counts[0]), "flag": grouped(counts[1]),
                "recall": grouped(counts[2]),
            })
        };
        let rows: Vec<_> = Verdict::ALL.iter().map(row).collect();
        push(out, table(&rows, &["then \\ now", "pass", "flag", "recall"]));
    }

    fn rules_and_samples(&self, out: &mut String) {
        let row = |tally: &RuleTally| {
            json!({
                "rule": tally.rule, "mode": tally.mode.map_or("-", Mode::as_str),
                "new": grouped(tally.hits.new), "lost": grouped(tally.hits.lost),
                "same": grouped(tally.same), "other mode": grouped(tally.other_mode),
            })
        };
        let rows: Vec<_> = self.report.rules.iter().map(row).collect();
        push(
            out,
            format_args!(
                "\n{}",
                table(&rows, &["rule", "mode", "new", "lost", "same", "other mode"])
            ),
        );
        for tally in &self.report.rules {
            for (what, samples) in [("new", &tally.new_samples), ("lost", &tally.lost_samples)] {
                if samples.is_empty() {
                    continue;
                }
                push(out, format_args!("\n{what} hits of {}:", tally.rule));
                for sample in samples {
                    let Sample { key, sender, text, then, now, .. } = sample;
                    let (key, by) = (visible(&key.to_string()), visible(sender.as_str()));
                    let text = visible(text);
                    push(out, format_args!("  {key} by {by}, {then} -> {now}: {text}"));
                }
            }
        }
    }

    fn costs(&self, out: &mut String) {
        let row = |what: &str, cost: &ShownCost| {
            json!({
                "to enforce": what, "messages": grouped(cost.messages), "calls": grouped(cost.calls),
                "seconds": format!("{:.1}", cost.seconds),
            })
        };
        let rows =
            [row("all of it", &self.shown.cost), row("not recalled then", &self.shown.extra_cost)];
        push(
            out,
            format_args!("\n{}", table(&rows, &["to enforce", "messages", "calls", "seconds"])),
        );
        push(
            out,
            format_args!(
                "  at {} calls a second, up to {} messages of one group and topic a call",
                self.pace.calls_per_second, self.pace.batch_size
            ),
        );
    }
}

/// Those with the most changes, where there are any.
fn list<'a>(out: &mut String, what: &str, tallies: impl Iterator<Item = (&'a str, Tally)>) {
    let rows: Vec<_> = tallies
        .map(
            |(id, tally)| json!({what: id, "new": grouped(tally.new), "lost": grouped(tally.lost)}),
        )
        .collect();
    if !rows.is_empty() {
        push(out, format_args!("\n{}", table(&rows, &[what, "new", "lost"])));
    }
}

fn push(out: &mut String, line: impl std::fmt::Display) {
    writeln!(out, "{line}").expect("a string takes what is written");
}

fn percent(part: u64, of: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is shown with two digits")]
    let share = part as f64 * 100.0 / of.max(1) as f64;
    if part == 0 { String::new() } else { format!(" ({share:.2} %)") }
}
