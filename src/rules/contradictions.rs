//! Settings that silently disable a rule, or a part of it.

use super::compile::CompiledRule;
use super::decode::{Notes, OneOrMany};
use super::diagnostic::did_you_mean;
use super::file::{Rule, Selection, When};
use crate::model::Mode;

/// Group types as Chat's callbacks write them.
const TYPES: &[&str] = &["Public", "Private", "ChatRoom", "AVChatRoom", "Community"];
/// What the console calls two of them.
const CONSOLE_NAMES: &[(&str, &str)] = &[("Work", "Private"), ("Meeting", "ChatRoom")];

/// Warns of what cannot be meant. `spared` are the phrases of the rule's exceptions.
pub(super) fn warn(rule: &Rule, compiled: &CompiledRule, spared: &[String], notes: &mut Notes) {
    let at = rule.id.at;
    let id = &rule.id.value;
    if let (Some(scope), Some(exempt)) = (&rule.scope, &rule.exempt)
        && swallows(&exempt.value, &scope.value)
    {
        let message = format!("the exemptions of `{id}` leave nothing of its scope");
        notes.warning(exempt.at, message, "a rule that never applies is better `mode: off`");
    }
    for (selection, name) in [(&rule.scope, "scope"), (&rule.exempt, "exempt")] {
        let Some(selection) = selection else { continue };
        if let Some(why) = says_nothing(&selection.value, name == "scope") {
            notes.warning(selection.at, format!("`{name}` of `{id}` {why}"), "");
        }
        for name in selection.value.types.iter().flat_map(|types| &types.0) {
            if !TYPES.contains(&name.as_str()) && !name.ends_with('*') {
                let message = format!("no group has the type `{name}`");
                notes.warning(selection.at, message, type_meant(name));
            }
        }
    }
    if only_phrases(&rule.when.value)
        && !compiled.phrases.is_empty()
        && compiled.phrases.iter().all(|phrase| spared.contains(phrase))
    {
        let help = "an exception is a longer phrase around the one that is sought";
        notes.warning(at, format!("`unless` spares every phrase of `{id}`"), help);
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

/// What a selection comes to that names nothing.
fn says_nothing(selection: &Selection, scope: bool) -> Option<&'static str> {
    let all = [&selection.types, &selection.groups, &selection.topics, &selection.senders];
    if all.iter().all(|field| field.is_none()) {
        return Some(if scope {
            "names nothing: the rule applies everywhere"
        } else {
            "names nothing: everything is exempt, and the rule never applies"
        });
    }
    let empty = all.iter().any(|field| field.as_ref().is_some_and(|many| many.0.is_empty()));
    empty.then_some(if scope {
        "has an empty list: the rule never applies"
    } else {
        "has an empty list: nothing is exempt"
    })
}

fn type_meant(name: &str) -> String {
    match CONSOLE_NAMES.iter().find(|(console, _)| *console == name) {
        Some((_, written)) => format!("Chat's callbacks call it `{written}`"),
        None => did_you_mean(name, TYPES),
    }
}

/// Whether a condition holds by phrases and nothing else.
fn only_phrases(when: &When) -> bool {
    match when {
        When::Any(parts) | When::All(parts) => parts.iter().all(only_phrases),
        When::Keyword(_) => true,
        _ => false,
    }
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
        When::Flood(flood) if flood.messages < 2 => {
            let help = "a flood has at least 2 messages";
            notes.mistake_with(rule.when.at, "this flood would be every single message", help);
        }
        When::Repeat(repeat) if repeat.times < 2 => {
            let help = "a repetition is there from 2 times on";
            notes.mistake_with(rule.when.at, "this repetition would be every message", help);
        }
        When::Element(element) => {
            if let Some(why) = element.never() {
                say(why);
            }
        }
        When::Platform(platform) => {
            for (name, meant) in platform.unknown() {
                let message = format!("Chat knows no platform `{name}`");
                notes.warning(rule.when.at, message, meant);
            }
        }
        When::Score(score) => {
            for part in &score.sum {
                impossible(&part.when, rule, notes);
            }
        }
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
