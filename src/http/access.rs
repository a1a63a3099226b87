//! Who may use the API: whoever has the token, or, where none is set, whoever is on this machine and
//! is not a web page that some browser here was lured to.

use std::net::IpAddr;
use std::str::FromStr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;

/// What an admin listener is guarded by.
#[derive(Clone, Default)]
pub struct Access {
    /// May read and operate.
    pub token: Option<SecretString>,
    /// May read only.
    pub read_token: Option<SecretString>,
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
        Err(problem) => problem.into_response(),
    }
}

/// Lets operators through. Stands behind [`check`].
pub(super) async fn operators_only(request: Request, next: Next) -> Response {
    match request.extensions().get::<Caller>() {
        Some(caller) if caller.role == Role::Operate => next.run(request).await,
        _ => Problem::new(StatusCode::FORBIDDEN, "this token may only read").into_response(),
    }
}

impl Access {
    /// Who calls, by the headers of a request. The one place where this is decided.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let role = if self.token.is_none() && self.read_token.is_none() {
            self.allows_without_token(headers)?;
            Role::Operate
        } else {
            self.role_by_token(headers)?
        };
        Ok(Caller { role, actor: actor(headers) })
    }

    fn role_by_token(&self, headers: &HeaderMap) -> Result<Role, Problem> {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "a bearer token is required"))?;
        // Both are compared whatever the first one says, so that time tells nothing.
        let (may_all, may_read) =
            (is(given, self.token.as_ref()), is(given, self.read_token.as_ref()));
        match (may_all, may_read) {
            (true, _) => Ok(Role::Operate),
            (_, true) => Ok(Role::Read),
            _ => Err(Problem::new(StatusCode::UNAUTHORIZED, "the token is not valid")),
        }
    }

    /// A page of elsewhere can make a browser here send requests; its name in Host or Origin gives it
    /// away.
    #[expect(clippy::unused_self, reason = "it is about access without a token")]
    fn allows_without_token(&self, headers: &HeaderMap) -> Result<(), Problem> {
        for name in [header::HOST, header::ORIGIN] {
            let Some(value) = headers.get(&name) else { continue };
            let value = value.to_str().unwrap_or("");
            if !is_here(value) {
                let why = format!("{name} {value:?} is not this machine; set admin.token");
                return Err(Problem::new(StatusCode::FORBIDDEN, why));
            }
        }
        Ok(())
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

/// Whether a `Host` or an `Origin` names this machine.
fn is_here(name: &str) -> bool {
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
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

    fn role(access: &Access, headers: &[(&str, &str)]) -> Result<Role, u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = header::HeaderName::from_str(name).unwrap();
            map.insert(name, value.parse().unwrap());
        }
        let caller = access.caller(&map);
        caller
            .map(|caller| caller.role)
            .map_err(|problem| problem.into_response().status().as_u16())
    }

    #[test]
    fn tokens_decide_what_is_allowed() {
        let access = Access { token: Some("all".into()), read_token: Some("read".into()) };
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
            let expected = Caller { role: Role::Operate, actor: actor.to_owned() };
            assert_eq!(access.caller(&headers).unwrap(), expected);
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
