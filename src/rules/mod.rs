//! The rules file, compiled, and the engine that judges by it.
//!
//! [`load()`] reads a rules file with its lists and reports every mistake in it; what it gives is
//! judged by and never fails: a verdict is a function of message, signals and rule set alone, the
//! same in the daemon, in `scan`, in `explain`, in `check` and in `backtest`.

mod allowances;
mod check;
mod compile;
mod condition;
mod contradictions;
mod decode;
mod diagnostic;
mod engine;
mod examples;
mod explain;
mod file;
mod findings;
mod kinds;
mod lexicon;
mod load;
mod needles;
mod phrase;
mod schema;
mod scope;
mod simhash;
mod sound;
mod windows;
mod yaml;

pub use check::{Checked, Finding, Level, check};
pub use diagnostic::{Diagnostic, LoadError};
pub use engine::{CompiledRules, RuleSummary};
pub use examples::FailedExample;
pub use explain::{ExplainedHit, Explanation, RuleExplanation};
pub use load::{Loaded, load, load_confined, load_str};
pub use schema::schema;
pub use simhash::Likeness;
pub use windows::{Measures, Windows};
