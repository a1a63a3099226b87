//! A group message as quell sees it: what the callback or the history said, parsed once.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Content, MessageKey, Text, Timestamp, UserId, Word};

/// A group's type as the provider writes it. Open, since new ones appear (`Live`) and old ones have
/// two names: `Private` is Work, `ChatRoom` is Meeting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupType(pub Word);

impl GroupType {
    /// Whether the provider keeps no messages of such a group: nothing can be pulled from history,
    /// and a recall works for one hour only.
    #[must_use]
    pub fn is_av_chat_room(&self) -> bool {
        self.0.as_str() == "AVChatRoom"
    }
}

impl fmt::Display for GroupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How quell learnt of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Callback,
    History,
}

/// One element of `MsgBody`, content untouched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Element {
    #[serde(rename = "MsgType", default)]
    pub msg_type: Word,
    #[serde(rename = "MsgContent", default)]
    pub content: Content,
}

/// Who was called by `@` in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    pub everyone: bool,
    pub accounts: Vec<UserId>,
}

/// A message of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub key: MessageKey,
    pub group_type: GroupType,
    pub sender: UserId,
    /// Who made the request; differs from the sender where an administrator sends over REST.
    pub operator: UserId,
    /// `EventTime` where it lies within a minute of `MsgTime`, else `MsgTime`.
    pub sent_at: Timestamp,
    pub received_at: Timestamp,
    pub source: Source,
    /// Delivered to members online and kept nowhere, so it cannot be recalled.
    pub online_only: bool,
    /// `OptPlatform` of the callback; empty where nothing was said.
    pub platform: Word,
    pub mentions: Mentions,
    pub elements: Vec<Element>,
    pub cloud_custom_data: String,
    /// Extracted from the elements and from the custom data.
    pub text: Text,
    /// Digest over sender, time, elements and custom data as parsed: the same for a repeated
    /// callback however it is written, another for other content under the same key.
    pub content_hash: [u8; 16],
}
