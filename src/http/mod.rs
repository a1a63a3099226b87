//! The listeners: one for Chat, one for the people who run quell.
//!
//! All routes stand here. Layers, outermost first: panics become 500; the callback answers in Chat's
//! JSON shape whatever happens.

mod admin;
pub mod listener;
mod telemetry;
mod timed;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::intake::Intake;

pub use admin::{Admin, Readiness};
pub use telemetry::{Telemetry, telemetry};
pub use timed::Patience;

/// What the callback listener needs.
#[derive(Clone)]
pub struct Webhook {
    pub intake: Arc<Intake>,
    pub max_body_bytes: usize,
    pub body_timeout: Duration,
    pub answer_timeout: Duration,
}

/// The listener that Chat calls.
pub fn callback_routes(path: &str, webhook: Webhook) -> Router {
    Router::new()
        .route(path, post(webhook::callback))
        .fallback(webhook::not_found)
        .method_not_allowed_fallback(webhook::method_not_allowed)
        .layer(CatchPanicLayer::custom(webhook::panicked))
        .with_state(webhook)
}

/// The listener for operators, probes and metrics.
pub fn admin_routes(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(admin::healthz))
        .route("/readyz", get(admin::readyz))
        .route("/metrics", get(admin::metrics))
        .layer(CatchPanicLayer::new())
        .with_state(admin)
}
