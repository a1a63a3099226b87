//! [`Audit`] on SQLite, on read-only connections. How a page is found stands in `listing`.

use async_trait::async_trait;
use sqlx::sqlite::{SqliteRow, SqliteValueRef};
use sqlx::{Column, Row, TypeInfo, ValueRef};

use super::Sqlite;
use super::listing::Listing;
use super::open::unavailable;
use super::past::Reader;
use crate::store::{Audit, Cell, Error, Filter, Page, View};

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
        Listing::of(self, view, filter)?.page().await
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

/// All rows as the only page.
pub(super) fn whole(rows: &[SqliteRow]) -> Page {
    let columns: Vec<String> = rows.first().map_or_else(Vec::new, |row| {
        row.columns().iter().map(|column| column.name().to_owned()).collect()
    });
    let cells = |row: &SqliteRow| (0..row.len()).map(|at| cell(row, at)).collect();
    Page { columns, rows: rows.iter().map(cells).collect(), next: None }
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
