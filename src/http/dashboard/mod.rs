//! The dashboard: pages rendered here, with nothing loaded from elsewhere.
//!
//! A page works without scripts: forms and links. With them the feed moves, figures keep up, and
//! the queue is worked by keyboard. Whatever a message holds goes through `hostile` and stays text.
//! What a page does is what the API does, under the same roles and with the same rows in
//! `v_operations`.

mod acts;
mod allowances;
mod assets;
mod bench;
mod hostile;
mod lists;
mod live;
mod login;
mod message;
mod overview;
mod page;
mod plans;
mod queue;
mod row;
mod search;
mod session;
mod words;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::Admin;
use super::access::Access;
use super::stream::Streams;

pub(super) use login::session_cookie;
pub(super) use session::{Session, Sessions};

/// Scripts, styles and pictures of our own and nothing else; nobody may frame a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What pages need.
#[derive(Clone)]
struct Dashboard {
    admin: Admin,
    access: Access,
    /// Room for live feeds.
    feeds: Streams,
}

/// The routes of the dashboard. They have their own guard, which shows the login page where the API
/// would answer 401.
pub(super) fn routes(admin: Admin, access: Access) -> Router {
    let state = Dashboard { admin, access, feeds: Streams::room_for(live::FEEDS) };
    let guarded = Router::new()
        .route("/", get(overview::show))
        .route("/parts/state", get(overview::state))
        .route("/parts/figures", get(overview::figures))
        .route("/parts/exposure.json", get(overview::exposure))
        .route("/parts/feed", get(live::feed))
        .route("/queue", get(queue::show))
        .route("/messages/{id}", get(message::show))
        .route("/bench", get(bench::show).post(bench::explain))
        .route("/bench/trial", get(bench::trial).post(bench::start_trial))
        .route("/bench/trial/end", post(bench::end_trial))
        .route("/plans/{plan}", get(plans::show))
        .route("/lists/allowances", get(allowances::show))
        .route("/lists/{list}", get(lists::show))
        .route("/search", get(search::search))
        .route("/act/{act}", post(acts::act))
        .layer(from_fn_with_state(state.clone(), guard));
    Router::new()
        .route("/logout", post(login::logout))
        .route("/login", get(login::show).post(login::login))
        .route("/preferences", post(page::set_preferences))
        .route("/assets/{file}", get(assets::serve))
        .merge(guarded)
        .layer(from_fn(headers))
        .with_state(state)
}

/// Lets in who may, and shows the others where to log in or why not.
async fn guard(State(dashboard): State<Dashboard>, mut request: Request, next: Next) -> Response {
    let preferences = page::Preferences::of(request.headers());
    // Explaining a text reads, though the text comes in a body.
    let reads = request.uri().path() == "/bench";
    let method = if reads { &Method::GET } else { request.method() };
    match dashboard.access.allows(method, request.headers()) {
        Ok(mut caller) => {
            if caller.actor == "api" {
                "dashboard".clone_into(&mut caller.actor);
            }
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {
            login::ask(request.method(), request.uri())
        }
        Err(problem) => page::failure(preferences, problem.status(), problem.detail()),
    }
}

/// What every answer says to the browser.
async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Nothing is told elsewhere. `no-referrer` would have forms sent with the origin `null`, by
        // which they could not be told from those of other pages.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Goes on to another page after a form was sent.
fn go(to: &str) -> Response {
    Redirect::to(to).into_response()
}
