//! Acts that are asked for twice are done once: whoever gives an `Idempotency-Key` may send the same
//! request again, after a time-out or a restart, and gets the answer of the first time.
//!
//! An answer is kept in a transaction of its own, behind that of the act: only then is it known. Whoever
//! is killed between the two does the act again when asked again. Acts are such that this does no harm:
//! they say how it is to stand (paused, held, let through, erased, applied), or make a second plan or
//! backfill beside the first.
//!
//! Answers are kept for a day. What failed in quell itself (5xx) is not kept: trying again is right then.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Extension, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::admin::Admin;
use super::problem::Problem;
use crate::store::Answer;

/// The header that a client names a request by.
pub(super) const KEY: &str = "idempotency-key";
/// The header that tells an answer of the first time from a fresh one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEPT: Duration = Duration::from_hours(24);
const MOST_KEY_BYTES: usize = 255;
/// The largest answer that is kept; of acts, all are far smaller.
const MOST_ANSWER_BYTES: usize = 1 << 20;

/// Keys of requests that are being done.
#[derive(Clone, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashSet<String>>>);

/// A key that is taken until this is dropped.
struct Claim {
    under_way: UnderWay,
    key: String,
}

impl UnderWay {
    fn claim(&self, key: &str) -> Option<Claim> {
        let fresh = self.keys().insert(key.to_owned());
        fresh.then(|| Claim { under_way: self.clone(), key: key.to_owned() })
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.under_way.keys().remove(&self.key);
    }
}

/// Stands around every act.
pub(super) async fn once(
    Extension(admin): Extension<Admin>,
    Extension(under_way): Extension<UnderWay>,
    request: Request,
    next: Next,
) -> Response {
    let Some(key) = request.headers().get(KEY) else { return next.run(request).await };
    let key = key.to_str().ok().filter(|key| is_key(key)).map(str::to_owned);
    let Some(key) = key else {
        let why = "an Idempotency-Key has 1 to 255 printable ASCII characters";
        return Problem::new(StatusCode::BAD_REQUEST, why).into_response();
    };
    let Some(claim) = under_way.claim(&key) else {
        let why = "a request with this Idempotency-Key is being done: ask again";
        return Problem::new(StatusCode::CONFLICT, why).into_response();
    };
    // Goes on to its end if the client goes away: it will come again and ask for the answer.
    let done = tokio::spawn(async move {
        let answered = by_key(&admin, &key, request, next).await;
        drop(claim);
        answered
    });
    match done.await {
        Ok(answered) => answered.unwrap_or_else(IntoResponse::into_response),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn is_key(key: &str) -> bool {
    (1..=MOST_KEY_BYTES).contains(&key.len())
        && key.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
}

async fn by_key(
    admin: &Admin,
    key: &str,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let most = admin.limits.max_body_bytes;
    let body = to_bytes(body, most).await.map_err(|_| {
        let why = "the body broke off, or is too large: see admin.max_body_bytes";
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, why)
    })?;
    let asked = digest(&[parts.method.as_str(), &parts.uri.to_string()], &body);
    let now = admin.clock.now();
    let since = now.before(KEPT);
    if let Some(kept) = admin.store.answer(key, since).await? {
        if kept.request != asked {
            let why = "this Idempotency-Key was used for another request";
            return Err(Problem::unfit(why));
        }
        return Ok(replayed(kept));
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if response.status().is_server_error() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MOST_ANSWER_BYTES).await.map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "done, but the answer is too large to keep")
    })?;
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let answer = Answer {
        at: now,
        request: asked,
        status: parts.status.as_u16(),
        content_type: kind.unwrap_or_default().to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    // The deed is done: that its answer cannot be kept must not look like a failure of it.
    if let Err(error) = admin.store.remember(key, &answer, since).await {
        tracing::warn!(%error, "the answer to an act cannot be kept for its Idempotency-Key");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// Each part with its length first, so that no two requests have the same bytes.
fn digest(parts: &[&str], body: &Bytes) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.update(body);
    hasher.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn replayed(kept: Answer) -> Response {
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    if let Ok(kind) = HeaderValue::from_str(&kept.content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_claimed_once_until_it_is_let_go() {
        let under_way = UnderWay::default();
        let claim = under_way.claim("a").unwrap();
        assert!(under_way.claim("a").is_none() && under_way.claim("b").is_some());
        drop(claim);
        assert!(under_way.claim("a").is_some());
    }

    #[test]
    fn keys_are_short_and_printable() {
        assert!(is_key("a") && is_key(&"x".repeat(255)));
        assert!(!is_key("") && !is_key("a b") && !is_key("ü") && !is_key(&"x".repeat(256)));
    }
}
