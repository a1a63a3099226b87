//! `quell backtest`: a candidate rules file over stored messages.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::listing::{table, visible};
use super::output::LiveLine;
use super::settings::Settings;
use super::since::{Since, iso};
use super::{on_runtime, output, rules};
use crate::app;
use crate::backtest::{self, Cost, Report, RuleTally, Sample, Tally};
use crate::config::Config;
use crate::model::{Clock, Mode, RuleId, SystemClock, Verdict};
use crate::rules::CompiledRules;
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
        let shown = Shown { args, config, rules: &candidate, report: &report };
        match args.format {
            Format::Table => output::text(&shown.text()),
            Format::Json => output::line(serde_json::to_string_pretty(&shown.json())?),
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

/// A report on its way to people or programs.
struct Shown<'a> {
    args: &'a Args,
    config: &'a Config,
    rules: &'a CompiledRules,
    report: &'a Report,
}

impl Shown<'_> {
    /// What the figures leave out, in words.
    fn notes(&self) -> Vec<String> {
        let report = self.report;
        let mut notes = Vec::new();
        if report.without_text > 0 {
            notes.push(format!(
                "{} messages were left out: their text is no longer kept",
                grouped(report.without_text)
            ));
        }
        let asking = self.rules.asking_the_callback();
        if report.from_history > 0 && !asking.is_empty() {
            let names: Vec<_> = asking.iter().map(RuleId::as_str).collect();
            notes.push(format!(
                "{} messages came from history, which tells neither platform nor mentions: {} may \
                 miss some of them",
                grouped(report.from_history),
                names.join(", ")
            ));
        }
        if report.conflicts > 0 {
            notes.push(format!(
                "{} contents that came for a known sequence (v_conflicts) are not compared",
                grouped(report.conflicts)
            ));
        }
        if report.is_rough() {
            notes.push("very many groups or senders changed: those with few changes are not counted in full".into());
        }
        notes
    }

    fn seconds(&self, cost: Cost) -> f64 {
        let calls = u32::try_from(cost.calls).unwrap_or(u32::MAX);
        f64::from(calls) / f64::from(self.config.recall.calls_per_second)
    }

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
        for note in self.notes() {
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
        let batch = self.config.recall.batch_size;
        let (all, extra) = (self.report.cost(batch), self.report.extra_cost(batch));
        let row = |what: &str, cost: Cost| {
            json!({
                "to enforce": what, "messages": grouped(cost.messages), "calls": grouped(cost.calls),
                "seconds": format!("{:.1}", self.seconds(cost)),
            })
        };
        let rows = [row("all of it", all), row("not recalled then", extra)];
        push(
            out,
            format_args!("\n{}", table(&rows, &["to enforce", "messages", "calls", "seconds"])),
        );
        push(
            out,
            format_args!(
                "  at {} calls a second, up to {batch} messages of one group and topic a call",
                self.config.recall.calls_per_second
            ),
        );
    }

    fn json(&self) -> Value {
        let report = self.report;
        let verdicts: Vec<_> = Verdict::ALL
            .iter()
            .flat_map(|then| Verdict::ALL.iter().map(move |now| (then, now)))
            .map(|(then, now)| {
                let messages = report.verdicts[*then as usize][*now as usize];
                json!({ "then": then, "now": now, "messages": messages })
            })
            .collect();
        let rules: Vec<_> = report
            .rules
            .iter()
            .map(|tally| {
                json!({
                    "rule": tally.rule, "mode": tally.mode, "new": tally.hits.new,
                    "lost": tally.hits.lost, "same": tally.same, "other_mode": tally.other_mode,
                    "new_samples": tally.new_samples.iter().map(sample).collect::<Vec<_>>(),
                    "lost_samples": tally.lost_samples.iter().map(sample).collect::<Vec<_>>(),
                })
            })
            .collect();
        let most = usize::from(self.args.limit);
        let groups = report.groups(most).into_iter();
        let groups = groups.map(|(id, t)| json!({"group_id": id, "new": t.new, "lost": t.lost}));
        let senders = report.senders(most).into_iter();
        let senders = senders.map(|(id, t)| json!({"sender": id, "new": t.new, "lost": t.lost}));
        let batch = self.config.recall.batch_size;
        let cost = |cost: Cost| {
            json!({
                "messages": cost.messages, "calls": cost.calls, "seconds": self.seconds(cost),
            })
        };
        json!({
            "rules_version": report.rules_version,
            "messages": report.messages,
            "first_received_at": report.first_received_at,
            "last_received_at": report.last_received_at,
            "changed": report.changed,
            "without_text": report.without_text,
            "from_history": report.from_history,
            "conflicts": report.conflicts,
            "new": report.rules.iter().map(|tally| tally.hits.new).sum::<u64>(),
            "lost": report.rules.iter().map(|tally| tally.hits.lost).sum::<u64>(),
            "verdicts": verdicts,
            "rules": rules,
            "groups": groups.collect::<Vec<_>>(),
            "senders": senders.collect::<Vec<_>>(),
            "cost": cost(report.cost(batch)),
            "extra_cost": cost(report.extra_cost(batch)),
            "notes": self.notes(),
        })
    }
}

fn sample(sample: &Sample) -> Value {
    json!({
        "group_id": sample.key.group_id, "topic_id": sample.key.topic_id,
        "msg_seq": sample.key.msg_seq, "sender": sample.sender, "received_at": sample.received_at,
        "then": sample.then, "now": sample.now, "text": sample.text,
    })
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

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}
