//! `/api/v1/plans`: sweeps, planned, looked at, applied.

use axum::extract::{Extension, State};
use axum::http::StatusCode;

use super::super::access::Caller;
use super::super::admin::Admin;
use super::super::extract::{Json, Path};
use super::super::problem::{self, Problem};
use super::{Answer, by};
use crate::store::{Error, PlanId};
use crate::sweep::{self, Asked, Shown};

/// Plan a recall
///
/// Looks which messages are meant; nothing follows from it until the plan is applied.
#[utoipa::path(
    post, path = "/api/v1/plans", tag = "plans", operation_id = "make_plan",
    request_body(content = Asked, example = json!({"group": "@TGS#EXAMPLE", "seq": "5,7,10-20"})),
    responses((status = 200, description = "The plan", body = Shown)),
)]
pub(super) async fn make(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Json(asked): Json<Asked>,
) -> Answer<Shown> {
    let terms = admin.operator.sweep_terms();
    let rules = admin.operator.rules_version();
    let by = by(&admin, &caller);
    let plan = sweep::make(admin.store.as_ref(), &by, &asked, &terms, rules).await?;
    shown(&admin, plan).await
}

/// Look at a plan
#[utoipa::path(
    get, path = "/api/v1/plans/{plan}", tag = "plans", operation_id = "plan",
    params(("plan" = i64, Path, description = "Its `plan_id`")),
    responses((status = 200, description = "The plan as it stands", body = Shown)),
)]
pub(super) async fn show(State(admin): State<Admin>, Path(plan): Path<PlanId>) -> Answer<Shown> {
    shown(&admin, plan).await
}

/// Apply a plan
///
/// Its recalls are queued, behind live traffic. What is recalled stays recalled.
#[utoipa::path(
    post, path = "/api/v1/plans/{plan}/apply", tag = "plans", operation_id = "apply_plan",
    params(("plan" = i64, Path, description = "Its `plan_id`")),
    responses(
        (status = 200, description = "The plan as it stands by then", body = Shown),
        (status = 409, description = "It was cancelled", body = problem::Shown,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn apply(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Path(plan): Path<PlanId>,
) -> Answer<Shown> {
    turn(&admin, &caller, plan, Turn::Apply).await
}

/// Cancel a plan
///
/// Whether it was applied or not: its waiting recalls end.
#[utoipa::path(
    post, path = "/api/v1/plans/{plan}/cancel", tag = "plans", operation_id = "cancel_plan",
    params(("plan" = i64, Path, description = "Its `plan_id`")),
    responses(
        (status = 200, description = "The plan as it stands by then", body = Shown),
        (status = 409, description = "It cannot be cancelled any more", body = problem::Shown,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn cancel(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Path(plan): Path<PlanId>,
) -> Answer<Shown> {
    turn(&admin, &caller, plan, Turn::Cancel).await
}

#[derive(Clone, Copy)]
enum Turn {
    Apply,
    Cancel,
}

/// Turns a plan and wakes whoever does the rest. Answers how it stands by then.
async fn turn(admin: &Admin, caller: &Caller, plan: PlanId, turn: Turn) -> Answer<Shown> {
    shown(admin, plan).await?;
    let by = by(admin, caller);
    match turn {
        Turn::Apply => admin.store.apply(&by, plan).await,
        Turn::Cancel => admin.store.cancel(&by, plan).await,
    }
    .map_err(|error| match error {
        Error::Invalid(why) => Problem::new(StatusCode::CONFLICT, why),
        other => other.into(),
    })?;
    admin.operator.plans_turned();
    shown(admin, plan).await
}

async fn shown(admin: &Admin, plan: PlanId) -> Answer<Shown> {
    let shown = sweep::show(admin.store.as_ref(), plan, &admin.operator.sweep_terms()).await?;
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("there is no plan {plan}"));
    shown.map(Json).ok_or_else(missing)
}
