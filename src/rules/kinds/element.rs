//! `element`: what a message is made of.
//!
//! ```yaml
//! element: { type: [file, video], larger_than: 20MB }
//! element: { extension: [apk, exe] }
//! element: { type: image, more_than: 5 }
//! ```
//!
//! A text judged on its own counts as a message of one text element.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::model::{Content, Element, Message};
use crate::rules::decode::{FromNode, Notes, OneOrMany, word, written};
use crate::rules::yaml::{Node, Value};

written! {
    /// Which elements are meant; everything given has to agree.
    struct Written: "an element matcher" {
        /// What the element is.
        kinds = "type": Option<OneOrMany<Type>>,
        /// How the file's name ends, without the dot.
        extensions = "extension": Option<OneOrMany<String>>,
        /// The size in bytes that the element exceeds: 500KB, 20MB.
        larger_than = "larger_than": Option<Size>,
        /// How many such elements the message exceeds. Default: 0.
        more_than = "more_than": Option<u64>,
    }
}

word! {
    /// What an element is.
    enum Type: "a type of element" {
        Text = "text",
        Image = "image",
        File = "file",
        Video = "video",
        Sound = "sound",
        Face = "face",
        Location = "location",
        Custom = "custom",
        /// A merged forward.
        Relay = "relay",
    }
}

impl Type {
    fn of(element: &Element) -> Option<Self> {
        Some(match element.msg_type.as_str() {
            "TIMTextElem" => Self::Text,
            "TIMImageElem" => Self::Image,
            "TIMFileElem" => Self::File,
            "TIMVideoFileElem" => Self::Video,
            "TIMSoundElem" => Self::Sound,
            "TIMFaceElem" => Self::Face,
            "TIMLocationElem" => Self::Location,
            "TIMCustomElem" => Self::Custom,
            "TIMRelayElem" => Self::Relay,
            _ => return None,
        })
    }
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(u64);

impl FromNode for Size {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        let size = match &node.value {
            Value::Int(bytes) => u64::try_from(*bytes).ok(),
            Value::Text(text) => read_size(text),
            _ => None,
        };
        if size.is_none() {
            notes.mistake_with(node.at, "expected a size", "such as 500KB or 20MB");
        }
        size.map(Self)
    }
}

fn read_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = match text[digits..].trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A size: 500KB, 20MB, or a number of bytes.",
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+ *[KMG]?B?$"}],
        })
    }
}

impl Written {
    /// Why no element can be meant, where none can.
    pub(crate) fn never(&self) -> Option<&'static str> {
        let kinds = &self.kinds.as_ref()?.0;
        let only = |without: &[Type]| kinds.iter().all(|kind| without.contains(kind));
        let nameless = [Type::Text, Type::Image, Type::Sound, Type::Face, Type::Location];
        if self.extensions.is_some() && only(&nameless) {
            return Some("only files and videos have an `extension`");
        }
        let weightless = [Type::Text, Type::Face, Type::Location];
        (self.larger_than.is_some() && only(&weightless))
            .then_some("elements of this type have no size")
    }

    /// Whether a message, or a text on its own, has enough of such elements.
    pub(crate) fn holds(&self, message: Option<&Message>) -> bool {
        let text = || Element { msg_type: "TIMTextElem".into(), content: Content::default() };
        let count = message.map_or_else(
            || usize::from(self.means(&text())),
            |message| message.elements.iter().filter(|element| self.means(element)).count(),
        );
        count as u64 > self.more_than.unwrap_or(0)
    }

    fn means(&self, element: &Element) -> bool {
        let kind = Type::of(element);
        let content = &element.content;
        let text = |name: &str| content[name].as_str().unwrap_or_default();
        self.kinds.as_ref().is_none_or(|kinds| kinds.0.iter().any(|k| Some(*k) == kind))
            && self.extensions.as_ref().is_none_or(|wanted| {
                let name = text("FileName").trim().to_lowercase();
                let ending =
                    if name.is_empty() { text("VideoFormat").to_lowercase() } else { name };
                let ending = ending.rsplit('.').next().unwrap_or_default();
                wanted
                    .0
                    .iter()
                    .any(|want| want.trim_start_matches('.').eq_ignore_ascii_case(ending))
            })
            && self.larger_than.is_none_or(|limit| size_of(element) > limit.0)
    }
}

/// The size that Chat names for an element, whichever field it is in.
fn size_of(element: &Element) -> u64 {
    let number = |value: &serde_json::Value| {
        value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
    };
    let content = &element.content;
    let images = content["ImageInfoArray"].as_array().into_iter().flatten();
    let images = images.filter_map(|image| number(&image["Size"]));
    let fields = ["FileSize", "VideoSize", "Size"];
    fields.iter().filter_map(|name| number(&content[*name])).chain(images).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::yaml::parse;

    fn means(yaml: &str, kind: &str, content: serde_json::Value) -> bool {
        let mut notes = Notes::default();
        let written = Written::from_node(&parse(yaml).unwrap(), &mut notes).unwrap();
        assert!(notes.mistakes.is_empty(), "{notes:?}");
        written.means(&Element { msg_type: kind.into(), content: content.into() })
    }

    #[test]
    fn type_extension_and_size_have_to_agree() {
        let apk = || json!({"FileName": "Free.Coins.APK", "FileSize": 3_000_000});
        assert!(means("{extension: apk}", "TIMFileElem", apk()));
        assert!(means("{type: file, larger_than: 2MB}", "TIMFileElem", apk()));
        assert!(!means("{type: file, larger_than: 3MB}", "TIMFileElem", apk()));
        assert!(!means("{type: image}", "TIMFileElem", apk()));
        assert!(means(
            "{larger_than: 10}",
            "TIMImageElem",
            json!({"ImageInfoArray": [{"Size": 11}]})
        ));
    }
}
