//! Pages of the views, whatever is asked for, at a bounded cost.
//!
//! A page is found in two steps. First a *path* gives the ids of rows that may be meant, newest first: one
//! of the indexes that a filter has, the one whose rows lie farthest apart, or the table itself; what other
//! indexes do not have is left out. Then the filters are put to these rows, some hundreds at a time. What
//! lies in a span of time is found by halving, since ids grow with time. After [`MOST_SPENT`] the page ends,
//! with fewer rows than wanted, and says where to go on: so no combination of filters can hold up a reader
//! for long.

use std::collections::HashSet;

use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqlitePool};

use super::audit::whole;
use super::open::unavailable;
use super::past::Reader;
use super::paths::{By, Path, paths};
use super::shape::{Shape, shape};
use super::stretches::Found;
use super::trail::SEARCHED;
use crate::store::{Cell, Error, Filter, Page, View};

const DEFAULT_LIMIT: usize = 100;
/// What one page may cost: some 50 ms where nothing of it is in memory yet. An id from an index is the unit.
const MOST_SPENT: usize = 40_000;
/// Of a row that is looked at, and of a stretch of an index that is looked into.
const COST_OF_ROW: usize = 10;
const COST_OF_LOOK: usize = 4;
/// Ids that are sought at once, and then ever more.
const FIRST_AT_ONCE: usize = 500;
/// Another path is put to use beside the best one where it has no more than so many times its ids.
const MUCH_DENSER: usize = 8;
/// Fewer rows than these are looked at rather than sought on another path.
const FEW: usize = 20;

/// A page being looked for.
pub(super) struct Listing<'a> {
    pool: &'a SqlitePool,
    shape: Shape,
    view: View,
    filter: &'a Filter,
    limit: usize,
}

impl<'a> Listing<'a> {
    pub(super) fn of(reader: &'a Reader, view: View, filter: &'a Filter) -> Result<Self, Error> {
        let shape = shape(view);
        let asked = [
            ("group", filter.group.is_some(), shape.conversation),
            ("topic", filter.topic.is_some(), shape.conversation),
            ("sender", filter.sender.is_some(), shape.sender.is_some()),
            ("rule", filter.rule.is_some(), shape.rule.is_some()),
            ("state", filter.state.is_some(), shape.state.is_some()),
            ("text", filter.text.is_some(), view == View::Messages),
        ];
        for (name, wanted, possible) in asked {
            if wanted && !possible {
                let why = format!("{} cannot be filtered by {name}", shape.view);
                return Err(Error::Invalid(why));
            }
        }
        let limit = if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit };
        Ok(Self { pool: &reader.pool, shape, view, filter, limit })
    }

    pub(super) async fn page(&self) -> Result<Page, Error> {
        if self.filter.text.as_deref().is_some_and(str::is_empty) {
            return Err(Error::Invalid("the text to look for is empty".into()));
        }
        let searched = self.searched().await?;
        let states = self.view.states();
        let is_possible = |state: &String| states.is_empty() || states.contains(&state.as_str());
        if !self.filter.state.as_ref().is_none_or(is_possible) {
            return Ok(Page::default());
        }
        let (from, end) = self.stretch().await?;
        let (paths, found) = self.best(from, end, searched).await?;
        self.collect(&paths, found, from, end).await
    }

    /// The ids between which everything that is meant lies.
    async fn stretch(&self) -> Result<(i64, i64), Error> {
        let Filter { since, until, cursor, .. } = self.filter;
        let (mut from, mut end) = (i64::MIN, cursor.unwrap_or(i64::MAX));
        if !self.shape.grows_with_time {
            return Ok((from, end));
        }
        if let Some(since) = since {
            from = self.shape.axis.first(self.pool, *since).await?;
        }
        if let Some(until) = until {
            end = end.min(self.shape.axis.end(self.pool, *until).await?);
        }
        Ok((from, end))
    }

    /// Up to which message texts are in the index, where a text is looked for.
    async fn searched(&self) -> Result<i64, Error> {
        if self.filter.text.is_none() {
            return Ok(0);
        }
        let searched: Option<i64> =
            sqlx::query_scalar("select cast(value as integer) from meta where name = ?")
                .bind(SEARCHED)
                .fetch_optional(self.pool)
                .await
                .map_err(unavailable)?;
        searched.ok_or_else(|| {
            let why = "texts cannot be searched: set store.search = true and restart; the index is \
                       then built in the background";
            Error::Invalid(why.into())
        })
    }

    /// The paths there are, and what the first of them gives at first: that is the one that comes farthest
    /// with its first rows, so it passes by the most that is not meant. The table itself where there is no
    /// other one.
    async fn best(&self, from: i64, end: i64, searched: i64) -> Result<(Vec<Path>, Found), Error> {
        let mut ways = Vec::new();
        for path in paths(self.pool, self.view, self.filter, searched).await? {
            if path.is_passable(self.pool, from, end).await? {
                ways.push(path);
            }
        }
        if ways.is_empty() {
            ways.push(Path::all(self.shape.axis.table, self.shape.axis.id));
        }
        // Where nothing is looked at in vain, no more is needed than the page has.
        let alone = ways.iter().all(|path| self.is_answered_by(path));
        let first = if alone { self.limit } else { FIRST_AT_ONCE.max(self.limit) } + 1;
        let mut best = (0, ways[0].ids(self.pool, from, end, first).await?);
        for (place, path) in ways.iter().enumerate().skip(1) {
            let found = path.ids(self.pool, from, end, first).await?;
            if (found.through, found.ids.len()) < (best.1.through, best.1.ids.len()) {
                best = (place, found);
            }
        }
        ways.swap(0, best.0);
        Ok((ways, best.1))
    }

    /// Looks at what the first path gives until the page is full.
    async fn collect(
        &self,
        paths: &[Path],
        mut found: Found,
        from: i64,
        mut end: i64,
    ) -> Result<Page, Error> {
        let mut page = Page::default();
        let (mut spent, mut at_once) = (0, found.ids.len().max(FIRST_AT_ONCE));
        loop {
            spent += found.ids.len() + found.looks * COST_OF_LOOK;
            spent += self.narrow(&paths[1..], &mut found, end).await?;
            let missing = self.limit - page.rows.len();
            let rows = self.rows(&found.ids, missing + 1).await?;
            spent += found.ids.len() * COST_OF_ROW;
            let more = rows.len() > missing;
            let meant = whole(&rows[..rows.len().min(missing)]);
            if !meant.columns.is_empty() {
                page.columns = meant.columns;
            }
            page.rows.extend(meant.rows);
            if more {
                page.next = page.rows.last().and_then(|row| self.id(&page, row));
                return Ok(page);
            }
            if found.through <= from {
                return Ok(page);
            }
            if spent >= MOST_SPENT {
                page.next = Some(found.through);
                return Ok(page);
            }
            end = found.through;
            at_once = (at_once * 4).min((MOST_SPENT - spent) / COST_OF_ROW).max(1);
            found = paths[0].ids(self.pool, from, end, at_once).await?;
        }
    }

    /// Leaves of what was found what other paths lead to as well, where that costs less than to look at
    /// the rows. Answers what it cost.
    async fn narrow(&self, others: &[Path], found: &mut Found, end: i64) -> Result<usize, Error> {
        let mut spent = 0;
        for other in others.iter().filter(|path| path.exact && path.is_ordered()) {
            let Some(highest) = found.ids.first().filter(|_| found.ids.len() > FEW) else { break };
            let lowest = found.ids.last().copied().unwrap_or(found.through);
            let most = found.ids.len() * MUCH_DENSER;
            let beyond = highest.saturating_add(1).min(end);
            let theirs = other.ids(self.pool, lowest, beyond, most).await?;
            spent += theirs.ids.len() + theirs.looks * COST_OF_LOOK;
            if theirs.through <= lowest {
                let theirs: HashSet<i64> = theirs.ids.into_iter().collect();
                found.ids.retain(|id| theirs.contains(id));
            }
        }
        Ok(spent)
    }

    fn id(&self, page: &Page, row: &[Cell]) -> Option<i64> {
        match page.cell(row, self.shape.axis.id) {
            Cell::Integer(id) => Some(*id),
            _ => None,
        }
    }

    /// Whether every row that the path gives is meant, so that none is looked at in vain.
    fn is_answered_by(&self, path: &Path) -> bool {
        let filter = self.filter;
        let asked = [
            (By::Place, filter.group.is_some() || filter.topic.is_some()),
            (By::Sender, filter.sender.is_some()),
            (By::Rule, filter.rule.is_some()),
            (By::State, filter.state.is_some()),
            (By::Text, filter.text.is_some()),
        ];
        asked.into_iter().all(|(by, wanted)| !wanted || (path.exact && by == path.by))
    }

    /// The rows of candidates that every filter means, in their order.
    async fn rows(&self, ids: &[i64], limit: usize) -> Result<Vec<SqliteRow>, Error> {
        let Shape { view, axis, .. } = &self.shape;
        let id = axis.id;
        let (conditions, values) = self.conditions();
        let sql = format!(
            "select v.* from json_each(?) candidate cross join {view} v on v.{id} = candidate.value
             where 1{conditions} order by candidate.id limit {limit}"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(json!(ids).to_string());
        for value in values {
            query = match value {
                Cell::Integer(number) => query.bind(number),
                Cell::Text(text) => query.bind(text),
                Cell::Null => query.bind(None::<i64>),
            };
        }
        query.fetch_all(self.pool).await.map_err(unavailable)
    }

    /// The filters as conditions on the view `v`.
    fn conditions(&self) -> (String, Vec<Cell>) {
        let (mut sql, mut values) = (String::new(), Vec::new());
        let mut add = |condition: &str, value: Cell| {
            sql.push_str(" and ");
            sql.push_str(condition);
            values.push(value);
        };
        let Filter { group, topic, sender, rule, state, text, .. } = self.filter;
        let texts = [
            (group, Some("v.group_id = ?")),
            (topic, Some("v.topic_id = ?")),
            (sender, self.shape.sender),
            (rule, self.shape.rule),
            (state, self.shape.state),
            // The index leaves out which characters stand side by side.
            (text, Some("instr(lower(v.text), lower(?)) > 0")),
        ];
        for (value, condition) in texts {
            if let (Some(value), Some(condition)) = (value, condition) {
                add(condition, Cell::Text(value.clone()));
            }
        }
        // Verdicts are given when a message is received, and that is what the view calls the time.
        let time = if self.view == View::Verdicts { "judged_at" } else { self.shape.axis.time };
        if let Some(since) = self.filter.since {
            add(&format!("v.{time} >= ?"), Cell::Integer(since.millis()));
        }
        if let Some(until) = self.filter.until {
            add(&format!("v.{time} < ?"), Cell::Integer(until.millis()));
        }
        (sql, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Audit;
    use crate::store::sqlite::open::connect_for_tests;
    use crate::store::sqlite::{Options, open};

    #[tokio::test]
    async fn what_is_far_back_is_reached_over_pages_that_end_early() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::at(&folder.path().join("quell.db"));
        let store = open(&options).await.unwrap();
        let mut connection = connect_for_tests(&options).await;
        for sql in [
            "insert into conversations values (1, 'c', 't', 0, 'Community', 0, null),
                 (2, 'c', 'u', 0, 'Community', 0, null)",
            "with recursive n (id) as (select 1 union all select id + 1 from n where id < 12000)
             insert into messages select id, 1 + (id > 5 and id <> 11000), id, 'ada', 0, id, 0, 0, 0,
                 1, '', '', null, '', null, x'' from n",
        ] {
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
        // No index has topics alone.
        let topic = Some("t".to_owned());
        let mut filter = Filter { topic, limit: 4, ..Filter::default() };
        let (mut pages, mut seen) = (Vec::new(), Vec::new());
        loop {
            let page = store.page(View::Messages, &filter).await.unwrap();
            pages.push(page.rows.len());
            seen.extend(page.rows.iter().map(|row| page.cell(row, "message_id").clone()));
            filter.cursor = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(seen, [11_000, 5, 4, 3, 2, 1].map(Cell::Integer));
        assert!(pages.len() > 2 && pages.iter().all(|rows| *rows <= 4), "{pages:?}");
    }
}
