//! The callback: verify, read the body, take it in, answer.
//!
//! Every answer has the provider's shape: `ActionStatus`, `ErrorCode`, `ErrorInfo` (page
//! `wh-overview`). Codes of refusals are the HTTP status, since Chat ignores them after the event.

use std::any::Any;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::Webhook;
use crate::intake::Refused;
use crate::store::Error;

const OK: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#;

pub(super) async fn callback(
    State(webhook): State<Webhook>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let began = Instant::now();
    let response = answer(&webhook, query.as_deref().unwrap_or(""), &headers, body).await;
    metrics::histogram!("quell_callback_seconds").record(began.elapsed());
    response
}

async fn answer(webhook: &Webhook, query: &str, headers: &HeaderMap, body: Body) -> Response {
    let authentic = match webhook.intake.verify(query) {
        Ok(authentic) => authentic,
        Err(rejection) => return closing(refuse(StatusCode::FORBIDDEN, rejection.reason())),
    };
    let body = match read(webhook, headers, body).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let taken =
        tokio::time::timeout(webhook.answer_timeout, webhook.intake.take(&authentic, &body));
    match taken.await {
        Ok(Ok(_)) => json(StatusCode::OK, OK.into()),
        Ok(Err(Refused::Unreadable(why))) => refuse(StatusCode::BAD_REQUEST, &why.to_string()),
        Ok(Err(Refused::Store(error))) => unavailable(&error),
        // It may still be stored; that it was not acknowledged then does no harm.
        Err(_) => {
            webhook.intake.refused("late");
            refuse(StatusCode::SERVICE_UNAVAILABLE, "not stored in time")
        }
    }
}

async fn read(webhook: &Webhook, headers: &HeaderMap, body: Body) -> Result<Bytes, Response> {
    let too_large = || {
        webhook.intake.refused("too_large");
        closing(refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
        .unwrap_or(0);
    if announced > webhook.max_body_bytes as u64 {
        return Err(too_large());
    }
    let collected = Limited::new(body, webhook.max_body_bytes).collect();
    match tokio::time::timeout(webhook.body_timeout, collected).await {
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

fn unavailable(error: &Error) -> Response {
    let why = match error {
        Error::Overloaded(_) => "overloaded",
        // What exactly is for the log, where the store tells it once for all that failed with it.
        _ => "the store is unavailable",
    };
    refuse(StatusCode::SERVICE_UNAVAILABLE, why)
}

pub(super) async fn not_found() -> Response {
    closing(refuse(StatusCode::NOT_FOUND, "no such path"))
}

pub(super) async fn method_not_allowed() -> Response {
    closing(refuse(StatusCode::METHOD_NOT_ALLOWED, "POST only"))
}

/// A bug ends as one failed request. What it said may hold message text, so it is not repeated.
pub(super) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a callback handler panicked");
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
}

fn refuse(status: StatusCode, info: &str) -> Response {
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
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

fn json(status: StatusCode, body: Body) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
