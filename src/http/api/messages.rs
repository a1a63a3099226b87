//! `/api/v1/messages/{message}`: everything that is known of one message.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};

use super::super::admin::Admin;
use super::super::extract::{Json, Path};
use super::super::problem::Problem;
use super::Answer;
use super::lists::row_name;
use crate::store::View;

/// Everything that is known of a message. Rows are those of the lists.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct Story {
    /// Also `body`, its elements as JSON, null where the text is all of it; `cloud_custom_data`;
    /// `detail`, what else Chat said.
    #[schema(schema_with = message)]
    message: Value,
    /// In order of the text.
    #[schema(schema_with = hits)]
    hits: Vec<Value>,
    /// Other content that came under the same sequence.
    #[schema(schema_with = conflicts)]
    conflicts: Vec<Value>,
    /// Newest first.
    #[schema(schema_with = recalls)]
    recalls: Vec<Value>,
    /// Calls that held its sequence, newest first.
    #[schema(schema_with = calls)]
    calls: Vec<Value>,
    /// Newest first.
    #[schema(schema_with = reviews)]
    reviews: Vec<Value>,
    /// Acts that name the message, its jobs or its sender, newest first.
    #[schema(schema_with = operations)]
    operations: Vec<Value>,
}

fn message() -> RefOr<Schema> {
    Ref::from_schema_name(row_name(View::Messages)).into()
}

macro_rules! rows {
    ($($name:ident: $view:ident),+ $(,)?) => {
        $(fn $name() -> RefOr<Schema> {
            let row = Ref::from_schema_name(row_name(View::$view));
            RefOr::T(ArrayBuilder::new().items(row).build().into())
        })+
    };
}
rows!(
    hits: Hits,
    conflicts: Conflicts,
    recalls: Recalls,
    calls: Calls,
    reviews: Reviews,
    operations: Operations,
);

/// Everything that is known of a message
#[utoipa::path(
    get, path = "/api/v1/messages/{message}", tag = "lists", operation_id = "message",
    params(("message" = i64, Path, description = "Its `message_id`")),
    responses((status = 200, description = "The message and what became of it", body = Story)),
)]
pub(super) async fn show(State(admin): State<Admin>, Path(id): Path<i64>) -> Answer<Story> {
    let story = admin.store.story(id).await?;
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("there is no message {id}"));
    let story = story.ok_or_else(missing)?;
    Ok(Json(Story {
        message: story.message,
        hits: story.hits,
        conflicts: story.conflicts,
        recalls: story.recalls,
        calls: story.calls,
        reviews: story.reviews,
        operations: story.operations,
    }))
}
