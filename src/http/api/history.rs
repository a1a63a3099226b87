//! `/api/v1/backfills`: stretches of history that are read.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::Ref;
use utoipa::{PartialSchema, ToSchema};

use super::super::access::Caller;
use super::super::admin::Admin;
use super::super::extract::{Json, Path};
use super::super::problem::{self, Problem};
use super::{Answer, by};
use crate::store::{Filter, View};

/// A stretch of history to be read.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BackfillRequest)]
pub(super) struct Stretch {
    group: String,
    #[serde(default)]
    topic: String,
    /// The smallest sequence; where roaming begins, where nothing is said.
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    from: Option<u64>,
    /// The largest; the newest that there is, where nothing is said.
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    to: Option<u64>,
}

/// A row of the list of backfills.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Backfill(Value);

impl PartialSchema for Backfill {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        Ref::from_schema_name("BackfillsRow").into()
    }
}
impl ToSchema for Backfill {}

/// `MsgSeq` has 32 bits.
const MAX_SEQ: u64 = u32::MAX as u64;

/// Read a stretch of history
///
/// What no callback brought is judged by the rules in force, recorded, and recalled where they say so.
#[utoipa::path(
    post, path = "/api/v1/backfills", tag = "history", operation_id = "start_backfill",
    request_body(content = Stretch, example = json!({"group": "@TGS#EXAMPLE", "from": 100, "to": 250})),
    responses(
        (status = 200, description = "It was started", body = inline(Backfill)),
        (status = 409, description = "`history.repair` is switched off", body = problem::Shown,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn start(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Json(stretch): Json<Stretch>,
) -> Answer<Backfill> {
    let (from, to) = (stretch.from.unwrap_or(1), stretch.to.unwrap_or(0));
    if stretch.group.is_empty() {
        return Err(Problem::unfit("group must not be empty"));
    }
    if stretch.to.is_some_and(|to| to == 0 || to > MAX_SEQ) || from == 0 || from > MAX_SEQ {
        return Err(Problem::unfit("from and to are sequences: 1 to 4294967295"));
    }
    if stretch.to.is_some_and(|to| from > to) {
        return Err(Problem::unfit("from must not be larger than to"));
    }
    let (group, topic) = (stretch.group.into(), stretch.topic.into());
    if !admin.operator.wake_repair() {
        return Err(Problem::new(StatusCode::CONFLICT, "history.repair is switched off"));
    }
    let id = admin.store.start_backfill(&by(&admin, &caller), &group, &topic, from, to).await?;
    admin.operator.wake_repair();
    one(&admin, id).await
}

/// Look at a backfill
#[utoipa::path(
    get, path = "/api/v1/backfills/{backfill}", tag = "history", operation_id = "backfill",
    params(("backfill" = i64, Path, description = "Its `backfill_id`")),
    responses((status = 200, description = "How it stands", body = inline(Backfill))),
)]
pub(super) async fn show(State(admin): State<Admin>, Path(id): Path<i64>) -> Answer<Backfill> {
    one(&admin, id).await
}

/// Whether a backfill was ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BackfillCancelled)]
pub(super) struct Cancelled {
    /// False where it was not running.
    cancelled: bool,
}

/// End a backfill
#[utoipa::path(
    post, path = "/api/v1/backfills/{backfill}/cancel", tag = "history",
    operation_id = "cancel_backfill",
    params(("backfill" = i64, Path, description = "Its `backfill_id`")),
    responses((status = 200, description = "Whether it was running", body = Cancelled)),
)]
pub(super) async fn cancel(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Path(id): Path<i64>,
) -> Answer<Cancelled> {
    let cancelled = admin.store.cancel_backfill(&by(&admin, &caller), id).await?;
    Ok(Json(Cancelled { cancelled }))
}

async fn one(admin: &Admin, id: i64) -> Answer<Backfill> {
    let filter = Filter { cursor: Some(id.saturating_add(1)), limit: 1, ..Filter::default() };
    let page = admin.store.page(View::Backfills, &filter).await?;
    let found = page.objects().into_iter().find(|backfill| backfill["backfill_id"] == id);
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("there is no backfill {id}"));
    found.map(|row| Json(Backfill(row))).ok_or_else(missing)
}
