//! Identifiers. Each is a type of its own, so that a sender can never stand where a group belongs.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A sequence number within one conversation: unsigned 32-bit at the provider, widened so that
/// arithmetic around the edges cannot wrap.
pub type MsgSeq = u64;

/// The application id that Chat sends as `SdkAppid` and expects as `sdkappid`.
pub type AppId = u64;

/// A row of the recall queue.
pub type JobId = i64;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
        // Nothing where it is empty, as most topics are: that takes no memory.
        pub struct $name(Option<Arc<str>>);

        impl $name {
            /// The id as the provider or the rules file wrote it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_deref().unwrap_or_default()
            }
            /// Whether there is nothing in it.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_none()
            }
        }
        // As the text itself: the share of messages that a rule is rolled out to depends on it.
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self((!text.is_empty()).then(|| text.into()))
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self((!text.is_empty()).then(|| text.into()))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

text_id!(
    /// A group (`GroupId`), up to 48 bytes of printable ASCII: spaces and quotes are possible.
    GroupId
);
text_id!(
    /// A topic of a community (`TopicId`); empty where the message is in no topic.
    TopicId
);
text_id!(
    /// An account (`From_Account`, `Operator_Account`).
    UserId
);
text_id!(
    /// The id of a rule: what it finds, such as `contact-bait`.
    RuleId
);
text_id!(
    /// The version of a rule set: a digest over the rules file and every list it reads.
    RulesVersion
);

/// What identifies a message within the application: the provider counts sequences for each
/// group and topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey {
    pub group_id: GroupId,
    pub topic_id: TopicId,
    pub msg_seq: MsgSeq,
}

impl fmt::Display for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.topic_id.is_empty() {
            write!(f, "{}/{}", self.group_id, self.msg_seq)
        } else {
            write!(f, "{}/{}/{}", self.group_id, self.topic_id, self.msg_seq)
        }
    }
}
