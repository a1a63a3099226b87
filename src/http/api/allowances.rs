//! `/api/v1/exemptions` and `/api/v1/allow-phrases`: what is let through beside the rules file, from
//! the next message on.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::access::Caller;
use super::super::admin::Admin;
use super::super::extract::{Json, Path};
use super::super::problem::Problem;
use super::Answer;
use crate::model::{Allowance, AllowanceKind};
use crate::rules::CompiledRules;
use crate::store::NewAllowance;

const MOST_VALUE_CHARS: usize = 200;
const MOST_NOTE_CHARS: usize = 2000;

/// A sender to be left alone.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExemptionRequest)]
pub(super) struct Exempt {
    #[schema(min_length = 1, max_length = 200)]
    sender: String,
    /// By this rule alone; by every rule, where none is named.
    rule: Option<String>,
    #[serde(default)]
    #[schema(max_length = 2000)]
    note: String,
}

/// A phrase that cancels the characters it covers, as `unless` does in a rules file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AllowPhraseRequest)]
pub(super) struct Allow {
    #[schema(min_length = 1, max_length = 200)]
    phrase: String,
    /// For this rule alone; for every rule, where none is named.
    rule: Option<String>,
    #[serde(default)]
    #[schema(max_length = 2000)]
    note: String,
}

/// What is let through.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Allowance)]
pub(super) struct Shown {
    id: i64,
    /// `sender` or `phrase`.
    kind: &'static str,
    /// The sender, or the phrase.
    value: String,
    /// Null: every rule.
    rule: Option<String>,
    note: String,
    by: String,
    /// Milliseconds since 1970, UTC.
    at: i64,
}

/// What is let through, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Allowances)]
pub(super) struct All {
    rows: Vec<Shown>,
}

impl From<Allowance> for Shown {
    fn from(allowance: Allowance) -> Self {
        Self {
            id: allowance.id,
            kind: allowance.kind.as_str(),
            value: allowance.value,
            rule: allowance.rule.map(|rule| rule.to_string()),
            note: allowance.note,
            by: allowance.by,
            at: allowance.at.millis(),
        }
    }
}

/// Senders that rules leave alone
#[utoipa::path(
    get, path = "/api/v1/exemptions", tag = "rules", operation_id = "exemptions",
    responses((status = 200, description = "Beside those in the rules file", body = All)),
)]
pub(super) async fn exemptions(State(admin): State<Admin>) -> Answer<All> {
    list(&admin, AllowanceKind::Sender).await
}

/// Phrases that cancel the characters they cover
#[utoipa::path(
    get, path = "/api/v1/allow-phrases", tag = "rules", operation_id = "allow_phrases",
    responses((status = 200, description = "Beside those in the rules file", body = All)),
)]
pub(super) async fn phrases(State(admin): State<Admin>) -> Answer<All> {
    list(&admin, AllowanceKind::Phrase).await
}

async fn list(admin: &Admin, kind: AllowanceKind) -> Answer<All> {
    let all = admin.store.allowances().await?.into_iter();
    Ok(Json(All { rows: all.filter(|known| known.kind == kind).map(Shown::from).collect() }))
}

/// Leave a sender alone
///
/// In force from the next message on, also over restarts and reloads; the rules get another version.
#[utoipa::path(
    post, path = "/api/v1/exemptions", tag = "rules", operation_id = "exempt",
    request_body(content = Exempt, example = json!({"sender": "administrator"})),
    responses((status = 200, description = "It is in force", body = Shown)),
)]
pub(super) async fn exempt(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Json(Exempt { sender, rule, note }): Json<Exempt>,
) -> Answer<Shown> {
    make(&admin, &caller, AllowanceKind::Sender, sender, rule, note).await
}

/// Let a phrase pass
///
/// In force from the next message on, also over restarts and reloads; the rules get another version.
#[utoipa::path(
    post, path = "/api/v1/allow-phrases", tag = "rules", operation_id = "allow_phrase",
    request_body(content = Allow, example = json!({"phrase": "微信支付", "rule": "contact-bait"})),
    responses((status = 200, description = "It is in force", body = Shown)),
)]
pub(super) async fn allow(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Json(Allow { phrase, rule, note }): Json<Allow>,
) -> Answer<Shown> {
    make(&admin, &caller, AllowanceKind::Phrase, phrase, rule, note).await
}

async fn make(
    admin: &Admin,
    caller: &Caller,
    kind: AllowanceKind,
    value: String,
    rule: Option<String>,
    note: String,
) -> Answer<Shown> {
    let allowance = NewAllowance { kind, value, rule: rule.map(Into::into), note };
    let allowance = fitting(allowance, &admin.operator.rules()).map_err(Problem::unfit)?;
    let made = admin.operator.allow(&caller.actor, &allowance).await?;
    Ok(Json(made.into()))
}

/// An allowance as it is kept, or why it makes no sense.
pub(in crate::http) fn fitting(
    allowance: NewAllowance,
    rules: &CompiledRules,
) -> Result<NewAllowance, String> {
    // A sender is an id and may hold blanks; around a phrase they mean nothing.
    let allowance = match allowance.kind {
        AllowanceKind::Sender => allowance,
        AllowanceKind::Phrase => {
            NewAllowance { value: allowance.value.trim().to_owned(), ..allowance }
        }
    };
    if !(1..=MOST_VALUE_CHARS).contains(&allowance.value.chars().count()) {
        return Err("a sender or phrase has 1 to 200 characters".to_owned());
    }
    if allowance.note.chars().count() > MOST_NOTE_CHARS {
        return Err("a note has at most 2000 characters".to_owned());
    }
    match &allowance.rule {
        Some(rule) if !rules.summaries().iter().any(|known| known.id == *rule) => {
            Err(format!("there is no rule {rule} in force"))
        }
        _ => Ok(allowance),
    }
}

/// What was taken back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AllowanceRemoved)]
pub(super) struct Removed {
    removed: bool,
}

/// No longer leave a sender alone
#[utoipa::path(
    delete, path = "/api/v1/exemptions/{id}", tag = "rules", operation_id = "end_exemption",
    params(("id" = i64, Path, description = "Its `id`")),
    responses((status = 200, description = "Rules apply again", body = Removed)),
)]
pub(super) async fn end_exemption(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Path(id): Path<i64>,
) -> Answer<Removed> {
    remove(&admin, &caller, AllowanceKind::Sender, id).await
}

/// No longer let a phrase pass
#[utoipa::path(
    delete, path = "/api/v1/allow-phrases/{id}", tag = "rules", operation_id = "end_allow_phrase",
    params(("id" = i64, Path, description = "Its `id`")),
    responses((status = 200, description = "Rules apply again", body = Removed)),
)]
pub(super) async fn end_phrase(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Path(id): Path<i64>,
) -> Answer<Removed> {
    remove(&admin, &caller, AllowanceKind::Phrase, id).await
}

async fn remove(admin: &Admin, caller: &Caller, kind: AllowanceKind, id: i64) -> Answer<Removed> {
    if admin.operator.disallow(&caller.actor, kind, id).await? {
        Ok(Json(Removed { removed: true }))
    } else {
        Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no {kind} {id} to take back")))
    }
}
