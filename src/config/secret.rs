//! Secrets: values that are used and never shown.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const HIDDEN: &str = "***";

/// One secret, or none. Prints as `***`.
#[derive(Clone, Default)]
pub struct Secret(Option<SecretString>);

impl Secret {
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }
    /// The value, still wrapped.
    #[must_use]
    pub fn get(&self) -> Option<&SecretString> {
        self.0.as_ref()
    }
}

impl From<&str> for Secret {
    /// The empty string stands for no secret.
    fn from(value: &str) -> Self {
        Self((!value.is_empty()).then(|| value.into()))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let text = |secret: &Self| secret.0.as_ref().map(|value| value.expose_secret().to_owned());
        text(self) == text(other)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { HIDDEN } else { "" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_set() { HIDDEN } else { "" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| text.as_str().into())
    }
}

/// Any number of secrets, written as one string or as a list of strings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The values, still wrapped.
    pub fn iter(&self) -> impl Iterator<Item = &SecretString> {
        self.0.iter().filter_map(Secret::get)
    }
}

impl<'a> FromIterator<&'a str> for Secrets {
    fn from_iter<I: IntoIterator<Item = &'a str>>(values: I) -> Self {
        Self(values.into_iter().map(Secret::from).filter(Secret::is_set).collect())
    }
}

impl Serialize for Secrets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> de::Visitor<'de> for OneOrMany {
            type Value = Secrets;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E>(self, text: &str) -> Result<Secrets, E> {
                Ok(std::iter::once(text).collect())
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Secrets, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element::<Secret>()? {
                    values.push(value);
                }
                values.retain(Secret::is_set);
                Ok(Secrets(values))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}
