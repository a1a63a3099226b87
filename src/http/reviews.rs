//! `/api/v1/reviews`: what people say of what the rules found.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::Admin;
use super::access::Caller;
use super::api::{Answer, Listed, by, read};
use super::problem::Problem;
use crate::model::MessageKey;
use crate::store::{Review, View};

/// Most messages that one review is about.
const MOST_MESSAGES: usize = 1000;
const MOST_NOTE_CHARS: usize = 2000;

/// A review: messages by their numbers, or one by its sequence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    #[serde(default)]
    messages: Vec<i64>,
    group: Option<String>,
    #[serde(default)]
    topic: String,
    seq: Option<u64>,
    /// The rule that it is about; every rule that matched, where nothing is said.
    rule: Option<String>,
    verdict: Verdict,
    #[serde(default)]
    note: String,
}

/// Whether it was to be found, or is a false alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Right,
    Wrong,
}

/// Keeps a review.
pub(super) async fn make(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    body: Bytes,
) -> Answer {
    let said: Said = read(&body)?;
    let refuse = |why: &str| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
    if said.note.chars().count() > MOST_NOTE_CHARS {
        return refuse("a note has at most 2000 characters");
    }
    let messages = match (said.group, said.seq) {
        (None, None) if said.messages.is_empty() => {
            return refuse("say which messages: messages, or group and seq");
        }
        (None, None) if said.messages.len() > MOST_MESSAGES => {
            return refuse("at most 1000 messages at once");
        }
        (None, None) => said.messages,
        (Some(group), Some(msg_seq)) if said.messages.is_empty() => {
            let key = MessageKey { group_id: group.into(), topic_id: said.topic.into(), msg_seq };
            let found = admin.store.message_id(&key).await?;
            let none = || Problem::new(StatusCode::NOT_FOUND, format!("{key} was never recorded"));
            vec![found.ok_or_else(none)?]
        }
        _ => return refuse("say messages, or group and seq, not both"),
    };
    let review = Review {
        messages,
        rule: said.rule.map(Into::into),
        right: said.verdict == Verdict::Right,
        note: said.note,
    };
    admin.store.review(&by(&admin, &caller), &review).await?;
    Ok(Json(json!({ "reviewed": review.messages.len() })))
}

/// Reviews that were made, newest first.
pub(super) async fn list(State(admin): State<Admin>, Query(listed): Query<Listed>) -> Answer {
    super::api::page(&admin, View::Reviews, listed).await
}

/// What waits to be reviewed, newest first.
pub(super) async fn waiting(State(admin): State<Admin>, Query(listed): Query<Listed>) -> Answer {
    let page = admin.store.to_review(&listed.filter()).await?;
    Ok(Json(json!({ "rows": page.objects(), "next": page.next })))
}

/// How often each rule was right.
pub(super) async fn precision(State(admin): State<Admin>) -> Answer {
    let rows = admin.store.precision().await?;
    let object = |said: &crate::store::Precision| {
        json!({
            "rule": said.rule, "right": said.right, "wrong": said.wrong, "precision": said.share(),
        })
    };
    Ok(Json(json!({ "rows": rows.iter().map(object).collect::<Vec<_>>() })))
}
