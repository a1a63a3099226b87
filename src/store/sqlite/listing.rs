//! Pages of the views, whatever is asked for, at a bounded cost.
//!
//! A page is found in two steps. First a *path* gives the ids of rows that may be meant, newest first: one
//! of the indexes that a filter has, the one with the fewest rows, or the table itself. Then the other
//! filters are put to these rows, a few thousand at a time. What lies in a span of time is found by halving,
//! since ids grow with time. After [`MOST_CANDIDATES`] rows that were not meant the page ends, with fewer
//! rows than wanted, and says where to go on: so no combination of filters can hold up a reader for long.

use std::fmt::Write;

use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqlitePool};

use super::audit::whole;
use super::axis::Axis;
use super::open::unavailable;
use super::past::Reader;
use super::trail::SEARCHED;
use crate::store::{Cell, Error, Filter, Page, View};

const DEFAULT_LIMIT: usize = 100;
/// Rows that one page looks at.
const MOST_CANDIDATES: usize = 40_000;
/// Of these, so many at once, and then ever more.
const FIRST_CANDIDATES: usize = 500;
/// Paths with fewer rows are read whole, where their rows do not come in order.
const SMALL: i64 = 10_000;
/// Conversations of a group that are merged at most.
const MOST_CONVERSATIONS: usize = 100;
/// Messages that are not in an index yet, and are read beside it.
const MOST_BEHIND: i64 = 20_000;
/// Characters that the index of texts needs.
const SEARCHABLE_CHARS: usize = 3;

/// How a view can be asked.
struct Shape {
    view: &'static str,
    /// Ids grow with every row: what pages are cut by. Times are what `since` and `until` compare.
    axis: Axis,
    conversation: bool,
    sender: Option<&'static str>,
    rule: Option<&'static str>,
    state: Option<&'static str>,
}

const HIT_BY: &str =
    "exists (select 1 from hits h where h.rule_id = ? and h.message_id = v.message_id)";

fn shape(view: View) -> Shape {
    let axis = |table, id, time| Axis { table, id, time };
    let plain = Shape {
        view: "",
        axis: axis("", "", ""),
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

/// What a filter can be by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Group and topic.
    Place,
    Sender,
    Rule,
    State,
    Text,
}

/// A way to rows that one filter means.
struct Path {
    by: By,
    /// Ids from ?1 up to, without ?2, newest first; ?3 is what the filter wants. Ends where a limit may
    /// follow.
    sql: String,
    value: Cell,
    /// Whether the ids come in order by themselves; else all of them are read.
    in_order: bool,
    /// Whether every row that it gives is meant by the filter.
    exact: bool,
}

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
        let axis = &self.shape.axis;
        let from = match self.filter.since {
            Some(since) => axis.first(self.pool, since).await?,
            None => i64::MIN,
        };
        let mut end = self.filter.cursor.unwrap_or(i64::MAX);
        if let Some(until) = self.filter.until {
            end = end.min(axis.end(self.pool, until).await?);
        }
        let path = self.best(from, end, searched).await?;
        self.collect(path.as_ref(), from, end).await
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

    /// The path with the fewest rows; none where the table itself is the best there is.
    async fn best(&self, from: i64, end: i64, searched: i64) -> Result<Option<Path>, Error> {
        let mut best: Option<(i64, Path)> = None;
        for path in self.paths(searched).await? {
            let most = if path.in_order { SMALL } else { SMALL + 1 };
            let sql = format!("select count(*) from ({} limit {most})", path.sql);
            let count: i64 = self.bound(sql, &path, from, end).await?;
            // What does not come in order has to be read whole.
            let usable = path.in_order || count <= SMALL;
            if usable && best.as_ref().is_none_or(|(fewest, _)| count < *fewest) {
                best = Some((count, path));
            }
        }
        Ok(best.map(|(_, path)| path))
    }

    async fn bound(&self, sql: String, path: &Path, from: i64, end: i64) -> Result<i64, Error> {
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(from).bind(end);
        let query = match &path.value {
            Cell::Integer(number) => query.bind(*number),
            Cell::Text(text) => query.bind(text.as_str()),
            Cell::Null => query.bind(None::<i64>),
        };
        query.fetch_one(self.pool).await.map_err(unavailable)
    }

    /// The ways that there are to what is asked for.
    async fn paths(&self, searched: i64) -> Result<Vec<Path>, Error> {
        let mut paths = Vec::new();
        let filter = self.filter;
        if let Some(sender) = &filter.sender {
            paths.extend(self.by_sender(sender));
        }
        if let Some(rule) = &filter.rule {
            paths.extend(self.by_rule(rule));
        }
        if let Some(state) = &filter.state {
            paths.extend(self.by_state(state));
        }
        if let Some(group) = &filter.group {
            paths.extend(self.by_place(group).await?);
        }
        if let Some(text) = &filter.text
            && !self.behind(searched).await?
        {
            paths.extend(by_text(text, searched));
        }
        Ok(paths)
    }

    fn by_sender(&self, sender: &str) -> Option<Path> {
        let (sql, in_order) = match self.view {
            View::Messages | View::Verdicts => (
                "select message_id as id from messages indexed by messages_sender
                 where sender = ?3 and message_id >= ?1 and message_id < ?2",
                // Its index goes by stretches of messages.
                false,
            ),
            View::Recalls => (
                "select job_id as id from recall_jobs indexed by recall_jobs_sender
                 where sender = ?3 and job_id >= ?1 and job_id < ?2",
                true,
            ),
            View::Operations => (
                "select operation_id as id from operations indexed by operations_actor
                 where actor = ?3 and operation_id >= ?1 and operation_id < ?2",
                true,
            ),
            _ => return None,
        };
        Some(path(By::Sender, sql, sender, in_order))
    }

    fn by_rule(&self, rule: &str) -> Option<Path> {
        let sql = match self.view {
            View::Messages | View::Verdicts => {
                "select distinct message_id as id from hits indexed by hits_rule_message
                 where rule_id = ?3 and message_id >= ?1 and message_id < ?2"
            }
            View::Hits => {
                "select hit_id as id from hits indexed by hits_rule
                 where rule_id = ?3 and hit_id >= ?1 and hit_id < ?2"
            }
            View::Recalls => {
                "select job_id as id from recall_jobs indexed by recall_jobs_requested
                 where requested_by = 'rule:' || ?3 and job_id >= ?1 and job_id < ?2"
            }
            View::Reviews => {
                "select review_id as id from reviews indexed by reviews_rule
                 where rule_id = ?3 and review_id >= ?1 and review_id < ?2"
            }
            _ => return None,
        };
        Some(path(By::Rule, sql, rule, true))
    }

    fn by_state(&self, state: &str) -> Option<Path> {
        let sql = match (self.view, state) {
            (View::Messages | View::Verdicts, "flag") => {
                "select message_id as id from messages indexed by messages_matched
                 where verdict = 1 and verdict > 0 and ?3 = 'flag'
                   and message_id >= ?1 and message_id < ?2"
            }
            (View::Messages | View::Verdicts, "recall") => {
                "select message_id as id from messages indexed by messages_matched
                 where verdict = 2 and verdict > 0 and ?3 = 'recall'
                   and message_id >= ?1 and message_id < ?2"
            }
            (View::Recalls, _) => {
                "select job_id as id from recall_jobs indexed by recall_jobs_state
                 where state = ?3 and job_id >= ?1 and job_id < ?2"
            }
            (View::Calls, "failed" | "unclear" | "unsent" | "started") => {
                "select call_id as id from calls indexed by calls_amiss
                 where outcome = ?3 and outcome <> 'answered' and call_id >= ?1 and call_id < ?2"
            }
            (View::Gaps, _) => {
                "select gap_id as id from gaps indexed by gaps_state
                 where state = ?3 and gap_id >= ?1 and gap_id < ?2"
            }
            (View::Operations, _) => {
                "select operation_id as id from operations indexed by operations_act
                 where act = ?3 and operation_id >= ?1 and operation_id < ?2"
            }
            _ => return None,
        };
        Some(path(By::State, sql, state, true))
    }

    /// Through the conversations of a group, or of one of its topics.
    async fn by_place(&self, group: &str) -> Result<Option<Path>, Error> {
        let conversations: Vec<i64> = sqlx::query_scalar(
            "select conversation_id from conversations
             where group_id = ?1 and (?2 is null or topic_id = ?2)",
        )
        .bind(group)
        .bind(self.filter.topic.as_deref())
        .fetch_all(self.pool)
        .await
        .map_err(unavailable)?;
        let value = json!(conversations).to_string();
        let (of_one, of_many) = match self.view {
            View::Messages | View::Verdicts => {
                return self.by_message_places(&conversations).await;
            }
            View::Hits => return self.by_hit_places(&conversations).await,
            View::Recalls => (
                None,
                "select job_id as id from json_each(?3) c
                 cross join recall_jobs j indexed by recall_jobs_key on j.conversation_id = c.value
                 where job_id >= ?1 and job_id < ?2",
            ),
            View::Calls => (
                Some(
                    "select call_id as id from calls indexed by calls_conversation
                     where conversation_id = ?3 and call_id >= ?1 and call_id < ?2",
                ),
                "select call_id as id from json_each(?3) c
                 cross join calls k indexed by calls_conversation on k.conversation_id = c.value
                 where call_id >= ?1 and call_id < ?2",
            ),
            View::Gaps => (
                None,
                "select gap_id as id from json_each(?3) c
                 cross join gaps g indexed by gaps_conversation on g.conversation_id = c.value
                 where gap_id >= ?1 and gap_id < ?2",
            ),
            _ => return Ok(None),
        };
        Ok(Some(match (of_one, conversations.as_slice()) {
            (Some(sql), [one]) => {
                Path { value: Cell::Integer(*one), ..path(By::Place, sql, "", true) }
            }
            _ => Path { value: Cell::Text(value), ..path(By::Place, of_many, "", false) },
        }))
    }

    /// Messages of conversations: from the index that is built behind the writer, and before these, those
    /// that are not in it yet. None while that index is far behind.
    async fn by_message_places(&self, conversations: &[i64]) -> Result<Option<Path>, Error> {
        let through = self
            .number(
                "select coalesce((select to_id from chain indexed by chain_kind
                     where kind = 0 order by from_id desc limit 1), 0)",
            )
            .await?;
        if conversations.len() > MOST_CONVERSATIONS || self.behind(through).await? {
            return Ok(None);
        }
        let mut sql = format!(
            "select message_id as id from messages not indexed
             where message_id > {through} and message_id >= ?1 and message_id < ?2
               and conversation_id in (select value from json_each(?3))"
        );
        // Each conversation comes in order, and so they are merged rather than sorted.
        for conversation in conversations {
            let _ = write!(
                sql,
                " union all select message_id as id from message_places
                 where conversation_id = {conversation} and message_id >= ?1 and message_id < ?2"
            );
        }
        let value = Cell::Text(json!(conversations).to_string());
        Ok(Some(Path { by: By::Place, sql, value, in_order: true, exact: true }))
    }

    /// Hits in conversations that have few messages.
    async fn by_hit_places(&self, conversations: &[i64]) -> Result<Option<Path>, Error> {
        let Some(messages) = self.by_message_places(conversations).await? else { return Ok(None) };
        let sql = format!("select count(*) from ({} limit {})", messages.sql, SMALL + 1);
        if self.bound(sql, &messages, i64::MIN, i64::MAX).await? > SMALL {
            return Ok(None);
        }
        let all = messages.sql.replace("?1", &i64::MIN.to_string());
        let all = all.replace("?2", &i64::MAX.to_string());
        let sql = format!(
            "select h.hit_id as id from ({all}) m
             cross join hits h indexed by hits_message on h.message_id = m.id
             where h.hit_id >= ?1 and h.hit_id < ?2"
        );
        Ok(Some(Path { sql, in_order: false, ..messages }))
    }

    async fn number(&self, sql: &'static str) -> Result<i64, Error> {
        sqlx::query_scalar(sql).fetch_one(self.pool).await.map_err(unavailable)
    }

    /// Whether an index that reaches to a message leaves out so many that reading these takes too long.
    async fn behind(&self, through: i64) -> Result<bool, Error> {
        let last = self.number("select coalesce(max(message_id), 0) from messages").await?;
        Ok(last - through > MOST_BEHIND)
    }

    /// Looks at what a path gives until the page is full.
    async fn collect(&self, path: Option<&Path>, from: i64, end: i64) -> Result<Page, Error> {
        let alone = self.is_answered_by(path);
        let (mut page, mut end) = (Page::default(), end);
        let (mut looked_at, mut at_once) = (0, FIRST_CANDIDATES.max(self.limit));
        if alone {
            at_once = self.limit + 1;
        }
        loop {
            let ids = self.candidates(path, from, end, at_once).await?;
            let missing = self.limit - page.rows.len();
            let rows = self.rows(&ids, missing + 1).await?;
            let more = rows.len() > missing;
            let found = whole(&rows[..rows.len().min(missing)]);
            if !found.columns.is_empty() {
                page.columns = found.columns;
            }
            page.rows.extend(found.rows);
            looked_at += ids.len();
            if more {
                page.next = page.rows.last().and_then(|row| self.id(&page, row));
                return Ok(page);
            }
            let Some(last) = ids.last().copied().filter(|_| ids.len() == at_once) else {
                return Ok(page);
            };
            end = last;
            if looked_at >= MOST_CANDIDATES {
                page.next = Some(last);
                return Ok(page);
            }
            at_once = (at_once * 4).min(MOST_CANDIDATES - looked_at).max(1);
        }
    }

    fn id(&self, page: &Page, row: &[Cell]) -> Option<i64> {
        match page.cell(row, self.shape.axis.id) {
            Cell::Integer(id) => Some(*id),
            _ => None,
        }
    }

    /// Whether every row that the path gives is meant, so that none is looked at in vain.
    fn is_answered_by(&self, path: Option<&Path>) -> bool {
        let filter = self.filter;
        let asked = [
            (By::Place, filter.group.is_some() || filter.topic.is_some()),
            (By::Sender, filter.sender.is_some()),
            (By::Rule, filter.rule.is_some()),
            (By::State, filter.state.is_some()),
            (By::Text, filter.text.is_some()),
        ];
        let by = path.filter(|path| path.exact).map(|path| path.by);
        asked.into_iter().all(|(asked_by, wanted)| !wanted || Some(asked_by) == by)
    }

    async fn candidates(
        &self,
        path: Option<&Path>,
        from: i64,
        end: i64,
        most: usize,
    ) -> Result<Vec<i64>, Error> {
        let Axis { table, id, .. } = self.shape.axis;
        let all =
            format!("select {id} as id from {table} not indexed where {id} >= ?1 and {id} < ?2");
        let sql = path.map_or(all, |path| path.sql.clone());
        let sql = format!("{sql} order by id desc limit {most}");
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(from).bind(end);
        let query = match path.map(|path| &path.value) {
            Some(Cell::Integer(number)) => query.bind(*number),
            Some(Cell::Text(text)) => query.bind(text.as_str()),
            Some(Cell::Null) | None => query,
        };
        query.fetch_all(self.pool).await.map_err(unavailable)
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

/// A path by a text, all of whose rows are meant.
fn path(by: By, sql: &str, value: &str, in_order: bool) -> Path {
    Path { by, sql: sql.to_owned(), value: Cell::Text(value.to_owned()), in_order, exact: true }
}

/// Through the index of texts: messages that hold each three characters of what is looked for, and before
/// these, messages that are not in it yet. Shorter texts are not in the index.
fn by_text(text: &str, searched: i64) -> Option<Path> {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() < SEARCHABLE_CHARS {
        return None;
    }
    let part = |part: &[char]| {
        let part: String = part.iter().collect();
        format!("\"{}\"", part.replace('"', "\"\""))
    };
    let parts: Vec<_> = chars.windows(SEARCHABLE_CHARS).map(part).collect();
    let sql = format!(
        "select message_id as id from messages not indexed
         where message_id > {searched} and message_id >= ?1 and message_id < ?2
         union all
         select rowid as id from message_search
         where message_search match ?3 and rowid >= ?1 and rowid < ?2"
    );
    let value = Cell::Text(parts.join(" AND "));
    Some(Path { by: By::Text, sql, value, in_order: true, exact: false })
}
