//! From what is written to what runs.

use std::collections::{BTreeMap, HashMap};

use super::decode::{At, Notes, OneOrMany};
use super::diagnostic::did_you_mean;
use super::file::{Fold, Rule, RulesFile, Selection, When, Wholeness, WrittenAction};
use super::kinds::{keyword, pattern};
use super::yaml::Place;
use crate::model::{Action, Message, Mode, RuleId, Severity};

/// A matcher that finds places in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LeafId(pub(crate) u32);

/// A place in the original text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A list, read.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    pub(crate) items: Vec<String>,
    pub(crate) wholeness: Option<Wholeness>,
}

/// What is gathered while rules are compiled.
pub(crate) struct Compiler<'a> {
    pub(crate) notes: &'a mut Notes,
    pub(crate) keywords: keyword::Builder,
    pub(crate) patterns: Vec<pattern::Entry>,
    /// The folding level of the rule being compiled.
    pub(crate) fold: Fold,
    lists: &'a BTreeMap<String, List>,
    used: HashMap<String, ()>,
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
        self.used.insert(name.value.clone(), ());
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
            When::Keyword(written) => Condition::Text(written.compile(at, self)),
            When::Pattern(written) => Condition::Text(written.compile(self)),
        }
    }

    fn conditions(&mut self, parts: &[When], at: Place) -> Vec<Condition> {
        if parts.is_empty() && self.notes.mistakes.is_empty() {
            self.notes.mistake(at, "nothing stands below `any` or `all`");
        }
        parts.iter().map(|part| self.condition(part, at)).collect()
    }
}

/// A condition, compiled.
#[derive(Debug)]
pub(crate) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    Text(LeafId),
}

/// A rule, compiled.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) id: RuleId,
    pub(crate) why: String,
    pub(crate) mode: Mode,
    pub(crate) severity: Severity,
    pub(crate) actions: Vec<Action>,
    pub(crate) when: Condition,
    pub(crate) unless: Vec<LeafId>,
    pub(crate) scope: Option<Scope>,
    pub(crate) exempt: Option<Scope>,
    pub(crate) examples: Vec<Example>,
}

/// A text that a rule has to hit or to pass.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub(crate) text: String,
    pub(crate) hit: bool,
    pub(crate) at: Place,
}

/// Which messages are meant.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    types: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    topics: Option<Vec<String>>,
    senders: Option<Vec<String>>,
}

impl Scope {
    fn of(written: &Selection) -> Self {
        let values = |field: &Option<OneOrMany<String>>| field.as_ref().map(|many| many.0.clone());
        Self {
            types: values(&written.types),
            groups: values(&written.groups),
            topics: values(&written.topics),
            senders: values(&written.senders),
        }
    }

    /// Whether every field given agrees.
    pub(crate) fn holds(&self, message: &Message) -> bool {
        let agrees = |values: &Option<Vec<String>>, actual: &str| {
            values.as_ref().is_none_or(|values| values.iter().any(|value| fits(value, actual)))
        };
        agrees(&self.types, &message.group_type.0)
            && agrees(&self.groups, message.key.group_id.as_str())
            && agrees(&self.topics, message.key.topic_id.as_str())
            && agrees(&self.senders, message.sender.as_str())
    }
}

fn fits(value: &str, actual: &str) -> bool {
    match value.strip_suffix('*') {
        Some(start) => actual.starts_with(start),
        None => value == actual,
    }
}

/// Everything compiled.
pub(crate) struct Compiled {
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) keywords: Option<keyword::Index>,
    pub(crate) patterns: Vec<pattern::Entry>,
}

/// Compiles all rules; mistakes are in `notes`.
pub(crate) fn compile(
    file: &RulesFile,
    lists: &BTreeMap<String, List>,
    notes: &mut Notes,
) -> Compiled {
    let mut c = Compiler {
        notes,
        keywords: keyword::Builder::default(),
        patterns: Vec::new(),
        fold: Fold::Standard,
        lists,
        used: HashMap::new(),
        leaves: 0,
    };
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut rules = Vec::new();
    for rule in &file.rules {
        if let Some(line) = seen.insert(&rule.id.value, rule.id.at.line) {
            let message =
                format!("the rule `{}` is defined twice, first in line {line}", rule.id.value);
            c.notes.mistake(rule.id.at, message);
        }
        rules.push(rule_of(rule, &mut c));
    }
    for (name, source) in file.lists.iter().flatten() {
        if !c.used.contains_key(name) {
            c.notes.warning(source.at, format!("no rule uses the list `{name}`"), "");
        }
    }
    let keywords = match c.keywords.build() {
        Ok(index) => Some(index),
        Err(error) => {
            c.notes.mistake(Place::default(), format!("too many phrases: {error}"));
            None
        }
    };
    Compiled { rules, keywords, patterns: c.patterns }
}

fn rule_of(rule: &Rule, c: &mut Compiler<'_>) -> CompiledRule {
    check_id(&rule.id, c.notes);
    c.fold = rule.fold.unwrap_or(Fold::Standard);
    let mode = rule.mode.map_or_else(Mode::default, |mode| mode.0);
    let actions: Vec<Action> = match &rule.actions {
        None => vec![Action::Recall],
        Some(written) => {
            if written.value.is_empty() {
                c.notes.mistake_with(
                    written.at,
                    "a rule without an action does nothing",
                    "to watch it without effect, write `mode: shadow`",
                );
            }
            written.value.iter().map(|WrittenAction(action)| *action).collect()
        }
    };
    let unless = rule.unless.iter().flatten();
    let unless = unless.map(|unless| unless.phrase.compile(rule.when.at, c)).collect();
    CompiledRule {
        id: RuleId::from(rule.id.value.as_str()),
        why: rule.why.clone().unwrap_or_default(),
        mode,
        severity: rule.severity.map_or_else(Severity::default, |severity| severity.0),
        actions,
        when: c.condition(&rule.when.value, rule.when.at),
        unless,
        scope: rule.scope.as_ref().map(|scope| Scope::of(&scope.value)),
        exempt: rule.exempt.as_ref().map(|exempt| Scope::of(&exempt.value)),
        examples: examples_of(rule),
    }
}

fn check_id(id: &At<String>, notes: &mut Notes) {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if id.value.is_empty() || id.value.len() > 64 || !id.value.chars().all(good) {
        let help = "lower-case letters, digits and hyphens, at most 64, such as contact-bait";
        notes.mistake_with(id.at, format!("`{}` cannot be the id of a rule", id.value), help);
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
