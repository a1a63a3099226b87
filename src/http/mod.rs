//! The listeners: one for Chat, one for the people who run quell.
//!
//! The operators' routes stand here. Layers, outermost first: panics become 500. Callbacks have a single
//! place to go to, see `webhook`.

mod access;
mod admin;
mod alarm;
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

use std::pin::Pin;

use axum::Extension;
use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

pub use access::Access;
pub use admin::{Admin, ApiLimits, NotReloaded, Operator};
pub use api::openapi;
pub use problem::wording as admin_wording;
pub use telemetry::{Telemetry, telemetry};
pub use timed::Patience;
pub use webhook::{Answer, Terms, Webhook, wording as callback_wording};
pub use worded::Wording;

/// Streams of events that may be open at a time, of the API and of the dashboard.
const API_STREAMS: usize = 32;

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

/// What answers by routes.
pub fn routed(
    routes: Router,
) -> impl Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response> + Send>> + Clone {
    move |request| {
        let routes = routes.clone();
        Box::pin(async move {
            let answered = routes.oneshot(request.map(Body::new)).await;
            answered.unwrap_or_else(|never| match never {})
        })
    }
}
