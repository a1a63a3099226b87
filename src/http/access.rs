//! Who may use the API and the dashboard: whoever has the token or has logged in with it, or, where
//! none is set, whoever is on this machine and is not a web page that some browser here was lured to.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::dashboard::{self, Session, Sessions};
use super::guesses::{Guesses, Peer};
use super::problem::Problem;

/// What an admin listener is guarded by.
#[derive(Clone, Default)]
pub struct Access {
    /// May read and operate.
    pub token: Option<SecretString>,
    /// May read only.
    pub read_token: Option<SecretString>,
    /// Whether the listener itself speaks TLS.
    speaks_tls: bool,
    /// Who has logged in with one of them.
    pub(super) sessions: Arc<Sessions>,
    /// Who showed wrong ones.
    pub(super) guesses: Guesses,
}

/// What whoever calls may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// See everything, change nothing.
    Read,
    /// Change things, too.
    Operate,
}

/// Who calls. Made by [`Access::caller`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) role: Role,
    /// The name that acts of a request are recorded under.
    pub(super) actor: String,
    /// Whether a cookie says so, which a browser also sends when a page of elsewhere asks it to.
    pub(super) by_cookie: bool,
}

/// Header by which a client names who acts; without it acts are recorded under `api`.
const ACTOR: &str = "x-quell-actor";
const MAX_ACTOR_BYTES: usize = 64;

pub(super) async fn check(
    State(access): State<Access>,
    mut request: Request,
    next: Next,
) -> Response {
    match access.caller(request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => {
            if problem.status() == StatusCode::UNAUTHORIZED
                && request.headers().contains_key(header::AUTHORIZATION)
            {
                let peer = request.extensions().get::<Peer>().copied();
                access.guesses.wrong(peer, request.headers()).await;
            }
            problem.into_response()
        }
    }
}

/// Lets operators through. Stands behind [`check`].
pub(super) async fn operators_only(request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    match caller.map(|caller| caller.may_operate(request.headers())) {
        Some(Ok(())) => next.run(request).await,
        Some(Err(problem)) => problem.into_response(),
        None => Problem::new(StatusCode::UNAUTHORIZED, "nobody calls").into_response(),
    }
}

impl Caller {
    fn may_operate(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let why = match self.role {
            Role::Read => "this token may only read",
            Role::Operate if self.by_cookie && !is_same_origin(headers) => {
                "the request comes from elsewhere"
            }
            Role::Operate => return Ok(()),
        };
        Err(Problem::new(StatusCode::FORBIDDEN, why))
    }
}

impl Access {
    /// Guarded by these tokens, and by nothing but the place of the caller where there is none.
    #[must_use]
    pub fn new(token: Option<SecretString>, read_token: Option<SecretString>) -> Self {
        Self {
            token,
            read_token,
            speaks_tls: false,
            sessions: Arc::default(),
            guesses: Guesses::default(),
        }
    }

    /// On a listener that speaks TLS itself, or does not.
    #[must_use]
    pub fn over_tls(self, speaks_tls: bool) -> Self {
        Self { speaks_tls, ..self }
    }

    /// Whether a browser reached us over TLS: ours, or that of a proxy which says so.
    pub(super) fn is_over_tls(&self, headers: &HeaderMap) -> bool {
        let forwarded = headers.get("x-forwarded-proto");
        self.speaks_tls || forwarded.is_some_and(|scheme| scheme == "https")
    }

    /// Who calls, if it may do what it asks for: reading takes any role, the rest takes
    /// [`Role::Operate`].
    pub(super) fn allows(&self, method: &Method, headers: &HeaderMap) -> Result<Caller, Problem> {
        let caller = self.caller(headers)?;
        if !matches!(*method, Method::GET | Method::HEAD) {
            caller.may_operate(headers)?;
        }
        Ok(caller)
    }

    /// Who calls, by the headers of a request. The one place where this is decided.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        if !self.asks_for_a_token() {
            from_this_machine(headers)?;
            from_own_page(headers)?;
            return Ok(Caller { role: Role::Operate, actor: actor(headers), by_cookie: false });
        }
        if !headers.contains_key(header::AUTHORIZATION)
            && let Some(session) = self.session(headers)
        {
            from_own_page(headers)?;
            return Ok(Caller { role: session.role, actor: session.actor, by_cookie: true });
        }
        Ok(Caller { role: self.role_by_token(headers)?, actor: actor(headers), by_cookie: false })
    }

    /// Whether a token is set: where none is, being on this machine is enough.
    pub(super) fn asks_for_a_token(&self) -> bool {
        self.token.is_some() || self.read_token.is_some()
    }

    /// What a token lets its holder do.
    pub(super) fn role_of(&self, given: &str) -> Option<Role> {
        // Both are compared whatever the first one says, so that time tells nothing.
        let (may_all, may_read) =
            (is(given, self.token.as_ref()), is(given, self.read_token.as_ref()));
        match (may_all, may_read) {
            (true, _) => Some(Role::Operate),
            (_, true) => Some(Role::Read),
            _ => None,
        }
    }

    fn session(&self, headers: &HeaderMap) -> Option<Session> {
        self.sessions.find(dashboard::session_cookie(headers)?)
    }

    fn role_by_token(&self, headers: &HeaderMap) -> Result<Role, Problem> {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "a bearer token is required"))?;
        let role = self.role_of(given);
        role.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "the token is not valid"))
    }
}

/// A name of elsewhere can be made to point here, and its pages then count as ours; the name in Host
/// gives them away.
fn from_this_machine(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(host) = headers.get(header::HOST) else { return Ok(()) };
    let host = host.to_str().unwrap_or("");
    if is_here(host) {
        return Ok(());
    }
    let why = format!("host {host:?} is not this machine; set admin.token");
    Err(Problem::new(StatusCode::FORBIDDEN, why))
}

/// A page of elsewhere, of another port of this machine too, can make a browser here send requests;
/// its Origin gives it away. What is no browser sends none.
fn from_own_page(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    if is_same_origin(headers) {
        return Ok(());
    }
    let origin = origin.to_str().unwrap_or("");
    let why = format!("the request comes from a page of {origin:?}, not of this listener");
    Err(Problem::new(StatusCode::FORBIDDEN, why))
}

/// Whether a browser made the request for a page of this listener. Browsers say so in `Origin` or in
/// `Sec-Fetch-Site` whenever they send anything but a plain look-up.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(header::HOST);
    match text(header::ORIGIN) {
        Some(origin) => host.is_some() && origin.split_once("://").map(|(_, name)| name) == host,
        None => text(HeaderName::from_static("sec-fetch-site")) == Some("same-origin"),
    }
}

/// The name that a client gives for the record.
fn actor(headers: &HeaderMap) -> String {
    let given = headers.get(ACTOR).and_then(|value| value.to_str().ok());
    let given = given.filter(|name| !name.is_empty() && name.len() <= MAX_ACTOR_BYTES);
    given.unwrap_or("api").to_owned()
}

/// Compares digests in constant time, so that neither content nor length leaks.
fn is(given: &str, wanted: Option<&SecretString>) -> bool {
    let Some(wanted) = wanted else { return false };
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    digest(given).ct_eq(&digest(wanted.expose_secret())).into()
}

/// Whether a `Host` names this machine.
fn is_here(name: &str) -> bool {
    let host = match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => name,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || IpAddr::from_str(host).is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = header::HeaderName::from_str(name).unwrap();
            map.insert(name, value.parse().unwrap());
        }
        map
    }

    fn role(access: &Access, headers: &[(&str, &str)]) -> Result<Role, u16> {
        let caller = access.caller(&map(headers));
        caller
            .map(|caller| caller.role)
            .map_err(|problem| problem.into_response().status().as_u16())
    }

    #[test]
    fn tokens_decide_what_is_allowed() {
        let access = Access::new(Some("all".into()), Some("read".into()));
        for (given, expected) in [
            ("Bearer all", Ok(Role::Operate)),
            ("Bearer read", Ok(Role::Read)),
            ("Bearer x", Err(401)),
            ("Bearer ", Err(401)),
            ("Basic YWxs", Err(401)),
        ] {
            assert_eq!(role(&access, &[("authorization", given)]), expected, "{given}");
        }
        assert_eq!(role(&access, &[]), Err(401));
    }

    #[test]
    fn acts_are_recorded_under_the_name_that_is_given() {
        let access = Access::default();
        let long = "x".repeat(MAX_ACTOR_BYTES + 1);
        for (given, actor) in [("ada", "ada"), ("", "api"), (&long, "api"), ("\u{fc}", "api")] {
            let mut headers = HeaderMap::new();
            headers.insert(ACTOR, header::HeaderValue::from_bytes(given.as_bytes()).unwrap());
            let expected =
                Caller { role: Role::Operate, actor: actor.to_owned(), by_cookie: false };
            assert_eq!(access.caller(&headers).unwrap(), expected);
        }
    }

    #[test]
    fn a_cookie_is_no_leave_for_pages_of_elsewhere() {
        let access = Access::new(Some("all".into()), Some("read".into()));
        let cookie = |role| {
            let session = Session { role, actor: "ada".into() };
            format!("a=b; quell_session={}", access.sessions.open(session).unwrap())
        };
        let (all, read) = (cookie(Role::Operate), cookie(Role::Read));
        let host = ("host", "q.example:8081");
        for (cookie, more, reads, writes) in [
            (&all, ("origin", "https://q.example:8081"), 200, 200),
            (&all, ("sec-fetch-site", "same-origin"), 200, 200),
            (&all, ("origin", "https://evil.example"), 403, 403),
            (&all, ("origin", "https://q.example:3000"), 403, 403),
            (&all, ("origin", "null"), 403, 403),
            (&all, ("sec-fetch-site", "cross-site"), 200, 403),
            (&all, ("x-other", ""), 200, 403),
            (&all, ("authorization", "Bearer x"), 401, 401),
            (&read, ("origin", "https://q.example:8081"), 200, 403),
            (&"quell_session=guessed".to_owned(), ("sec-fetch-site", "same-origin"), 401, 401),
        ] {
            let headers = [host, ("cookie", cookie.as_str()), more];
            let status = |method| {
                let refused = access.allows(&method, &map(&headers)).err();
                refused.map_or(200, |problem| problem.status().as_u16())
            };
            let got = (status(Method::GET), status(Method::POST));
            assert_eq!(got, (reads, writes), "{more:?}");
        }
    }

    #[test]
    fn without_a_token_only_this_machine_is_served() {
        let access = Access::default();
        for (host, origin, expected) in [
            ("127.0.0.1:8081", "", Ok(Role::Operate)),
            ("localhost:8081", "http://localhost:8081", Ok(Role::Operate)),
            ("[::1]:8081", "", Ok(Role::Operate)),
            ("rebound.example:8081", "", Err(403)),
            ("localhost.example", "", Err(403)),
            ("127.0.0.1:8081", "https://evil.example", Err(403)),
            ("localhost:8081", "http://localhost:3000", Err(403)),
            ("127.0.0.1:8081", "http://localhost:8081", Err(403)),
            ("127.0.0.1:8081", "http://127.0.0.1", Err(403)),
            ("127.0.0.1:8081", "null", Err(403)),
        ] {
            let mut headers = vec![("host", host)];
            if !origin.is_empty() {
                headers.push(("origin", origin));
            }
            assert_eq!(role(&access, &headers), expected, "{host} {origin}");
        }
    }
}
