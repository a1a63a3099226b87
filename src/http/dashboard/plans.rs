//! A sweep: what it would recall, and the button that lets it.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

use super::Dashboard;
use super::hostile::{self, Html};
use super::page::{self, Failed, Frame, Visitor, When};
use super::row::{grouped, id, lasted};
use super::words::Language;
use crate::model::PlanState;
use crate::store::{Error, PlanId, PlannedMessage};
use crate::sweep::Asked;

/// Messages shown of a plan.
const SAMPLES: usize = 20;

#[derive(Template)]
#[template(path = "plan.html")]
struct Page {
    frame: Frame,
    plan_id: PlanId,
    state: &'static str,
    can_apply: bool,
    can_end: bool,
    /// What was asked for, in words.
    asked: Vec<(String, Html)>,
    since: Option<When>,
    by: Html,
    at: When,
    messages: String,
    groups: String,
    recallable: String,
    calls: String,
    seconds: String,
    obstacles: Vec<(Html, u64)>,
    jobs: Vec<(String, u64)>,
    samples: Vec<Sample>,
}

struct Sample {
    key: Html,
    sender: Html,
    at: Option<When>,
    text: Html,
    obstacle: Option<Html>,
}

pub(super) async fn show(
    State(dashboard): State<Dashboard>,
    Path(plan): Path<String>,
    visitor: Visitor,
) -> Response {
    let preferences = visitor.preferences;
    let Ok(plan) = plan.parse() else { return Failed::not_found(preferences).into_response() };
    match plan_page(&dashboard, visitor, plan).await {
        Ok(Some(page)) => page::show(&page),
        Ok(None) => Failed::not_found(preferences).into_response(),
        Err(error) => Failed::store(preferences)(error).into_response(),
    }
}

async fn plan_page(
    dashboard: &Dashboard,
    visitor: Visitor,
    plan: PlanId,
) -> Result<Option<Page>, Error> {
    let admin = &dashboard.admin;
    let Some(plan) = admin.store.plan(plan).await? else { return Ok(None) };
    let samples = admin.store.planned(plan.plan_id, SAMPLES).await?;
    let language = visitor.preferences.language;
    let rate = u64::from(admin.operator.sweep_terms().calls_per_second.max(1));
    let milliseconds = i64::try_from(plan.calls * 1_000 / rate).unwrap_or(i64::MAX);
    Ok(Some(Page {
        frame: visitor.frame("lists"),
        plan_id: plan.plan_id,
        state: plan.state.as_str(),
        can_apply: plan.state == PlanState::Planned && plan.recallable > 0,
        can_end: !matches!(plan.state, PlanState::Cancelled | PlanState::Cancelling),
        asked: asked(&plan.asked, language)
            .into_iter()
            .map(|(name, value)| (name, hostile::text(&value)))
            .collect(),
        since: serde_json::from_str(&plan.asked)
            .ok()
            .and_then(|asked: Asked| asked.since)
            .map(When),
        by: id(&plan.created_by),
        at: When(plan.created_at),
        messages: grouped(plan.messages),
        groups: grouped(plan.groups),
        recallable: grouped(plan.recallable),
        calls: grouped(plan.calls),
        seconds: lasted(milliseconds, language),
        obstacles: plan
            .obstacles
            .iter()
            .map(|(why, n)| (hostile::text(&language.reason(why)), *n))
            .collect(),
        jobs: plan.jobs,
        samples: samples.iter().map(|planned| sample(planned, language)).collect(),
    }))
}

fn sample(message: &PlannedMessage, language: Language) -> Sample {
    let conversation = &message.conversation;
    Sample {
        key: id(&format!("{}/{}", conversation.group_id, message.msg_seq)),
        sender: id(&message.sender),
        at: message.sent_at.map(When),
        text: hostile::excerpt(&message.text, 160),
        obstacle: message.obstacle.as_deref().map(|why| hostile::text(&language.reason(why))),
    }
}

/// What a plan was asked for, but for the time, each part with its name. What cannot be read stays as it
/// is.
pub(super) fn asked(written: &str, language: Language) -> Vec<(String, String)> {
    let Ok(asked) = serde_json::from_str::<Asked>(written) else {
        return vec![(String::new(), written.to_owned())];
    };
    let parts = [
        ("seq", asked.seq),
        ("message_id", asked.message_id.map(|message| message.to_string())),
        ("sender", asked.sender),
        ("rule", asked.rule),
        ("like", asked.like),
        ("group", asked.group),
        ("topic", asked.topic),
    ];
    let given = parts.into_iter().filter_map(|(name, value)| Some((name, value?)));
    given.map(|(name, value)| (language.word("ask", name), value)).collect()
}
