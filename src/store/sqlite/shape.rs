//! How each view can be asked: by which conditions, and in which order its rows come.

use super::axis::Axis;
use crate::store::View;

/// How a view can be asked.
pub(super) struct Shape {
    pub view: &'static str,
    /// Ids grow with every row: what pages are cut by. Times are what `since` and `until` compare.
    pub axis: Axis,
    /// Whether the times grow with the ids.
    pub grows_with_time: bool,
    pub conversation: bool,
    pub sender: Option<&'static str>,
    pub rule: Option<&'static str>,
    pub state: Option<&'static str>,
}

const HIT_BY: &str =
    "exists (select 1 from hits h where h.rule_id = ? and h.message_id = v.message_id)";

pub(super) fn shape(view: View) -> Shape {
    let axis = |table, id, time| Axis { table, id, time };
    let plain = Shape {
        view: "",
        axis: axis("", "", ""),
        grows_with_time: true,
        conversation: true,
        sender: Some("v.sender = ?"),
        rule: None,
        state: None,
    };
    match view {
        View::Messages => Shape {
            view: "v_messages",
            axis: axis("messages", "message_id", "received_at"),
            rule: Some(HIT_BY),
            state: Some("v.verdict = ?"),
            ..plain
        },
        View::Verdicts => Shape {
            view: "v_verdicts",
            axis: axis("messages", "message_id", "received_at"),
            rule: Some(HIT_BY),
            state: Some("v.verdict = ?"),
            ..plain
        },
        View::Conflicts => Shape {
            view: "v_conflicts",
            axis: axis("conflicts", "conflict_id", "received_at"),
            rule: Some(
                "exists (select 1 from hits h where h.conflict_id = v.conflict_id
                     and h.rule_id = ? and h.message_id = v.message_id)",
            ),
            state: Some("v.verdict = ?"),
            ..plain
        },
        View::Quarantine => Shape {
            view: "v_quarantine",
            axis: axis("quarantine", "quarantine_id", "received_at"),
            conversation: false,
            sender: None,
            ..plain
        },
        View::Hits => Shape {
            view: "v_hits",
            axis: axis("hits", "hit_id", "judged_at"),
            rule: Some("v.rule_id = ?"),
            state: Some("v.mode = ?"),
            ..plain
        },
        View::Recalls => Shape {
            view: "v_recalls",
            axis: axis("recall_jobs", "job_id", "created_at"),
            rule: Some("v.requested_by = 'rule:' || ?"),
            state: Some("v.state = ?"),
            ..plain
        },
        View::Calls => Shape {
            view: "v_calls",
            axis: axis("calls", "call_id", "started_at"),
            sender: None,
            state: Some("v.outcome = ?"),
            ..plain
        },
        View::Gaps => Shape {
            view: "v_gaps",
            axis: axis("gaps", "gap_id", "found_at"),
            grows_with_time: false,
            sender: None,
            state: Some("v.state = ?"),
            ..plain
        },
        View::Backfills => Shape {
            view: "v_backfills",
            axis: axis("backfills", "backfill_id", "created_at"),
            sender: Some("v.requested_by = ?"),
            state: Some("v.state = ?"),
            ..plain
        },
        View::Operations => Shape {
            view: "v_operations",
            axis: axis("operations", "operation_id", "at"),
            conversation: false,
            sender: Some("v.actor = ?"),
            state: Some("v.act = ?"),
            ..plain
        },
        View::Reviews => Shape {
            view: "v_reviews",
            axis: axis("reviews", "review_id", "at"),
            rule: Some("v.rule_id = ?"),
            state: Some("v.verdict = ?"),
            ..plain
        },
        View::Plans => Shape {
            view: "v_plans",
            axis: axis("plans", "plan_id", "created_at"),
            conversation: false,
            sender: Some("v.created_by = ?"),
            state: Some("v.state = ?"),
            ..plain
        },
    }
}
