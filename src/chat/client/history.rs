//! `group_msg_get_simple`: a group's messages, newest first (page `history`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CallResult, Client};
use crate::chat::wire::{self, Fields, Integer, MAX_MSG_SEQ};
use crate::model::{GroupId, Message, MsgSeq, Source, Timestamp, TopicId};

/// The most entries of one call (page `history`).
pub const MAX_HISTORY: u32 = 20;

/// A page of history.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Largest sequence first, as Chat sends them.
    pub entries: Vec<Entry>,
    pub finished: Finished,
    /// Entries that could not be read, their sequence unknown. Never seen; worth a warning.
    pub unreadable: usize,
}

impl Page {
    /// Where the next page starts: one below the smallest sequence of this one. `None` at the
    /// beginning of the conversation.
    #[must_use]
    pub fn next_from(&self) -> Option<MsgSeq> {
        let smallest = self.entries.iter().map(|entry| entry.msg_seq).min()?;
        smallest.checked_sub(1).filter(|next| *next > 0)
    }
}

/// `IsFinished`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Everything asked for is in the page. There may be more below it.
    All,
    /// Some of what was asked for is not: the messages are long, or too many were asked for.
    More,
    /// The same, and all of it has expired.
    MoreExpired,
}

/// One sequence of the conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub msg_seq: MsgSeq,
    pub kind: EntryKind,
}

/// What Chat holds under a sequence.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryKind {
    /// A message that is visible. History knows neither its group's type nor the platform, and
    /// tells times in seconds.
    Message(Box<Message>),
    /// Expired, never stored, or deleted: there is nothing to see.
    Hole,
    /// Taken back.
    Recalled,
    /// A tip such as "Ann joined". It takes a sequence and makes no callback.
    System,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    group_id: &'a str,
    req_msg_number: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    req_msg_seq: Option<MsgSeq>,
    with_recalled_msg: u8,
    #[serde(skip_serializing_if = "str::is_empty")]
    topic_id: &'a str,
}

/// Entries are read one by one and leniently, like the bodies of callbacks: an odd one must not stand
/// in the way of its neighbours.
#[derive(Deserialize)]
struct Response {
    #[serde(rename = "IsFinished", default)]
    is_finished: Integer,
    #[serde(rename = "RspMsgList", default)]
    list: Option<Vec<Value>>,
}

impl Client {
    /// Pulls up to `limit` (at most [`MAX_HISTORY`]) entries of a group or topic, going down from
    /// `from_seq` or from the newest. Recalled messages are among them, as such.
    pub async fn history(
        &self,
        group: &GroupId,
        topic: &TopicId,
        from_seq: Option<MsgSeq>,
        limit: u32,
    ) -> CallResult<Page> {
        let request = Request {
            group_id: group.as_str(),
            req_msg_number: limit.clamp(1, MAX_HISTORY),
            req_msg_seq: from_seq,
            with_recalled_msg: 1,
            topic_id: topic.as_str(),
        };
        let body = serde_json::to_vec(&request).expect("strings and numbers always serialise");
        let answered = self.call::<Response>("group_msg_get_simple", body).await;
        answered.map(|response| page(response, group, topic, self.clock.now()))
    }
}

fn page(response: Response, group: &GroupId, topic: &TopicId, now: Timestamp) -> Page {
    let list = response.list.unwrap_or_default();
    let listed = list.len();
    let entries = list.into_iter().filter_map(|item| entry(item, group, topic, now));
    let entries: Vec<_> = entries.collect();
    Page {
        unreadable: listed - entries.len(),
        entries,
        finished: match response.is_finished.0 {
            Some(1) => Finished::All,
            Some(2) => Finished::MoreExpired,
            _ => Finished::More,
        },
    }
}

fn entry(mut item: Value, group: &GroupId, topic: &TopicId, now: Timestamp) -> Option<Entry> {
    let number = |name| wire::integer(&item, name);
    let text = |name| wire::text(&item, name).unwrap_or_default();
    let seq = MsgSeq::try_from(number("MsgSeq")?).ok().filter(|seq| *seq <= MAX_MSG_SEQ)?;
    let entry = |kind| Some(Entry { msg_seq: seq, kind });
    match number("IsPlaceMsg") {
        Some(2) => return entry(EntryKind::Recalled),
        Some(0) => {}
        None if !wire::flag(&item, "IsPlaceMsg") => {}
        _ => return entry(EntryKind::Hole),
    }
    if wire::flag(&item, "IsSystemMsg") {
        return entry(EntryKind::System);
    }
    let sender = text("From_Account");
    let fields = Fields {
        group_id: group.as_str().into(),
        topic_id: topic.as_str().into(),
        operator: sender.clone().into(),
        sender: sender.into(),
        msg_seq: Integer(number("MsgSeq")),
        msg_time: Integer(number("MsgTimeStamp")),
        cloud_custom_data: wire::custom_data(&item),
        elements: wire::elements(item["MsgBody"].take()),
        ..Fields::default()
    };
    let message = fields.build(Source::History, "", now).ok()?;
    entry(EntryKind::Message(Box::new(message)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_entry_is_told_apart() {
        let text = json!([{"MsgType": "TIMTextElem", "MsgContent": {"Text": "hello"}}]);
        let response = json!({"GroupId": "g", "IsFinished": 0, "RspMsgList": [
            {"From_Account": "a", "IsPlaceMsg": 0, "MsgSeq": 9, "MsgTimeStamp": 100, "MsgBody": text},
            {"From_Account": "", "IsPlaceMsg": 1, "MsgSeq": 8, "MsgBody": []},
            {"From_Account": "b", "IsPlaceMsg": 2, "MsgSeq": 7, "MsgBody": text},
            {"IsPlaceMsg": 0, "IsSystemMsg": 1, "MsgSeq": 6, "MsgBody": {"OpType": 1}},
            {"From_Account": "a"}, {"MsgSeq": 4_294_967_296_u64, "IsPlaceMsg": 1}, "odd", null,
        ]});
        let response = serde_json::from_value(response).unwrap();
        let page = page(response, &"g".into(), &"t".into(), Timestamp(5));
        let kinds: Vec<_> = page.entries.iter().map(|e| (e.msg_seq, &e.kind)).collect();
        let EntryKind::Message(message) = kinds[0].1 else { panic!("{kinds:?}") };
        assert_eq!(message.key.to_string(), "g/t/9");
        assert_eq!(message.text.as_str(), "hello");
        assert_eq!((message.sent_at, message.received_at), (Timestamp(100_000), Timestamp(5)));
        assert_eq!(
            kinds[1..],
            [(8, &EntryKind::Hole), (7, &EntryKind::Recalled), (6, &EntryKind::System)]
        );
        assert_eq!((page.unreadable, page.next_from()), (4, Some(5)));
    }

    #[test]
    fn an_odd_entry_is_read_as_far_as_it_goes() {
        let response = json!({"IsFinished": "1", "RspMsgList": [
            {"From_Account": 17, "MsgSeq": "9", "MsgTimeStamp": "100", "IsPlaceMsg": null,
             "IsSystemMsg": false, "CloudCustomData": {"note": "buy"},
             "MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "hello"}}, 3]},
            {"From_Account": null, "MsgSeq": 8, "MsgBody": null},
        ]});
        let page =
            page(serde_json::from_value(response).unwrap(), &"g".into(), &"".into(), Timestamp(0));
        assert_eq!((page.entries.len(), page.unreadable, page.finished), (2, 0, Finished::All));
        let EntryKind::Message(message) = &page.entries[0].kind else { panic!("{page:?}") };
        assert_eq!((message.sender.as_str(), message.sent_at.secs()), ("17", 100));
        assert!(message.text.as_str().contains("hello") && message.text.as_str().contains("buy"));
    }

    #[test]
    fn paging_ends_at_the_first_message() {
        let next = |seq: u64, finished: u8| {
            let list = json!([{"MsgSeq": seq, "IsPlaceMsg": 1}]);
            let response = json!({"IsFinished": finished, "RspMsgList": list});
            let response = serde_json::from_value(response).unwrap();
            page(response, &"g".into(), &"".into(), Timestamp(0)).next_from()
        };
        assert_eq!((next(2, 0), next(2, 2), next(2, 1)), (Some(1), Some(1), Some(1)));
        assert_eq!((next(1, 0), next(0, 0)), (None, None));
    }
}
