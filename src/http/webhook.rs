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
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use metrics::Histogram;

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
    terms: Terms,
    took: Histogram,
}

impl Webhook {
    /// To be made when the recorder of metrics is in place.
    pub fn new(intake: Arc<Intake>, terms: Terms) -> Self {
        Self { intake, terms, took: metrics::histogram!("quell_callback_seconds") }
    }

    /// Answers whatever was asked for.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        if request.uri().path() != self.terms.path {
            return closing(refuse(StatusCode::NOT_FOUND, "no such path"));
        }
        if request.method() != Method::POST {
            let mut refusal = refuse(StatusCode::METHOD_NOT_ALLOWED, "POST only");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return closing(refusal);
        }
        let began = Instant::now();
        let answered = AssertUnwindSafe(take(&self, request)).catch_unwind().await;
        let answer = answered.unwrap_or_else(|_| panicked());
        self.took.record(began.elapsed());
        answer
    }
}

async fn take(webhook: &Webhook, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let authentic = match webhook.intake.verify(head.uri.query().unwrap_or("")) {
        Ok(authentic) => authentic,
        Err(rejection) => return closing(refuse(StatusCode::FORBIDDEN, rejection.reason())),
    };
    let body = match read(webhook, &head.headers, body).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let taking = webhook.intake.take(&authentic, &body);
    match tokio::time::timeout(webhook.terms.answer_timeout, taking).await {
        Ok(Ok(_)) => json(StatusCode::OK, Bytes::from_static(OK)),
        Ok(Err(Refused::Unreadable(why))) => refuse(StatusCode::BAD_REQUEST, &why.to_string()),
        Ok(Err(Refused::Store(error))) => unavailable(&error),
        // It may still be stored; that it was not acknowledged then does no harm.
        Err(_) => {
            webhook.intake.refused("late");
            refuse(StatusCode::SERVICE_UNAVAILABLE, "not stored in time")
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
    if announced > webhook.terms.max_body_bytes as u64 {
        return Err(too_large());
    }
    let collected = Limited::new(body, webhook.terms.max_body_bytes).collect();
    match tokio::time::timeout(webhook.terms.body_timeout, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => {
            webhook.intake.refused("broken_off");
            Err(closing(refuse(StatusCode::BAD_REQUEST, "the body broke off")))
        }
        Err(_) => {
            webhook.intake.refused("slow_body");
            Err(closing(refuse(StatusCode::REQUEST_TIMEOUT, "the body took too long")))
        }
    }
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

fn json(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
