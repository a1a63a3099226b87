//! The body of a message callback: its fields, and the message that they make.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use super::{AFTER_SEND_MSG, MAX_MSG_SEQ, Unreadable, digest};
use crate::model::{
    Element, GroupType, Mentions, Message, MessageKey, MsgSeq, Source, Timestamp, UserId,
};
use crate::text;

/// `EventTime` has milliseconds, `MsgTime` is the truth; farther apart than this, one of them lies.
const EVENT_TIME_TOLERANCE_MS: u64 = 60_000;

/// The fields of a message callback as they stand in the body (page `after-msg`).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fields<'a> {
    #[serde(rename = "CallbackCommand", borrow)]
    pub(crate) command: Cow<'a, str>,
    #[serde(rename = "GroupId", borrow)]
    pub(crate) group_id: Cow<'a, str>,
    #[serde(rename = "TopicId", borrow)]
    pub(crate) topic_id: Cow<'a, str>,
    #[serde(rename = "Type", borrow)]
    pub(crate) group_type: Cow<'a, str>,
    #[serde(rename = "From_Account", borrow)]
    pub(crate) sender: Cow<'a, str>,
    #[serde(rename = "Operator_Account", borrow)]
    pub(crate) operator: Cow<'a, str>,
    #[serde(rename = "MsgSeq")]
    pub(crate) msg_seq: Integer,
    #[serde(rename = "MsgTime")]
    pub(crate) msg_time: Integer,
    #[serde(rename = "EventTime")]
    pub(crate) event_time: Integer,
    #[serde(rename = "OnlineOnlyFlag")]
    pub(crate) online_only: Flag,
    #[serde(rename = "MsgBody")]
    pub(crate) elements: Vec<Element>,
    #[serde(rename = "CloudCustomData")]
    pub(crate) cloud_custom_data: String,
    #[serde(rename = "GroupAtInfo", borrow)]
    pub(crate) mentioned: Vec<Mentioned<'a>>,
}

/// One entry of `GroupAtInfo`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Mentioned<'a> {
    #[serde(rename = "GroupAtAllFlag")]
    pub(crate) everyone: Flag,
    #[serde(rename = "GroupAt_Account", borrow)]
    pub(crate) account: Cow<'a, str>,
}

/// An integer that some senders write as a string; `None` where it is missing or makes no sense.
///
/// `true` is none: taken for a sequence, it would have another message recalled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Integer(pub(crate) Option<i64>);

/// A yes or no, written as 1 and 0 or as `true` and `false`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

impl Fields<'_> {
    pub(super) fn into_message(
        self,
        platform: &str,
        received_at: Timestamp,
    ) -> Result<Message, Unreadable> {
        if self.command.is_empty() {
            return Err(Unreadable::Field("CallbackCommand"));
        }
        if self.command != AFTER_SEND_MSG {
            return Err(Unreadable::OtherCommand);
        }
        self.build(Source::Callback, platform, received_at)
    }

    /// The message, wherever its fields come from.
    pub(crate) fn build(
        self,
        source: Source,
        platform: &str,
        received_at: Timestamp,
    ) -> Result<Message, Unreadable> {
        if self.group_id.is_empty() {
            return Err(Unreadable::Field("GroupId"));
        }
        let msg_seq = msg_seq(self.msg_seq.0.ok_or(Unreadable::Field("MsgSeq"))?)?;
        let sent_at = self.sent_at(received_at);
        let content_hash =
            digest::of(&self.sender, self.msg_time.0, &self.elements, &self.cloud_custom_data);
        let text = text::extract(&self.elements, &self.cloud_custom_data);
        let sender = UserId::from(&*self.sender);
        let same = self.operator == self.sender;
        let operator = if same { sender.clone() } else { UserId::from(&*self.operator) };
        Ok(Message {
            key: MessageKey {
                group_id: (&*self.group_id).into(),
                topic_id: (&*self.topic_id).into(),
                msg_seq,
            },
            group_type: GroupType((&*self.group_type).into()),
            sender,
            operator,
            sent_at,
            received_at,
            source,
            online_only: self.online_only.0,
            platform: platform.into(),
            mentions: mentions(&self.mentioned),
            elements: self.elements,
            cloud_custom_data: self.cloud_custom_data,
            text,
            content_hash,
        })
    }

    fn sent_at(&self, received_at: Timestamp) -> Timestamp {
        let Some(seconds) = self.msg_time.0 else { return received_at };
        let sent_at = Timestamp::from_secs(seconds);
        match self.event_time.0 {
            Some(ms) if ms.abs_diff(sent_at.millis()) <= EVENT_TIME_TOLERANCE_MS => Timestamp(ms),
            _ => sent_at,
        }
    }
}

/// 0 to `u32::MAX`, as the provider documents it. No group was ever seen to begin below 1; should one, its
/// message is recorded like any other.
pub(super) fn msg_seq(seq: i64) -> Result<MsgSeq, Unreadable> {
    let seq = MsgSeq::try_from(seq).ok().filter(|seq| *seq <= MAX_MSG_SEQ);
    seq.ok_or(Unreadable::Range("MsgSeq"))
}

fn mentions(mentioned: &[Mentioned<'_>]) -> Mentions {
    let mut mentions = Mentions::default();
    for entry in mentioned {
        mentions.everyone |= entry.everyone.0;
        if !entry.account.is_empty() {
            mentions.accounts.push(UserId::from(&*entry.account));
        }
    }
    mentions
}

impl Integer {
    pub(super) fn from_text(text: &str) -> Self {
        Self(text.trim().parse().ok())
    }
    pub(super) fn from_float(number: f64) -> Self {
        // Every integer that a double holds exactly; beyond, two numbers could look like one.
        #[expect(clippy::cast_possible_truncation, reason = "whole and within range by the guard")]
        let whole =
            |n: f64| (n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0).then_some(n as i64);
        Self(whole(number))
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar).map(|(integer, _)| integer)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar).map(|(_, flag)| flag)
    }
}

/// Reads a value as an integer and as a flag.
struct Scalar;

impl Scalar {
    fn number(integer: Integer) -> (Integer, Flag) {
        (integer, Flag(integer.0.is_some_and(|number| number > 0)))
    }
}

impl Visitor<'_> for Scalar {
    type Value = (Integer, Flag);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, as a number or as digits")
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Self::number(Integer(Some(number))))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Self::number(Integer(number.try_into().ok())))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Self::number(Integer::from_float(number)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Self::number(Integer::from_text(text)))
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok((Integer(None), Flag(flag)))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok((Integer(None), Flag(false)))
    }
}
