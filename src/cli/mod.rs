//! The command line: one file a subcommand. Data goes to stdout, logs to stderr.
//!
//! Exit codes: 0 fine, 1 findings (a failed check, a bad input line, a lost message), 2 usage,
//! 78 bad configuration or rules file.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::app::{BadCertificate, BadRules};

mod allow;
pub mod audit;
pub mod backfill;
pub mod backtest;
pub mod backup;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod erase;
pub mod export;
pub mod guard;
pub mod healthcheck;
pub mod jobs;
pub mod listing;
mod logging;
pub mod manual;
pub mod migrate;
mod openapi;
pub mod output;
pub mod pause;
pub mod recall;
pub mod review;
pub mod rules;
pub mod scan;
pub mod serve;
mod service;
pub mod settings;
pub mod sim;
pub mod since;
pub mod verify;

/// Something was found that the caller should act on.
pub const FINDINGS: u8 = 1;
/// The command was not written as it can be understood: clap's own code for that.
pub const USAGE: u8 = 2;
/// `EX_CONFIG` of sysexits.h: the configuration or the rules file is bad.
pub const BAD_CONFIG: u8 = 78;

/// A command that cannot be done as it was written, for a reason that only shows once all of its
/// arguments are seen together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Keeps group chat on Tencent Cloud Chat clean: records every group message, judges it by your
/// rules, recalls what they match, and answers for it afterwards.
#[derive(Debug, Parser)]
#[command(
    name = "quell",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "\
What changes something goes through the running daemon, or to the database where none runs.
Data is printed on stdout, everything else on stderr.
Exit codes: 0 fine, 1 something was found or failed, 2 usage, 78 bad configuration or rules file.

Begin with:
  quell demo
  quell rules check rules.example.yaml"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Demo(demo::Args),
    Config(config::Args),
    Rules(rules::Args),
    Scan(scan::Args),
    Backtest(backtest::Args),
    Recall(recall::Args),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Allow(allow::Args),
    Audit(audit::Args),
    Review(review::Args),
    Jobs(jobs::Args),
    Guard(guard::Args),
    Backfill(backfill::Args),
    Erase(erase::EraseArgs),
    Prune(erase::PruneArgs),
    Backup(backup::Args),
    Export(export::Args),
    Migrate(migrate::Args),
    Healthcheck(healthcheck::Args),
    Sim(sim::Args),
    Openapi(openapi::Args),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

/// Reads the arguments of the process, does what they say, and answers with the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done: anyhow::Result<ExitCode> = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Scan(args) => scan::run(&args),
        Command::Backtest(args) => backtest::run(&args),
        Command::Recall(args) => recall::run(&args),
        Command::Pause(args) => pause::pause(&args),
        Command::Resume(args) => pause::resume(&args),
        Command::Allow(args) => allow::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Review(args) => review::run(&args),
        Command::Jobs(args) => jobs::run(&args),
        Command::Guard(args) => guard::run(&args),
        Command::Backfill(args) => backfill::run(&args),
        Command::Erase(args) => erase::erase(&args),
        Command::Prune(args) => erase::prune(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Openapi(args) => openapi::run(&args),
        Command::Completions(args) => manual::completions(&args, Cli::command()),
        Command::Man(args) => manual::man(&args, Cli::command()),
    };
    match done {
        Ok(code) => code,
        Err(error) if error.is::<BadRules>() || error.is::<BadCertificate>() => {
            output::note(error);
            ExitCode::from(BAD_CONFIG)
        }
        Err(error) => output::failed(&error, if error.is::<Usage>() { USAGE } else { FINDINGS }),
    }
}

/// Runs a command's asynchronous part to its end.
fn on_runtime(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory, Parser};

    use super::Cli;

    /// Calls `look` with each command below this one, and this one.
    fn each(command: &Command, path: &str, look: &mut impl FnMut(&str, &Command)) {
        look(path, command);
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            each(below, &format!("{path} {}", below.get_name()), look);
        }
    }

    #[test]
    fn every_command_and_argument_is_explained() {
        let mut command = Cli::command();
        command.build();
        let mut silent = Vec::new();
        each(&command, "quell", &mut |path, command| {
            if command.get_about().is_none_or(|about| about.to_string().ends_with('.')) {
                silent.push(path.to_owned());
            }
            for arg in command.get_arguments() {
                if arg.get_help().is_none_or(|help| help.to_string().is_empty()) {
                    silent.push(format!("{path} {arg}"));
                }
            }
        });
        assert!(silent.is_empty(), "{silent:?}");
    }

    /// A line as a shell would split it, up to a pipe, a redirection, or the two spaces before a remark.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let (mut quoted, mut before) = (false, ' ');
        for c in line.trim().chars() {
            match c {
                '\'' => quoted = !quoted,
                '|' | '>' if !quoted => break,
                ' ' if !quoted && before == ' ' => break,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().expect("there is a word").push(c),
            }
            before = c;
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn examples_are_understood() {
        let mut command = Cli::command();
        command.build();
        let mut examples = Vec::new();
        each(&command, "quell", &mut |_, command| {
            let after = command.get_after_long_help().or(command.get_after_help());
            let text = after.map(ToString::to_string).unwrap_or_default();
            examples.extend(text.lines().filter(|l| l.starts_with("  quell ")).map(words));
        });
        assert!(examples.len() > 50, "{examples:?}");
        for example in examples {
            if let Err(error) = Cli::try_parse_from(&example) {
                panic!("{example:?}: {error}");
            }
        }
    }
}
