//! A message with everything about it, and what can be done.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Dashboard;
use super::bench::{Explained, explanation};
use super::hostile::{self, Html};
use super::page::{self, Failed, Frame, Visitor, When};
use super::row::{Row, RuleTag, id, lasted, spans, tags};
use super::words::Language;
use crate::model::{JobId, JobState, Timestamp, Verdict};
use crate::store::{Case, Error};

/// Messages of the conversation shown on either side.
const AROUND: usize = 4;
/// Messages of the sender shown.
const HISTORY: usize = 20;

#[derive(Template)]
#[template(path = "message.html")]
struct Page {
    frame: Frame,
    row: Row,
    message_id: i64,
    sender_id: String,
    text: Html,
    facts: Facts,
    can: Can,
    hits: Vec<HitShown>,
    /// What the rules in force say today.
    explained: Option<Explained>,
    /// Whether other rules are in force than those that judged it.
    other_rules: bool,
    jobs: Vec<JobShown>,
    calls: Vec<CallShown>,
    conflicts: Vec<ConflictShown>,
    operations: Vec<OperationShown>,
    reviews: Vec<ReviewShown>,
    body: Option<Html>,
    before: Vec<Row>,
    after: Vec<Row>,
    history: Vec<Row>,
    sent: u64,
    flagged: u64,
    recalled: u64,
    whole: bool,
}

struct Facts {
    sent_at: When,
    received_at: When,
    group_type: Html,
    platform: Html,
    from_history: bool,
    online_only: bool,
    is_destroyed: bool,
    rules_version: Html,
}

/// What can be done about it.
struct Can {
    job: Option<JobId>,
    /// Words of acts.
    acts: Vec<&'static str>,
}

impl Can {
    fn act(&self, word: &str) -> bool {
        self.acts.contains(&word)
    }
}

struct HitShown {
    tag: RuleTag,
    rule: String,
    severity: &'static str,
    text: Option<Html>,
    why: Option<String>,
}

struct JobShown {
    state: &'static str,
    requested_by: Html,
    at: When,
    attempts: i64,
    ret_code: Option<i64>,
    reason: Option<Html>,
    exposure: Option<String>,
    parts: Option<(String, String, String)>,
    confirmed: Option<When>,
}

struct CallShown {
    at: When,
    outcome: String,
    took: Option<String>,
    http_status: Option<i64>,
    error_code: Option<i64>,
    messages: usize,
}

struct ConflictShown {
    sender: Html,
    at: When,
    verdict: String,
    text: Html,
}

struct OperationShown {
    actor: Html,
    act: Html,
    at: When,
    detail: Html,
}

struct ReviewShown {
    rule: Html,
    actor: Html,
    at: When,
    right: bool,
    note: Html,
}

pub(super) async fn show(
    State(dashboard): State<Dashboard>,
    Path(message): Path<String>,
    visitor: Visitor,
) -> Response {
    let preferences = visitor.preferences;
    let Ok(message) = message.parse() else {
        return Failed::not_found(preferences).into_response();
    };
    match message_page(&dashboard, visitor, message).await {
        Ok(Some(page)) => page::show(&page),
        Ok(None) => Failed::not_found(preferences).into_response(),
        Err(error) => Failed::store(preferences)(error).into_response(),
    }
}

async fn message_page(
    dashboard: &Dashboard,
    visitor: Visitor,
    message_id: i64,
) -> Result<Option<Page>, Error> {
    let store = &dashboard.admin.store;
    let Some(case) = store.cases(&[message_id]).await?.pop() else { return Ok(None) };
    let Some(told) = store.story(message_id).await? else { return Ok(None) };
    let (before, after) = store.around(message_id, AROUND).await?;
    let sender = store.sender(&case.sender.as_str().into(), None, HISTORY).await?;
    let ids: Vec<i64> =
        sender.latest.iter().filter_map(|message| message["message_id"].as_i64()).collect();
    let history = store.cases(&ids).await?;
    let language = visitor.preferences.language;
    let rules = dashboard.admin.operator.rules();
    let summaries = rules.summaries();
    let why = |rule: &str| {
        let summary = summaries.iter().find(|summary| summary.id.as_str() == rule)?;
        Some(summary.why.clone()).filter(|why| !why.is_empty())
    };
    let line = |case: &Case| Row::of(case, language);
    Ok(Some(Page {
        frame: visitor.frame(""),
        message_id,
        row: line(&case),
        sender_id: case.sender.clone(),
        text: hostile::marked(&case.text, &spans(&case.hits)),
        can: can(&case),
        hits: hits(&case, why),
        explained: (!case.text.is_empty()).then(|| explanation(&rules, &case.text, language)),
        other_rules: case.rules_version != rules.version().as_str(),
        jobs: told.recalls.iter().filter_map(|job| job_shown(job, language)).collect(),
        calls: told.calls.iter().map(|call| call_shown(call, language)).collect(),
        conflicts: told
            .conflicts
            .iter()
            .map(|conflict| conflict_shown(conflict, language))
            .collect(),
        operations: told.operations.iter().map(operation_shown).collect(),
        reviews: told.reviews.iter().map(review_shown).collect(),
        body: body(&told.message),
        before: before.iter().map(line).collect(),
        after: after.iter().map(line).collect(),
        history: history.iter().map(line).collect(),
        sent: sender.messages,
        flagged: sender.flag,
        recalled: sender.recall,
        whole: sender.whole,
        facts: facts(&case),
    }))
}

fn facts(case: &Case) -> Facts {
    Facts {
        sent_at: When(case.sent_at),
        received_at: When(case.received_at),
        group_type: hostile::excerpt(&case.group_type, 40),
        platform: hostile::excerpt(&case.platform, 40),
        from_history: case.from_history,
        online_only: case.online_only,
        is_destroyed: case.is_destroyed,
        rules_version: id(&case.rules_version),
    }
}

fn can(case: &Case) -> Can {
    let state = case.job.as_ref().map(|job| job.state);
    let mut acts = match state {
        None | Some(JobState::Cancelled) => vec!["recall"],
        Some(JobState::Held) => vec!["release", "cancel"],
        Some(JobState::Pending | JobState::Retry) => vec!["hold", "cancel"],
        Some(JobState::Dead | JobState::Refused) => vec!["retry"],
        Some(JobState::Leased | JobState::Recalled | JobState::Gone) => Vec::new(),
    };
    if case.is_destroyed {
        acts.clear();
    }
    if case.verdict != Verdict::Pass || !case.hits.is_empty() {
        acts.push("review");
    }
    Can { job: case.job.as_ref().map(|job| job.job_id), acts }
}

/// The rules that matched, each once, with the first of their places.
fn hits(case: &Case, why: impl Fn(&str) -> Option<String>) -> Vec<HitShown> {
    let mut shown: Vec<HitShown> = Vec::new();
    for hit in &case.hits {
        if shown.iter().any(|known| known.rule == hit.rule) {
            continue;
        }
        let Some(tag) = tags(std::slice::from_ref(hit)).pop() else { continue };
        shown.push(HitShown {
            tag,
            severity: hit.severity.as_str(),
            text: (!hit.text.is_empty()).then(|| hostile::excerpt(&hit.text, 120)),
            why: why(&hit.rule),
            rule: hit.rule.clone(),
        });
    }
    shown
}

fn text(row: &Value, column: &str) -> String {
    match &row[column] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn at(row: &Value, column: &str) -> When {
    When(Timestamp(row[column].as_i64().unwrap_or_default()))
}

fn job_shown(job: &Value, language: Language) -> Option<JobShown> {
    let span = |column: &str| job[column].as_i64().map(|ms| lasted(ms, language));
    let parts = span("delivery_ms").zip(span("queue_ms")).zip(span("call_ms"));
    Some(JobShown {
        state: JobState::from_word(&text(job, "state"))?.as_str(),
        requested_by: id(&text(job, "requested_by")),
        at: at(job, "created_at"),
        attempts: job["attempts"].as_i64().unwrap_or_default(),
        ret_code: job["ret_code"].as_i64(),
        reason: job["reason"].as_str().map(|why| hostile::text(&language.reason(why))),
        exposure: span("exposure_ms"),
        parts: parts.map(|((delivery, queue), call)| (delivery, queue, call)),
        confirmed: job["confirmed_at"].as_i64().map(|ms| When(Timestamp(ms))),
    })
}

fn call_shown(call: &Value, language: Language) -> CallShown {
    let sequences = serde_json::from_str::<Vec<u64>>(&text(call, "sequences"));
    CallShown {
        at: at(call, "started_at"),
        outcome: text(call, "outcome"),
        took: call["duration_ms"].as_i64().map(|ms| lasted(ms, language)),
        http_status: call["http_status"].as_i64(),
        error_code: call["error_code"].as_i64(),
        messages: sequences.map_or(0, |sequences| sequences.len()),
    }
}

fn conflict_shown(conflict: &Value, language: Language) -> ConflictShown {
    ConflictShown {
        sender: id(&text(conflict, "sender")),
        at: at(conflict, "received_at"),
        verdict: language.word("verdict", &text(conflict, "verdict")),
        text: hostile::excerpt(&text(conflict, "text"), 400),
    }
}

fn operation_shown(operation: &Value) -> OperationShown {
    OperationShown {
        actor: id(&text(operation, "actor")),
        act: id(&text(operation, "act")),
        at: at(operation, "at"),
        detail: hostile::excerpt(&text(operation, "detail"), 200),
    }
}

fn review_shown(review: &Value) -> ReviewShown {
    ReviewShown {
        rule: id(&text(review, "rule_id")),
        actor: id(&text(review, "reviewer")),
        at: at(review, "at"),
        right: text(review, "verdict") == "right",
        note: hostile::excerpt(&text(review, "note"), 200),
    }
}

/// `MsgBody`, indented, where the text is not all there is.
fn body(message: &Value) -> Option<Html> {
    let parsed: Value = serde_json::from_str(message["body"].as_str()?).ok()?;
    serde_json::to_string_pretty(&parsed).ok().map(|body| hostile::text(&body))
}
