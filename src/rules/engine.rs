//! Judging: a pure function of message, signals and rule set. Never fails, never panics, reads no
//! clock and does no I/O; many threads share one [`CompiledRules`].

use super::compile::{Compiled, CompiledRule, Condition, LeafId, Span};
use super::kinds::pattern;
use crate::model::{
    Action, Hit, Judgement, Message, Mode, RuleId, RulesVersion, Severity, Signals, Text, Verdict,
};
use crate::text::{Folded, Symbols};

/// The most places reported for one rule in one message.
const MAX_HITS: usize = 16;

/// A rule set that runs. Made by [`load`](super::load()) only.
pub struct CompiledRules {
    pub(super) version: RulesVersion,
    pub(super) file: String,
    pub(super) source: String,
    pub(super) compiled: Compiled,
}

impl std::fmt::Debug for CompiledRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledRules").field("version", &self.version).finish_non_exhaustive()
    }
}

/// A rule as shown to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSummary {
    pub id: RuleId,
    pub why: String,
    pub mode: Mode,
    pub severity: Severity,
    pub actions: Vec<Action>,
}

/// What is judged: a message with what its senders did before, or a text on its own.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) text: &'a Text,
    pub(super) message: Option<(&'a Message, &'a Signals)>,
}

impl CompiledRules {
    /// The version of the rule set: a digest of the rules file and every list it reads.
    #[must_use]
    pub fn version(&self) -> &RulesVersion {
        &self.version
    }

    /// Every rule in the order of the file, those that are off included.
    #[must_use]
    pub fn summaries(&self) -> Vec<RuleSummary> {
        let summary = |rule: &CompiledRule| RuleSummary {
            id: rule.id.clone(),
            why: rule.why.clone(),
            mode: rule.mode,
            severity: rule.severity,
            actions: rule.actions.clone(),
        };
        self.compiled.rules.iter().map(summary).collect()
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

    fn judge_subject(&self, subject: Subject<'_>) -> Judgement {
        let findings = self.findings(subject.text);
        let mut hits = Vec::new();
        for rule in &self.compiled.rules {
            if rule.mode != Mode::Off && applies(rule, subject) {
                hits.extend(hits_of(rule, subject, &findings));
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

    /// What one rule has to say about a text on its own, also where the rule is off.
    pub(super) fn hits_by(&self, rule: &CompiledRule, text: &Text) -> Vec<Hit> {
        hits_of(rule, Subject { text, message: None }, &self.findings(text))
    }

    fn findings(&self, text: &Text) -> Findings {
        let none = Folded::none(text.as_str());
        let standard = Folded::standard(text.as_str());
        let mut findings = Findings::default();
        if let Some(keywords) = &self.compiled.keywords {
            let symbols = Symbols::of(text.as_str());
            keywords.find(text.as_str(), &symbols, |leaf, span| findings.add(leaf, span));
        }
        pattern::find(&self.compiled.patterns, &none, &standard, |leaf, span| {
            findings.add(leaf, span);
        });
        findings
    }
}

fn applies(rule: &CompiledRule, subject: Subject<'_>) -> bool {
    let Some((message, _)) = subject.message else { return true };
    rule.scope.as_ref().is_none_or(|scope| scope.holds(message))
        && !rule.exempt.as_ref().is_some_and(|exempt| exempt.holds(message))
}

/// Where the text matchers matched.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<(LeafId, Span)>);

impl Findings {
    fn add(&mut self, leaf: LeafId, span: Span) {
        self.0.push((leaf, span));
    }
    pub(super) fn of(&self, leaf: LeafId) -> impl Iterator<Item = Span> {
        self.0.iter().filter(move |(of, _)| *of == leaf).map(|(_, span)| *span)
    }
}

/// The places that a condition matched; `None` where it does not hold. A condition that holds for
/// another reason than text has no places.
fn places(condition: &Condition, findings: &Findings, spared: &[Span]) -> Option<Vec<Span>> {
    match condition {
        Condition::Text(leaf) => {
            let covered =
                |span: &Span| spared.iter().any(|s| s.start <= span.start && span.end <= s.end);
            let found: Vec<_> = findings.of(*leaf).filter(|span| !covered(span)).collect();
            (!found.is_empty()).then_some(found)
        }
        Condition::Any(parts) => {
            let found: Vec<_> =
                parts.iter().filter_map(|part| places(part, findings, spared)).collect();
            (!found.is_empty()).then(|| found.concat())
        }
        Condition::All(parts) => {
            let found: Option<Vec<_>> =
                parts.iter().map(|part| places(part, findings, spared)).collect();
            found.map(|found| found.concat())
        }
        Condition::Not(part) => places(part, findings, &[]).is_none().then(Vec::new),
    }
}

fn hits_of(rule: &CompiledRule, subject: Subject<'_>, findings: &Findings) -> Vec<Hit> {
    let spared: Vec<_> = rule.unless.iter().flat_map(|leaf| findings.of(*leaf)).collect();
    let Some(found) = places(&rule.when, findings, &spared) else { return Vec::new() };
    let text = subject.text.as_str();
    let action = if rule.actions.contains(&Action::Recall) { Action::Recall } else { Action::Flag };
    let hit = |span: Span| Hit {
        rule: rule.id.clone(),
        mode: rule.mode,
        severity: rule.severity,
        action,
        start: text[..span.start].chars().count(),
        end: text[..span.end].chars().count(),
        text: text[span.start..span.end].to_owned(),
    };
    let merged = without_overlaps(found);
    if merged.is_empty() {
        return vec![hit(Span { start: 0, end: 0 })];
    }
    merged.into_iter().take(MAX_HITS).map(hit).collect()
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
