//! `/api/v1`: what the commands do, over HTTP.

use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::{Json, body::Bytes};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::access::Caller;
use super::problem::Problem;
use crate::model::{RuleId, Timestamp};
use crate::retention;
use crate::store::{By, Filter, JobChange, JobFilter, View};

pub(super) type Answer = Result<Json<Value>, Problem>;

/// How it stands: pause, halt, queue, tripped rules.
pub(super) async fn status(State(admin): State<Admin>) -> Answer {
    let worker = admin.operator.status();
    let paused = admin.store.paused().await?;
    let unfinished = admin.store.unfinished_by_state().await?;
    let unfinished: serde_json::Map<_, _> =
        unfinished.into_iter().map(|(state, count)| (state, count.into())).collect();
    let tripped = admin.store.tripped().await?;
    let tripped: Vec<_> = tripped
        .into_iter()
        .map(|tripped| json!({"rule": tripped.rule, "at": tripped.at, "why": tripped.why}))
        .collect();
    Ok(Json(json!({
        "paused": paused.map(|pause| json!({"by": pause.by, "at": pause.at})),
        "halted": worker.halted.map(|halt| json!({"why": halt.why, "needs_person": halt.needs_person})),
        "calls_per_second": worker.rate,
        "in_flight": worker.in_flight,
        "unfinished": unfinished,
        "tripped": tripped,
        "missing_sequences": admin.store.open_sequences().await?,
        "rules_version": admin.operator.rules_version(),
    })))
}

pub(super) async fn pause(State(admin): State<Admin>, caller: Extension<Caller>) -> Answer {
    set_paused(&admin, &caller, true).await
}

pub(super) async fn resume(State(admin): State<Admin>, caller: Extension<Caller>) -> Answer {
    set_paused(&admin, &caller, false).await
}

async fn set_paused(admin: &Admin, caller: &Caller, paused: bool) -> Answer {
    // First the calls, then the books: a full disk must not keep the brake from working.
    admin.operator.pause(paused);
    admin.store.set_paused(&by(admin, caller), paused).await?;
    Ok(Json(json!({ "paused": paused })))
}

pub(super) fn by(admin: &Admin, caller: &Caller) -> By {
    By::new(&caller.actor, admin.clock.now())
}

/// Which jobs a change is about.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Which {
    jobs: Vec<i64>,
    group: Option<String>,
    topic: Option<String>,
    sender: Option<String>,
    rule: Option<String>,
    /// Must be true where nothing else is said.
    all: bool,
}

pub(super) async fn change_jobs(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Path(change): Path<String>,
    body: Bytes,
) -> Answer {
    let change = JobChange::from_word(&change)
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no such change of jobs"))?;
    let which: Which = read(&body)?;
    let filter = JobFilter {
        jobs: which.jobs,
        group: which.group,
        topic: which.topic,
        sender: which.sender,
        rule: which.rule,
    };
    if filter == JobFilter::default() && !which.all {
        let why = "say which jobs: jobs, group, topic, sender, rule, or all";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
    }
    let changed = admin.store.change_jobs(&by(&admin, &caller), change, &filter).await?;
    Ok(Json(json!({ "changed": changed })))
}

/// Names a rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    rule: String,
}

pub(super) async fn reset_rule(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    body: Bytes,
) -> Answer {
    let named: Named = read(&body)?;
    let rule = RuleId::from(named.rule);
    let was_tripped = admin.operator.reset_rule(&caller.actor, &rule).await?;
    Ok(Json(json!({ "reset": was_tripped })))
}

/// Whose text is to go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Person {
    sender: String,
}

pub(super) async fn erase(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    body: Bytes,
) -> Answer {
    let person: Person = read(&body)?;
    if person.sender.is_empty() {
        let why = "sender must not be empty";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
    }
    let (by, sender) = (by(&admin, &caller), person.sender.into());
    let erased = retention::erase(admin.store.as_ref(), &by, &sender, |_| ()).await?;
    Ok(Json(json!({
        "messages": erased.messages,
        "quarantined": erased.quarantined,
        "scrubbed": erased.scrubbed,
    })))
}

pub(super) async fn prune(State(admin): State<Admin>, caller: Extension<Caller>) -> Answer {
    let by = by(&admin, &caller);
    let before = admin.operator.days().cutoffs(by.at);
    let pruned = retention::prune(admin.store.as_ref(), &by, before, |_| ()).await?;
    Ok(Json(json!({ "texts": pruned.texts, "rows": pruned.rows })))
}

pub(super) async fn reload(State(admin): State<Admin>, caller: Extension<Caller>) -> Answer {
    match admin.operator.reload().await {
        Ok(version) => {
            let detail = json!({ "version": version }).to_string();
            admin.store.note(&by(&admin, &caller), "reload", detail, None).await?;
            Ok(Json(json!({ "rules_version": version })))
        }
        Err(why) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why)),
    }
}

/// A stretch of history to be read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stretch {
    group: String,
    #[serde(default)]
    topic: String,
    /// The smallest sequence; where roaming begins, where nothing is said.
    from: Option<u64>,
    /// The largest; the newest that there is, where nothing is said.
    to: Option<u64>,
}

pub(super) async fn start_backfill(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    body: Bytes,
) -> Answer {
    let stretch: Stretch = read(&body)?;
    let (from, to) = (stretch.from.unwrap_or(1), stretch.to.unwrap_or(0));
    let refuse = |status, why: &str| Err(Problem::new(status, why));
    if stretch.group.is_empty() {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "group must not be empty");
    }
    if stretch.to.is_some_and(|to| to == 0 || to > MAX_SEQ) || from == 0 || from > MAX_SEQ {
        let why = "from and to are sequences: 1 to 4294967295";
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, why);
    }
    if stretch.to.is_some_and(|to| from > to) {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "from must not be larger than to");
    }
    let (group, topic) = (stretch.group.into(), stretch.topic.into());
    if !admin.operator.wake_repair() {
        return refuse(StatusCode::CONFLICT, "history.repair is switched off");
    }
    let id = admin.store.start_backfill(&by(&admin, &caller), &group, &topic, from, to).await?;
    admin.operator.wake_repair();
    one_backfill(&admin, id).await
}

/// `MsgSeq` has 32 bits.
const MAX_SEQ: u64 = u32::MAX as u64;

pub(super) async fn backfill(State(admin): State<Admin>, Path(id): Path<i64>) -> Answer {
    one_backfill(&admin, id).await
}

pub(super) async fn cancel_backfill(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Path(id): Path<i64>,
) -> Answer {
    let cancelled = admin.store.cancel_backfill(&by(&admin, &caller), id).await?;
    Ok(Json(json!({ "cancelled": cancelled })))
}

async fn one_backfill(admin: &Admin, id: i64) -> Answer {
    let filter = Filter { cursor: Some(id.saturating_add(1)), limit: 1, ..Filter::default() };
    let page = admin.store.page(View::Backfills, &filter).await?;
    let found = page.objects().into_iter().find(|backfill| backfill["backfill_id"] == id);
    found.map(Json).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no such backfill"))
}

pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))
}

/// Filters of a list, as they stand in the query.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Listed {
    group: Option<String>,
    topic: Option<String>,
    sender: Option<String>,
    rule: Option<String>,
    state: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
    cursor: Option<i64>,
    limit: Option<usize>,
}

/// Most rows of one page.
const MOST_ROWS: usize = 1000;

pub(super) async fn list(
    State(admin): State<Admin>,
    Path(view): Path<String>,
    Query(listed): Query<Listed>,
) -> Answer {
    let view = View::from_word(&view)
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no such list"))?;
    page(&admin, view, listed).await
}

pub(super) async fn backfills(State(admin): State<Admin>, Query(listed): Query<Listed>) -> Answer {
    page(&admin, View::Backfills, listed).await
}

pub(super) async fn page(admin: &Admin, view: View, listed: Listed) -> Answer {
    let page = admin.store.page(view, &listed.filter()).await?;
    Ok(Json(json!({ "rows": page.objects(), "next": page.next })))
}

impl Listed {
    /// The rows that are meant.
    pub(super) fn filter(self) -> Filter {
        Filter {
            group: self.group,
            topic: self.topic,
            sender: self.sender,
            rule: self.rule,
            state: self.state,
            since: self.since.map(Timestamp),
            until: self.until.map(Timestamp),
            cursor: self.cursor,
            limit: self.limit.unwrap_or(0).min(MOST_ROWS),
        }
    }
}
