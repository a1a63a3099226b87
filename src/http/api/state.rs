//! How it stands, and what stops and starts it: pause, reload, tripped rules.

use std::collections::BTreeMap;

use axum::extract::{Extension, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::access::Caller;
use super::super::admin::{Admin, NotReloaded};
use super::super::extract::Json;
use super::super::problem::Problem;
use super::{Answer, by};
use crate::model::{RuleId, RulesVersion, Timestamp};

/// How quell stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    /// Who paused the recalls; null while they run.
    paused: Option<Paused>,
    /// Why calls to Chat stand still by themselves; null while they do not.
    halted: Option<Halted>,
    /// The pace at the moment: lower than the one set after Chat complained.
    calls_per_second: u32,
    /// Calls leased or under way.
    in_flight: usize,
    /// Jobs that are not finished, by state.
    unfinished: BTreeMap<String, i64>,
    /// Rules that fell to shadow.
    tripped: Vec<Tripped>,
    /// Sequences that no callback brought and nobody could explain yet.
    missing_sequences: u64,
    /// The version of the rules in force.
    #[schema(value_type = String)]
    rules_version: RulesVersion,
}

#[derive(Debug, Serialize, ToSchema)]
struct Paused {
    by: String,
    #[schema(value_type = i64)]
    at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
struct Halted {
    why: String,
    /// Whether it will not pass by itself.
    needs_person: bool,
}

/// A rule that a guard took out of force.
#[derive(Debug, Serialize, ToSchema)]
struct Tripped {
    #[schema(value_type = String)]
    rule: RuleId,
    #[schema(value_type = i64)]
    at: Timestamp,
    why: String,
}

/// How quell stands
///
/// Pause, halt, queue by state, tripped rules, rules in force.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "state",
    responses((status = 200, description = "How it stands", body = Status)),
)]
pub(super) async fn status(State(admin): State<Admin>) -> Answer<Status> {
    let worker = admin.operator.status();
    let paused = admin.store.paused().await?;
    let tripped = admin.store.tripped().await?.into_iter();
    let halted = worker.halted;
    Ok(Json(Status {
        paused: paused.map(|pause| Paused { by: pause.by, at: pause.at }),
        halted: halted.map(|halt| Halted { why: halt.why, needs_person: halt.needs_person }),
        calls_per_second: worker.rate,
        in_flight: worker.in_flight,
        unfinished: admin.store.unfinished_by_state().await?.into_iter().collect(),
        tripped: tripped.map(|t| Tripped { rule: t.rule, at: t.at, why: t.why }).collect(),
        missing_sequences: admin.store.open_sequences().await?,
        rules_version: admin.operator.rules_version(),
    }))
}

/// Whether recalls are paused by now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PausedNow {
    paused: bool,
}

/// Pause recalls
///
/// No call to Chat starts any more; callbacks are still taken in and judged. Survives a restart.
#[utoipa::path(
    post, path = "/api/v1/pause", tag = "state",
    responses((status = 200, description = "Paused", body = PausedNow)),
)]
pub(super) async fn pause(admin: State<Admin>, caller: Extension<Caller>) -> Answer<PausedNow> {
    set_paused(&admin, &caller, true).await
}

/// Resume recalls
#[utoipa::path(
    post, path = "/api/v1/resume", tag = "state",
    responses((status = 200, description = "Recalls go on", body = PausedNow)),
)]
pub(super) async fn resume(admin: State<Admin>, caller: Extension<Caller>) -> Answer<PausedNow> {
    set_paused(&admin, &caller, false).await
}

async fn set_paused(admin: &Admin, caller: &Caller, paused: bool) -> Answer<PausedNow> {
    // First the calls, then the books: a full disk must not keep the brake from working.
    admin.operator.pause(paused);
    admin.store.set_paused(&by(admin, caller), paused).await?;
    Ok(Json(PausedNow { paused }))
}

/// Names a rule.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GuardReset)]
pub(super) struct Named {
    #[schema(examples("contact-bait"))]
    rule: String,
}

/// Whether there was anything to reset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GuardWasReset)]
pub(super) struct WasReset {
    /// False where the rule was not tripped.
    reset: bool,
}

/// Put a tripped rule back in force
///
/// Its held jobs stay held until they are released or cancelled.
#[utoipa::path(
    post, path = "/api/v1/guard/reset", tag = "state", request_body = Named,
    responses((status = 200, description = "Whether it was tripped", body = WasReset)),
)]
pub(super) async fn reset_guard(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Json(named): Json<Named>,
) -> Answer<WasReset> {
    let rule = RuleId::from(named.rule);
    let reset = admin.operator.reset_rule(&caller.actor, &rule).await?;
    Ok(Json(WasReset { reset }))
}

/// The rules in force by now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reloaded {
    #[schema(value_type = String)]
    rules_version: RulesVersion,
}

/// Read the rules file again
///
/// A broken one leaves the rules in force as they are, and is told.
#[utoipa::path(
    post, path = "/-/reload", tag = "rules",
    responses(
        (status = 200, description = "The file is in force", body = Reloaded),
        (status = 422, description = "The file is broken: every mistake with its place",
            body = super::super::problem::Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn reload(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
) -> Answer<Reloaded> {
    let reloaded = admin.operator.reload(&caller.actor).await;
    let rules_version = reloaded.map_err(|why| match why {
        NotReloaded::Broken(mistakes) => Problem::unfit(mistakes),
        NotReloaded::Store(error) => error.into(),
    })?;
    Ok(Json(Reloaded { rules_version }))
}
