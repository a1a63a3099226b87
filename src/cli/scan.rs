//! `quell scan`: judges JSON Lines offline, one line out for each line in, in the same order.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{FINDINGS, rules};
use crate::chat::wire;
use crate::model::{Judgement, Text, Timestamp};
use crate::rules::{CompiledRules, Windows};

/// Judge JSON Lines by a rules file: no store, no network
///
/// Each line of input is `{"id":any,"text":"..."}` or
/// `{"id":any,"callback":{...},"platform":"Android","received_at":ms}`, the last two optional. Each is
/// answered by a line in the same order:
/// `{"id":any,"verdict":"recall","rules":[...],"hits":[{"rule","mode","start","end","text"},...]}`, offsets in
/// characters. A line that cannot be read is answered by `{"id":..,"error":".."}`, and the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell scan --rules rules.yaml --input messages.jsonl
  quell export messages | jq -c '{id: .message_id, text}' | quell scan --rules new.yaml")]
pub struct Args {
    /// The rules file
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// The lines to judge [default: standard input]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

/// Judges every line. A line that cannot be read is answered with its error and makes the exit
/// code 1.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let rules = match rules::load(&args.rules) {
        Ok(rules) => rules,
        Err(code) => return Ok(code),
    };
    let input: Box<dyn BufRead> = match &args.input {
        None => Box::new(io::stdin().lock()),
        Some(path) => {
            let file =
                File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            Box::new(BufReader::new(file))
        }
    };
    let output = BufWriter::new(io::stdout().lock());
    match scan(&rules, input, output) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::from(FINDINGS)),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}

/// Whether every line could be judged.
fn scan(
    rules: &CompiledRules,
    mut input: impl BufRead,
    mut output: impl Write,
) -> io::Result<bool> {
    let mut all_read = true;
    let windows = Windows::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let answer = answer(rules, &windows, line.trim_ascii());
        all_read &= answer.error.is_none();
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
    }
    output.flush()?;
    Ok(all_read)
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    id: Value,
    text: Option<String>,
    /// Kept as it was written, so that it is read as the daemon would read it.
    callback: Option<Box<RawValue>>,
    #[serde(default)]
    platform: String,
    received_at: Option<i64>,
}

#[derive(Default, Serialize)]
struct Answer {
    id: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hits: Option<Vec<Found>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Found {
    rule: String,
    mode: &'static str,
    start: usize,
    end: usize,
    text: String,
}

fn answer(rules: &CompiledRules, windows: &Windows, line: &[u8]) -> Answer {
    let read: Line = match serde_json::from_slice(line) {
        Ok(read) => read,
        Err(error) => {
            let id = serde_json::from_slice::<Value>(line).map(|value| value["id"].clone());
            let error = match line {
                [] => "an empty line; each is a JSON object".to_owned(),
                [b'{', ..] => error.to_string(),
                _ => "not a JSON object with `text` or `callback`".to_owned(),
            };
            let error = Some(error);
            return Answer { id: id.unwrap_or_default(), error, ..Answer::default() };
        }
    };
    let judged = match (read.text, read.callback) {
        (Some(text), None) => Ok(rules.judge_text(&Text::bare(&text))),
        (None, Some(callback)) => {
            judge_callback(rules, windows, &callback, &read.platform, read.received_at)
        }
        _ => Err("a line needs either `text` or `callback`".to_owned()),
    };
    match judged {
        Ok(judgement) => shown(read.id, judgement),
        Err(error) => Answer { id: read.id, error: Some(error), ..Answer::default() },
    }
}

/// Judges a callback's body as the daemon would, the callbacks of the lines before it remembered.
/// Without a receive time the message's own time stands for it.
fn judge_callback(
    rules: &CompiledRules,
    windows: &Windows,
    callback: &RawValue,
    platform: &str,
    received_at: Option<i64>,
) -> Result<Judgement, String> {
    let given = received_at.map(Timestamp);
    let body = callback.get().as_bytes();
    let mut message = wire::parse_message(body, platform, given.unwrap_or_default())
        .map_err(|error| format!("the callback cannot be read: {error}"))?;
    message.received_at = given.unwrap_or(message.sent_at);
    let signals = windows.observe(rules, &message);
    Ok(rules.judge(&message, &signals))
}

/// The rules are listed once each, in the order of the rules file.
fn shown(id: Value, judgement: Judgement) -> Answer {
    let mut names: Vec<String> = Vec::new();
    for hit in &judgement.hits {
        if names.last().is_none_or(|last| last != hit.rule.as_str()) {
            names.push(hit.rule.to_string());
        }
    }
    let hits = judgement.hits.into_iter().map(|hit| Found {
        rule: hit.rule.to_string(),
        mode: hit.mode.as_str(),
        start: hit.start,
        end: hit.end,
        text: hit.text,
    });
    Answer {
        id,
        verdict: Some(judgement.verdict.as_str()),
        rules: Some(names),
        hits: Some(hits.collect()),
        error: None,
    }
}
