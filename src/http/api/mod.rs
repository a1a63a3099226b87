//! `/api/v1`: what the commands do, over HTTP, and its description.
//!
//! A route and its description come from one annotation. There are two kinds of routes: those that
//! any role may use and that change nothing, and those that an operator alone may use and that leave
//! a row in `v_operations`. Which kind a route is, is where it stands below.

mod allowances;
mod backtests;
mod document;
mod events;
mod history;
mod jobs;
mod lists;
mod messages;
mod plans;
mod removal;
mod reviews;
mod rules;
mod state;

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{self, Access, Caller};
use super::admin::{self, Admin};
use super::extract::Json;
use super::idempotency;
use super::problem::Problem;
use crate::store::{By, View};

pub(super) use allowances::fitting;

type Answer<T> = Result<Json<T>, Problem>;

/// The description of the API, for `/openapi.json` and for whoever generates clients.
#[must_use]
pub fn openapi() -> OpenApi {
    routes(Access::default(), Duration::ZERO).1
}

/// All described routes and their description.
pub(super) fn routes(access: Access, answer_timeout: Duration) -> (Router<Admin>, OpenApi) {
    let mut reading = OpenApiRouter::default()
        .routes(routes!(document::show))
        .routes(routes!(state::status))
        .routes(routes!(events::follow))
        .routes(routes!(allowances::exemptions))
        .routes(routes!(allowances::phrases))
        .routes(routes!(rules::show))
        .routes(routes!(rules::explain))
        .routes(routes!(rules::check))
        .routes(routes!(backtests::list))
        .routes(routes!(backtests::show))
        .routes(routes!(history::show))
        .routes(routes!(plans::show))
        .routes(routes!(messages::show))
        .routes(routes!(reviews::precision))
        .routes(reviews::waiting());
    for view in View::all() {
        reading = reading.routes(lists::list(view));
    }
    let mut operating = OpenApiRouter::default()
        .routes(routes!(state::pause))
        .routes(routes!(state::resume))
        .routes(routes!(state::reload))
        .routes(routes!(state::reset_guard))
        .routes(routes!(allowances::exempt))
        .routes(routes!(allowances::end_exemption))
        .routes(routes!(allowances::allow))
        .routes(routes!(allowances::end_phrase))
        .routes(routes!(jobs::change))
        .routes(routes!(plans::make))
        .routes(routes!(plans::apply))
        .routes(routes!(plans::cancel))
        .routes(routes!(history::start))
        .routes(routes!(history::cancel))
        .routes(routes!(backtests::start))
        .routes(routes!(backtests::cancel))
        .routes(routes!(reviews::make))
        .routes(routes!(removal::erase))
        .routes(routes!(removal::prune));
    let mut probing = OpenApiRouter::default()
        .routes(routes!(admin::healthz))
        .routes(routes!(admin::readyz))
        .routes(routes!(admin::metrics));
    document::describe(reading.get_openapi_mut(), document::Kind::Reading);
    document::describe(operating.get_openapi_mut(), document::Kind::Operating);
    document::describe(probing.get_openapi_mut(), document::Kind::Probing);
    OpenApiRouter::with_openapi(document::frame())
        .merge(operating.layer(from_fn(idempotency::once)).layer(from_fn(access::operators_only)))
        .merge(reading.layer(from_fn_with_state(answer_timeout, in_time)))
        .layer(from_fn_with_state(access, access::check))
        .merge(probing)
        .split_for_parts()
}

/// Gives up a read that takes too long: whoever asked will not wait, and the next one wants its turn.
async fn in_time(State(patience): State<Duration>, request: Request, next: Next) -> Response {
    tokio::time::timeout(patience, next.run(request)).await.unwrap_or_else(|_| {
        let why = "no answer in time: narrow it down, or see admin.answer_timeout_ms";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response()
    })
}

fn by(admin: &Admin, caller: &Caller) -> By {
    By::new(&caller.actor, admin.clock.now())
}
