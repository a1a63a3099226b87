//! Running the examples that stand beside the rules.

use std::fmt;

use super::diagnostic::Diagnostic;
use super::engine::CompiledRules;
use super::load;
use crate::model::{Mode, RuleId, Text};

/// An example that its rule does not live up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedExample {
    pub rule: RuleId,
    pub text: String,
    /// True where the rule had to hit and did not, false where it had to pass and hit.
    pub should_hit: bool,
    /// Where the example stands.
    pub diagnostic: Diagnostic,
}

impl fmt::Display for FailedExample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

impl CompiledRules {
    /// Judges every example by its own rule, rules that are off included, and reports those that
    /// come out wrong.
    #[must_use]
    pub fn check_examples(&self) -> Vec<FailedExample> {
        let mut failed = Vec::new();
        let lines: Vec<&str> = self.source.lines().collect();
        for rule in &self.compiled.rules {
            for example in &rule.examples {
                if failed.len() >= load::MOST_TOLD {
                    return failed;
                }
                let hits = self.hits_by(rule, &Text::bare(&example.text));
                if hits.is_empty() == example.hit {
                    let off = if rule.stance.mode == Mode::Off { " (the rule is off)" } else { "" };
                    let message = match hits.first() {
                        None => format!("rule `{}` does not hit this example{off}", rule.id),
                        Some(hit) => format!(
                            "rule `{}` should pass this example, but hits `{}`{off}",
                            rule.id, hit.text
                        ),
                    };
                    failed.push(FailedExample {
                        rule: rule.id.clone(),
                        text: example.text.clone(),
                        should_hit: example.hit,
                        diagnostic: load::at(&self.file, &lines, example.at, message),
                    });
                }
            }
        }
        failed
    }
}
