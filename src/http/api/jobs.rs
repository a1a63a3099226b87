//! `/api/v1/jobs`: what is done to recall jobs that wait, are held or ended badly.

use axum::extract::{Extension, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::access::Caller;
use super::super::admin::Admin;
use super::super::extract::{Json, Path};
use super::super::problem::Problem;
use super::{Answer, by};
use crate::store::{JobChange, JobFilter};

/// What is done to jobs.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = JobChange)]
pub(super) enum Change {
    /// Waiting jobs are kept back.
    Hold,
    /// Held jobs wait again.
    Release,
    /// Waiting and held jobs end.
    Cancel,
    /// Dead and refused jobs wait again.
    Retry,
}

impl From<Change> for JobChange {
    fn from(change: Change) -> Self {
        match change {
            Change::Hold => Self::Hold,
            Change::Release => Self::Release,
            Change::Cancel => Self::Cancel,
            Change::Retry => Self::Retry,
        }
    }
}

/// Which jobs are meant: all conditions have to hold.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = JobSelection)]
pub(super) struct Which {
    /// Their ids, such as `job_id` of a recall.
    jobs: Vec<i64>,
    group: Option<String>,
    topic: Option<String>,
    sender: Option<String>,
    /// The rule that asked for them.
    rule: Option<String>,
    /// Must be true where nothing else is said.
    all: bool,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobsChanged)]
pub(super) struct Changed {
    /// How many jobs were changed; the others stood where this change means nothing.
    changed: u64,
}

/// Hold, release, cancel or retry jobs
#[utoipa::path(
    post, path = "/api/v1/jobs/{change}", tag = "jobs", operation_id = "change_jobs",
    params(("change" = inline(Change), Path, description = "What is done to them")),
    request_body(content = Which, example = json!({"rule": "contact-bait"})),
    responses((status = 200, description = "Done", body = Changed)),
)]
pub(super) async fn change(
    State(admin): State<Admin>,
    caller: Extension<Caller>,
    Path(change): Path<Change>,
    Json(which): Json<Which>,
) -> Answer<Changed> {
    let filter = JobFilter {
        jobs: which.jobs,
        group: which.group,
        topic: which.topic,
        sender: which.sender,
        rule: which.rule,
    };
    if filter == JobFilter::default() && !which.all {
        return Err(Problem::unfit("say which jobs: jobs, group, topic, sender, rule, or all"));
    }
    let changed = admin.store.change_jobs(&by(&admin, &caller), change.into(), &filter).await?;
    Ok(Json(Changed { changed }))
}
