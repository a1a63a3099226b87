//! The description of the API: OpenAPI 3.1.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa::openapi::{Ref, RefOr, Required, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::super::problem;

/// The name of the one way to be let in.
const SCHEME: &str = "token";

/// Who may use a route, and what that means for its answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any role.
    Reading,
    /// Operators alone.
    Operating,
    /// Everybody who reaches the listener.
    Probing,
}

/// The description of the API
#[utoipa::path(
    get, path = "/openapi.json", tag = "about", operation_id = "openapi",
    responses((status = 200, description = "This description", body = Object)),
)]
pub(super) async fn show() -> Response {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| super::openapi().to_json().expect("a description is JSON"));
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

/// What stands around the routes.
pub(super) fn frame() -> OpenApi {
    let info = InfoBuilder::new()
        .title("quell")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(utoipa::openapi::License::new("Apache-2.0")));
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(TOKEN)).build();
    let mut schemas = Vec::new();
    problem::Shown::schemas(&mut schemas);
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .schema(problem::Shown::name(), problem::Shown::schema())
        .security_scheme(SCHEME, SecurityScheme::Http(token));
    OpenApiBuilder::new().info(info.build()).components(Some(components.build())).build()
}

const ABOUT: &str = "\
Everything that quell's commands do: what was recorded, decided and recalled, and the acts of those \
who operate it. Times are milliseconds since 1970, UTC, and have a readable twin that ends in `_iso`. \
Lists come newest first, a page at a time: give `next` as the `cursor` of the next request until it \
is null. Errors are `application/problem+json` (RFC 9457). Every act is kept in `v_operations`, under \
the name in the header `X-Quell-Actor`.";

const TOKEN: &str = "\
`admin.token` has the role `operate`, `admin.read_token` has the role `read`. Which one a request \
takes stands beside it. Where neither is set, requests of the same machine have the role `operate`.";

/// Says for all routes of a kind what is the same for all of them: who may use them, and the answers
/// that come from what stands before and around the handlers.
pub(super) fn describe(document: &mut OpenApi, kind: Kind) {
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            describe_one(operation, kind);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

fn describe_one(operation: &mut Operation, kind: Kind) {
    let mut answers = vec![(500, "A bug in quell; see its log")];
    let role = match kind {
        Kind::Reading => Some("read"),
        Kind::Operating => Some("operate"),
        Kind::Probing => None,
    };
    if let Some(role) = role {
        operation.security = Some(vec![SecurityRequirement::new(SCHEME, [role])]);
        answers.push((401, "No token, or none that is known"));
        answers.push((403, "The token may only read, or the request comes from a foreign page"));
        answers.push((503, "The store cannot be used, or did not answer in time"));
    } else {
        operation.security = Some(Vec::new());
    }
    if kind == Kind::Operating {
        operation.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
        answers.push((400, "The Idempotency-Key does not fit"));
        answers.push((409, "A request with this Idempotency-Key is being done"));
        answers.push((413, "The body is larger than `admin.max_body_bytes`"));
        answers.push((422, "This Idempotency-Key was used for another request"));
    }
    let has = |place: ParameterIn| {
        let mut parameters = operation.parameters.iter().flatten();
        parameters.any(|parameter| {
            matches!(parameter, RefOr::T(Parameter { parameter_in, .. }) if *parameter_in == place)
        })
    };
    if has(ParameterIn::Path) {
        answers.push((404, "There is no such thing"));
    }
    if has(ParameterIn::Query) {
        answers.push((400, "The query does not fit"));
    }
    if operation.request_body.is_some() {
        answers.push((400, "The body is no JSON, or broke off"));
        answers.push((413, "The body is larger than `admin.max_body_bytes`"));
        answers.push((415, "The body is not announced as `application/json`"));
        answers.push((422, "The body does not fit, or asks for what makes no sense"));
    }
    for (status, about) in answers {
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_string()).or_insert_with(|| problem_response(about));
    }
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(KEY_ABOUT))
        .schema(Some(Schema::from(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .pattern(Some("^[!-~]+$"))
                .min_length(Some(1))
                .max_length(Some(255))
                .build(),
        )))
        .build()
}

const KEY_ABOUT: &str = "\
Names the request: sent again within a day, it is not done again, and answered as the first time.";

/// An error with its schema.
pub(super) fn problem_response(about: &str) -> RefOr<utoipa::openapi::Response> {
    let schema = Ref::from_schema_name(problem::Shown::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new().description(about);
    RefOr::T(response.content("application/problem+json", content).build())
}
