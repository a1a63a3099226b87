//! What handlers take out of a request. Whatever does not fit is answered with a [`Problem`].

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A body in JSON.
pub(super) struct Json<T>(pub(super) T);

/// A body in YAML, as text.
pub(super) struct Yaml(pub(super) String);

/// Parts of the path.
pub(super) struct Path<T>(pub(super) T);

/// The query.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_of_kind(request.headers(), "application/json") {
            let why = "a JSON body is wanted, announced as Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        object(&body(request, state).await?).map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Yaml {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kinds = ["application/yaml", "application/x-yaml", "text/yaml", "text/plain"];
        if !kinds.iter().any(|kind| is_of_kind(request.headers(), kind)) {
            let why = "a YAML body is wanted, announced as Content-Type: application/yaml";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let text = String::from_utf8(body(request, state).await?.into());
        text.map(Self).map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body is no UTF-8"))
    }
}

/// The whole body, as far as it is bounded.
async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        let why = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "the body is too large: see admin.max_body_bytes",
            _ => "the body broke off",
        };
        Problem::new(rejection.status(), why)
    })
}

/// Reads an object. An array whose items happen to fit the fields in their order is none.
fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let read = serde_json::from_slice(body);
    let read = read.and_then(|read| match body.trim_ascii_start().first() {
        Some(b'{') => Ok(read),
        _ => Err(serde::de::Error::custom("an object is wanted")),
    });
    read.map_err(|error: serde_json::Error| {
        if error.is_data() {
            Problem::unfit(format!("the body does not fit: {error}"))
        } else {
            Problem::new(StatusCode::BAD_REQUEST, format!("the body is no JSON: {error}"))
        }
    })
}

fn is_of_kind(headers: &HeaderMap, wanted: &str) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted))
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        // A path of another form names nothing that could be there.
        read.map(|axum::extract::Path(path)| Self(path))
            .map_err(|_: PathRejection| Problem::new(StatusCode::NOT_FOUND, "nothing is here"))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::from_request_parts(parts, state).await;
        read.map(|axum::extract::Query(query)| Self(query)).map_err(|rejection: QueryRejection| {
            let why = format!("the query does not fit: {}", reason(&rejection.body_text()));
            Problem::new(StatusCode::BAD_REQUEST, why)
        })
    }
}

/// What the library says behind its own preface.
fn reason(text: &str) -> &str {
    text.split_once(": ").map_or(text, |(_, reason)| reason)
}
