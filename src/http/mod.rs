//! The listeners: one for Chat, one for the people who run quell.
//!
//! All routes stand here. Layers, outermost first: panics become 500; the callback answers in Chat's
//! JSON shape whatever happens.

mod access;
mod admin;
mod api;
mod candidate;
mod dashboard;
mod extract;
mod guesses;
mod idempotency;
pub mod listener;
mod problem;
mod stream;
mod telemetry;
mod timed;
pub mod tls;
mod webhook;
mod worded;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use tower_http::catch_panic::CatchPanicLayer;

use crate::intake::Intake;

pub use access::Access;
pub use admin::{Admin, ApiLimits, NotReloaded, Operator};
pub use api::openapi;
pub use problem::wording as admin_wording;
pub use telemetry::{Telemetry, telemetry};
pub use timed::Patience;
pub use webhook::wording as callback_wording;
pub use worded::Wording;

/// Streams of events that may be open at a time, of the API and of the dashboard.
const API_STREAMS: usize = 32;

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
    let limits = admin.limits;
    let (described, _) = api::routes(access.clone(), limits.answer_timeout);
    described
        .layer(Extension(access.clone()))
        .layer(Extension(admin.clone()))
        .layer(Extension(idempotency::UnderWay::default()))
        .layer(Extension(stream::Streams::room_for(API_STREAMS)))
        .with_state(admin.clone())
        .merge(dashboard::routes(admin, access))
        .layer(DefaultBodyLimit::max(limits.max_body_bytes))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(CatchPanicLayer::custom(problem::panicked))
}
