//! A rules file as it is written. The schema that editors use is made from these types, and so is
//! the reading: a word that is not here is a mistake.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::decode::{At, FromNode, Notes, OneOrMany, word, written};
use super::diagnostic::did_you_mean;
use super::kinds::{
    contact, element, flood, keyword, length, link, mentions, newcomer, pattern, platform, repeat,
    score,
};
use super::yaml::{Node, Value};
use crate::model::{Action, Mode, Severity};

written! {
    /// The rules of quell, version 1.
    struct RulesFile: "a rules file" {
        /// The version of this format: 1.
        version = "version": FormatVersion,
        /// Named lists of phrases, hosts or ids that rules refer to.
        lists = "lists": Option<BTreeMap<String, At<ListSource>>>,
        /// Other modes, severities or actions of rules in named groups.
        overrides = "overrides": Option<Vec<Override>>,
        /// The rules, judged in this order. The order decides nothing but how hits are listed.
        rules = "rules": Vec<Rule>,
    }
}

written! {
    /// What is looked for, and what follows when it is found.
    struct Rule: "a rule" {
        /// What is found, not the remedy: lower-case letters, digits and hyphens.
        id = "id": At<String>,
        /// Why this is not wanted, for the people who read the audit.
        why = "why": Option<String>,
        /// `off`: not run. `shadow`: hits are recorded and have no effect. `live` (default): acts.
        mode = "mode": Option<WrittenMode>,
        /// The order in which recalls leave. Default: medium.
        severity = "severity": Option<WrittenSeverity>,
        /// How hard the text is normalised before matching. Default: standard.
        fold = "fold": Option<Fold>,
        /// What a message has to have.
        when = "when": At<When>,
        /// What is spared all the same.
        unless = "unless": Option<Vec<Unless>>,
        /// Where the rule applies. Default: everywhere.
        scope = "scope": Option<At<Selection>>,
        /// Where and to whom it does not apply.
        exempt = "exempt": Option<At<Selection>>,
        /// What is asked for. Default: recall.
        actions = "actions": Option<At<Vec<WrittenAction>>>,
        /// The share of messages, from 0 to 1, for which a hit makes a job: for trying a changed
        /// rule. It never changes the verdict. Default: 1.
        rollout = "rollout": Option<At<f64>>,
        /// Texts that the rule has to hit or to pass; `quell rules check` runs them.
        examples = "examples": Option<Examples>,
    }
}

written! {
    /// What is different in some groups. Of several that name a rule the last one holds.
    struct Override: "an override" {
        /// The groups, by id; a value may end in `*`.
        groups = "groups": OneOrMany<String>,
        /// By the id of a rule, what is different for it.
        rules = "rules": At<BTreeMap<String, Change>>,
    }
}

written! {
    /// What is different for a rule.
    struct Change: "a change" {
        mode = "mode": Option<WrittenMode>,
        severity = "severity": Option<WrittenSeverity>,
        actions = "actions": Option<Vec<WrittenAction>>,
    }
}

/// A named list: phrases written here, or a file with one a line.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum ListSource {
    Inline(Vec<At<String>>),
    File(ListFile),
}

written! {
    /// A file of phrases, one a line; a line that begins with `#` is a comment.
    struct ListFile: "a list" {
        /// The path, relative to the rules file.
        file = "file": At<String>,
        /// Whether Latin phrases of this list match whole words only (default) or parts of words.
        words = "words": Option<Wholeness>,
    }
}

impl RulesFile {
    /// Paths of the lists that are read, as they are written.
    pub(crate) fn list_files(&self) -> impl Iterator<Item = &str> {
        self.lists.iter().flatten().filter_map(|(_, source)| match &source.value {
            ListSource::File(list) => Some(list.file.value.as_str()),
            ListSource::Inline(_) => None,
        })
    }
}

impl FromNode for ListSource {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        match node.value {
            Value::List(_) => Vec::from_node(node, notes).map(Self::Inline),
            Value::Map(_) => ListFile::from_node(node, notes).map(Self::File),
            _ => {
                let help = "a list of phrases, or { file: PATH }";
                notes.mistake_with(node.at, format!("a list cannot be {}", node.kind()), help);
                None
            }
        }
    }
}

word! {
    /// How hard the text is normalised before matching.
    enum Fold: "a folding level" {
        /// The text as it is written.
        None = "none",
        /// Width, case, invisible characters, marks, look-alikes, leetspeak, separators, repeats,
        /// Traditional Chinese.
        Standard = "standard",
        /// As standard; also pinyin and homophones, contact variants, component splits, digits
        /// between characters.
        Aggressive = "aggressive",
    }
}

word! {
    /// Whether Latin phrases match whole words or parts of words, too.
    enum Wholeness: "a way to match words" {
        Whole = "whole",
        Part = "part",
    }
}

written! {
    /// Which messages are meant: every field given has to agree, by any of its values. A value may
    /// end in `*`, which stands for anything.
    struct Selection: "a selection" {
        /// Group types as the provider writes them: `Public`, `Private` (Work), `ChatRoom`
        /// (Meeting), `AVChatRoom`, `Community`.
        types = "types": Option<OneOrMany<String>>,
        groups = "groups": Option<OneOrMany<String>>,
        topics = "topics": Option<OneOrMany<String>>,
        senders = "senders": Option<OneOrMany<String>>,
    }
}

written! {
    /// Texts that show what the rule is for.
    struct Examples: "examples" {
        /// Texts that the rule has to hit.
        hit = "hit": Option<OneOrMany<At<String>>>,
        /// Texts that it has to leave alone.
        pass = "pass": Option<OneOrMany<At<String>>>,
    }
}

written! {
    /// What is spared although a matcher found it.
    struct Unless: "an exception" {
        /// Phrases that cancel the characters they cover: with `微信支付` here a keyword `微信` does
        /// not hit inside it, and hits elsewhere in the same message.
        phrase = "phrase": keyword::Written,
    }
}

macro_rules! model_word {
    ($name:ident, $model:ty, $what:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name(pub(crate) $model);
        impl FromNode for $name {
            fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
                let valid: Vec<_> = <$model>::ALL.iter().map(|v| (v.as_str(), *v)).collect();
                super::decode::one_of($what, node, &valid, notes).map(Self)
            }
        }
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($model).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let words: Vec<_> = <$model>::ALL.iter().map(|v| v.as_str()).collect();
                json_schema!({ "enum": words })
            }
        }
    };
}
model_word!(WrittenMode, Mode, "a mode", "Whether a rule acts.");
model_word!(WrittenSeverity, Severity, "a severity", "How bad a hit is.");
model_word!(WrittenAction, Action, "an action", "What a live rule asks for.");

/// The version of the format, of which there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FormatVersion;

impl FromNode for FormatVersion {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        if !matches!(node.value, Value::Int(1)) {
            notes.mistake_with(node.at, "this version of the format is not known", "version: 1");
        }
        Some(Self)
    }
}

impl JsonSchema for FormatVersion {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "FormatVersion".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": 1 })
    }
}

/// Defines [`When`]: the matchers by name, each with the type of what is written below it.
macro_rules! matchers {
    ($($(#[$doc:meta])* $variant:ident = $name:literal: $type:ty,)*) => {
        /// A condition: one matcher, or several below `any`, `all` or `not`.
        #[derive(Clone, Debug, JsonSchema)]
        pub(crate) enum When {
            $($(#[$doc])* #[schemars(rename = $name)] $variant($type),)*
        }
        impl FromNode for When {
            fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
                let valid = &[$($name),*];
                let Value::Map(fields) = &node.value else {
                    let help = format!("a mapping with one of: {}", valid.join(", "));
                    let message = format!("a matcher cannot be {}", node.kind());
                    notes.mistake_with(node.at, message, help);
                    return None;
                };
                let [(key, value)] = fields.as_slice() else {
                    let message = match fields.get(1) {
                        Some((key, _)) => format!("`{}` is a second matcher: one is read", key.name),
                        None => "a matcher is missing".to_owned(),
                    };
                    let at = fields.get(1).map_or(node.at, |(key, _)| key.at);
                    notes.mistake_with(at, message, "put several below `any` or `all`, each with a dash");
                    return None;
                };
                match key.name.as_str() {
                    $($name => <$type>::from_node(value, notes).map(Self::$variant),)*
                    other => {
                        let message = format!("there is no matcher `{other}`");
                        notes.mistake_with(key.at, message, did_you_mean(other, valid));
                        None
                    }
                }
            }
        }
    };
}

matchers! {
    /// At least one of these.
    Any = "any": Vec<When>,
    /// Every one of these.
    All = "all": Vec<When>,
    /// Anything but this.
    Not = "not": Box<When>,
    /// Phrases.
    Keyword = "keyword": keyword::Written,
    /// Regular expressions.
    Pattern = "pattern": pattern::Written,
    /// Addresses of web sites.
    Link = "link": link::Written,
    /// Ways to reach somebody outside the group.
    Contact = "contact": contact::Written,
    /// What a message is made of.
    Element = "element": element::Written,
    /// How long the text is.
    Length = "length": length::Written,
    /// Who is called by `@`.
    Mentions = "mentions": mentions::Written,
    /// The same or nearly the same text again.
    Repeat = "repeat": repeat::Written,
    /// Many messages of one sender.
    Flood = "flood": flood::Written,
    /// The first messages of a sender.
    Newcomer = "newcomer": newcomer::Written,
    /// What a message was sent from.
    Platform = "platform": platform::Written,
    /// Several weak signs that are strong together.
    Score = "score": score::Written,
}
