//! The queue of held jobs, oldest first.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Dashboard;
use super::page::{self, Failed, Frame, Visitor};
use super::row::{Row, lasted};
use crate::model::JobId;
use crate::store::Case;

/// Jobs of one page.
const MOST: usize = 50;

#[derive(Template)]
#[template(path = "queue.html")]
struct Queue {
    frame: Frame,
    items: Vec<Item>,
    /// The last job of this page, where others follow.
    next: Option<JobId>,
    held: u64,
}

/// A held job.
struct Item {
    job_id: JobId,
    row: Row,
    reason: String,
    /// How long it waits already.
    waits: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    after: JobId,
}

pub(super) async fn show(
    State(dashboard): State<Dashboard>,
    visitor: Visitor,
    Query(place): Query<Place>,
) -> Response {
    let preferences = visitor.preferences;
    match queue(&dashboard, visitor, place.after).await {
        Ok(queue) => page::show(&queue),
        Err(error) => Failed::store(preferences)(error).into_response(),
    }
}

async fn queue(
    dashboard: &Dashboard,
    visitor: Visitor,
    after: JobId,
) -> Result<Queue, crate::store::Error> {
    let admin = &dashboard.admin;
    let mut cases = admin.store.held_cases(after, MOST + 1).await?;
    let more = cases.len() > MOST;
    cases.truncate(MOST);
    let next = cases.last().and_then(|case| Some(case.job.as_ref()?.job_id)).filter(|_| more);
    let unfinished = admin.store.unfinished_by_state().await?;
    let held = unfinished.iter().find(|(state, _)| state == "held").map_or(0, |(_, count)| *count);
    let now = admin.clock.now();
    let language = visitor.preferences.language;
    let item = |case: &Case| {
        let job = case.job.as_ref()?;
        let waits = i64::try_from(now.since(job.created_at).as_millis()).unwrap_or(i64::MAX);
        Some(Item {
            job_id: job.job_id,
            row: Row::of(case, language),
            reason: job.reason.as_deref().map(|why| language.reason(why)).unwrap_or_default(),
            waits: lasted(waits, language),
        })
    };
    let items = cases.iter().filter_map(item).collect();
    Ok(Queue {
        frame: visitor.frame("queue"),
        items,
        next,
        held: held.try_into().unwrap_or_default(),
    })
}
