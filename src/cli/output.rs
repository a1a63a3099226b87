//! Writing to stdout and stderr. A closed pipe is no error: whoever read has seen enough. Data that cannot be
//! written for another reason, such as a full disk behind stdout, ends the command.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Writes a line of data to stdout.
pub fn line(text: impl std::fmt::Display) {
    let mut stdout = io::stdout().lock();
    arrived(writeln!(stdout, "{text}").and_then(|()| stdout.flush()));
}

/// Writes data to stdout as it is.
pub fn text(text: &str) {
    let mut stdout = io::stdout().lock();
    arrived(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Writes a line for the person at the terminal to stderr.
pub fn note(text: impl std::fmt::Display) {
    quiet_on_broken_pipe(writeln!(io::stderr().lock(), "{text}"));
}

/// Reports what went wrong, causes included.
pub fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    note(format_args!("error: {error:#}"));
    ExitCode::from(code)
}

/// Asks at a terminal whether something shall be done. `None` where there is none: nobody agreed.
pub fn confirmed(question: impl std::fmt::Display) -> io::Result<Option<bool>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let mut stderr = io::stderr();
    write!(stderr, "{question} Type yes: ")?;
    stderr.flush()?;
    let mut said = String::new();
    io::stdin().read_line(&mut said)?;
    Ok(Some(said.trim() == "yes"))
}

/// Data was written, or there is no use in going on.
fn arrived(written: io::Result<()>) {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            note(format_args!("error: stdout cannot be written: {error}"));
            std::process::exit(super::FINDINGS.into());
        }
        written => quiet_on_broken_pipe(written),
    }
}

fn quiet_on_broken_pipe(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}

/// A line on stderr that is written over while a terminal shows it, and otherwise written at times.
pub struct LiveLine {
    terminal: bool,
    wanted: bool,
    shown: usize,
}

impl LiveLine {
    /// Shows nothing at all unless wanted.
    #[must_use]
    pub fn new(wanted: bool) -> Self {
        Self { terminal: io::stderr().is_terminal(), wanted, shown: 0 }
    }

    /// Shows nothing where there is no terminal.
    #[must_use]
    pub fn on_terminal() -> Self {
        Self::new(io::stderr().is_terminal())
    }

    /// Shows a text in place of the one before. Without a terminal every tenth is written.
    pub fn show(&mut self, text: impl std::fmt::Display) {
        self.shown += 1;
        if !self.wanted {
            return;
        }
        if self.terminal {
            quiet_on_broken_pipe(write!(io::stderr().lock(), "\r\x1b[2K{text}"));
        } else if self.shown % 10 == 1 {
            note(text);
        }
    }

    /// Takes the last text away, where what came of it is told otherwise.
    pub fn clear(&mut self) {
        if self.wanted && self.terminal && self.shown > 0 {
            quiet_on_broken_pipe(write!(io::stderr().lock(), "\r\x1b[2K"));
        }
    }

    /// Leaves the last text standing.
    pub fn end(&mut self) {
        if self.wanted && self.terminal && self.shown > 0 {
            note("");
        }
    }
}
