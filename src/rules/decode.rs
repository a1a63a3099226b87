//! From the tree of a YAML text to plain types, with every mistake noted on the way instead of
//! stopping at the first.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::diagnostic::{any_of, did_you_mean, near_name};
use super::yaml::{Key, Node, Place, Value};

/// Something to say about a place in the rules file.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) at: Place,
    pub(crate) message: String,
    pub(crate) help: String,
}

/// Everything found wrong, or doubtful, so far.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) mistakes: Vec<Note>,
    pub(crate) warnings: Vec<Note>,
}

impl Notes {
    pub(crate) fn mistake(&mut self, at: Place, message: impl Into<String>) {
        self.mistake_with(at, message, "");
    }
    pub(crate) fn mistake_with(
        &mut self,
        at: Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.mistakes.push(Note { at, message: message.into(), help: help.into() });
    }
    pub(crate) fn warning(
        &mut self,
        at: Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.warnings.push(Note { at, message: message.into(), help: help.into() });
    }
    /// Notes that a value is of the wrong kind.
    pub(crate) fn expected(&mut self, what: &str, node: &Node) {
        self.mistake(node.at, format!("expected {what}, found {}", node.kind()));
    }
}

/// A type that can be written in a rules file. `None` means that the mistake has been noted.
pub(crate) trait FromNode: Sized {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self>;
    /// What an absent field means; `None` where it has to be there.
    fn absent() -> Option<Self> {
        None
    }
}

/// A value that remembers where it was written.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) at: Place,
}

impl<T: FromNode> FromNode for At<T> {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        Some(Self { value: T::from_node(node, notes)?, at: node.at })
    }
}

impl<T: FromNode> FromNode for Option<T> {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        if matches!(node.value, Value::Null) {
            notes.expected("a value", node);
            return None;
        }
        // A mistake below is noted; going on without the field finds the mistakes behind it, too.
        Some(T::from_node(node, notes))
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl FromNode for String {
    /// Numbers and yes/no values are taken as they are written: a phrase may well be `666`.
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Int(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Bool(yes) => Some(yes.to_string()),
            _ => {
                notes.expected("text", node);
                None
            }
        }
    }
}

impl FromNode for bool {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        if let Value::Bool(yes) = node.value {
            return Some(yes);
        }
        notes.expected("true or false", node);
        None
    }
}

impl FromNode for u64 {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        if let Value::Int(number) = node.value
            && let Ok(number) = Self::try_from(number)
        {
            return Some(number);
        }
        notes.expected("a whole number of 0 or more", node);
        None
    }
}

impl FromNode for f64 {
    #[expect(clippy::cast_precision_loss, reason = "weights and shares are small")]
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        match node.value {
            Value::Int(number) => Some(number as Self),
            Value::Float(number) => Some(number),
            _ => {
                notes.expected("a number", node);
                None
            }
        }
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        let Value::List(items) = &node.value else {
            notes.expected("a list", node);
            return None;
        };
        // What is wrong is noted and left out, so that the mistakes of the others come to light.
        Some(items.iter().filter_map(|item| T::from_node(item, notes)).collect())
    }
}

impl<T: FromNode> FromNode for Box<T> {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        T::from_node(node, notes).map(Box::new)
    }
}

impl<T: FromNode> FromNode for BTreeMap<String, T> {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        let fields = map_of("a mapping", node, notes)?;
        let read = fields.iter();
        Some(
            read.filter_map(|(key, node)| Some((key.name.clone(), T::from_node(node, notes)?)))
                .collect(),
        )
    }
}

/// The fields of a mapping.
pub(crate) fn map_of<'a>(
    what: &str,
    node: &'a Node,
    notes: &mut Notes,
) -> Option<&'a [(Key, Node)]> {
    if let Value::Map(fields) = &node.value {
        return Some(fields);
    }
    notes.expected(what, node);
    None
}

/// One field of a mapping: absent, wrong (noted) or read.
pub(crate) fn field<T: FromNode>(
    what: &str,
    node: &Node,
    name: &str,
    notes: &mut Notes,
) -> Option<T> {
    let Value::Map(fields) = &node.value else { return None };
    match fields.iter().find(|(key, _)| key.name == name) {
        Some((_, value)) => T::from_node(value, notes),
        None => T::absent().or_else(|| {
            notes.mistake(node.at, format!("{what} lacks `{name}`"));
            None
        }),
    }
}

/// Notes every field that is not one of the valid ones, each with whether it has to be there. Of names
/// that are equally near one that is missing was probably meant, and hardly one that is there already.
pub(crate) fn refuse_unknown(what: &str, node: &Node, valid: &[(&str, bool)], notes: &mut Notes) {
    let Value::Map(fields) = &node.value else { return };
    let mut likely = valid.to_vec();
    likely.sort_by_key(|(name, needed)| {
        let there = fields.iter().any(|(key, _)| key.name == *name);
        (there, !needed)
    });
    let likely: Vec<&str> = likely.into_iter().map(|(name, _)| name).collect();
    let valid: Vec<&str> = valid.iter().map(|(name, _)| *name).collect();
    for (key, _) in fields.iter().filter(|(key, _)| !valid.contains(&key.name.as_str())) {
        let message = format!("{what} has no `{}`", key.name);
        let help = near_name(&key.name, &likely).unwrap_or_else(|| any_of(&valid));
        notes.mistake_with(key.at, message, help);
    }
}

/// A mapping of fixed fields: the type, its reading and its schema from one definition. Every
/// `Option` may be left out; everything else has to be there.
macro_rules! written {
    ($(#[$doc:meta])* struct $name:ident: $what:literal {
        $($(#[$field_doc:meta])* $field:ident = $key:literal: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$field_doc])* #[schemars(rename = $key)] pub(crate) $field: $type,)*
        }
        impl $crate::rules::decode::FromNode for $name {
            fn from_node(
                node: &$crate::rules::yaml::Node,
                notes: &mut $crate::rules::decode::Notes,
            ) -> Option<Self> {
                $crate::rules::decode::map_of($what, node, notes)?;
                $crate::rules::decode::refuse_unknown(
                    $what,
                    node,
                    &[$((
                        $key,
                        <$type as $crate::rules::decode::FromNode>::absent().is_none(),
                    )),*],
                    notes,
                );
                $(let $field = $crate::rules::decode::field($what, node, $key, notes);)*
                Some(Self { $($field: $field?,)* })
            }
        }
    };
}
pub(crate) use written;

/// A word out of a fixed set: the type, its reading and its schema from one definition.
macro_rules! word {
    ($(#[$doc:meta])* enum $name:ident: $what:literal {
        $($(#[$word_doc:meta])* $variant:ident = $word:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, schemars::JsonSchema)]
        pub(crate) enum $name {
            $($(#[$word_doc])* #[schemars(rename = $word)] $variant,)*
        }
        impl $crate::rules::decode::FromNode for $name {
            fn from_node(
                node: &$crate::rules::yaml::Node,
                notes: &mut $crate::rules::decode::Notes,
            ) -> Option<Self> {
                let valid: &[(&str, Self)] = &[$(($word, Self::$variant)),*];
                $crate::rules::decode::one_of($what, node, valid, notes)
            }
        }
    };
}
pub(crate) use word;

/// The value that a word stands for.
pub(crate) fn one_of<T: Copy>(
    what: &str,
    node: &Node,
    valid: &[(&str, T)],
    notes: &mut Notes,
) -> Option<T> {
    let words: Vec<&str> = valid.iter().map(|(word, _)| *word).collect();
    // `off` is plain text in YAML 1.2, yet a file may have come through a tool that made it `false`.
    let written = match &node.value {
        Value::Text(text) => text.as_str(),
        Value::Bool(false) if words.contains(&"off") => "off",
        _ => {
            notes.expected(&format!("{what} ({})", words.join(", ")), node);
            return None;
        }
    };
    let found = valid.iter().find(|(word, _)| *word == written);
    if found.is_none() {
        let message = format!("`{written}` is not {what}");
        notes.mistake_with(node.at, message, did_you_mean(written, &words));
    }
    found.map(|(_, value)| *value)
}

/// One value, or a list of them.
#[derive(Clone, Debug)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<T>);

impl<T: FromNode> FromNode for OneOrMany<T> {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        match node.value {
            Value::List(_) => Vec::from_node(node, notes).map(Self),
            _ => T::from_node(node, notes).map(|one| Self(vec![one])),
        }
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Texts as they are, or a mapping that says more.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged, inline)]
pub(crate) enum TextsOr<M> {
    Texts(OneOrMany<At<String>>),
    Map(M),
}

impl<M: FromNode> FromNode for TextsOr<M> {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        match node.value {
            Value::Map(_) => M::from_node(node, notes).map(Self::Map),
            _ => OneOrMany::from_node(node, notes).map(Self::Texts),
        }
    }
}

/// A span of time: `30s`, `10m`, `2h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromNode for Span {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        let read = match &node.value {
            Value::Text(text) => read_span(text),
            _ => None,
        };
        if read.is_none() {
            let help = "such as 30s, 10m, 2h or 7d; at most 31d";
            notes.mistake_with(node.at, "expected a span of time", help);
        }
        read.map(Self)
    }
}

fn read_span(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let span = number.checked_mul(seconds)?;
    (1..=31 * 86_400).contains(&span).then(|| Duration::from_secs(span))
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A span of time of at most 31 days: 30s, 10m, 2h, 7d.",
            "type": "string",
            "pattern": "^[0-9]+ *[smhd]$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    #[test]
    fn spans_of_time_are_read_with_their_unit() {
        assert_eq!(read_span("30s"), Some(Duration::from_secs(30)));
        assert_eq!(read_span("2h"), Some(Duration::from_hours(2)));
        for bad in ["", "5", "s", "-1s", "1w", "0s", "99999999999999999999d", "60d", "5µ"] {
            assert_eq!(read_span(bad), None, "{bad}");
        }
    }

    #[test]
    fn all_mistakes_of_a_list_are_noted() {
        let mut notes = Notes::default();
        let node = parse("[1, x, 2, y]").unwrap();
        assert_eq!(Vec::<u64>::from_node(&node, &mut notes), Some(vec![1, 2]));
        assert_eq!(notes.mistakes.len(), 2);
    }
}
