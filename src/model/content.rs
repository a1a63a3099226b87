//! What an element of a message holds.

use std::borrow::Cow;
use std::fmt;
use std::ops::Index;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

const TEXT: &str = "Text";

/// Any JSON. Nearly every message has one text and nothing else, so an object that holds just that is
/// kept as the text alone: a map would take more memory than the rest of the message.
#[derive(Clone, PartialEq)]
pub struct Content(Kept);

#[derive(Clone, PartialEq)]
enum Kept {
    /// The string of an object with no other field than `Text`; every such object is kept so.
    Text(Value),
    Other(Value),
}

impl Content {
    /// The text, where there is nothing beside it.
    #[must_use]
    pub fn only_text(&self) -> Option<&str> {
        match &self.0 {
            Kept::Text(text) => text.as_str(),
            Kept::Other(_) => None,
        }
    }

    /// All of it as JSON.
    #[must_use]
    pub fn to_value(&self) -> Cow<'_, Value> {
        match &self.0 {
            Kept::Text(text) => {
                Cow::Owned(Map::from_iter([(TEXT.to_owned(), text.clone())]).into())
            }
            Kept::Other(value) => Cow::Borrowed(value),
        }
    }
}

/// A field; null where there is none.
impl Index<&str> for Content {
    type Output = Value;
    fn index(&self, name: &str) -> &Value {
        match &self.0 {
            Kept::Text(text) if name == TEXT => text,
            Kept::Text(_) => &Value::Null,
            Kept::Other(value) => &value[name],
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self(Kept::Other(Value::Null))
    }
}

impl From<Value> for Content {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(mut fields)
                if fields.len() == 1 && fields.get(TEXT).is_some_and(Value::is_string) =>
            {
                Self(Kept::Text(fields.remove(TEXT).unwrap_or_default()))
            }
            other => Self(Kept::Other(other)),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_value().fmt(f)
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Kept::Text(text) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(TEXT, text)?;
                map.end()
            }
            Kept::Other(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Contents)
    }
}

/// Reads what [`Value`] reads, and makes no map where it holds nothing but a text.
struct Contents;

impl<'de> Visitor<'de> for Contents {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Content, A::Error> {
        match fields.next_key_seed(Name)? {
            Some(None) => {}
            Some(first) => {
                let fields = Again { first, rest: fields };
                return Value::deserialize(MapAccessDeserializer::new(fields)).map(Content::from);
            }
            None => return Ok(Value::Object(Map::new()).into()),
        }
        let text: Value = fields.next_value()?;
        let Some(mut name) = fields.next_key::<String>()? else {
            return Ok(match text {
                Value::String(_) => Content(Kept::Text(text)),
                other => Value::Object(Map::from_iter([(TEXT.to_owned(), other)])).into(),
            });
        };
        let mut all = Map::from_iter([(TEXT.to_owned(), text)]);
        loop {
            all.insert(name, fields.next_value()?);
            let Some(next) = fields.next_key()? else { return Ok(Value::Object(all).into()) };
            name = next;
        }
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Content, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(items)).map(Content::from)
    }
    fn visit_str<E>(self, text: &str) -> Result<Content, E> {
        Ok(Value::from(text).into())
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Content, E> {
        Ok(Value::from(flag).into())
    }
    fn visit_i64<E>(self, number: i64) -> Result<Content, E> {
        Ok(Value::from(number).into())
    }
    fn visit_u64<E>(self, number: u64) -> Result<Content, E> {
        Ok(Value::from(number).into())
    }
    fn visit_f64<E>(self, number: f64) -> Result<Content, E> {
        Ok(Value::from(number).into())
    }
    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::default())
    }
}

/// A field's name; nothing for `Text`, which is not worth a copy.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<String>;
    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Self::Value, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<String>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string key")
    }
    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok((name != TEXT).then(|| name.to_owned()))
    }
}

/// Fields of which the first name was read already.
struct Again<A> {
    first: Option<String>,
    rest: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Again<A> {
    type Error = A::Error;
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(name) => {
                let name: StringDeserializer<A::Error> = name.into_deserializer();
                seed.deserialize(name).map(Some)
            }
            None => self.rest.next_key_seed(seed),
        }
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.rest.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_and_written_like_any_json() {
        let table = [
            (r#"{"Text":"a"}"#, true),
            (r#"{"Te\u0078t":"\u0061"}"#, true),
            (r#"{"Text":""}"#, true),
            (r#"{"Text":1,"Text":"b"}"#, true),
            (r#"{"Text":"a","Text":2}"#, false),
            (r#"{"Text":"a","More":1}"#, false),
            (r#"{"More":1,"Text":"a"}"#, false),
            (r#"{"Text":{"Text":"a"}}"#, false),
            (r#"{"Text":null}"#, false),
            (r#"{"text":"a"}"#, false),
            (r#"{"$serde_json::private::RawValue":"{\"Text\":\"a\"}"}"#, true),
            (r#"[{"Text":"a"}]"#, false),
            ("{}", false),
            ("[]", false),
            (r#""Text""#, false),
            ("null", false),
            ("true", false),
            ("-1", false),
            ("18446744073709551615", false),
            ("1.5", false),
        ];
        for (json, is_text) in table {
            let value: Value = serde_json::from_str(json).unwrap();
            let read: Content = serde_json::from_str(json).unwrap();
            assert_eq!(read, Content::from(value.clone()), "{json}");
            assert_eq!(read, serde_json::from_value(value.clone()).unwrap(), "{json}");
            assert_eq!(*read.to_value(), value, "{json}");
            assert_eq!(serde_json::to_string(&read).unwrap(), value.to_string());
            assert_eq!(format!("{read:?}"), format!("{value:?}"));
            assert_eq!(read.only_text().is_some(), is_text, "{json}");
            assert_eq!(read.only_text(), value["Text"].as_str().filter(|_| is_text));
            assert_eq!((&read["Text"], &read["More"]), (&value["Text"], &value["More"]));
        }
        for broken in [r#"{"Text":"a""#, r#"{"Text"}"#, r#"{"Text":"a",}"#, r"{1:2}", "", "[1"] {
            assert!(serde_json::from_str::<Content>(broken).is_err(), "{broken}");
        }
    }
}
