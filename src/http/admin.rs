//! Probes and metrics. They need no token and tell no secrets.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Telemetry;
use crate::model::JobState;
use crate::store::Audit;

/// What the admin listener needs.
#[derive(Clone)]
pub struct Admin {
    pub telemetry: Telemetry,
    pub audit: Arc<dyn Audit>,
    pub readiness: Arc<dyn Readiness>,
}

/// Whether callbacks can be taken in. That Chat cannot be reached is no reason to stop taking them.
pub trait Readiness: Send + Sync {
    /// What is missing, if anything.
    fn missing(&self) -> Option<&'static str>;
}

/// The process turns.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Callbacks can be taken in: migrated, rules loaded, the writer healthy.
pub(super) async fn readyz(State(admin): State<Admin>) -> Response {
    if let Some(missing) = admin.readiness.missing() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}\n"))
            .into_response();
    }
    match admin.audit.ping().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => {
            tracing::warn!(error = %error, "not ready");
            let body = "not ready: the database cannot be read\n";
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

pub(super) async fn metrics(State(admin): State<Admin>) -> Response {
    let unfinished = admin.audit.unfinished_by_state().await.unwrap_or_default();
    for state in JobState::ALL.iter().filter(|state| !state.is_final()) {
        let count = unfinished.iter().find(|(name, _)| name == state.as_str());
        let count = count.map_or(0, |(_, count)| u32::try_from(*count).unwrap_or(u32::MAX));
        metrics::gauge!("quell_recall_queue", "state" => state.as_str()).set(f64::from(count));
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.telemetry.render()).into_response()
}
