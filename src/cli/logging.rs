//! Logs: to stderr, JSON unless a person reads along, never a message's text. What a panic says can
//! quote whatever was being worked on, so only words that stand in the source are repeated.

use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging. A filter that cannot be read falls back to `info`.
pub(super) fn start(log: &Log) {
    let terminal = io::stderr().is_terminal();
    let json = match log.format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    // A plain level is about quell; libraries speak up for warnings.
    let filter = if log.level.contains(['=', ',']) {
        log.level.clone()
    } else {
        format!("warn,quell={}", log.level)
    };
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new("warn,quell=info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Fails only where a test started logging before.
    let _ = if json {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none();
        builder.with_ansi(colours).with_target(false).try_init()
    };
    panic::set_hook(Box::new(tell_panic));
}

fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    // A text that was made up at run time has another type.
    let words = panic.payload().downcast_ref::<&'static str>();
    let thread = std::thread::current();
    tracing::error!(
        place,
        words,
        thread = thread.name(),
        backtrace = %std::backtrace::Backtrace::capture(),
        "quell panicked: a bug, please report it with this line"
    );
}
