//! The listeners: one for Chat, one for the people who run quell.
//!
//! All routes stand here. Layers, outermost first: panics become 500; the callback answers in Chat's
//! JSON shape whatever happens.

mod access;
mod admin;
mod api;
pub mod listener;
mod plans;
mod problem;
mod reviews;
mod telemetry;
mod timed;
mod webhook;
mod worded;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::intake::Intake;

pub use access::Access;
pub use admin::{Admin, Operator};
pub use problem::wording as admin_wording;
pub use telemetry::{Telemetry, telemetry};
pub use timed::Patience;
pub use webhook::wording as callback_wording;
pub use worded::Wording;

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
pub fn admin_routes(admin: Admin, access: Access) -> Router {
    // Whoever asks for these is asked for a token.
    let guarded = Router::new()
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/pause", post(api::pause))
        .route("/api/v1/resume", post(api::resume))
        .route("/api/v1/jobs/{change}", post(api::change_jobs))
        .route("/api/v1/guard/reset", post(api::reset_rule))
        .route("/api/v1/backfills", get(api::backfills).post(api::start_backfill))
        .route("/api/v1/backfills/{id}", get(api::backfill))
        .route("/api/v1/backfills/{id}/cancel", post(api::cancel_backfill))
        .route("/api/v1/plans", get(plans::list).post(plans::make))
        .route("/api/v1/plans/{plan}", get(plans::show))
        .route("/api/v1/plans/{plan}/apply", post(plans::apply))
        .route("/api/v1/plans/{plan}/cancel", post(plans::cancel))
        .route("/api/v1/reviews", get(reviews::list).post(reviews::make))
        .route("/api/v1/reviews/waiting", get(reviews::waiting))
        .route("/api/v1/reviews/precision", get(reviews::precision))
        .route("/api/v1/erase", post(api::erase))
        .route("/api/v1/prune", post(api::prune))
        .route("/api/v1/{view}", get(api::list))
        .route("/-/reload", post(api::reload))
        .layer(from_fn_with_state(access, access::check));
    guarded
        .route("/healthz", get(admin::healthz))
        .route("/readyz", get(admin::readyz))
        .route("/metrics", get(admin::metrics))
        .layer(CatchPanicLayer::new())
        .with_state(admin)
}
