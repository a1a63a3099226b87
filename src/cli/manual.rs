//! `quell completions` and `quell man`, made from the very definitions that read the arguments.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap_complete::Shell;

use super::output;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell completions bash > /etc/bash_completion.d/quell
  quell completions zsh > ~/.zfunc/_quell
  quell completions fish > ~/.config/fish/completions/quell.fish")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Print the manual page, or write one for each command
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quell man | man -l -
  quell man --folder /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Write quell.1, quell-serve.1, ... into this folder
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub fn completions(args: &CompletionsArgs, mut command: clap::Command) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "quell", &mut script);
    output::text(&String::from_utf8(script)?);
    Ok(ExitCode::SUCCESS)
}

pub fn man(args: &ManArgs, command: clap::Command) -> Result<ExitCode> {
    if let Some(folder) = &args.folder {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let mut command = command;
        command.build();
        let pages = write_pages(folder, &command, "quell")?;
        output::note(format_args!("{pages} pages in {}", folder.display()));
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        output::text(&String::from_utf8(page)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command and of each below it. Answers how many.
fn write_pages(folder: &Path, command: &clap::Command, name: &str) -> Result<usize> {
    let mut page = Vec::new();
    // Known to live as long as the program: a command's name is static text to clap.
    let title: &'static str = name.to_owned().leak();
    clap_mangen::Man::new(command.clone().name(title)).render(&mut page)?;
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page).with_context(|| path.display().to_string())?;
    let mut pages = 1;
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        pages += write_pages(folder, below, &format!("{name}-{}", below.get_name()))?;
    }
    Ok(pages)
}
