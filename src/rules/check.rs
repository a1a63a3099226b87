//! What there is to say of a rules file: its mistakes, what is doubtful about it, and the examples that
//! come out wrong.

use serde::Serialize;
use utoipa::ToSchema;

use super::diagnostic::{Diagnostic, LoadError};
use super::engine::CompiledRules;
use super::load::Loaded;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = FindingLevel)]
pub enum Level {
    /// The file cannot be used.
    Error,
    /// It can be used, and probably does not do what was meant.
    Warning,
    /// An example of a rule comes out wrong.
    Example,
}

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// In the order of the file, mistakes or else warnings, then examples.
    pub findings: Vec<(Level, Diagnostic)>,
    /// Nothing where there are mistakes.
    pub rules: Option<CompiledRules>,
}

/// Something that a check has to say, as programs read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// The rules file, or one of its lists.
    pub file: String,
    /// From 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub level: Level,
    /// What is wrong.
    pub message: String,
    /// What would be valid; empty where nothing better can be said.
    pub help: String,
    /// The line as it is written; of a very long one the beginning.
    pub excerpt: String,
}

impl From<(Level, Diagnostic)> for Finding {
    fn from((level, diagnostic): (Level, Diagnostic)) -> Self {
        let Diagnostic { file, line, column, message, help, excerpt, .. } = diagnostic;
        Self { file, line, column, level, message, help, excerpt }
    }
}

/// Everything that there is to say of a rules file, its examples run.
#[must_use]
pub fn check(loaded: Result<Loaded, LoadError>) -> Checked {
    match loaded {
        Err(error) => {
            let findings = error.mistakes.into_iter().map(|mistake| (Level::Error, mistake));
            Checked { findings: findings.collect(), rules: None }
        }
        Ok(Loaded { rules, warnings }) => {
            let warnings = warnings.into_iter().map(|warning| (Level::Warning, warning));
            let failed = rules.check_examples().into_iter();
            let failed = failed.map(|failed| (Level::Example, failed.diagnostic));
            Checked { findings: warnings.chain(failed).collect(), rules: Some(rules) }
        }
    }
}
