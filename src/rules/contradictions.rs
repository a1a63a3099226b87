//! Settings that silently disable a rule, or a part of it.

use super::compile::CompiledRule;
use super::decode::{Notes, OneOrMany};
use super::file::{Rule, Selection, When};
use crate::model::Mode;

/// Warns of what cannot be meant.
pub(super) fn warn(rule: &Rule, compiled: &CompiledRule, notes: &mut Notes) {
    let at = rule.id.at;
    let id = &rule.id.value;
    if let (Some(scope), Some(exempt)) = (&rule.scope, &rule.exempt)
        && swallows(&exempt.value, &scope.value)
    {
        let message = format!("the exemptions of `{id}` leave nothing of its scope");
        notes.warning(exempt.at, message, "a rule that never applies is better `mode: off`");
    }
    for (selection, name) in [(&rule.scope, "scope"), (&rule.exempt, "exempt")] {
        if let Some(selection) = selection
            && is_empty(&selection.value)
        {
            let message = format!("`{name}` of `{id}` names nothing");
            let help = if name == "scope" {
                "the rule applies everywhere"
            } else {
                "it would exempt everything, and so is ignored nowhere"
            };
            notes.warning(selection.at, message, help);
        }
    }
    let live = compiled.stance.mode == Mode::Live;
    if live && compiled.rollout == 0.0 {
        notes.warning(
            at,
            format!("`{id}` is live, and rolled out to nobody"),
            "give a share above 0",
        );
    }
    impossible(&rule.when.value, rule, notes);
}

fn is_empty(selection: &Selection) -> bool {
    let all = [&selection.types, &selection.groups, &selection.topics, &selection.senders];
    all.iter().all(|field| field.is_none())
}

/// Whether everything in `scope` is also in `exempt`.
fn swallows(exempt: &Selection, scope: &Selection) -> bool {
    let holds = |exempt: &Option<OneOrMany<String>>, scope: &Option<OneOrMany<String>>| match (
        exempt, scope,
    ) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(exempt), Some(scope)) => {
            scope.0.iter().all(|value| super::scope::any_fits(&exempt.0, value))
        }
    };
    holds(&exempt.types, &scope.types)
        && holds(&exempt.groups, &scope.groups)
        && holds(&exempt.topics, &scope.topics)
        && holds(&exempt.senders, &scope.senders)
}

/// Limits that exclude one another.
fn impossible(when: &When, rule: &Rule, notes: &mut Notes) {
    let mut say = |why: &str| {
        notes.warning(rule.when.at, format!("`{}` can never hit: {why}", rule.id.value), "");
    };
    match when {
        When::Any(parts) | When::All(parts) => {
            for part in parts {
                impossible(part, rule, notes);
            }
        }
        When::Not(part) => impossible(part, rule, notes),
        When::Length(length) => {
            if let (Some(over), Some(under)) = (length.over, length.under)
                && over + 1 >= under
            {
                say("no text is longer than `over` and shorter than `under`");
            }
            if length.under == Some(0) {
                say("no text is shorter than 0 characters");
            }
        }
        When::Flood(flood) if flood.messages > 128 => say("at most 128 messages are counted"),
        When::Repeat(repeat) => {
            if repeat.times > 128 {
                say("at most 128 messages are counted");
            }
            if repeat.senders.is_some_and(|senders| senders > 1) && !repeat.by_anyone() {
                say("one sender's messages have one sender; write `by: anyone`");
            }
            if repeat.senders.is_some_and(|senders| senders > repeat.times) {
                say("there are never more senders than messages");
            }
        }
        When::Newcomer(newcomer) if newcomer.first() == 0 => say("the first message counts as 1"),
        _ => {}
    }
}
