//! `/api/v1/backtests`: candidate rules files over stored messages, in the background.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::access::Caller;
use super::super::admin::Admin;
use super::super::candidate::{self, NotBegun};
use super::super::extract::{Json, Path};
use super::super::problem::{self, Problem};
use super::{Answer, by};
use crate::backtest::{Asked, Backtest, Progress, Shown};
use crate::model::Timestamp;

/// Samples of a rule, and groups and senders, where nothing is said: those of the command.
const SAMPLES: usize = 3;
const LIMIT: usize = 10;
const MOST_SAMPLES: usize = 100;
const MOST_LIMIT: usize = 1_000;

/// A rules file to be tried.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BacktestRequest)]
pub(super) struct Candidate {
    /// The rules file as text. Its lists are read beside the rules in force or below: those that are in
    /// force, and others that end in `.txt`.
    rules: String,
    /// Messages received from then on, in milliseconds since 1970, UTC; all of them where nothing is
    /// said.
    since: Option<i64>,
    /// Messages of this group alone.
    group: Option<String>,
    /// Changed messages shown of each rule, new hits and lost ones apart; fewer where there are very many
    /// rules.
    #[serde(default = "samples")]
    #[schema(maximum = 100, default = 3)]
    samples: usize,
    /// Groups and senders shown.
    #[serde(default = "limit")]
    #[schema(maximum = 1000, default = 10)]
    limit: usize,
}

fn samples() -> usize {
    SAMPLES
}

fn limit() -> usize {
    LIMIT
}

/// A backtest.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BacktestRow)]
pub(super) struct Row {
    backtest_id: i64,
    /// `running`, `done`, `cancelled` or `failed`.
    state: &'static str,
    /// Messages done, of at most so many.
    done: u64,
    of: u64,
    requested_by: String,
    /// Milliseconds since 1970, UTC.
    #[schema(value_type = i64)]
    began_at: Timestamp,
    #[schema(value_type = Option<i64>)]
    finished_at: Option<Timestamp>,
    #[schema(value_type = Option<i64>)]
    since: Option<Timestamp>,
    group: Option<String>,
    /// Of the candidate.
    rules_version: String,
    /// Why it failed.
    reason: Option<String>,
}

/// A backtest with what it found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Backtest)]
pub(super) struct Whole {
    #[serde(flatten)]
    row: Row,
    /// As `quell backtest --format json` tells it; null unless it is done.
    report: Option<Shown>,
}

/// Backtests, the latest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Backtests)]
pub(super) struct All {
    rows: Vec<Row>,
}

impl Row {
    fn of(backtest: &Backtest, progress: Progress) -> Self {
        Self {
            backtest_id: backtest.id,
            state: progress.state.as_str(),
            done: progress.done,
            of: progress.of,
            requested_by: backtest.requested_by.clone(),
            began_at: backtest.began_at,
            finished_at: progress.finished_at,
            since: backtest.asked.since,
            group: backtest.asked.group.as_ref().map(ToString::to_string),
            rules_version: backtest.rules_version.to_string(),
            reason: progress.reason,
        }
    }
}

/// Try a rules file against what is stored
///
/// Judges stored messages by it in the background and compares with what was decided then; nothing is
/// recalled or changed. One runs at a time, for half an hour at most. A daemon remembers the last ten
/// until it ends.
#[utoipa::path(
    post, path = "/api/v1/backtests", tag = "rules", operation_id = "start_backtest",
    request_body(content = Candidate, example = json!({
        "rules": "version: 1\nrules:\n  - id: bait\n    when: { keyword: free gift card }\n",
        "since": 0,
    })),
    responses(
        (status = 200, description = "It was started", body = Row),
        (status = 409, description = "Another one runs", body = problem::Shown,
            content_type = "application/problem+json"),
        (status = 422, description = "The body does not fit, the group is unknown, or the rules file \
            is broken: every mistake with its place", body = problem::Shown,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn start(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Json(candidate): Json<Candidate>,
) -> Answer<Row> {
    let Candidate { rules, since, group, samples, limit } = candidate;
    if samples > MOST_SAMPLES || limit > MOST_LIMIT {
        return Err(Problem::unfit("samples are at most 100, limit is at most 1000"));
    }
    let since = since.map(Timestamp);
    let asked = Asked { since, group: group.map(Into::into), samples, limit };
    let begun = candidate::backtest(&admin, &by(&admin, &caller), rules, asked).await;
    begun.map(|backtest| Json(Row::of(&backtest, backtest.progress()))).map_err(|why| match why {
        NotBegun::Busy => Problem::new(StatusCode::CONFLICT, why.to_string()),
        NotBegun::Broken(mistakes) => Problem::unfit(mistakes.to_string()),
        NotBegun::Store(error) => error.into(),
    })
}

/// Backtests and how they stand
#[utoipa::path(
    get, path = "/api/v1/backtests", tag = "rules", operation_id = "backtests",
    responses((status = 200, description = "Those that are remembered", body = All)),
)]
pub(super) async fn list(State(admin): State<Admin>) -> Answer<All> {
    let all = admin.backtests.all();
    let rows = all.iter().map(|backtest| Row::of(backtest, backtest.progress()));
    Ok(Json(All { rows: rows.collect() }))
}

/// Look at a backtest
#[utoipa::path(
    get, path = "/api/v1/backtests/{backtest}", tag = "rules", operation_id = "backtest",
    params(("backtest" = i64, Path, description = "Its `backtest_id`")),
    responses((status = 200, description = "How it stands, and what it found", body = Whole)),
)]
pub(super) async fn show(State(admin): State<Admin>, Path(id): Path<i64>) -> Answer<Whole> {
    let backtest = admin.backtests.find(id).ok_or_else(|| unknown(id))?;
    let progress = backtest.progress();
    let report = progress.report.as_deref().cloned();
    Ok(Json(Whole { row: Row::of(&backtest, progress), report }))
}

/// Whether a backtest was ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BacktestCancelled)]
pub(super) struct Cancelled {
    /// False where it was not running.
    cancelled: bool,
}

/// End a backtest
#[utoipa::path(
    delete, path = "/api/v1/backtests/{backtest}", tag = "rules", operation_id = "cancel_backtest",
    params(("backtest" = i64, Path, description = "Its `backtest_id`")),
    responses((status = 200, description = "Whether it was running", body = Cancelled)),
)]
pub(super) async fn cancel(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Path(id): Path<i64>,
) -> Answer<Cancelled> {
    let cancelled = admin.backtests.cancel(&by(&admin, &caller), id).await?;
    cancelled.map(|cancelled| Json(Cancelled { cancelled })).ok_or_else(|| unknown(id))
}

fn unknown(id: i64) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no backtest {id}, or not any more"))
}
