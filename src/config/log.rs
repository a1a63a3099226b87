//! `[log]`: what goes to stderr.

use serde::{Deserialize, Serialize};

use super::{Mistake, require};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Json,
    Text,
}

/// The log. Message text, tokens and signatures are in it at no level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

impl Log {
    pub(super) fn check(&self, found: &mut Vec<Mistake>) {
        let plain = ["error", "warn", "info", "debug", "trace", "off"];
        require(
            plain.contains(&self.level.as_str()) || self.level.contains(['=', ',']),
            "log.level",
            "must be error, warn, info, debug, trace or off, or a filter such as info,quell::worker=debug",
            found,
        );
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}
