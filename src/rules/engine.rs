//! Judging: a pure function of message, signals and rule set. Never fails, never panics, reads no
//! clock and does no I/O; many threads share one [`CompiledRules`].

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::allowances::{self, Allowed};
use super::compile::{Compiled, CompiledRule, Stance};
use super::condition::{Subject, Truth};
use super::findings::{Findings, Span, Via};
use super::kinds::link;
use super::scope::any_fits;
use super::windows::Measures;
use crate::model::{
    Action, Allowance, Hit, Judgement, Message, MessageKey, Mode, RuleId, RulesVersion, Severity,
    Signals, Text, Verdict,
};
use crate::text::Reading;

/// The most places reported for one rule in one message.
const MAX_HITS: usize = 16;

/// A rule set that runs. Made by [`load`](super::load()) only.
pub struct CompiledRules {
    pub(super) version: RulesVersion,
    /// The version of the file alone, without what operators let through.
    pub(super) of_file: RulesVersion,
    pub(super) file: String,
    pub(super) source: String,
    /// Paths of the lists that the file reads, as they are written there.
    pub(super) lists: Arc<[String]>,
    pub(super) compiled: Arc<Compiled>,
    pub(super) allowed: Arc<Allowed>,
}

impl std::fmt::Debug for CompiledRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledRules").field("version", &self.version).finish_non_exhaustive()
    }
}

/// A rule as shown to people.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSummary {
    pub id: RuleId,
    pub why: String,
    pub mode: Mode,
    pub severity: Severity,
    pub actions: Vec<Action>,
    /// The names of what its stateful matchers count.
    pub counts: Vec<Arc<str>>,
    /// The share of messages for which a hit makes a job.
    pub rollout: f64,
}

impl CompiledRules {
    /// The same rules with these allowances in place of those that they have.
    #[must_use]
    pub fn with_allowances(&self, allowances: &[Allowance]) -> Self {
        Self {
            version: allowances::version(&self.of_file, allowances),
            of_file: self.of_file.clone(),
            file: self.file.clone(),
            source: self.source.clone(),
            lists: Arc::clone(&self.lists),
            compiled: Arc::clone(&self.compiled),
            allowed: Arc::new(Allowed::of(allowances)),
        }
    }

    /// The version of the rule set: a digest of the rules file, every list it reads, and what operators
    /// let through beside it.
    #[must_use]
    pub fn version(&self) -> &RulesVersion {
        &self.version
    }

    /// The rules file as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Every rule in the order of the file, those that are off included.
    #[must_use]
    pub fn summaries(&self) -> Vec<RuleSummary> {
        let summary = |rule: &CompiledRule| RuleSummary {
            id: rule.id.clone(),
            why: rule.why.clone(),
            mode: rule.stance.mode,
            severity: rule.stance.severity,
            actions: rule.stance.actions.clone(),
            counts: Measures::of_condition(&rule.when).names().cloned().collect(),
            rollout: rule.rollout,
        };
        self.compiled.rules.iter().map(summary).collect()
    }

    /// What its stateful matchers count.
    #[must_use]
    pub fn measures(&self) -> &Measures {
        &self.compiled.measures
    }

    /// Rules that look at platform or mentions, which Chat tells in callbacks and not in its history.
    #[must_use]
    pub fn asking_the_callback(&self) -> Vec<RuleId> {
        let rules = self.compiled.rules.iter();
        let asking = rules.filter(|r| r.stance.mode != Mode::Off && r.when.asks_the_callback());
        asking.map(|rule| rule.id.clone()).collect()
    }

    /// Judges a message by every rule whose scope holds it.
    #[must_use]
    pub fn judge(&self, message: &Message, signals: &Signals) -> Judgement {
        self.judge_subject(Subject { text: &message.text, message: Some((message, signals)) })
    }

    /// Judges a text on its own: scope, exemptions and what needs a message or its history do not
    /// apply.
    #[must_use]
    pub fn judge_text(&self, text: &Text) -> Judgement {
        self.judge_subject(Subject { text, message: None })
    }

    /// Whether a hit of a rule on a message makes a job: for a rule that is rolled out to a share of
    /// messages, the same answer whenever it is asked. It never changes the verdict. A rule that is
    /// not known makes none.
    #[must_use]
    pub fn is_rolled_out(&self, rule: &RuleId, key: &MessageKey) -> bool {
        let Some(rule) = self.compiled.rules.iter().find(|r| r.id == *rule) else { return false };
        if rule.rollout >= 1.0 {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        (rule.id.as_str(), key).hash(&mut hasher);
        // The upper 32 bits as a number from 0 to 1.
        f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
            < rule.rollout
    }

    fn judge_subject(&self, subject: Subject<'_>) -> Judgement {
        let findings = self.findings(subject.text);
        let mut hits = Vec::new();
        for id in self.compiled.triggers.rules(findings.leaves()) {
            let rule = &self.compiled.rules[id as usize];
            let stance = rule.stance_for(subject);
            if stance.mode != Mode::Off && rule.applies_to(subject) && !self.exempts(subject, rule)
            {
                hits.extend(rule.hits(stance, subject, &findings));
            }
        }
        let live = hits.iter().filter(|hit| hit.mode == Mode::Live);
        let verdict = live
            .map(|hit| match hit.action {
                Action::Recall => Verdict::Recall,
                Action::Flag => Verdict::Flag,
            })
            .max()
            .unwrap_or_default();
        Judgement { verdict, hits, rules_version: self.version.clone() }
    }

    /// Whether an operator said that a rule leaves the sender alone.
    fn exempts(&self, subject: Subject<'_>, rule: &CompiledRule) -> bool {
        let Some((message, _)) = subject.message else { return false };
        self.allowed.exempts(message.sender.as_str(), &rule.id)
    }

    /// What one rule has to say about a text on its own, also where the rule is off.
    pub(super) fn hits_by(&self, rule: &CompiledRule, text: &Text) -> Vec<Hit> {
        rule.hits(&rule.stance, Subject { text, message: None }, &self.findings(text))
    }

    pub(super) fn findings(&self, text: &Text) -> Findings {
        let mut findings = Findings::default();
        if text.is_empty() {
            return findings;
        }
        if let Some(indexes) = &self.compiled.indexes {
            let reading = Reading::new(text);
            indexes.keywords.find(&reading, &mut findings);
            indexes.patterns.find(&reading, &mut findings);
            link::find(&indexes.links, &reading, &mut findings);
            self.allowed.find(&reading, &mut findings);
        }
        findings
    }
}

impl CompiledRule {
    /// Mode, severity and actions in the message's group.
    fn stance_for(&self, subject: Subject<'_>) -> &Stance {
        let Some((message, _)) = subject.message else { return &self.stance };
        let group = message.key.group_id.as_str();
        let mut overrides = self.overrides.iter().rev();
        overrides
            .find(|(groups, _)| any_fits(groups, group))
            .map_or(&self.stance, |(_, stance)| stance)
    }

    fn applies_to(&self, subject: Subject<'_>) -> bool {
        let Some((message, _)) = subject.message else { return true };
        self.scope.as_ref().is_none_or(|scope| scope.holds(message))
            && !self.exempt.as_ref().is_some_and(|exempt| exempt.holds(message))
    }

    pub(super) fn hits(
        &self,
        stance: &Stance,
        subject: Subject<'_>,
        findings: &Findings,
    ) -> Vec<Hit> {
        let unless = self.unless.iter().flat_map(|leaf| findings.of(*leaf));
        let spared: Vec<_> = unless.chain(findings.spared(self.fold, &self.id)).collect();
        let Truth::Yes(found) = self.when.holds(subject, findings, &spared) else {
            return Vec::new();
        };
        let text = subject.text.as_str();
        let recalls = stance.actions.contains(&Action::Recall);
        let hit = |span: Span| Hit {
            rule: self.id.clone(),
            mode: stance.mode,
            severity: self.severity_of(span, findings).unwrap_or(stance.severity),
            action: if recalls { Action::Recall } else { Action::Flag },
            start: text[..span.start].chars().count(),
            end: text[..span.end].chars().count(),
            text: text[span.start..span.end].to_owned(),
        };
        let merged = without_overlaps(found);
        if merged.is_empty() {
            return vec![hit(Span { start: 0, end: 0, via: Via::Written })];
        }
        merged.into_iter().take(MAX_HITS).map(hit).collect()
    }
}

impl CompiledRule {
    /// The severity that the list gives to what was found at a place.
    fn severity_of(&self, span: Span, findings: &Findings) -> Option<Severity> {
        let within = |found: Span| span.start <= found.start && found.end <= span.end;
        let graded = self.graded.iter().filter(|(leaf, _)| findings.of(*leaf).any(within));
        graded.map(|(_, severity)| *severity).max()
    }
}

/// Leftmost first, the longer of two that overlap.
fn without_overlaps(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    let mut kept: Vec<Span> = Vec::new();
    for span in spans {
        if kept.last().is_none_or(|last| last.end <= span.start) {
            kept.push(span);
        }
    }
    kept
}
