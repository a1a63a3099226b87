//! `/api/v1/reviews`: what people say of what the rules found.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::UtoipaMethodRouter;

use super::super::access::Caller;
use super::super::admin::Admin;
use super::super::extract::{Json, Query};
use super::super::problem::{self, Problem};
use super::lists::{Listed, Listing, Rows};
use super::{Answer, by};
use crate::model::MessageKey;
use crate::store::{REVIEWABLE, Review};

/// Most messages that one review is about.
const MOST_MESSAGES: usize = 1000;
const MOST_NOTE_CHARS: usize = 2000;

/// A review: messages by their numbers, or one by its sequence.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Review)]
pub(super) struct Said {
    /// Their `message_id`.
    #[serde(default)]
    #[schema(max_items = 1000)]
    messages: Vec<i64>,
    group: Option<String>,
    #[serde(default)]
    topic: String,
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    seq: Option<u64>,
    /// The rule that it is about; every rule that matched, where nothing is said.
    rule: Option<String>,
    verdict: Verdict,
    #[serde(default)]
    #[schema(max_length = 2000)]
    note: String,
}

/// Whether it was to be found, or is a false alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ReviewVerdict)]
pub(super) enum Verdict {
    Right,
    Wrong,
}

/// What was kept.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reviewed {
    /// How many messages the review is about.
    reviewed: usize,
}

/// Say whether what the rules found was right
///
/// The latest word on each rule of a message counts.
#[utoipa::path(
    post, path = "/api/v1/reviews", tag = "reviews", operation_id = "review",
    request_body(content = Said, example = json!({
        "group": "@TGS#EXAMPLE", "seq": 15, "verdict": "wrong", "note": "quotes the warning",
    })),
    responses(
        (status = 200, description = "It is kept", body = Reviewed),
        (status = 404, description = "The message was never recorded", body = problem::Shown,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn make(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Json(said): Json<Said>,
) -> Answer<Reviewed> {
    let refuse = |why: &str| Err(Problem::unfit(why));
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
    Ok(Json(Reviewed { reviewed: review.messages.len() }))
}

/// What waits to be reviewed, newest first.
pub(super) fn waiting() -> UtoipaMethodRouter<Admin> {
    let listing = Listing {
        path: "/api/v1/reviews/waiting".to_owned(),
        operation: "list_reviews_waiting".to_owned(),
        row: "ReviewsWaitingRow".to_owned(),
        about: "a matched message that nobody reviewed",
        columns: REVIEWABLE,
        filters: &[
            ("group", "group_id"),
            ("topic", "topic_id"),
            ("sender", "sender"),
            ("rule", "a rule that matched, in shadow too"),
            ("state", "flag, recall, or held: its recall is held"),
        ],
    };
    listing.served(get(async |State(admin): State<Admin>, Query(listed): Query<Listed>| {
        let page = admin.store.to_review(&listed.filter()?).await?;
        Ok::<_, Problem>(Json(Rows::from(page)))
    }))
}

/// What reviews say of the rules.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Precisions {
    rows: Vec<Precision>,
}

/// What reviews say of a rule.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Precision {
    rule: String,
    right: u64,
    wrong: u64,
    /// The share that was right, from 0 to 1.
    #[serde(rename = "precision")]
    share: f64,
}

/// How often each rule was right
#[utoipa::path(
    get, path = "/api/v1/reviews/precision", tag = "reviews",
    responses((status = 200, description = "Rules that were reviewed", body = Precisions)),
)]
pub(super) async fn precision(State(admin): State<Admin>) -> Answer<Precisions> {
    let precision = |said: crate::store::Precision| Precision {
        share: said.share(),
        rule: said.rule.to_string(),
        right: said.right,
        wrong: said.wrong,
    };
    let rows = admin.store.precision().await?.into_iter().map(precision).collect();
    Ok(Json(Precisions { rows }))
}
