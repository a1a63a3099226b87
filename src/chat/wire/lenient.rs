//! Fields taken from whatever shape a body has: a number where text belongs, an object where a list
//! belongs, nothing at all. Used where the strict reading failed.

use serde_json::Value;

use super::Unreadable;
use super::message::{Fields, Flag, Integer, Mentioned};
use crate::model::{Content, Element, Word};

/// A message's fields, each as near to what it should be as can be had.
pub(super) fn fields(mut body: Value) -> Result<Fields<'static>, Unreadable> {
    if !body.is_object() {
        return Err(Unreadable::NotAnObject);
    }
    let text = |name: &str| text(&body, name).unwrap_or_default();
    let number = |name: &str| Integer(integer(&body, name));
    Ok(Fields {
        command: text("CallbackCommand").into(),
        group_id: text("GroupId").into(),
        topic_id: text("TopicId").into(),
        group_type: text("Type").into(),
        sender: text("From_Account").into(),
        operator: text("Operator_Account").into(),
        msg_seq: number("MsgSeq"),
        msg_time: number("MsgTime"),
        event_time: number("EventTime"),
        online_only: Flag(flag(&body, "OnlineOnlyFlag")),
        cloud_custom_data: custom_data(&body),
        mentioned: mentioned(body.get("GroupAtInfo")),
        elements: elements(body["MsgBody"].take()),
    })
}

/// A field as text. Numbers count as what they look like.
pub(crate) fn text(object: &Value, name: &str) -> Option<String> {
    match object.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A field as an integer, whether it was written as a number or as digits.
pub(crate) fn integer(object: &Value, name: &str) -> Option<i64> {
    match object.get(name)? {
        Value::Number(number) if number.is_f64() => Integer::from_float(number.as_f64()?).0,
        Value::Number(number) => number.as_i64(),
        Value::String(text) => Integer::from_text(text).0,
        _ => None,
    }
}

/// A field as a yes or no.
pub(crate) fn flag(object: &Value, name: &str) -> bool {
    object.get(name) == Some(&Value::Bool(true))
        || integer(object, name).is_some_and(|number| number > 0)
}

/// `CloudCustomData`. Structured where a string belongs, its text counts all the same.
pub(crate) fn custom_data(body: &Value) -> String {
    match body.get("CloudCustomData") {
        Some(nested @ (Value::Object(_) | Value::Array(_))) => nested.to_string(),
        _ => text(body, "CloudCustomData").unwrap_or_default(),
    }
}

pub(crate) fn elements(body: Value) -> Vec<Element> {
    match body {
        Value::Array(items) => items.into_iter().map(element).collect(),
        Value::Null => Vec::new(),
        single => vec![element(single)],
    }
}

/// An element of another shape is kept whole, so that its text is still found.
fn element(item: Value) -> Element {
    match item {
        Value::Object(mut fields) if fields.contains_key("MsgContent") => Element {
            msg_type: fields.get("MsgType").and_then(Value::as_str).unwrap_or_default().into(),
            content: fields.remove("MsgContent").unwrap_or_default().into(),
        },
        Value::Object(fields) if fields.get("MsgType").is_some_and(Value::is_string) => Element {
            msg_type: fields["MsgType"].as_str().unwrap_or_default().into(),
            content: Content::default(),
        },
        other => Element { msg_type: Word::default(), content: other.into() },
    }
}

fn mentioned(list: Option<&Value>) -> Vec<Mentioned<'static>> {
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let entry = |entry: &Value| Mentioned {
        everyone: Flag(flag(entry, "GroupAtAllFlag")),
        account: text(entry, "GroupAt_Account").unwrap_or_default().into(),
    };
    list.iter().map(entry).collect()
}
