//! `/api/v1/plans`: sweeps, planned, looked at, applied.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use serde_json::Value;

use super::Admin;
use super::access::Caller;
use super::api::{Answer, by, read};
use super::problem::Problem;
use crate::store::{By, Error, PlanId};
use crate::sweep::{self, Asked};

/// Makes a plan; nothing follows from it yet.
pub(super) async fn make(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    body: Bytes,
) -> Answer {
    let asked: Asked = read(&body)?;
    let terms = admin.operator.sweep_terms();
    let rules = admin.operator.rules_version();
    let by = by(&admin, &caller);
    let plan = sweep::make(admin.store.as_ref(), &by, &asked, &terms, rules).await?;
    shown(&admin, plan).await
}

pub(super) async fn show(State(admin): State<Admin>, Path(plan): Path<PlanId>) -> Answer {
    shown(&admin, plan).await
}

pub(super) async fn apply(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Path(plan): Path<PlanId>,
) -> Answer {
    turn(&admin, &caller, plan, Turn::Apply).await
}

pub(super) async fn cancel(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Path(plan): Path<PlanId>,
) -> Answer {
    turn(&admin, &caller, plan, Turn::Cancel).await
}

#[derive(Clone, Copy)]
enum Turn {
    Apply,
    Cancel,
}

/// Turns a plan and wakes whoever does the rest. Answers how it stands by then.
async fn turn(admin: &Admin, caller: &Caller, plan: PlanId, turn: Turn) -> Answer {
    known(admin, plan).await?;
    let by: By = by(admin, caller);
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

async fn shown(admin: &Admin, plan: PlanId) -> Answer {
    known(admin, plan).await.map(Json)
}

async fn known(admin: &Admin, plan: PlanId) -> Result<Value, Problem> {
    let shown = sweep::show(admin.store.as_ref(), plan, &admin.operator.sweep_terms()).await?;
    shown.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("there is no plan {plan}")))
}

/// The plans, newest first.
pub(super) async fn list(
    state: State<Admin>,
    query: axum::extract::Query<super::api::Listed>,
) -> Answer {
    super::api::list(state, Path("plans".to_owned()), query).await
}
