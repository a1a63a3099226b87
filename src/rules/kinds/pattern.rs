//! `pattern`: regular expressions.
//!
//! ```yaml
//! pattern: 't\.me/\w+'
//! pattern: { regex: ['1[3-9]\d{9}', 'v\W{0,2}x'] }
//! ```
//!
//! The syntax is that of the regex crate: linear time whatever the text. At `fold: none` a pattern
//! sees the text as it is written; at the other levels it sees folded text and does not tell upper
//! from lower case unless it says `(?-i)`.

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;

use crate::rules::compile::{Compiler, LeafId, Span};
use crate::rules::decode::{At, FromNode, Notes, OneOrMany, written};
use crate::rules::file::Fold;
use crate::rules::yaml::{Node, Value};
use crate::text::Folded;

/// The longest pattern taken, in bytes.
const MAX_PATTERN_BYTES: usize = 1024;
/// The most memory that one compiled pattern may fill, in bytes.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// What is written below `pattern`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum Written {
    One(At<String>),
    Many(Vec<At<String>>),
    Map(Map),
}

written! {
    /// Regular expressions, of which one has to match.
    struct Map: "a pattern matcher" {
        /// One expression, or several.
        regex = "regex": OneOrMany<At<String>>,
    }
}

impl FromNode for Written {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        match node.value {
            Value::Map(_) => Map::from_node(node, notes).map(Self::Map),
            Value::List(_) => Vec::from_node(node, notes).map(Self::Many),
            _ => At::from_node(node, notes).map(Self::One),
        }
    }
}

impl Written {
    /// Adds the expressions to the index.
    pub(crate) fn compile(&self, c: &mut Compiler<'_>) -> LeafId {
        let leaf = c.new_leaf();
        let patterns: &[At<String>] = match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
            Self::Map(map) => &map.regex.0,
        };
        for pattern in patterns {
            match build(&pattern.value, c.fold) {
                Ok(regex) => c.patterns.push(Entry { regex, fold: c.fold, leaf }),
                Err(why) => c.notes.mistake(pattern.at, why),
            }
        }
        leaf
    }
}

fn build(pattern: &str, fold: Fold) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!("a pattern may be {MAX_PATTERN_BYTES} bytes long at most"));
    }
    let regex = RegexBuilder::new(pattern)
        .case_insensitive(fold != Fold::None)
        .size_limit(MAX_COMPILED_BYTES)
        .build();
    let regex = regex.map_err(|error| match error {
        regex::Error::Syntax(report) => {
            let reason = report.lines().last().unwrap_or_default();
            format!("not a regular expression: {}", reason.trim_start_matches("error: "))
        }
        regex::Error::CompiledTooBig(limit) => {
            format!("this pattern needs more than {limit} bytes; shorten its repetitions")
        }
        other => other.to_string(),
    })?;
    if regex.is_match("") {
        return Err("this pattern matches the empty text, and so every message".to_owned());
    }
    Ok(regex)
}

/// A compiled expression.
pub(crate) struct Entry {
    regex: Regex,
    fold: Fold,
    leaf: LeafId,
}

/// Reports every expression that matches and where.
pub(crate) fn find(
    entries: &[Entry],
    none: &Folded,
    standard: &Folded,
    mut found: impl FnMut(LeafId, Span),
) {
    for entry in entries {
        let folded = if entry.fold == Fold::None { none } else { standard };
        for hit in entry.regex.find_iter(folded.as_str()) {
            let (start, end) = folded.original(hit.start(), hit.end());
            if start < end {
                found(entry.leaf, Span { start, end });
            }
        }
    }
}
