//! What the buttons do: the same as the API, with a page to go back to.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::page::{self, Failed, Visitor, after};
use super::{Dashboard, go};
use crate::http::api::fitting;
use crate::model::{AllowanceKind, JobId, RuleId};
use crate::store::{By, Error, JobChange, JobFilter, NewAllowance, PlanId, Review};
use crate::sweep::{self, Asked};

/// Messages like another are sought so far back.
const LIKE_SINCE: std::time::Duration = std::time::Duration::from_hours(24);

/// What a form tells; each act uses some of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Form {
    job: Option<JobId>,
    plan: Option<PlanId>,
    message: Option<i64>,
    sender: String,
    phrase: String,
    rule: String,
    note: String,
    kind: String,
    id: i64,
    back: String,
}

/// Where an act leads.
enum Led {
    /// Back, with a word on what was done.
    Back(&'static str),
    To(String),
}

pub(super) async fn act(
    State(dashboard): State<Dashboard>,
    Path(act): Path<String>,
    visitor: Visitor,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let preferences = visitor.preferences;
    let form: Form = match page::read(preferences, &body) {
        Ok(form) => form,
        Err(failed) => return failed.into_response(),
    };
    let by = By::new(&visitor.caller.actor, dashboard.admin.clock.now());
    let led = match JobChange::from_word(&act) {
        Some(change) => change_job(&dashboard, &by, change, &form).await,
        None => other(&dashboard, &by, &act, &form).await,
    };
    match led {
        // A script stays where it is and shows the outcome itself.
        Ok(_) if headers.contains_key("hx-request") => StatusCode::NO_CONTENT.into_response(),
        Ok(Led::Back(done)) => go(&after(&form.back, done)),
        Ok(Led::To(place)) => go(&place),
        Err(Wrong::Unknown) => Failed::not_found(preferences).into_response(),
        Err(Wrong::Late) => {
            let why = preferences.language.say("error.late");
            Failed::new(preferences, StatusCode::CONFLICT, why).into_response()
        }
        Err(Wrong::Refused(why)) => {
            Failed::new(preferences, StatusCode::CONFLICT, why).into_response()
        }
        Err(Wrong::Store(error)) => Failed::store(preferences)(error).into_response(),
    }
}

/// Why an act did not happen.
enum Wrong {
    /// There is no such act.
    Unknown,
    /// What it was about is no longer so.
    Late,
    Refused(String),
    Store(Error),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

async fn change_job(
    dashboard: &Dashboard,
    by: &By,
    change: JobChange,
    form: &Form,
) -> Result<Led, Wrong> {
    let jobs: Vec<JobId> = form.job.into_iter().collect();
    let rule = Some(form.rule.clone()).filter(|rule| !rule.is_empty());
    if jobs.is_empty() && rule.is_none() {
        return Err(Wrong::Unknown);
    }
    let which = JobFilter { jobs, rule, ..JobFilter::default() };
    if dashboard.admin.store.change_jobs(by, change, &which).await? == 0 {
        return Err(Wrong::Late);
    }
    Ok(Led::Back(match change {
        JobChange::Hold => "held",
        JobChange::Release => "released",
        JobChange::Cancel => "cancelled",
        JobChange::Retry => "retried",
    }))
}

async fn other(dashboard: &Dashboard, by: &By, act: &str, form: &Form) -> Result<Led, Wrong> {
    let admin = &dashboard.admin;
    Ok(match act {
        "pause" | "resume" => {
            let pause = act == "pause";
            // First the calls, then the books: a full disk must not keep the brake from working.
            admin.operator.pause(pause);
            admin.store.set_paused(by, pause).await?;
            Led::Back(if pause { "paused" } else { "resumed" })
        }
        "reset" => {
            let rule = RuleId::from(form.rule.as_str());
            if !admin.operator.reset_rule(&by.actor, &rule).await? {
                return Err(Wrong::Late);
            }
            Led::Back("reset")
        }
        "recall" => {
            // By its number: its group may have been destroyed and its sequence used again since.
            let message_id = Some(form.message.ok_or(Wrong::Unknown)?);
            let asked = Asked { message_id, ..Asked::default() };
            let plan = make(dashboard, by, &asked).await?;
            let made = admin.store.plan(plan).await?.ok_or(Wrong::Late)?;
            if made.recallable == 0 {
                let why = made.obstacles.first().map_or_else(String::new, |(why, _)| why.clone());
                return Err(Wrong::Refused(why));
            }
            admin.store.apply(by, plan).await?;
            admin.operator.plans_turned();
            Led::Back("recalling")
        }
        "sweep" => {
            let since = Some(by.at.before(LIKE_SINCE));
            let like = form.message.map(|message| message.to_string());
            let sender = some(&form.sender);
            if like.is_none() && sender.is_none() {
                return Err(Wrong::Unknown);
            }
            let asked = Asked { sender, like, since, ..Asked::default() };
            Led::To(format!("/plans/{}", make(dashboard, by, &asked).await?))
        }
        "right" | "wrong" => {
            let rule = some(&form.rule).map(RuleId::from);
            let messages = vec![form.message.ok_or(Wrong::Unknown)?];
            let review = Review { messages, rule, right: act == "right", note: String::new() };
            admin.store.review(by, &review).await?;
            Led::Back("reviewed")
        }
        "exempt" => {
            let_through(dashboard, by, AllowanceKind::Sender, &form.sender, form).await?;
            Led::Back("exempted")
        }
        "allow" => {
            let_through(dashboard, by, AllowanceKind::Phrase, &form.phrase, form).await?;
            Led::Back("allowed")
        }
        "disallow" => {
            let kind = AllowanceKind::from_word(&form.kind).ok_or(Wrong::Unknown)?;
            if !admin.operator.disallow(&by.actor, kind, form.id).await? {
                return Err(Wrong::Late);
            }
            Led::Back("disallowed")
        }
        "apply" => {
            admin.store.apply(by, form.plan.ok_or(Wrong::Unknown)?).await.map_err(late)?;
            admin.operator.plans_turned();
            Led::Back("recalling")
        }
        "end-plan" => {
            admin.store.cancel(by, form.plan.ok_or(Wrong::Unknown)?).await.map_err(late)?;
            admin.operator.plans_turned();
            Led::Back("cancelled")
        }
        _ => return Err(Wrong::Unknown),
    })
}

/// Lets a sender or a phrase through, from the next message on.
async fn let_through(
    dashboard: &Dashboard,
    by: &By,
    kind: AllowanceKind,
    value: &str,
    form: &Form,
) -> Result<(), Wrong> {
    let operator = &dashboard.admin.operator;
    let (value, note) = (value.to_owned(), form.note.clone());
    let allowance = NewAllowance { kind, value, rule: some(&form.rule).map(RuleId::from), note };
    let allowance = fitting(allowance, &operator.rules()).map_err(Error::Invalid)?;
    operator.allow(&by.actor, &allowance).await?;
    Ok(())
}

/// A plan that cannot go or end any more was told to already.
fn late(error: Error) -> Wrong {
    match error {
        Error::Invalid(_) => Wrong::Late,
        other => Wrong::Store(other),
    }
}

async fn make(dashboard: &Dashboard, by: &By, asked: &Asked) -> Result<PlanId, Error> {
    let admin = &dashboard.admin;
    let (terms, rules) = (admin.operator.sweep_terms(), admin.operator.rules_version());
    sweep::make(admin.store.as_ref(), by, asked, &terms, rules).await
}

fn some(word: &str) -> Option<String> {
    Some(word.to_owned()).filter(|word| !word.is_empty())
}
