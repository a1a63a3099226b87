//! Words of the provider's that nearly every message brings.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// Those that come again and again: types of elements and groups, and platforms.
const KNOWN: [&str; 27] = [
    "TIMTextElem",
    "Public",
    "Community",
    "AVChatRoom",
    "ChatRoom",
    "Private",
    "Meeting",
    "Work",
    "Live",
    "Android",
    "iOS",
    "Web",
    "Windows",
    "Mac",
    "macOS",
    "iPad",
    "RESTAPI",
    "Unknown",
    "TIMCustomElem",
    "TIMImageElem",
    "TIMFaceElem",
    "TIMFileElem",
    "TIMSoundElem",
    "TIMVideoFileElem",
    "TIMLocationElem",
    "TIMRelayElem",
    "",
];

/// A word that may be any, and nearly always is one of a few: those take no memory.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Word(Cow<'static, str>);

impl Word {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        let known = KNOWN.into_iter().find(|known| *known == text);
        Self(known.map_or_else(|| Cow::Owned(text.to_owned()), Cow::Borrowed))
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = Word;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<Word, E> {
                Ok(text.into())
            }
        }
        deserializer.deserialize_str(Words)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_or_not_it_reads_as_it_was_written() {
        for text in ["TIMTextElem", "TIMNewElem", "", "iOS", "ios", "字"] {
            let json = serde_json::to_string(text).unwrap();
            let word: Word = serde_json::from_str(&json).unwrap();
            assert_eq!((word.as_str(), serde_json::to_string(&word).unwrap()), (text, json));
            assert_eq!(word, Word(Cow::Owned(text.to_owned())));
        }
        assert_eq!(
            serde_json::from_str::<Word>(r#""TIMText\u0045lem""#).unwrap().as_str(),
            "TIMTextElem"
        );
        for other in ["7", "null", "[]"] {
            assert!(serde_json::from_str::<Word>(other).is_err(), "{other}");
        }
    }

    #[test]
    fn no_known_word_stands_twice() {
        let distinct: std::collections::HashSet<_> = KNOWN.iter().collect();
        assert_eq!(distinct.len(), KNOWN.len());
    }
}
