//! A YAML text as a tree in which every value knows where it stands, so that each mistake can be
//! shown at its place and all of them at once.
//!
//! Only what a rules file needs: one document, string keys, scalars resolved by the YAML 1.2 core
//! schema, aliases copied. Tags and merge keys are refused. The size of the tree is bounded, so that
//! nested aliases cannot fill the memory.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span};

/// The most values in one file. A list of 100,000 phrases written inline fits.
const MAX_NODES: usize = 1_000_000;
/// A text that an alias copies counts as one more value for so many of its bytes.
const COPIED_BYTES: usize = 64;
const MAX_DEPTH: usize = 64;

/// Where a value stands: 1-based line and column, and how many characters of the line it fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) width: usize,
}

impl Place {
    fn of(span: Span) -> Self {
        let on_one_line = span.start.line() == span.end.line();
        let width = if on_one_line { span.end.col().saturating_sub(span.start.col()) } else { 1 };
        Self { width: width.max(1), ..Self::at(span.start) }
    }
    fn at(mark: Marker) -> Self {
        Self { line: mark.line(), column: mark.col() + 1, width: 1 }
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// The text, and whether it was quoted.
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) at: Place,
}

impl Node {
    /// How many values there are in it, long texts counting more.
    fn weight(&self) -> usize {
        1 + match &self.value {
            Value::Text(text) => text.len() / COPIED_BYTES,
            Value::List(items) => items.iter().map(Self::weight).sum(),
            Value::Map(fields) => {
                let field =
                    |(key, node): &(Key, Self)| key.name.len() / COPIED_BYTES + node.weight();
                fields.iter().map(field).sum()
            }
            _ => 0,
        }
    }

    /// What the value is, for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a yes/no value",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// Why a text is no YAML, or not YAML of the kind read here.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) at: Place,
    pub(crate) message: String,
}

/// Reads one document. An empty text is `Null`.
pub(crate) fn parse(yaml: &str) -> Result<Node, Broken> {
    let mut reader =
        Reader { events: Parser::new_from_str(yaml), anchors: HashMap::new(), nodes: 0 };
    let mut root = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            _ if root.is_some() => return Err(broken(span, "a second document: one is read")),
            event => root = Some(reader.node(event, span, 0)?),
        }
    }
    Ok(root.unwrap_or(Node { value: Value::Null, at: Place { line: 1, column: 1, width: 1 } }))
}

fn broken(span: Span, message: &str) -> Broken {
    Broken { at: Place::of(span), message: message.to_owned() }
}

struct Reader<'a> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Broken> {
        match self.events.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Broken {
                at: Place::at(*error.marker()),
                message: format!("not valid YAML: {}", error.info()),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The value that an event begins.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Broken> {
        if depth > MAX_DEPTH {
            return Err(broken(span, "nested too deeply"));
        }
        self.count(1, span)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), span)?;
                (scalar(text, style), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_tag(tag.is_some(), span)?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_tag(tag.is_some(), span)?;
                (self.map(depth)?, anchor)
            }
            Event::Alias(id) => {
                let known = self.anchors.get(&id).map(|(_, weight)| *weight);
                let incomplete = "an alias to a value that is not complete here";
                self.count(known.ok_or_else(|| broken(span, incomplete))?, span)?;
                let (node, _) = &self.anchors[&id];
                return Ok(Node { at: Place::of(span), ..node.clone() });
            }
            _ => return Err(broken(span, "a value is missing")),
        };
        let node = Node { value, at: Place::of(span) };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), node.weight()));
        }
        Ok(node)
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Broken> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(broken(span, "the file holds more than a million values"));
        }
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<Value, Broken> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Broken> {
        let mut fields: Vec<(Key, Node)> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Value::Map(fields));
            }
            let Event::Scalar(name, ..) = event else {
                return Err(broken(span, "a key has to be plain text"));
            };
            let at = Place::of(span);
            if let Some(line) = seen.insert(name.to_string(), at.line) {
                let message = format!("`{name}` is given twice, first in line {line}");
                return Err(Broken { at, message });
            }
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            fields.push((Key { name: name.into_owned(), at }, node));
        }
    }
}

fn refuse_tag(tagged: bool, span: Span) -> Result<(), Broken> {
    if tagged { Err(broken(span, "tags have no meaning here")) } else { Ok(()) }
}

/// The YAML 1.2 core schema: `yes` and `on` are text, `true` is not.
fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.into_owned());
    }
    match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['-', '+']);
    if digits.starts_with(|c: char| c.is_ascii_digit()) {
        if let Ok(number) = text.parse() {
            return Value::Int(number);
        }
        if digits.chars().all(|c| matches!(c, '0'..='9' | '.' | 'e' | 'E' | '-' | '+'))
            && let Ok(number) = text.parse()
        {
            return Value::Float(number);
        }
    }
    Value::Text(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let root = parse("a: 1\nb:\n  - x\n  - 'y'\n").unwrap();
        let Value::Map(fields) = root.value else { panic!("a mapping") };
        assert_eq!(fields[0].1.at, Place { line: 1, column: 4, width: 1 });
        let Value::List(items) = &fields[1].1.value else { panic!("a list") };
        assert_eq!(items[1].at, Place { line: 4, column: 5, width: 3 });
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        for (yaml, line, word) in [
            ("a: [1, 2\nb: 3", 2, "YAML"),
            ("a: 1\na: 2", 2, "twice"),
            ("a: !x 1", 1, "tags"),
            ("--- 1\n--- 2", 2, "second"),
        ] {
            let broken = parse(yaml).unwrap_err();
            assert_eq!(broken.at.line, line, "{yaml}: {broken:?}");
            assert!(broken.message.contains(word), "{yaml}: {broken:?}");
        }
    }

    #[test]
    fn nested_aliases_cannot_fill_the_memory() {
        let line = |i: usize| {
            let list = vec![format!("*a{}", i - 1); 10].join(",");
            format!("a{i}: &a{i} [{list}]\n")
        };
        let lines: String = (1..20).map(line).collect::<Vec<_>>().concat();
        let yaml = format!("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n{lines}");
        assert!(parse(&yaml).unwrap_err().message.contains("million"));
        // Neither can copies of one long text.
        let long = |copies: usize| {
            let text = "x".repeat(100_000);
            parse(&format!("a: &a {text}\nb: [{}]\n", vec!["*a"; copies].join(",")))
        };
        assert!(long(100).is_ok());
        assert!(long(1_000).unwrap_err().message.contains("million"));
    }
}
