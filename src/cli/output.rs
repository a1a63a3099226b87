//! Writing to stdout and stderr. A closed pipe is no error.

use std::io::{self, Write};
use std::process::ExitCode;

/// Writes a line of data to stdout.
pub fn line(text: impl std::fmt::Display) {
    quiet_on_broken_pipe(writeln!(io::stdout().lock(), "{text}"));
}

/// Writes a line for the person at the terminal to stderr.
pub fn note(text: impl std::fmt::Display) {
    quiet_on_broken_pipe(writeln!(io::stderr().lock(), "{text}"));
}

/// Reports what went wrong, causes included.
pub fn failed(error: &anyhow::Error) -> ExitCode {
    note(format_args!("error: {error:#}"));
    ExitCode::from(super::FINDINGS)
}

fn quiet_on_broken_pipe(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}
