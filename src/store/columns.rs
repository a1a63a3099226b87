//! What each view is made of and may be asked for: what is described to clients of the API.

use super::View;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Text,
}

/// A column of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub nullable: bool,
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text, nullable: false }
}

const fn number(name: &'static str) -> Column {
    Column { name, kind: Kind::Integer, nullable: false }
}

/// The same where there may be nothing.
const fn maybe(column: Column) -> Column {
    Column { nullable: true, ..column }
}

const MESSAGES: &[Column] = &[
    text("group_id"),
    text("topic_id"),
    number("msg_seq"),
    text("sender"),
    text("group_type"),
    number("sent_at"),
    text("sent_at_iso"),
    number("received_at"),
    text("received_at_iso"),
    text("source"),
    number("online_only"),
    text("text"),
    text("verdict"),
    maybe(text("rules_version")),
    text("platform"),
    number("message_id"),
];
const VERDICTS: &[Column] = &[
    text("group_id"),
    text("topic_id"),
    number("msg_seq"),
    text("sender"),
    text("verdict"),
    text("rules"),
    text("shadow_rules"),
    maybe(text("rules_version")),
    number("judged_at"),
    text("judged_at_iso"),
    number("message_id"),
];
const CONFLICTS: &[Column] = &[
    text("group_id"),
    text("topic_id"),
    number("msg_seq"),
    text("sender"),
    text("group_type"),
    number("sent_at"),
    text("sent_at_iso"),
    number("received_at"),
    text("received_at_iso"),
    text("source"),
    number("online_only"),
    text("text"),
    text("verdict"),
    maybe(text("rules_version")),
    text("platform"),
    number("message_id"),
    number("conflict_id"),
];
const QUARANTINE: &[Column] = &[
    number("received_at"),
    text("received_at_iso"),
    text("command"),
    text("reason"),
    text("body"),
    number("quarantine_id"),
];
const HITS: &[Column] = &[
    text("group_id"),
    text("topic_id"),
    number("msg_seq"),
    text("sender"),
    text("rule_id"),
    text("mode"),
    text("severity"),
    text("matched_text"),
    number("judged_at"),
    text("judged_at_iso"),
    number("start_char"),
    number("end_char"),
    number("on_conflict"),
    number("message_id"),
    number("hit_id"),
];
const RECALLS: &[Column] = &[
    text("group_id"),
    text("topic_id"),
    number("msg_seq"),
    text("sender"),
    text("state"),
    number("attempts"),
    maybe(number("ret_code")),
    maybe(text("reason")),
    text("requested_by"),
    text("severity"),
    number("created_at"),
    text("created_at_iso"),
    maybe(number("called_at")),
    maybe(text("called_at_iso")),
    maybe(number("finished_at")),
    maybe(text("finished_at_iso")),
    maybe(number("confirmed_at")),
    maybe(text("confirmed_at_iso")),
    maybe(number("exposure_ms")),
    maybe(number("delivery_ms")),
    maybe(number("queue_ms")),
    maybe(number("call_ms")),
    number("sent_at"),
    text("sent_at_iso"),
    number("due_at"),
    text("due_at_iso"),
    maybe(number("message_id")),
    number("job_id"),
];
const CALLS: &[Column] = &[
    number("call_id"),
    text("group_id"),
    text("topic_id"),
    text("sequences"),
    number("started_at"),
    text("started_at_iso"),
    maybe(number("duration_ms")),
    maybe(number("http_status")),
    maybe(number("error_code")),
    text("outcome"),
];
const GAPS: &[Column] = &[
    text("group_id"),
    text("topic_id"),
    number("from_seq"),
    number("to_seq"),
    text("state"),
    maybe(text("reason")),
    number("sequences"),
    text("group_type"),
    number("found_at"),
    text("found_at_iso"),
    maybe(number("closed_at")),
    maybe(text("closed_at_iso")),
    number("attempts"),
    number("gap_id"),
];
const BACKFILLS: &[Column] = &[
    number("backfill_id"),
    text("group_id"),
    text("topic_id"),
    number("from_seq"),
    number("to_seq"),
    number("next_seq"),
    text("state"),
    maybe(text("reason")),
    text("requested_by"),
    number("pages"),
    number("recorded"),
    number("recalls"),
    number("created_at"),
    text("created_at_iso"),
    maybe(number("finished_at")),
    maybe(text("finished_at_iso")),
];
const OPERATIONS: &[Column] = &[
    text("actor"),
    text("act"),
    text("detail"),
    number("at"),
    text("at_iso"),
    number("operation_id"),
];
const PLANS: &[Column] = &[
    number("plan_id"),
    text("state"),
    text("asked"),
    text("digest"),
    text("rules_version"),
    number("messages"),
    number("recallable"),
    number("calls"),
    number("progress"),
    text("created_by"),
    number("created_at"),
    text("created_at_iso"),
    maybe(text("applied_by")),
    maybe(number("applied_at")),
    maybe(text("applied_at_iso")),
    maybe(number("finished_at")),
    maybe(text("finished_at_iso")),
];

const REVIEWS: &[Column] = &[
    text("group_id"),
    text("topic_id"),
    number("msg_seq"),
    text("sender"),
    text("rule_id"),
    text("verdict"),
    text("note"),
    text("reviewer"),
    number("at"),
    text("at_iso"),
    number("message_id"),
    number("review_id"),
];

/// What [`Reviews::to_review`](super::Reviews::to_review) answers with.
pub const REVIEWABLE: &[Column] = &[
    text("group_id"),
    text("topic_id"),
    number("msg_seq"),
    text("sender"),
    text("verdict"),
    text("rules"),
    text("shadow_rules"),
    maybe(text("recall_state")),
    text("text"),
    number("received_at"),
    text("received_at_iso"),
    number("message_id"),
];

impl View {
    /// The columns in their order.
    #[must_use]
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Messages => MESSAGES,
            Self::Verdicts => VERDICTS,
            Self::Conflicts => CONFLICTS,
            Self::Quarantine => QUARANTINE,
            Self::Hits => HITS,
            Self::Recalls => RECALLS,
            Self::Calls => CALLS,
            Self::Gaps => GAPS,
            Self::Backfills => BACKFILLS,
            Self::Operations => OPERATIONS,
            Self::Plans => PLANS,
            Self::Reviews => REVIEWS,
        }
    }

    /// What a row is.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Messages => "a recorded message with its verdict",
            Self::Verdicts => "a message's verdict with the rules that led to it",
            Self::Conflicts => "other content that came for a sequence already recorded",
            Self::Quarantine => "an authentic callback that could not be read",
            Self::Hits => "a place that a rule matched",
            Self::Recalls => "a message's recall job",
            Self::Calls => "a recall call to Chat",
            Self::Gaps => "a run of sequences that no callback brought",
            Self::Backfills => "a stretch of history that is or was read",
            Self::Operations => "an act of an operator or of quell itself",
            Self::Plans => "a sweep: what was asked, and where it stands",
            Self::Reviews => "what somebody who looked said of a rule's hit",
        }
    }

    /// What [`Filter::state`](super::Filter::state) may say of a row here; none where that is anybody's
    /// words, or nothing.
    #[must_use]
    pub fn states(self) -> &'static [&'static str] {
        match self {
            Self::Messages | Self::Verdicts | Self::Conflicts => &["pass", "flag", "recall"],
            Self::Hits => &["live", "shadow"],
            Self::Recalls => &[
                "pending",
                "leased",
                "retry",
                "held",
                "recalled",
                "gone",
                "refused",
                "dead",
                "cancelled",
            ],
            Self::Calls => &["started", "answered", "failed", "unclear", "unsent"],
            Self::Gaps => &["open", "filled", "legitimate", "unrepairable"],
            Self::Backfills => &["running", "done", "failed", "cancelled"],
            Self::Plans => &["draft", "planned", "applying", "applied", "cancelling", "cancelled"],
            Self::Reviews => &["right", "wrong"],
            Self::Quarantine | Self::Operations => &[],
        }
    }

    /// The fields of a [`Filter`](super::Filter) that mean something here, beside time and paging,
    /// each with what it is compared with.
    #[must_use]
    pub fn filters(self) -> &'static [(&'static str, &'static str)] {
        const GROUP: (&str, &str) = ("group", "group_id");
        const TOPIC: (&str, &str) = ("topic", "topic_id");
        const SENDER: (&str, &str) = ("sender", "sender");
        const HIT: (&str, &str) = ("rule", "a rule that matched");
        match self {
            Self::Messages => &[
                GROUP,
                TOPIC,
                SENDER,
                HIT,
                ("state", "verdict"),
                ("text", "part of the text; wants store.search"),
            ],
            Self::Verdicts | Self::Conflicts => &[GROUP, TOPIC, SENDER, HIT, ("state", "verdict")],
            Self::Quarantine => &[],
            Self::Hits => &[GROUP, TOPIC, SENDER, ("rule", "rule_id"), ("state", "mode")],
            Self::Recalls => {
                &[GROUP, TOPIC, SENDER, ("rule", "the rule that asked"), ("state", "state")]
            }
            Self::Calls => &[GROUP, TOPIC, ("state", "outcome")],
            Self::Gaps => &[GROUP, TOPIC, ("state", "state")],
            Self::Backfills => &[GROUP, TOPIC, ("sender", "requested_by"), ("state", "state")],
            Self::Operations => &[("sender", "actor"), ("state", "act")],
            Self::Reviews => &[GROUP, TOPIC, SENDER, ("rule", "rule_id"), ("state", "verdict")],
            Self::Plans => &[("sender", "created_by"), ("state", "state")],
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::*;
    use crate::store::sqlite::{self, Options};
    use crate::store::{Audit, Error, Filter};

    #[tokio::test]
    async fn columns_are_those_of_the_views() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quell.db");
        drop(sqlite::open(&Options::at(&path)).await.unwrap());
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        for view in View::all() {
            let rows = sqlx::query("select name from pragma_table_info(?)")
                .bind(format!("v_{}", view.word()))
                .fetch_all(&mut connection)
                .await
                .unwrap();
            let there: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            let described: Vec<_> = view.columns().iter().map(|column| column.name).collect();
            assert_eq!(described, there, "{}", view.word());
        }
    }

    #[tokio::test]
    async fn states_are_those_that_the_tables_take() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quell.db");
        drop(sqlite::open(&Options::at(&path)).await.unwrap());
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        for (view, table) in [
            (View::Recalls, "recall_jobs"),
            (View::Gaps, "gaps"),
            (View::Backfills, "backfills"),
            (View::Plans, "plans"),
            (View::Reviews, "reviews"),
        ] {
            let query = "select sql from sqlite_schema where type = 'table' and name = ?";
            let sql: String =
                sqlx::query_scalar(query).bind(table).fetch_one(&mut connection).await.unwrap();
            let check = format!("in ('{}')", view.states().join("', '"));
            assert!(sql.contains(&check), "{table}: {check} in\n{sql}");
        }
    }

    #[tokio::test]
    async fn filters_are_those_that_are_answered() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite::open(&Options::at(&folder.path().join("quell.db"))).await.unwrap();
        for view in View::all() {
            let some = Some("x".to_owned());
            let each = [
                ("group", Filter { group: some.clone(), ..Filter::default() }),
                ("topic", Filter { topic: some.clone(), ..Filter::default() }),
                ("sender", Filter { sender: some.clone(), ..Filter::default() }),
                ("rule", Filter { rule: some.clone(), ..Filter::default() }),
                ("state", Filter { state: some, ..Filter::default() }),
            ];
            for (name, filter) in each {
                let described = view.filters().iter().any(|(known, _)| *known == name);
                let answered = match store.page(view, &filter).await {
                    Ok(_) => true,
                    Err(Error::Invalid(_)) => false,
                    Err(error) => panic!("{error}"),
                };
                assert_eq!(described, answered, "{} by {name}", view.word());
            }
        }
    }
}
