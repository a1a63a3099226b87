//! Errors of the API: `application/problem+json` (RFC 9457), a public message and a private cause.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::store;

/// What went wrong, in words for whoever called.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (kind, body) = wording(self.status.as_u16(), &self.detail);
        (self.status, [(header::CONTENT_TYPE, kind)], body).into_response()
    }
}

/// How the admin listener words a refusal.
pub fn wording(status: u16, why: &str) -> (&'static str, String) {
    let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let body = json!({
        "type": "about:blank", "title": title.unwrap_or("error"), "status": status, "detail": why,
    });
    ("application/problem+json", body.to_string())
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Invalid(why) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, why),
            other => {
                tracing::error!(error = %other, "an API request failed in the store");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the store is unavailable")
            }
        }
    }
}
