//! Many rows a statement: each statement costs a hand-over to SQLite's thread, which for small rows
//! is more than the insert itself.

use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Sqlite};

use super::open::unavailable;
use crate::store::Error;

/// Rows a statement, largest first. Few sizes, so that all of them stay prepared.
const SIZES: [usize; 9] = [256, 128, 64, 32, 16, 8, 4, 2, 1];

pub(super) type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// An insert into one table in all sizes.
pub(super) struct Insert {
    statements: [Arc<str>; SIZES.len()],
}

impl Insert {
    /// `head` up to and without `values`; `tail` behind the rows.
    pub(super) fn new(head: &str, columns: usize, tail: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let statement = |size: usize| {
            let mut sql = format!("{head} values ");
            for place in 0..size {
                let separator = if place == 0 { "" } else { ", " };
                write!(sql, "{separator}{row}").expect("a string takes what is written");
            }
            sql.push(' ');
            sql.push_str(tail);
            sql.into()
        };
        Self { statements: SIZES.map(statement) }
    }

    /// Inserts rows. Answers the ranges that went into one statement each, with how many of their
    /// rows were new.
    pub(super) async fn run<'q, T>(
        &self,
        connection: &mut SqliteConnection,
        rows: &'q [T],
        bind: impl Fn(Query<'q>, &'q T) -> Query<'q>,
    ) -> Result<Vec<(Range<usize>, u64)>, Error> {
        let mut done = Vec::new();
        let mut at = 0;
        for (size, sql) in SIZES.into_iter().zip(&self.statements) {
            while rows.len() - at >= size {
                let mut query = sqlx::query(AssertSqlSafe(Arc::clone(sql)));
                for row in &rows[at..at + size] {
                    query = bind(query, row);
                }
                let result = query.execute(&mut *connection).await.map_err(unavailable)?;
                done.push((at..at + size, result.rows_affected()));
                at += size;
            }
        }
        Ok(done)
    }
}
