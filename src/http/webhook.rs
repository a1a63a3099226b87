//! The callback: verify, read the body, take it in, answer.
//!
//! Every answer has the provider's shape: `ActionStatus`, `ErrorCode`, `ErrorInfo` (page
//! `wh-overview`). Codes of refusals are the HTTP status, since Chat ignores them after the event.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri};
use metrics::Histogram;

use super::alarm::Timeout;
use super::timed::ran_out;
use crate::intake::{Intake, Refused};
use crate::store::Error;

const OK: &[u8] = br#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#;

/// An answer to a callback.
pub type Answer = Response<Full<Bytes>>;

/// How callbacks are taken.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Where they are sent.
    pub path: String,
    pub max_body_bytes: usize,
    pub body_timeout: Duration,
    pub answer_timeout: Duration,
}

/// The listener that Chat calls. Every callback comes to the same place, so it needs no router, nor
/// what a router costs.
pub struct Webhook {
    intake: Arc<Intake>,
    path: String,
    max_body_bytes: usize,
    body_timeout: Timeout,
    answer_timeout: Timeout,
    took: Histogram,
}

impl Webhook {
    /// To be made when the recorder of metrics is in place.
    pub fn new(intake: Arc<Intake>, terms: Terms) -> Self {
        Self {
            intake,
            path: terms.path,
            max_body_bytes: terms.max_body_bytes,
            body_timeout: Timeout::new(terms.body_timeout),
            answer_timeout: Timeout::new(terms.answer_timeout),
            took: metrics::histogram!("quell_callback_seconds"),
        }
    }

    /// Answers whatever was asked for.
    pub fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Answer> + Send {
        // Taken apart out here, since an async function keeps its arguments beside what it makes of
        // them, and all of that is moved about.
        let (Parts { method, uri, headers, .. }, body) = request.into_parts();
        async move {
            if uri.path() != self.path {
                return closing(refuse(StatusCode::NOT_FOUND, "no such path"));
            }
            if method != Method::POST {
                let mut refusal = refuse(StatusCode::METHOD_NOT_ALLOWED, "POST only");
                refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
                return closing(refusal);
            }
            let began = Instant::now();
            let taking = AssertUnwindSafe(take(&self, &uri, &headers, body));
            let answer = match taking.catch_unwind().await {
                Ok(Ok(())) => stored(headers),
                Ok(Err(refusal)) => refusal,
                Err(_) => panicked(),
            };
            self.took.record(began.elapsed());
            answer
        }
    }
}

/// Takes a callback in. `Ok`: what it says is stored.
async fn take(
    webhook: &Webhook,
    uri: &Uri,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<(), Answer> {
    let authentic = webhook
        .intake
        .verify(uri.query().unwrap_or(""))
        .map_err(|rejection| closing(refuse(StatusCode::FORBIDDEN, rejection.reason())))?;
    let body = read(webhook, headers, body).await?;
    let taking = webhook.intake.take(&authentic, &body);
    match webhook.answer_timeout.within(taking).await {
        Some(Ok(_)) => Ok(()),
        Some(Err(Refused::Unreadable(why))) => {
            Err(refuse(StatusCode::BAD_REQUEST, &why.to_string()))
        }
        Some(Err(Refused::Store(error))) => Err(unavailable(&error)),
        // It may still be stored; that it was not acknowledged then does no harm.
        None => {
            webhook.intake.refused("late");
            Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "not stored in time"))
        }
    }
}

async fn read(webhook: &Webhook, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Answer> {
    let too_large = || {
        webhook.intake.refused("too_large");
        closing(refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))
    };
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
        .unwrap_or(0);
    if announced > webhook.max_body_bytes as u64 {
        return Err(too_large());
    }
    let too_slow = || {
        webhook.intake.refused("slow_body");
        closing(refuse(StatusCode::REQUEST_TIMEOUT, "the body took too long"))
    };
    let reading = whole(Limited::new(body, webhook.max_body_bytes));
    match webhook.body_timeout.within(reading).await {
        Some(Ok(body)) => Ok(body),
        Some(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        // After a slow head the connection's patience may end first.
        Some(Err(error)) if ran_out(error.as_ref()) => Err(too_slow()),
        Some(Err(_)) => {
            webhook.intake.refused("broken_off");
            Err(closing(refuse(StatusCode::BAD_REQUEST, "the body broke off")))
        }
        None => Err(too_slow()),
    }
}

/// The whole body. Nearly every one comes in one piece, which is then all there is to do.
async fn whole(
    mut body: Limited<Incoming>,
) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let first = body.frame().await.transpose()?;
    let first = first.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
    if body.is_end_stream() {
        return Ok(first);
    }
    let rest = body.collect().await?.to_bytes();
    Ok(if rest.is_empty() { first } else { [first, rest].concat().into() })
}

fn unavailable(error: &Error) -> Answer {
    let why = match error {
        Error::Overloaded(_) => "overloaded",
        // What exactly is for the log, where the store tells it once for all that failed with it.
        _ => "the store is unavailable",
    };
    refuse(StatusCode::SERVICE_UNAVAILABLE, why)
}

/// A bug ends as one failed request. What it said may hold message text, so it is not repeated.
fn panicked() -> Answer {
    tracing::error!("a callback handler panicked");
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
}

fn refuse(status: StatusCode, info: &str) -> Answer {
    json(status, refusal(status.as_u16(), info).into())
}

/// How the callback listener words a refusal.
pub fn wording(status: u16, why: &str) -> (&'static str, String) {
    ("application/json", refusal(status, why))
}

fn refusal(status: u16, info: &str) -> String {
    serde_json::json!({"ActionStatus": "FAIL", "ErrorCode": status, "ErrorInfo": info}).to_string()
}

/// Ends the connection with this answer: it may idle for long, and only Chat shall.
fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// The answer to what is stored, in the map that held the request's headers: hyper takes it back for
/// the next request, and so it is made once a connection.
fn stored(mut headers: HeaderMap) -> Answer {
    headers.clear();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut answer = Response::new(Full::new(Bytes::from_static(OK)));
    *answer.headers_mut() = headers;
    answer
}

fn json(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
