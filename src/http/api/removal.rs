//! Letting go over HTTP: a person's texts, and what is old enough.

use axum::extract::{Extension, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::access::Caller;
use super::super::admin::Admin;
use super::super::extract::Json;
use super::super::problem::Problem;
use super::{Answer, by};
use crate::retention;

/// Whose text is to go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Erasure)]
pub(super) struct Person {
    #[schema(min_length = 1)]
    sender: String,
}

/// What erasing came to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Erased {
    /// Messages of that sender.
    messages: u64,
    /// Callbacks in quarantine that named the sender; they are dropped.
    quarantined: u64,
    /// Whether file and log hold nothing of it any more. False where a reader kept an old state open;
    /// the log is overwritten once it is gone.
    scrubbed: bool,
}

/// Take away everything that a sender wrote
///
/// Verdicts, ids and times stay. Cannot be undone; takes as long as there are messages.
#[utoipa::path(
    post, path = "/api/v1/erase", tag = "removal", request_body = Person,
    responses((status = 200, description = "It is gone", body = Erased)),
)]
pub(super) async fn erase(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Json(person): Json<Person>,
) -> Answer<Erased> {
    if person.sender.is_empty() {
        return Err(Problem::unfit("sender must not be empty"));
    }
    let (by, sender) = (by(&admin, &caller), person.sender.into());
    let erased = retention::erase(admin.store.as_ref(), &by, &sender, |_| ()).await?;
    Ok(Json(Erased {
        messages: erased.messages,
        quarantined: erased.quarantined,
        scrubbed: erased.scrubbed,
    }))
}

/// What pruning came to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pruned {
    /// Messages whose text was taken away.
    texts: u64,
    /// Rows that were taken away.
    rows: u64,
}

/// Take away what is older than `retention` wants
#[utoipa::path(
    post, path = "/api/v1/prune", tag = "removal",
    responses((status = 200, description = "It is gone", body = Pruned)),
)]
pub(super) async fn prune(State(admin): State<Admin>, caller: Extension<Caller>) -> Answer<Pruned> {
    let by = by(&admin, &caller);
    let before = admin.operator.days().cutoffs(by.at);
    let pruned = retention::prune(admin.store.as_ref(), &by, before, |_| ()).await?;
    Ok(Json(Pruned { texts: pruned.texts, rows: pruned.rows }))
}
