//! Identifiers. Each is a type of its own, so that a sender can never stand where a group belongs.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as the provider or the rules file wrote it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
            /// Whether there is nothing in it.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }
        impl Default for $name {
            fn default() -> Self {
                Self("".into())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
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
