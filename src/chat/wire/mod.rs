//! Callback bodies, read into what quell acts on.
//!
//! Two ways lead to a message. The first is one pass over well-formed JSON, which is what Chat sends.
//! Where that fails, the body is mended and read leniently: bytes that are no UTF-8, lone surrogates,
//! bare control characters and absurd nesting all come from message content, and nobody shall get
//! past the rules by sending them. What cannot be read even so is [`Unreadable`], for the quarantine.
//!
//! Unknown fields are ignored and every field but `CallbackCommand`, `GroupId` and `MsgSeq` may be
//! missing; integers may be digit strings (pages `after-msg`, `recall-cb`).

mod digest;
mod lenient;
mod mend;
mod message;

use serde::Deserialize;
use serde_json::Value;

use super::verify::Authentic;
use crate::model::{GroupId, Message, MsgSeq, Timestamp, TopicId, UserId};

pub(crate) use lenient::{custom_data, elements, flag, integer, text};
pub(crate) use message::{Fields, Integer};

/// Sequences are unsigned 32-bit at the provider.
pub const MAX_MSG_SEQ: MsgSeq = u32::MAX as MsgSeq;

/// A message was sent in a group (page `after-msg`).
pub const AFTER_SEND_MSG: &str = "Group.CallbackAfterSendMsg";
/// Messages were recalled, by a client or by our own call (page `recall-cb`).
pub const AFTER_RECALL_MSG: &str = "Group.CallbackAfterRecallMsg";
/// A group is gone; its id may be used again, with sequences from 1 (page `cmd-list`).
pub const AFTER_GROUP_DESTROYED: &str = "Group.CallbackAfterGroupDestroyed";
/// Topics of a community are gone (page `cmd-list`).
pub const AFTER_TOPIC_DESTROYED: &str = "Group.CallbackAfterTopicDestroyed";
/// Our REST calls passed four fifths of their limit (page `overlimit`).
pub const REQUEST_OVER_LIMIT: &str = "Alert.RequestOverLimit";

/// What a callback says.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Message(Box<Message>),
    Recalled {
        group_id: GroupId,
        topic_id: TopicId,
        operator: UserId,
        seqs: Vec<MsgSeq>,
        /// `EventTime`, or when the callback came.
        at: Timestamp,
    },
    GroupDestroyed {
        group_id: GroupId,
        at: Timestamp,
    },
    TopicsDestroyed {
        group_id: GroupId,
        topic_ids: Vec<TopicId>,
        at: Timestamp,
    },
    OverLimit {
        service: String,
        command: String,
        requests: u64,
        limit: u64,
    },
    /// A command that nothing follows from, known or not; empty for the console's check of the URL.
    Other {
        command: String,
    },
}

/// Why a body could not be read. Never holds any of its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("not JSON: line {line} column {column}")]
    NotJson { line: usize, column: usize },
    #[error("not a JSON object")]
    NotAnObject,
    #[error("a field stands twice")]
    RepeatedField,
    #[error("CallbackCommand of the body is not that of the query")]
    OtherCommand,
    #[error("{0} is missing or of another type")]
    Field(&'static str),
    #[error("{0} is out of range")]
    Range(&'static str),
    /// A bug here, met while reading it.
    #[error("reading it failed inside quell")]
    Failed,
}

/// Reads the body of an authentic callback as the command of its query.
///
/// Where the query names none, the body's command counts, so that no message is answered with
/// success and forgotten; a body without one is the console's check of the URL.
pub fn parse(
    authentic: &Authentic<'_>,
    body: &[u8],
    received_at: Timestamp,
) -> Result<Event, Unreadable> {
    let named;
    let command = if let Some(command) = &authentic.command {
        command.as_ref()
    } else {
        named = command_of(body).unwrap_or_default();
        named.as_str()
    };
    match command {
        AFTER_SEND_MSG => {
            let message = parse_message(body, &authentic.platform, received_at)?;
            Ok(Event::Message(Box::new(message)))
        }
        AFTER_RECALL_MSG => recalled(&object(body, command)?, received_at),
        AFTER_GROUP_DESTROYED => {
            let body = object(body, command)?;
            Ok(Event::GroupDestroyed {
                group_id: group_id(&body)?,
                at: event_time(&body, received_at),
            })
        }
        AFTER_TOPIC_DESTROYED => topics_destroyed(&object(body, command)?, received_at),
        REQUEST_OVER_LIMIT => Ok(over_limit(&object(body, command)?)),
        // Other commands may come without a command in the body, or without any JSON at all.
        _ => match command_of(body) {
            Some(named) if named != command => Err(Unreadable::OtherCommand),
            _ => Ok(Event::Other { command: command.to_owned() }),
        },
    }
}

/// Reads the body of a [`AFTER_SEND_MSG`] callback on its own.
pub fn parse_message(
    body: &[u8],
    platform: &str,
    received_at: Timestamp,
) -> Result<Message, Unreadable> {
    // A derived reader would take an array for the fields in order.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Unreadable::NotAnObject);
    }
    // Looked through once as a whole, it need not be looked through string by string.
    let read = match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str::<Fields<'_>>(text),
        Err(_) => serde_json::from_slice(body),
    };
    match read {
        Ok(fields) => fields.into_message(platform, received_at),
        Err(error) if is_repeated_field(&error) => Err(Unreadable::RepeatedField),
        Err(_) => lenient::fields(mend::read(body)?)?.into_message(platform, received_at),
    }
}

/// Chat never repeats a field, and a reader that picks one of two can be played off against another
/// that picks the other. Within an element the last one counts, as in most clients: refusing the
/// message there would be a way past the rules.
fn is_repeated_field(error: &serde_json::Error) -> bool {
    let within = ["MsgType", "MsgContent", "GroupAtAllFlag", "GroupAt_Account"];
    let text = error.to_string();
    let field = text.strip_prefix("duplicate field `").and_then(|rest| rest.split('`').next());
    error.is_data() && field.is_some_and(|field| !within.contains(&field))
}

/// A body of one of the rarer commands, which must name it.
fn object(body: &[u8], command: &str) -> Result<Value, Unreadable> {
    let body = serde_json::from_slice(body).or_else(|_| mend::read(body))?;
    match lenient::text(&body, "CallbackCommand") {
        _ if !body.is_object() => Err(Unreadable::NotAnObject),
        Some(named) if named == command => Ok(body),
        Some(_) => Err(Unreadable::OtherCommand),
        None => Err(Unreadable::Field("CallbackCommand")),
    }
}

/// The command that a body names, where it can be read at all.
fn command_of(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "CallbackCommand")]
        command: String,
    }
    match serde_json::from_slice::<Named>(body) {
        Ok(named) => Some(named.command),
        Err(error) if error.is_data() => None,
        Err(_) => lenient::text(&mend::read(body).ok()?, "CallbackCommand"),
    }
}

fn recalled(body: &Value, received_at: Timestamp) -> Result<Event, Unreadable> {
    let list = body.get("MsgSeqList").and_then(Value::as_array);
    let list = list.ok_or(Unreadable::Field("MsgSeqList"))?;
    let seqs = list.iter().map(|item| {
        let seq = lenient::integer(item, "MsgSeq").ok_or(Unreadable::Field("MsgSeq"))?;
        message::msg_seq(seq)
    });
    Ok(Event::Recalled {
        group_id: group_id(body)?,
        topic_id: lenient::text(body, "TopicId").unwrap_or_default().into(),
        operator: lenient::text(body, "Operator_Account").unwrap_or_default().into(),
        seqs: seqs.collect::<Result<_, _>>()?,
        at: event_time(body, received_at),
    })
}

fn topics_destroyed(body: &Value, received_at: Timestamp) -> Result<Event, Unreadable> {
    let list = body.get("TopicIdList").and_then(Value::as_array);
    let list = list.ok_or(Unreadable::Field("TopicIdList"))?;
    let topics = list.iter().filter_map(Value::as_str).map(TopicId::from);
    let at = event_time(body, received_at);
    Ok(Event::TopicsDestroyed { group_id: group_id(body)?, topic_ids: topics.collect(), at })
}

fn over_limit(body: &Value) -> Event {
    let number = |name| lenient::integer(body, name).and_then(|n| n.try_into().ok());
    Event::OverLimit {
        service: lenient::text(body, "ServiceName").unwrap_or_default(),
        command: lenient::text(body, "Command").unwrap_or_default(),
        requests: number("Request").unwrap_or_default(),
        limit: number("Limit").unwrap_or_default(),
    }
}

fn group_id(body: &Value) -> Result<GroupId, Unreadable> {
    let id = lenient::text(body, "GroupId").filter(|id| !id.is_empty());
    Ok(id.ok_or(Unreadable::Field("GroupId"))?.into())
}

fn event_time(body: &Value, received_at: Timestamp) -> Timestamp {
    let time = lenient::integer(body, "EventTime").filter(|time| *time > 0);
    time.map_or(received_at, Timestamp)
}

#[cfg(test)]
mod tests;
