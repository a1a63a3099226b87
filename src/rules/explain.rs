//! Why a text is hit, or is not.

use super::engine::CompiledRules;
use crate::model::{Hit, Mode, RuleId, Text, Verdict};

/// What every rule has to say about a text.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub verdict: Verdict,
    pub rules: Vec<RuleExplanation>,
}

/// What one rule has to say about it.
#[derive(Clone, Debug)]
pub struct RuleExplanation {
    pub rule: RuleId,
    pub mode: Mode,
    pub hits: Vec<Hit>,
}

impl CompiledRules {
    /// Judges a text on its own and says for each rule what it found.
    #[must_use]
    pub fn explain(&self, text: &Text) -> Explanation {
        let rules = self.compiled.rules.iter().map(|rule| RuleExplanation {
            rule: rule.id.clone(),
            mode: rule.stance.mode,
            hits: self.hits_by(rule, text),
        });
        Explanation { verdict: self.judge_text(text).verdict, rules: rules.collect() }
    }
}
