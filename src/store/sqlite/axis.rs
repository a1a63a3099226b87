//! Where a time lies among rows that are numbered in the order in which they came: found by halving, so
//! that no index on times is needed, which every insert would pay for.

use sqlx::{AssertSqlSafe, Row, SqlitePool};

use super::open::unavailable;
use crate::model::Timestamp;
use crate::store::Error;

/// Rows come in order of their times, give or take this long.
pub(super) const DISORDER_MS: i64 = 60_000;

/// A table whose ids grow with its times.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub table: &'static str,
    pub id: &'static str,
    pub time: &'static str,
}

pub(super) const MESSAGES: Axis = Axis { table: "messages", id: "message_id", time: "received_at" };
pub(super) const JOBS: Axis = Axis { table: "recall_jobs", id: "job_id", time: "created_at" };
pub(super) const HITS: Axis = Axis { table: "hits", id: "hit_id", time: "judged_at" };
pub(super) const CALLS: Axis = Axis { table: "calls", id: "call_id", time: "started_at" };
pub(super) const OPERATIONS: Axis = Axis { table: "operations", id: "operation_id", time: "at" };

impl Axis {
    /// An id below which no row is of that time or later.
    pub(super) async fn first(&self, pool: &SqlitePool, since: Timestamp) -> Result<i64, Error> {
        self.halve(pool, since.millis().saturating_sub(DISORDER_MS)).await
    }

    /// An id from which on no row is earlier than that time.
    pub(super) async fn end(&self, pool: &SqlitePool, until: Timestamp) -> Result<i64, Error> {
        self.halve(pool, until.millis().saturating_add(DISORDER_MS)).await
    }

    /// An id behind a row that is older than a time, and before one that is not.
    pub(super) async fn halve(&self, pool: &SqlitePool, time: i64) -> Result<i64, Error> {
        let Self { table, id, time: column } = self;
        let ends =
            format!("select coalesce(min({id}), 1), coalesce(max({id}), 0) + 1 from {table}");
        let ends = sqlx::query(AssertSqlSafe(ends)).fetch_one(pool).await.map_err(unavailable)?;
        let (mut low, mut high): (i64, i64) = (ends.get(0), ends.get(1));
        let probe = format!(
            "select {id}, {column} < ?2 from {table} not indexed where {id} >= ?1 order by {id} limit 1"
        );
        // Everything below `low` is older, everything from `high` on is not.
        while low < high {
            let middle = low + (high - low) / 2;
            let row = sqlx::query(AssertSqlSafe(probe.clone()))
                .bind(middle)
                .bind(time)
                .fetch_optional(pool)
                .await
                .map_err(unavailable)?;
            match row {
                Some(row) if row.get(1) => low = row.get::<i64, _>(0) + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}
