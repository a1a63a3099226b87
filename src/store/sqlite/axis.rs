//! Where a time lies among rows that are numbered in the order in which they came: found by halving, so
//! that no index on times is needed, which every insert would pay for.

use serde_json::json;
use sqlx::{AssertSqlSafe, SqlitePool};

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
        let found = self.halve_each(pool, &[time]).await?;
        Ok(found.first().copied().unwrap_or(1))
    }

    /// The same for many times, in their order: all are halved by one statement, since going to and fro
    /// for each look costs several times as much as the look.
    pub(super) async fn halve_each(
        &self,
        pool: &SqlitePool,
        times: &[i64],
    ) -> Result<Vec<i64>, Error> {
        let Self { table, id, time } = self;
        // Everything below `low` is older, everything from `high` on is not. The ends are asked for
        // apart: both in one question would be answered by reading every row.
        let sql = format!(
            "with recursive halving (place, time, low, high) as (
                 select key, value,
                     coalesce((select min({id}) from {table}), 1),
                     coalesce((select max({id}) from {table}), 0) + 1
                 from json_each(?)
                 union all
                 select h.place, h.time,
                     iif(found.{time} < h.time, found.{id} + 1, h.low),
                     iif(found.{time} < h.time, h.high, h.low + (h.high - h.low) / 2)
                 from halving h left join {table} found on found.{id} = (
                     select min({id}) from {table} where {id} >= h.low + (h.high - h.low) / 2)
                 where h.low < h.high
             )
             select low from halving where low >= high order by place"
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(json!(times).to_string())
            .fetch_all(pool)
            .await
            .map_err(unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::open::connect_for_tests;
    use crate::store::sqlite::{Options, open};

    #[tokio::test]
    async fn times_are_found_among_ids_with_holes() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::at(&folder.path().join("quell.db"));
        let store = open(&options).await.unwrap();
        let none = OPERATIONS.halve_each(&store.readers, &[5, 7]).await.unwrap();
        assert_eq!(none, [1, 1]);
        let mut connection = connect_for_tests(&options).await;
        let rows = [(3, 10), (4, 20), (9, 20), (50, 30), (51, 40), (900, 50)];
        for (id, at) in rows {
            sqlx::query("insert into operations values (?, 'ada', 'pause', '{}', ?)")
                .bind(id)
                .bind(at)
                .execute(&mut connection)
                .await
                .unwrap();
        }
        let times: Vec<i64> = (0..=60).rev().collect();
        let found = OPERATIONS.halve_each(&store.readers, &times).await.unwrap();
        for (time, found) in times.into_iter().zip(found) {
            let older: Vec<_> = rows.iter().filter(|(id, _)| *id < found).collect();
            let not: Vec<_> = rows.iter().filter(|(id, _)| *id >= found).collect();
            assert!(older.iter().all(|(_, at)| *at < time), "{time}: {found}");
            assert!(not.iter().all(|(_, at)| *at >= time), "{time}: {found}");
        }
    }
}
