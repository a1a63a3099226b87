//! `group_msg_recall`: takes messages back, for good (page `recall`).

use serde::{Deserialize, Serialize};

use super::{CallResult, Client};
use crate::chat::wire::Integer;
use crate::model::{GroupId, MsgSeq, TopicId};

/// The most messages of one call (page `recall`).
pub const MAX_SEQS: usize = 10;

/// `Reason` may have this many bytes; seen in the provider's SDKs, on no page.
const MAX_REASON_BYTES: usize = 100;

/// What Chat says about each message of a call. All empty of codes where the call as a whole failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recalled {
    /// One for each message asked for, in that order.
    pub items: Vec<RecallItem>,
    /// What the answer holds about messages that nobody asked for. Never seen; counts for nothing.
    pub unasked: Vec<(MsgSeq, i64)>,
}

/// What Chat says about one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecallItem {
    pub msg_seq: MsgSeq,
    /// `RetCode`, for [`Class::of_item`](crate::chat::error::Class::of_item). `None` where the
    /// answer leaves the message out or contradicts itself about it: its fate is unclear.
    pub ret_code: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    group_id: &'a str,
    msg_seq_list: Vec<Seq>,
    #[serde(skip_serializing_if = "str::is_empty")]
    topic_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Seq {
    msg_seq: MsgSeq,
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "RecallRetList", default)]
    list: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "MsgSeq", default)]
    msg_seq: Integer,
    #[serde(rename = "RetCode", default)]
    ret_code: Integer,
}

impl Client {
    /// Recalls messages of one group and topic, 1 to [`MAX_SEQS`] of them. The reason is cut to
    /// what Chat takes.
    pub async fn recall(
        &self,
        group: &GroupId,
        topic: &TopicId,
        seqs: &[MsgSeq],
        reason: Option<&str>,
    ) -> CallResult<Recalled> {
        if seqs.is_empty() || seqs.len() > MAX_SEQS {
            let why = format!("{} messages in a call that takes 1 to {MAX_SEQS}", seqs.len());
            return CallResult::NotSent { why };
        }
        let request = Request {
            group_id: group.as_str(),
            msg_seq_list: seqs.iter().map(|&msg_seq| Seq { msg_seq }).collect(),
            topic_id: topic.as_str(),
            reason: reason.map(|text| &text[..text.floor_char_boundary(MAX_REASON_BYTES)]),
        };
        let body = serde_json::to_vec(&request).expect("strings and numbers always serialise");
        let answered = self.call::<Response>("group_msg_recall", body).await;
        answered.map(|response| matched(seqs, &response.list.unwrap_or_default()))
    }
}

/// Results by sequence, since neither order nor completeness is promised.
fn matched(seqs: &[MsgSeq], list: &[Item]) -> Recalled {
    let mut recalled = Recalled {
        items: seqs.iter().map(|&msg_seq| RecallItem { msg_seq, ret_code: None }).collect(),
        unasked: Vec::new(),
    };
    let mut contradicted = Vec::new();
    for item in list {
        let Some(msg_seq) = item.msg_seq.0.and_then(|seq| MsgSeq::try_from(seq).ok()) else {
            continue;
        };
        let Some(ret_code) = item.ret_code.0 else { continue };
        let mut asked =
            recalled.items.iter_mut().filter(|asked| asked.msg_seq == msg_seq).peekable();
        if asked.peek().is_none() {
            recalled.unasked.push((msg_seq, ret_code));
        }
        for asked in asked {
            if asked.ret_code.replace(ret_code).is_some_and(|earlier| earlier != ret_code) {
                contradicted.push(msg_seq);
            }
        }
    }
    for item in &mut recalled.items {
        if contradicted.contains(&item.msg_seq) {
            item.ret_code = None;
        }
    }
    recalled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, items: &[Option<i64>], unasked: &[(MsgSeq, i64)]) {
        let list: Vec<Item> = serde_json::from_str(list).unwrap();
        let found = matched(&[5, 6, 7], &list);
        let codes: Vec<_> = found.items.iter().map(|item| item.ret_code).collect();
        assert_eq!((codes.as_slice(), found.unasked.as_slice()), (items, unasked));
    }

    #[test]
    fn results_are_matched_by_sequence() {
        check("[]", &[None, None, None], &[]);
        check(
            r#"[{"MsgSeq":7,"RetCode":10030},{"MsgSeq":5,"RetCode":0},{"MsgSeq":"6","RetCode":"0"}]"#,
            &[Some(0), Some(0), Some(10030)],
            &[],
        );
        check(
            r#"[{"MsgSeq":6,"RetCode":0},{"MsgSeq":9,"RetCode":0}]"#,
            &[None, Some(0), None],
            &[(9, 0)],
        );
        check(
            r#"[{"MsgSeq":5},{"RetCode":0},{"MsgSeq":-1,"RetCode":0}]"#,
            &[None, None, None],
            &[],
        );
    }

    #[test]
    fn a_contradiction_is_unclear() {
        let twice = r#"[{"MsgSeq":5,"RetCode":0},{"MsgSeq":5,"RetCode":10032},{"MsgSeq":5,"RetCode":0},
            {"MsgSeq":6,"RetCode":0},{"MsgSeq":6,"RetCode":0}]"#;
        check(twice, &[None, Some(0), None], &[]);
    }

    #[test]
    fn a_request_names_only_what_there_is() {
        let request = |topic_id, reason| {
            let seqs = vec![Seq { msg_seq: 100 }, Seq { msg_seq: 101 }];
            let request = Request { group_id: "@TGS#\"1", msg_seq_list: seqs, topic_id, reason };
            serde_json::to_string(&request).unwrap()
        };
        let head = r#"{"GroupId":"@TGS#\"1","MsgSeqList":[{"MsgSeq":100},{"MsgSeq":101}]"#;
        assert_eq!(request("", None), format!("{head}}}"));
        assert_eq!(request("t", Some("r")), format!(r#"{head},"TopicId":"t","Reason":"r"}}"#));
    }
}
