//! [`Audit`] on SQLite: pages of the views, on read-only connections.

use async_trait::async_trait;
use sqlx::sqlite::{SqliteRow, SqliteValueRef};
use sqlx::{AssertSqlSafe, Column, Row, TypeInfo, ValueRef};

use super::Sqlite;
use super::open::unavailable;
use super::past::Reader;
use crate::store::{Audit, Cell, Error, Filter, Page, View};

const DEFAULT_LIMIT: usize = 100;

/// How a view can be asked.
struct Shape {
    name: &'static str,
    /// Grows with every row: what pages are cut by.
    id: &'static str,
    /// What `since` and `until` compare.
    time: &'static str,
    conversation: bool,
    sender: Option<&'static str>,
    rule: Option<&'static str>,
    state: Option<&'static str>,
}

fn shape(view: View) -> Shape {
    let plain = Shape {
        name: "",
        id: "",
        time: "",
        conversation: true,
        sender: Some("sender = ?"),
        rule: None,
        state: None,
    };
    let by_hit = "message_id in (select message_id from hits where rule_id = ?)";
    match view {
        View::Messages => Shape {
            name: "v_messages",
            id: "message_id",
            time: "received_at",
            rule: Some(by_hit),
            state: Some("verdict = ?"),
            ..plain
        },
        View::Verdicts => Shape {
            name: "v_verdicts",
            id: "message_id",
            time: "judged_at",
            rule: Some(by_hit),
            state: Some("verdict = ?"),
            ..plain
        },
        View::Conflicts => Shape {
            name: "v_conflicts",
            id: "conflict_id",
            time: "received_at",
            rule: Some(by_hit),
            state: Some("verdict = ?"),
            ..plain
        },
        View::Quarantine => Shape {
            name: "v_quarantine",
            id: "quarantine_id",
            time: "received_at",
            conversation: false,
            sender: None,
            ..plain
        },
        View::Hits => Shape {
            name: "v_hits",
            id: "hit_id",
            time: "judged_at",
            rule: Some("rule_id = ?"),
            state: Some("mode = ?"),
            ..plain
        },
        View::Recalls => Shape {
            name: "v_recalls",
            id: "job_id",
            time: "created_at",
            rule: Some("requested_by = 'rule:' || ?"),
            state: Some("state = ?"),
            ..plain
        },
        View::Calls => Shape {
            name: "v_calls",
            id: "call_id",
            time: "started_at",
            sender: None,
            state: Some("outcome = ?"),
            ..plain
        },
        View::Gaps => Shape {
            name: "v_gaps",
            id: "gap_id",
            time: "found_at",
            sender: None,
            state: Some("state = ?"),
            ..plain
        },
        View::Backfills => Shape {
            name: "v_backfills",
            id: "backfill_id",
            time: "created_at",
            sender: Some("requested_by = ?"),
            state: Some("state = ?"),
            ..plain
        },
        View::Operations => Shape {
            name: "v_operations",
            id: "operation_id",
            time: "at",
            conversation: false,
            sender: Some("actor = ?"),
            state: Some("act = ?"),
            ..plain
        },
        View::Reviews => Shape {
            name: "v_reviews",
            id: "review_id",
            time: "at",
            rule: Some("rule_id = ?"),
            state: Some("verdict = ?"),
            ..plain
        },
        View::Plans => Shape {
            name: "v_plans",
            id: "plan_id",
            time: "created_at",
            conversation: false,
            sender: Some("created_by = ?"),
            state: Some("state = ?"),
            ..plain
        },
    }
}

#[async_trait]
impl Audit for Sqlite {
    async fn page(&self, view: View, filter: &Filter) -> Result<Page, Error> {
        self.past.page(view, filter).await
    }
    async fn jobs_by_state(&self) -> Result<Vec<(String, i64)>, Error> {
        self.past.jobs_by_state().await
    }
    async fn unfinished_by_state(&self) -> Result<Vec<(String, i64)>, Error> {
        self.past.unfinished_by_state().await
    }
    async fn ping(&self) -> Result<(), Error> {
        self.past.ping().await
    }
}

#[async_trait]
impl Audit for Reader {
    async fn page(&self, view: View, filter: &Filter) -> Result<Page, Error> {
        let shape = shape(view);
        let limit = if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit };
        let (sql, values) = select(&shape, filter, limit)?;
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in values {
            query = match value {
                Cell::Integer(number) => query.bind(number),
                Cell::Text(text) => query.bind(text),
                Cell::Null => query.bind(None::<i64>),
            };
        }
        let rows = query.fetch_all(&self.pool).await.map_err(unavailable)?;
        Ok(page(&rows, &shape, limit))
    }

    async fn jobs_by_state(&self) -> Result<Vec<(String, i64)>, Error> {
        let rows = sqlx::query("select state, count(*) from recall_jobs group by state")
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn unfinished_by_state(&self) -> Result<Vec<(String, i64)>, Error> {
        let rows = sqlx::query(
            "select state, count(*) from recall_jobs
             where state in ('pending', 'leased', 'retry', 'held') group by state",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(unavailable)?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn ping(&self) -> Result<(), Error> {
        sqlx::query("select 1").execute(&self.pool).await.map(drop).map_err(unavailable)
    }
}

/// The statement for a page and what to bind. One row more than the limit tells whether there is
/// a next page.
fn select(shape: &Shape, filter: &Filter, limit: usize) -> Result<(String, Vec<Cell>), Error> {
    let mut conditions: Vec<String> = Vec::new();
    let mut values = Vec::new();
    let mut add = |condition: String, value: Cell| {
        conditions.push(condition);
        values.push(value);
    };
    let text = |value: &String| Cell::Text(value.clone());
    let conversation = |column| shape.conversation.then_some(column);
    let asked = [
        ("group", &filter.group, conversation("group_id = ?")),
        ("topic", &filter.topic, conversation("topic_id = ?")),
        ("sender", &filter.sender, shape.sender),
        ("rule", &filter.rule, shape.rule),
        ("state", &filter.state, shape.state),
    ];
    for (name, value, condition) in asked {
        let Some(value) = value else { continue };
        let condition = condition.ok_or_else(|| {
            Error::Invalid(format!("{} cannot be filtered by {name}", shape.name))
        })?;
        add(condition.to_owned(), text(value));
    }
    if let Some(since) = filter.since {
        add(format!("{} >= ?", shape.time), Cell::Integer(since.millis()));
    }
    if let Some(until) = filter.until {
        add(format!("{} < ?", shape.time), Cell::Integer(until.millis()));
    }
    if let Some(cursor) = filter.cursor {
        add(format!("{} < ?", shape.id), Cell::Integer(cursor));
    }
    let conditions = match conditions.len() {
        0 => String::new(),
        _ => format!(" where {}", conditions.join(" and ")),
    };
    let Shape { name, id, .. } = shape;
    let sql = format!("select * from {name}{conditions} order by {id} desc limit {}", limit + 1);
    Ok((sql, values))
}

/// All rows as the only page.
pub(super) fn whole(rows: &[SqliteRow]) -> Page {
    let columns: Vec<String> = rows.first().map_or_else(Vec::new, |row| {
        row.columns().iter().map(|column| column.name().to_owned()).collect()
    });
    let cells = |row: &SqliteRow| (0..row.len()).map(|at| cell(row, at)).collect();
    Page { columns, rows: rows.iter().map(cells).collect(), next: None }
}

fn page(rows: &[SqliteRow], shape: &Shape, limit: usize) -> Page {
    let mut page = whole(&rows[..rows.len().min(limit)]);
    if rows.len() > limit
        && let Some(last) = page.rows.last()
        && let Cell::Integer(id) = page.cell(last, shape.id)
    {
        page.next = Some(*id);
    }
    page
}

fn cell(row: &SqliteRow, at: usize) -> Cell {
    let Ok(value) = row.try_get_raw(at) else { return Cell::Null };
    if value.is_null() {
        return Cell::Null;
    }
    let kind = SqliteValueRef::type_info(&value).name().to_owned();
    match kind.as_str() {
        "INTEGER" | "BOOLEAN" => row.try_get(at).map_or(Cell::Null, Cell::Integer),
        "BLOB" => {
            let bytes: Vec<u8> = row.try_get(at).unwrap_or_default();
            Cell::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => row.try_get(at).map_or(Cell::Null, Cell::Text),
    }
}
