//! From what is written to what runs.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::condition::Condition;
use super::decode::{At, Notes, OneOrMany};
use super::diagnostic::did_you_mean;
use super::file::{Fold, FormatVersion, Override, Rule, RulesFile, When, Wholeness, WrittenAction};
pub(crate) use super::findings::{Findings, LeafId, Span, Via};
use super::kinds::{keyword, link, pattern};
use super::scope::Scope;
use super::windows::Measures;
use super::yaml::Place;
use crate::model::{Action, Mode, RuleId, Severity};

/// A list, read.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    pub(crate) items: Vec<Item>,
    pub(crate) wholeness: Option<Wholeness>,
}

/// A line of a list: a phrase or a host, and how bad it is where the line says so.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) text: String,
    pub(crate) severity: Option<Severity>,
}

/// What is gathered while rules are compiled.
pub(crate) struct Compiler<'a> {
    pub(crate) notes: &'a mut Notes,
    pub(crate) keywords: keyword::Builder,
    pub(crate) patterns: pattern::Builder,
    pub(crate) links: Vec<link::Matcher>,
    /// The folding level of the rule being compiled.
    pub(crate) fold: Fold,
    /// Leaves of the rule being compiled whose finds have a severity of their own.
    pub(crate) graded: Vec<(LeafId, Severity)>,
    lists: &'a BTreeMap<String, List>,
    used: HashSet<String>,
    leaves: u32,
}

impl<'a> Compiler<'a> {
    pub(crate) fn new_leaf(&mut self) -> LeafId {
        self.leaves += 1;
        LeafId(self.leaves - 1)
    }

    /// A list by its name; a name that is not there is noted.
    pub(crate) fn list(&mut self, name: &At<String>) -> Option<&'a List> {
        let list = self.lists.get(&name.value);
        self.used.insert(name.value.clone());
        if list.is_none() {
            let names: Vec<&str> = self.lists.keys().map(String::as_str).collect();
            let message = format!("there is no list `{}`", name.value);
            self.notes.mistake_with(name.at, message, did_you_mean(&name.value, &names));
        }
        list
    }

    fn condition(&mut self, when: &When, at: Place) -> Condition {
        match when {
            When::Any(parts) => Condition::Any(self.conditions(parts, at)),
            When::All(parts) => Condition::All(self.conditions(parts, at)),
            When::Not(part) => Condition::Not(Box::new(self.condition(part, at))),
            When::Keyword(written) => match written.compile(at, self).as_slice() {
                [leaf] => Condition::Text(*leaf),
                leaves => Condition::Any(leaves.iter().copied().map(Condition::Text).collect()),
            },
            When::Pattern(written) => Condition::Text(written.compile(self)),
            When::Link(written) => Condition::Text(written.compile(at, self)),
            When::Contact(written) => Condition::Text(written.compile(at, self)),
            When::Element(written) => Condition::Element(written.clone()),
            When::Length(written) => Condition::Length(written.clone()),
            When::Mentions(written) => Condition::Mentions(written.clone()),
            When::Platform(written) => Condition::Platform(written.clone()),
            When::Flood(written) => Condition::Flood(written.clone(), written.measure()),
            When::Repeat(written) => Condition::Repeat(written.clone(), written.measure()),
            When::Newcomer(written) => Condition::Newcomer(written.clone(), written.measure()),
            When::Score(written) => {
                let parts = written.sum.iter();
                let parts = parts.map(|part| (part.weight, self.condition(&part.when, at)));
                let parts: Vec<_> = parts.collect();
                let most: f64 = parts.iter().map(|(weight, _)| weight.max(0.0)).sum();
                if most < written.at_least {
                    let message = format!(
                        "this score can never reach {}: its weights add up to {most}",
                        written.at_least
                    );
                    self.notes.warning(at, message, "");
                }
                Condition::Score { at_least: written.at_least, parts }
            }
        }
    }

    fn conditions(&mut self, parts: &[When], at: Place) -> Vec<Condition> {
        if parts.is_empty() && self.notes.mistakes.is_empty() {
            self.notes.mistake(at, "nothing stands below `any` or `all`");
        }
        parts.iter().map(|part| self.condition(part, at)).collect()
    }
}

/// A rule, compiled.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) id: RuleId,
    pub(crate) why: String,
    pub(crate) fold: Fold,
    pub(crate) stance: Stance,
    pub(crate) rollout: f64,
    pub(crate) when: Condition,
    pub(crate) unless: Vec<LeafId>,
    /// What has another severity than the rule's.
    pub(crate) graded: Vec<(LeafId, Severity)>,
    pub(crate) scope: Option<Scope>,
    pub(crate) exempt: Option<Scope>,
    /// What is different in some groups; of several that fit the last one holds.
    pub(crate) overrides: Vec<(Vec<String>, Stance)>,
    pub(crate) examples: Vec<Example>,
    /// Every phrase it seeks, for telling the nearest one where none is found.
    pub(crate) phrases: Vec<String>,
}

/// Whether and how a rule acts.
#[derive(Clone, Debug)]
pub(crate) struct Stance {
    pub(crate) mode: Mode,
    pub(crate) severity: Severity,
    pub(crate) actions: Vec<Action>,
}

/// A text that a rule has to hit or to pass.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub(crate) text: String,
    pub(crate) hit: bool,
    pub(crate) at: Place,
}

/// Everything compiled.
pub(crate) struct Compiled {
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) indexes: Option<Indexes>,
    pub(crate) triggers: Triggers,
    /// Everything that has to be counted, each once.
    pub(crate) measures: Measures,
}

/// What is sought in every text, for all rules at once.
pub(crate) struct Indexes {
    pub(crate) keywords: keyword::Index,
    pub(crate) patterns: pattern::Index,
    pub(crate) links: Vec<link::Matcher>,
}

/// Which rules have to be looked at once it is known what a text holds.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    /// For each leaf the rules that cannot hold without it or one of its like.
    by_leaf: Vec<Vec<u32>>,
    /// Rules that may hold whatever the text.
    always: Vec<u32>,
}

impl Triggers {
    fn of(rules: &[CompiledRule], leaves: u32) -> Self {
        let mut triggers = Self { by_leaf: vec![Vec::new(); leaves as usize], always: Vec::new() };
        for (rule, id) in rules.iter().zip(0..) {
            match rule.when.triggers() {
                Some(leaves) => {
                    for leaf in leaves {
                        triggers.by_leaf[leaf.0 as usize].push(id);
                    }
                }
                None => triggers.always.push(id),
            }
        }
        triggers
    }

    /// The rules to look at, in order.
    pub(crate) fn rules(&self, found: impl Iterator<Item = LeafId>) -> Vec<u32> {
        let mut rules = self.always.clone();
        for leaf in found {
            rules.extend(&self.by_leaf[leaf.0 as usize]);
        }
        rules.sort_unstable();
        rules.dedup();
        rules
    }
}

/// Compiles all rules; mistakes are in `notes`.
pub(crate) fn compile(
    file: &RulesFile,
    lists: &BTreeMap<String, List>,
    notes: &mut Notes,
) -> Compiled {
    // There is one version of the format; the next one will be told apart here.
    let FormatVersion = file.version;
    let mut c = Compiler {
        notes,
        keywords: keyword::Builder::default(),
        patterns: pattern::Builder::default(),
        links: Vec::new(),
        fold: Fold::Standard,
        graded: Vec::new(),
        lists,
        used: HashSet::new(),
        leaves: 0,
    };
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut rules = Vec::new();
    for rule in &file.rules {
        let id = &rule.id;
        if let Some(line) = seen.insert(&id.value, id.at.line) {
            let message = format!("the rule `{}` is defined twice, first in line {line}", id.value);
            c.notes.mistake(id.at, message);
        }
        rules.push(rule_of(rule, &mut c));
    }
    for change in file.overrides.iter().flatten() {
        apply_override(change, &mut rules, c.notes);
    }
    for (name, source) in file.lists.iter().flatten() {
        if !c.used.contains(name) {
            c.notes.warning(source.at, format!("no rule uses the list `{name}`"), "");
        }
    }
    let triggers = Triggers::of(&rules, c.leaves);
    let mut measures = Vec::new();
    for rule in &rules {
        rule.when.measures(&mut measures);
    }
    let indexes = match c.keywords.build() {
        Ok(keywords) => Some(Indexes { keywords, patterns: c.patterns.build(), links: c.links }),
        Err(error) => {
            c.notes.mistake(Place::default(), format!("too many phrases: {error}"));
            None
        }
    };
    Compiled { rules, indexes, triggers, measures: Measures::of(measures) }
}

fn rule_of(rule: &Rule, c: &mut Compiler<'_>) -> CompiledRule {
    check_id(&rule.id, c.notes);
    c.fold = rule.fold.unwrap_or(Fold::Standard);
    let actions: Vec<Action> = match &rule.actions {
        None => vec![Action::Recall],
        Some(written) => {
            if written.value.is_empty() && c.notes.mistakes.is_empty() {
                let help = "to watch a rule without effect, write `mode: shadow`";
                c.notes.mistake_with(written.at, "a rule without an action does nothing", help);
            }
            written.value.iter().map(|WrittenAction(action)| *action).collect()
        }
    };
    let unless = rule.unless.iter().flatten();
    let unless = unless.flat_map(|unless| unless.phrase.compile(rule.when.at, c)).collect();
    c.graded.clear();
    let (mut phrases, mut spared) = (Vec::new(), Vec::new());
    phrases_of(&rule.when.value, c, &mut phrases);
    for unless in rule.unless.iter().flatten() {
        unless.phrase.first_phrases(c, &mut spared);
    }
    let compiled = CompiledRule {
        id: RuleId::from(rule.id.value.as_str()),
        why: rule.why.clone().unwrap_or_default(),
        fold: c.fold,
        stance: Stance {
            mode: rule.mode.map_or_else(Mode::default, |mode| mode.0),
            severity: rule.severity.map_or_else(Severity::default, |severity| severity.0),
            actions,
        },
        rollout: rollout_of(rule, c.notes),
        when: c.condition(&rule.when.value, rule.when.at),
        unless,
        graded: std::mem::take(&mut c.graded),
        scope: rule.scope.as_ref().map(|scope| Scope::of(&scope.value)),
        exempt: rule.exempt.as_ref().map(|exempt| Scope::of(&exempt.value)),
        overrides: Vec::new(),
        examples: examples_of(rule),
        phrases,
    };
    super::contradictions::warn(rule, &compiled, &spared, c.notes);
    compiled
}

/// The phrases that `explain` compares a text with: of a long list only the first.
fn phrases_of(when: &When, c: &mut Compiler<'_>, into: &mut Vec<String>) {
    match when {
        When::Any(parts) | When::All(parts) => {
            for part in parts {
                phrases_of(part, c, into);
            }
        }
        When::Keyword(written) => written.first_phrases(c, into),
        _ => {}
    }
}

fn rollout_of(rule: &Rule, notes: &mut Notes) -> f64 {
    let Some(rollout) = &rule.rollout else { return 1.0 };
    if !(0.0..=1.0).contains(&rollout.value) {
        notes.mistake_with(rollout.at, "a share lies between 0 and 1", "such as 0.1 for a tenth");
    }
    rollout.value
}

fn check_id(id: &At<String>, notes: &mut Notes) {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if id.value.is_empty() || id.value.len() > 64 || !id.value.chars().all(good) {
        let help = "lower-case letters, digits and hyphens, at most 64, such as contact-bait";
        notes.mistake_with(id.at, format!("`{}` cannot be the id of a rule", id.value), help);
    }
}

fn apply_override(written: &Override, rules: &mut [CompiledRule], notes: &mut Notes) {
    for (id, change) in &written.rules.value {
        let Some(rule) = rules.iter_mut().find(|rule| rule.id.as_str() == id) else {
            let ids: Vec<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
            let message = format!("there is no rule `{id}` to override");
            notes.mistake_with(written.rules.at, message, did_you_mean(id, &ids));
            continue;
        };
        let mut stance = rule.stance.clone();
        if let Some(mode) = change.mode {
            stance.mode = mode.0;
        }
        if let Some(severity) = change.severity {
            stance.severity = severity.0;
        }
        if let Some(actions) = &change.actions {
            stance.actions = actions.iter().map(|action| action.0).collect();
        }
        rule.overrides.push((written.groups.0.clone(), stance));
    }
}

fn examples_of(rule: &Rule) -> Vec<Example> {
    let Some(examples) = &rule.examples else { return Vec::new() };
    let side = |texts: &Option<OneOrMany<At<String>>>, hit| {
        let texts = texts.as_ref().map(|many| many.0.clone()).unwrap_or_default();
        texts.into_iter().map(move |text| Example { text: text.value, hit, at: text.at })
    };
    side(&examples.hit, true).chain(side(&examples.pass, false)).collect()
}
