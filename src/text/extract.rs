//! What can be read in a message: every string of its elements that a member may see or a sender
//! may hide text in, in the order of the message.
//!
//! Addresses of media (`Url`, `URL`, `VideoUrl`, `ThumbUrl`) are written by Chat, not by people, and
//! are left out; so is the `Sound` of a custom element, a file name of the push service. Field names
//! are those of the provider's page on message formats.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::model::{Element, Origin, Text};

/// The most text taken from one message, in bytes. Chat lets no more than 12 KB through; the rest
/// of a longer text is left unread, so that one body cannot buy minutes of matching.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// How deep merged forwards and unknown elements are followed.
const MAX_DEPTH: usize = 16;

/// How often a JSON string inside a JSON string is opened.
const MAX_NESTED_JSON: usize = 3;

/// The text of a message: all its pieces in order, the custom data last.
///
/// Never fails: what cannot be understood as structure is taken as a plain string, and an element
/// of a type that is not known gives every string it holds.
#[must_use]
pub fn extract(elements: &[Element], cloud_custom_data: &str) -> Text {
    let mut out = Collector { text: Text::default(), index: None };
    for (index, element) in elements.iter().enumerate() {
        out.index = Some(index);
        match (element.msg_type.as_str(), element.content.only_text()) {
            ("TIMTextElem", Some(text)) => out.push("Text", text),
            (kind, _) => element_text(&mut out, "", kind, &element.content.to_value(), 0),
        }
    }
    out.index = None;
    out.json_or_plain("", cloud_custom_data);
    out.text
}

struct Collector {
    text: Text,
    /// The element being read; none for the custom data.
    index: Option<usize>,
}

impl Collector {
    /// Adds a string, cut where the message's share of text is used up.
    fn push(&mut self, path: impl Into<Cow<'static, str>>, text: &str) {
        let room = MAX_TEXT_BYTES.saturating_sub(self.text.as_str().len() + 1);
        let text = &text[..text.floor_char_boundary(room)];
        if text.is_empty() {
            return;
        }
        let path = path.into();
        let origin = match self.index {
            Some(index) => Origin::Element { index, path },
            None => Origin::CloudCustomData { path },
        };
        self.text.push(origin, text);
    }

    /// The string leaves of a text that is a JSON object or array, else the whole text.
    fn json_or_plain(&mut self, path: &str, text: &str) {
        let Some(leaves) = Leaves::of(path, text) else { return self.push(path.to_owned(), text) };
        for (path, leaf) in leaves {
            self.push(path, &leaf);
        }
    }

    /// Every string that a value holds, media addresses aside.
    fn every_string(&mut self, path: &str, value: &Value, depth: usize) {
        match value {
            Value::String(text) => self.json_or_plain(path, text),
            Value::Array(items) if depth < MAX_DEPTH => {
                for (i, item) in items.iter().enumerate() {
                    self.every_string(&format!("{path}[{i}]"), item, depth + 1);
                }
            }
            Value::Object(fields) if depth < MAX_DEPTH => {
                for (name, field) in fields.iter().filter(|(name, _)| !is_media_address(name)) {
                    self.every_string(&join(path, name), field, depth + 1);
                }
            }
            _ => {}
        }
    }
}

fn is_media_address(name: &str) -> bool {
    matches!(name, "Url" | "URL" | "VideoUrl" | "ThumbUrl")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn element_text(out: &mut Collector, path: &str, kind: &str, content: &Value, depth: usize) {
    let fields: &[&str] = match kind {
        "TIMTextElem" => &["Text"],
        "TIMLocationElem" => &["Desc"],
        "TIMFaceElem" => &["Data"],
        "TIMFileElem" => &["FileName"],
        "TIMSoundElem" | "TIMImageElem" | "TIMVideoFileElem" => &[],
        "TIMCustomElem" => {
            for name in ["Data", "Desc", "Ext"] {
                match &content[name] {
                    Value::String(text) => out.json_or_plain(&join(path, name), text),
                    other => out.every_string(&join(path, name), other, depth),
                }
            }
            return;
        }
        "TIMRelayElem" => return relay_text(out, path, content, depth),
        _ => return out.every_string(path, content, depth),
    };
    for name in fields {
        match &content[*name] {
            Value::String(text) => out.push(join(path, name), text),
            other => out.every_string(&join(path, name), other, depth),
        }
    }
}

/// A merged forward: its title, what clients show in its place, and the messages in it where the
/// callback carries them.
fn relay_text(out: &mut Collector, path: &str, content: &Value, depth: usize) {
    for name in ["Title", "CompatibleText", "AbstractList"] {
        out.every_string(&join(path, name), &content[name], depth);
    }
    let Value::Array(messages) = &content["MsgList"] else { return };
    if depth >= MAX_DEPTH {
        return;
    }
    for (m, message) in messages.iter().enumerate() {
        let at = join(path, &format!("MsgList[{m}]"));
        if let Value::Array(body) = &message["MsgBody"] {
            for (e, element) in body.iter().enumerate() {
                let kind = element["MsgType"].as_str().unwrap_or_default();
                let at = format!("{at}.MsgBody[{e}]");
                element_text(out, &at, kind, &element["MsgContent"], depth + 1);
            }
        }
        if let Value::String(custom) = &message["CloudCustomData"] {
            out.json_or_plain(&join(&at, "CloudCustomData"), custom);
        }
    }
}

/// The strings of a JSON text in the order of the text, which a parsed [`Value`] does not keep.
struct Leaves {
    found: Vec<(String, String)>,
    bytes: usize,
}

impl Leaves {
    /// Nothing where the text is no JSON object or array.
    fn of(path: &str, text: &str) -> Option<Vec<(String, String)>> {
        let mut leaves = Self { found: Vec::new(), bytes: 0 };
        leaves.open(path, text, MAX_NESTED_JSON).then_some(leaves.found)
    }

    /// Reads a text as a JSON object or array; false, with nothing added, where it is neither.
    fn open(&mut self, path: &str, text: &str, nesting: usize) -> bool {
        let before = self.found.len();
        if nesting == 0 || !text.trim_start().starts_with(['{', '[']) {
            return false;
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let read = LeafSeed { leaves: self, path, nesting: nesting - 1 }.deserialize(&mut json);
        let whole = read.is_ok() && json.end().is_ok();
        if !whole {
            self.found.truncate(before);
        }
        whole
    }

    fn add(&mut self, path: &str, text: &str, nesting: usize) {
        if self.bytes > MAX_TEXT_BYTES || self.open(path, text, nesting) {
            return;
        }
        self.bytes += text.len();
        self.found.push((path.to_owned(), text.to_owned()));
    }
}

struct LeafSeed<'a> {
    leaves: &'a mut Leaves,
    path: &'a str,
    nesting: usize,
}

impl<'de> DeserializeSeed<'de> for LeafSeed<'_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for LeafSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.leaves.add(self.path, text, self.nesting);
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for i in 0.. {
            let path = format!("{}[{i}]", self.path);
            let seed = LeafSeed { leaves: self.leaves, path: &path, nesting: self.nesting };
            if items.next_element_seed(seed)?.is_none() {
                break;
            }
        }
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            let path = join(self.path, &name);
            let seed = LeafSeed { leaves: self.leaves, path: &path, nesting: self.nesting };
            fields.next_value_seed(seed)?;
        }
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(elements: &Value, custom: &str, expected: &[&str]) {
        let elements: Vec<Element> = serde_json::from_value(elements.clone()).unwrap();
        let text = extract(&elements, custom);
        let got: Vec<_> = (text.pieces().iter())
            .map(|p| format!("{}={}", p.origin, &text.as_str()[p.start..p.end]))
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn every_known_element_gives_its_text_and_no_address() {
        check(
            &json!([
                {"MsgType": "TIMTextElem", "MsgContent": {"Text": "one"}},
                {"MsgType": "TIMLocationElem", "MsgContent": {"Desc": "two", "Latitude": 1.5}},
                {"MsgType": "TIMFaceElem", "MsgContent": {"Index": 1, "Data": "three"}},
                {"MsgType": "TIMFileElem", "MsgContent": {"FileName": "four.apk", "Url": "https://x"}},
                {"MsgType": "TIMImageElem", "MsgContent": {"ImageInfoArray": [{"URL": "https://x"}]}},
                {"MsgType": "TIMVideoFileElem", "MsgContent": {"VideoUrl": "https://x"}},
            ]),
            "five",
            &[
                "MsgBody[0].Text=one",
                "MsgBody[1].Desc=two",
                "MsgBody[2].Data=three",
                "MsgBody[3].FileName=four.apk",
                "CloudCustomData=five",
            ],
        );
    }

    #[test]
    fn json_in_a_custom_element_is_read_in_its_own_order() {
        check(
            &json!([{"MsgType": "TIMCustomElem", "MsgContent": {
                "Data": r#"{"title":"z","a":["y",{"b":"x"}],"n":1,"deep":"{\"in\":\"w\"}"}"#,
                "Desc": "d", "Ext": "{not json", "Sound": "dingdong.aiff"}}]),
            r#"{"quote":{"text":"q"}}"#,
            &[
                "MsgBody[0].Data.title=z",
                "MsgBody[0].Data.a[0]=y",
                "MsgBody[0].Data.a[1].b=x",
                "MsgBody[0].Data.deep.in=w",
                "MsgBody[0].Desc=d",
                "MsgBody[0].Ext={not json",
                "CloudCustomData.quote.text=q",
            ],
        );
    }

    #[test]
    fn a_merged_forward_is_read_to_its_innermost_message() {
        check(
            &json!([{"MsgType": "TIMRelayElem", "MsgContent": {
                "Title": "t", "CompatibleText": "c", "AbstractList": ["a"],
                "MsgList": [{"MsgBody": [
                    {"MsgType": "TIMTextElem", "MsgContent": {"Text": "inner"}},
                    {"MsgType": "TIMRelayElem", "MsgContent": {"Title": "t2"}}],
                    "CloudCustomData": "quoted"}]}}]),
            "",
            &[
                "MsgBody[0].Title=t",
                "MsgBody[0].CompatibleText=c",
                "MsgBody[0].AbstractList[0]=a",
                "MsgBody[0].MsgList[0].MsgBody[0].Text=inner",
                "MsgBody[0].MsgList[0].MsgBody[1].Title=t2",
                "MsgBody[0].MsgList[0].CloudCustomData=quoted",
            ],
        );
    }

    #[test]
    fn an_unknown_element_gives_every_string() {
        check(
            &json!([{"MsgType": "TIMNewElem", "MsgContent": {"A": {"B": ["x"]}, "Url": "https://x"}}]),
            "",
            &["MsgBody[0].A.B[0]=x"],
        );
    }

    #[test]
    fn a_huge_or_deeply_nested_text_is_cut_and_harms_nothing() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let elements = [
            Element { msg_type: "TIMCustomElem".into(), content: json!({"Data": deep}).into() },
            Element {
                msg_type: "TIMTextElem".into(),
                content: json!({"Text": "字".repeat(40_000)}).into(),
            },
        ];
        assert!(extract(&elements, "x").as_str().len() <= MAX_TEXT_BYTES);
        let mut relay = json!({"MsgType": "TIMTextElem", "MsgContent": {"Text": "x"}});
        for _ in 0..200 {
            relay = json!({"MsgType": "TIMRelayElem", "MsgContent": {"MsgList": [{"MsgBody": [relay]}]}});
        }
        let element = Element {
            msg_type: "TIMRelayElem".into(),
            content: relay["MsgContent"].clone().into(),
        };
        assert!(extract(&[element], "").is_empty());
    }
}
