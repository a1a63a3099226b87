//! Errors of the admin listener: `application/problem+json` (RFC 9457), a public message and a
//! private cause.

use std::any::Any;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store;

/// What went wrong, in words for whoever called.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
}

/// An error as RFC 9457 wants it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Shown {
    /// `about:blank`: the status says what kind of problem it is.
    #[schema(examples("about:blank"))]
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    status: u16,
    /// What is wrong with this very request.
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    /// The request is understood and cannot be done as it is.
    pub(super) fn unfit(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, detail } = self;
        let (kind, body) = wording(status.as_u16(), &detail);
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// How the admin listener words a refusal.
pub fn wording(status: u16, why: &str) -> (&'static str, String) {
    let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let shown = Shown {
        r#type: "about:blank",
        title: title.unwrap_or("error"),
        status,
        detail: why.to_owned(),
    };
    let body = serde_json::to_string(&shown).expect("four plain fields are JSON");
    ("application/problem+json", body)
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Invalid(why) => Self::unfit(why),
            other => {
                tracing::error!(error = %other, "an API request failed in the store");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the store is unavailable")
            }
        }
    }
}

pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "nothing is here")
}

pub(super) async fn method_not_allowed() -> Problem {
    let why = "this method is not served here: see the Allow header";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, why)
}

/// A bug ends as one failed request. What it said may hold message text, so it is not repeated.
pub(super) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a handler of the admin listener panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error").into_response()
}
