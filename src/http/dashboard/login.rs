//! Logging in with one of the tokens, and out.

use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::page::{self, Frame, Preferences, cookie, encoded, local};
use super::session::{LASTS, Session};
use super::{Dashboard, go};
use crate::http::access::is_same_origin;
use crate::http::guesses::Peer;

const COOKIE: &str = "quell_session";
/// The longest name that acts are recorded under, in bytes.
const MAX_NAME_BYTES: usize = 64;
const MAX_FORM_BYTES: usize = 8_192;

/// What the browser shows of a session.
pub(in crate::http) fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, COOKIE)
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    frame: Frame,
    next: String,
    name: String,
    wrong: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    next: String,
}

pub(super) async fn show(
    State(dashboard): State<Dashboard>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let next = local(&wanted.next).to_owned();
    if dashboard.access.caller(&headers).is_ok() {
        return go(&next);
    }
    let preferences = Preferences::of(&headers);
    if !dashboard.access.asks_for_a_token() {
        // Without a token nobody can log in: who is refused, is refused for where they come from.
        let why = preferences.language.say("error.foreign");
        return page::failure(preferences, StatusCode::FORBIDDEN, why);
    }
    let frame = page::bare(preferences, "/login");
    page::show(&Login { frame, next, name: String::new(), wrong: None })
}

#[derive(Deserialize)]
struct Given {
    token: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    next: String,
}

pub(super) async fn login(
    State(dashboard): State<Dashboard>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let preferences = Preferences::of(&headers);
    let language = preferences.language;
    if body.len() > MAX_FORM_BYTES {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    if !is_same_origin(&headers) {
        let why = language.say("error.foreign");
        return page::failure(preferences, StatusCode::FORBIDDEN, why);
    }
    let given: Given = match page::read(preferences, &body) {
        Ok(given) => given,
        Err(failed) => return failed.into_response(),
    };
    let again = |status: StatusCode, wrong: String| {
        let next = local(&given.next).to_owned();
        let frame = page::bare(preferences, "/login");
        let name = given.name.clone();
        (status, page::show(&Login { frame, next, name, wrong: Some(wrong) })).into_response()
    };
    let sessions = &dashboard.access.sessions;
    let Some(role) = dashboard.access.role_of(given.token.trim()) else {
        tracing::warn!("a login with a wrong token");
        let peer = peer.map(|Extension(peer)| peer);
        return if dashboard.access.guesses.wrong(peer, &headers).await {
            again(StatusCode::UNAUTHORIZED, language.say("login.wrong").to_owned())
        } else {
            again(StatusCode::TOO_MANY_REQUESTS, language.say("login.busy").to_owned())
        };
    };
    let actor = actor(&given.name);
    let Some(secret) = sessions.open(Session { role, actor }) else {
        let why = language.say("error.store");
        return page::failure(preferences, StatusCode::SERVICE_UNAVAILABLE, why);
    };
    let mut response = go(local(&given.next));
    let over_tls = dashboard.access.is_over_tls(&headers);
    set_cookie(over_tls, &mut response, &secret, LASTS);
    response
}

pub(super) async fn logout(State(dashboard): State<Dashboard>, headers: HeaderMap) -> Response {
    if !is_same_origin(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    if let Some(secret) = session_cookie(&headers) {
        dashboard.access.sessions.close(secret);
    }
    let mut response = go("/login");
    let over_tls = dashboard.access.is_over_tls(&headers);
    set_cookie(over_tls, &mut response, "", Duration::ZERO);
    response
}

/// What somebody sees who has to log in first: the login page, or for what is no page a plain 401.
pub(super) fn ask(method: &Method, uri: &Uri) -> Response {
    if *method != Method::GET || uri.path().starts_with("/parts/") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let wanted = uri.path_and_query().map_or("/", |wanted| wanted.as_str());
    if wanted == "/" { go("/login") } else { go(&format!("/login?next={}", encoded(wanted))) }
}

/// The name that acts are recorded under.
fn actor(name: &str) -> String {
    let name = name.trim();
    let fits = !name.is_empty() && name.len() <= MAX_NAME_BYTES;
    let plain = !name.chars().any(char::is_control);
    if fits && plain { name.to_owned() } else { "dashboard".to_owned() }
}

fn set_cookie(over_tls: bool, response: &mut Response, secret: &str, lasts: Duration) {
    // What came over TLS must not travel without it.
    let secure = if over_tls { "; Secure" } else { "" };
    let age = lasts.as_secs();
    let cookie =
        format!("{COOKIE}={secret}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}
