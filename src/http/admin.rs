//! Probes and metrics. They need no token and tell no secrets.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;

use super::Telemetry;
use crate::backtest::Backtests;
use crate::model::{Allowance, AllowanceKind, Clock, JobState, RuleId, RulesVersion, UserId};
use crate::retention::Days;
use crate::rules::CompiledRules;
use crate::store::{Error, NewAllowance, Store};
use crate::sweep::Terms;
use crate::worker::Status;

/// What the admin listener needs.
#[derive(Clone)]
pub struct Admin {
    pub telemetry: Telemetry,
    pub store: Arc<dyn Store>,
    pub operator: Arc<dyn Operator>,
    pub clock: Arc<dyn Clock>,
    pub backtests: Arc<Backtests>,
    /// Cancelled when the daemon stops: answers without an end end then.
    pub stopping: CancellationToken,
    pub limits: ApiLimits,
}

/// What a request may cost.
#[derive(Clone, Copy, Debug)]
pub struct ApiLimits {
    /// Of a request.
    pub max_body_bytes: usize,
    /// Of a read; acts take as long as they need.
    pub answer_timeout: Duration,
}

/// Why a reload did not do all that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum NotReloaded {
    /// The rules file or a certificate is broken: every mistake with its place.
    #[error("{0}")]
    Broken(String),
    #[error(transparent)]
    Store(#[from] Error),
}

/// What operators steer beside the store.
#[async_trait]
pub trait Operator: Send + Sync {
    /// What is missing to take callbacks in, if anything. That Chat cannot be reached is no reason to
    /// stop taking them.
    fn missing(&self) -> Option<&'static str>;

    /// Lets no call leave any more, or lets them leave again.
    fn pause(&self, paused: bool);

    /// How the queue stands.
    fn status(&self) -> Status;

    /// Puts a tripped rule back in force. Answers whether it was tripped.
    async fn reset_rule(&self, actor: &str, rule: &RuleId) -> Result<bool, Error>;

    /// What a sweep may count on.
    fn sweep_terms(&self) -> Terms;

    /// A plan was told to go or to end.
    fn plans_turned(&self);

    /// Reads the rules file again, and records who had new rules come into force. A broken file leaves
    /// the rules as they are, and is told.
    async fn reload(&self, actor: &str) -> Result<RulesVersion, NotReloaded>;

    /// Lets a sender or a phrase through, beside the rules file.
    async fn allow(&self, actor: &str, allowance: &NewAllowance) -> Result<Allowance, Error>;

    /// No longer lets it through. Answers whether it did.
    async fn disallow(&self, actor: &str, kind: AllowanceKind, id: i64) -> Result<bool, Error>;

    /// How long what is kept.
    fn days(&self) -> Days;

    /// Says that there is history to pull. Answers whether anybody pulls any.
    fn wake_repair(&self) -> bool;

    /// The version of the rules in force.
    fn rules_version(&self) -> RulesVersion;

    /// The rules in force.
    fn rules(&self) -> Arc<CompiledRules>;

    /// Where lists that a rules file names are looked for.
    fn rules_folder(&self) -> PathBuf;

    /// Whether recalls are made, or everything only judged and recorded.
    fn enforces(&self) -> bool;

    /// Whether texts are put into an index that can be searched.
    fn searches(&self) -> bool;

    /// The account that quell calls as.
    fn identifier(&self) -> UserId;
}

/// Whether the process turns
#[utoipa::path(
    get, path = "/healthz", tag = "probes",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")),
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether callbacks can be taken in
///
/// Migrated, rules loaded, the writer healthy. Chat being down does not make quell unready.
#[utoipa::path(
    get, path = "/readyz", tag = "probes",
    responses(
        (status = 200, description = "They can", body = String, content_type = "text/plain"),
        (status = 503, description = "They cannot, and why", body = String,
            content_type = "text/plain"),
    ),
)]
pub(super) async fn readyz(State(admin): State<Admin>) -> Response {
    if let Some(missing) = admin.operator.missing() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}\n"))
            .into_response();
    }
    match admin.store.ping().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => {
            tracing::warn!(error = %error, "not ready");
            let body = "not ready: the database cannot be read\n";
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

/// Figures for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "probes",
    responses((status = 200, description = "The text format", body = String,
        content_type = "text/plain")),
)]
pub(super) async fn metrics(State(admin): State<Admin>) -> Response {
    // Where it cannot be read, the gauges keep what they last said.
    if let Ok(unfinished) = admin.store.unfinished_by_state().await {
        show_queue(&unfinished);
    }
    if let Ok(missing) = admin.store.open_sequences().await {
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        metrics::gauge!("quell_gaps_open_sequences").set(f64::from(missing));
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.telemetry.render()).into_response()
}

fn show_queue(unfinished: &[(String, i64)]) {
    let mut visible = 0.0;
    for state in JobState::ALL.iter().filter(|state| !state.is_final()) {
        let count = unfinished.iter().find(|(name, _)| name == state.as_str());
        let count = count.map_or(0, |(_, count)| u32::try_from(*count).unwrap_or(u32::MAX));
        metrics::gauge!("quell_recall_queue", "state" => state.as_str()).set(f64::from(count));
        visible += f64::from(count);
    }
    metrics::gauge!("quell_visible_violations").set(visible);
}
