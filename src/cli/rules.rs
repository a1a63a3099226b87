//! `quell rules`: check a rules file, explain a text, print the schema.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use super::listing::{self, Columns, Format};
use super::{BAD_CONFIG, FINDINGS, output};
use crate::model::Text;
use crate::rules::{self, CompiledRules, Diagnostic, Explanation, Finding, Level, LoadError};

/// Check, explain and describe rules files
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell rules check rules.yaml                                 mistakes with line and column; runs the examples
  quell rules explain --rules rules.yaml --text '加微信领红包'   which rules hit, on which characters, and why
  quell rules schema > rules.schema.json                       for completion in an editor")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Report every mistake in rules files and run the examples of their rules
    ///
    /// Each mistake comes with its line and column, the line itself, and what would be valid. Exits with 78
    /// where a file cannot be used, and with 1 where an example is not judged as it says.
    Check {
        /// Rules files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// How to print what was found
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Say which rules hit a text, where, and after which folding steps
    ///
    /// For a rule that does not hit it says why, and names the phrase that came closest. A text has no sender
    /// and no history: scope, exemptions and matchers that count are left out of the judgement.
    Explain {
        /// The rules file
        #[arg(long, value_name = "FILE")]
        rules: PathBuf,
        /// The text to judge
        #[arg(long, value_name = "T")]
        text: String,
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Print the JSON Schema (draft-07) of the rules file
    Schema,
}

/// Does what the arguments say.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Check { files, format } => check(files, *format),
        Command::Explain { rules, text, format } => explain(rules, text, *format),
        Command::Schema => {
            output::line(serde_json::to_string_pretty(&rules::schema())?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Loads a rules file, warnings to stderr; a bad one is reported in full.
pub(super) fn load(path: &std::path::Path) -> Result<CompiledRules, ExitCode> {
    match rules::load(path) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                output::note(format_args!("warning: {warning}"));
            }
            Ok(loaded.rules)
        }
        Err(LoadError { mistakes }) => {
            for mistake in &mistakes {
                output::note(format_args!("error: {mistake}"));
            }
            Err(ExitCode::from(BAD_CONFIG))
        }
    }
}

/// Columns of a finding, as it is written out.
const FINDING: [&str; 7] = ["file", "line", "column", "level", "message", "help", "excerpt"];

fn check(files: &[PathBuf], format: Format) -> anyhow::Result<ExitCode> {
    let mut findings: Vec<(Level, Diagnostic)> = Vec::new();
    let (mut fine, mut unusable) = (Vec::new(), Vec::new());
    for file in files {
        let checked = rules::check(rules::load(file));
        let failed = checked.findings.iter().any(|(level, _)| *level == Level::Example);
        if checked.rules.is_none() {
            unusable.push(file);
        }
        fine.extend(checked.rules.filter(|_| !failed).map(|rules| (file, rules)));
        findings.extend(checked.findings);
    }
    let has = |level: Level| findings.iter().any(|(found, _)| *found == level);
    let (bad, failed) = (has(Level::Error), has(Level::Example));
    if let Format::Table = format {
        for (level, diagnostic) in &findings {
            let level = if *level == Level::Warning { "warning" } else { "error" };
            output::line(format_args!("{level}: {diagnostic}"));
        }
        for file in unusable {
            let path = file.display();
            output::line(format_args!(
                "{path}: because of these errors its examples were not run, and warnings are not shown"
            ));
        }
        for (file, rules) in &fine {
            let count = rules.summaries().len();
            let rules_of_it = if count == 1 { "rule" } else { "rules" };
            let (path, version) = (file.display(), rules.version());
            output::line(format_args!("{path}: {count} {rules_of_it}, fine ({version})"));
        }
    } else {
        let rows: Vec<_> = findings.into_iter().map(Finding::from).collect();
        print_rows(&rows, format, &FINDING)?;
    }
    Ok(match (bad, failed) {
        (true, _) => ExitCode::from(BAD_CONFIG),
        (false, true) => ExitCode::from(FINDINGS),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// A list as JSON or CSV.
fn print_rows(rows: &[impl Serialize], format: Format, columns: &[&str]) -> anyhow::Result<()> {
    if let Format::Json = format {
        output::line(serde_json::to_string_pretty(rows)?);
        return Ok(());
    }
    let rows = rows.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    listing::print(&rows, format, &Columns::of(columns))
}

fn explain(path: &std::path::Path, text: &str, format: Format) -> anyhow::Result<ExitCode> {
    let rules = match load(path) {
        Ok(rules) => rules,
        Err(code) => return Ok(code),
    };
    let explanation = rules.explain(&Text::bare(text));
    match format {
        Format::Table => print_table(&explanation),
        _ => print_rows(&rows(&explanation), format, &Row::COLUMNS)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Default, Serialize)]
struct Row<'a> {
    rule: &'a str,
    mode: &'a str,
    hit: bool,
    start: Option<usize>,
    end: Option<usize>,
    text: Option<&'a str>,
    /// The steps of folding that the match needed.
    steps: String,
    miss: Option<&'a str>,
}

impl Row<'_> {
    const COLUMNS: [&'static str; 8] =
        ["rule", "mode", "hit", "start", "end", "text", "steps", "miss"];
}

fn rows(explanation: &Explanation) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for rule in &explanation.rules {
        let blank = || Row { rule: rule.rule.as_str(), mode: rule.mode.as_str(), ..Row::default() };
        if rule.hits.is_empty() {
            rows.push(Row { miss: rule.miss.as_deref(), ..blank() });
        }
        rows.extend(rule.hits.iter().map(|explained| Row {
            hit: true,
            start: Some(explained.hit.start),
            end: Some(explained.hit.end),
            text: Some(&explained.hit.text),
            steps: explained.steps.join(", "),
            ..blank()
        }));
    }
    rows
}

fn print_table(explanation: &Explanation) {
    output::line(format_args!("verdict: {}", explanation.verdict));
    for rule in &explanation.rules {
        let name = format!("{} ({})", rule.rule, rule.mode);
        match &rule.miss {
            Some(miss) => output::line(format_args!("{name}: no hit; {miss}")),
            None if rule.hits.is_empty() => output::line(format_args!("{name}: no hit")),
            None => {}
        }
        for explained in &rule.hits {
            let hit = &explained.hit;
            let what = if hit.start == hit.end {
                "hits, by something else than text".to_owned()
            } else {
                format!("hits characters {} to {}: {}", hit.start, hit.end, hit.text.escape_debug())
            };
            output::line(format_args!("{name}: {what}"));
            if !explained.steps.is_empty() {
                output::line(format_args!("    after folding: {}", explained.steps.join(", ")));
            }
        }
    }
}
