//! The ways there are to the rows that a filter means: the indexes, as far as a view has one for it.

use serde_json::json;
use sqlx::{AssertSqlSafe, SqlitePool};

use super::open::unavailable;
use super::stretches::{Found, Stretches};
use crate::model::Timestamp;
use crate::store::{Error, Filter, View};

/// Paths whose rows do not come in order are read whole, up to so many rows.
pub(super) const SMALL: i64 = 10_000;
/// Conversations of a group that are merged, or sought each for itself, at most.
const MOST_CONVERSATIONS: usize = 100;
/// Messages that are not in an index yet, and are read beside it.
const MOST_BEHIND: i64 = 20_000;
/// Characters that the index of texts needs.
const SEARCHABLE_CHARS: usize = 3;

/// What a filter can be by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Group and topic.
    Place,
    Sender,
    Rule,
    State,
    Text,
    /// Since and until.
    Time,
    /// Nothing: every row of the table.
    All,
}

/// How ids are found.
#[derive(Debug)]
enum Way {
    /// Ids from ?1 up to, without ?2; ?3 is what the filter wants. Ends where an order may follow.
    Ordered {
        sql: String,
        wanted: String,
    },
    /// The same where they do not come in order by themselves: all of them are read, and sorted.
    Sorted {
        sql: String,
        wanted: String,
    },
    Stretches(Stretches),
}

/// A way to rows that one filter means.
#[derive(Debug)]
pub(super) struct Path {
    pub by: By,
    way: Way,
    /// Whether every row that it gives is meant by the filter.
    pub exact: bool,
}

impl Path {
    fn ordered(by: By, sql: impl Into<String>, wanted: &str) -> Self {
        let way = Way::Ordered { sql: sql.into(), wanted: wanted.to_owned() };
        Self { by, way, exact: true }
    }

    fn sorted(by: By, sql: impl Into<String>, wanted: &str) -> Self {
        let way = Way::Sorted { sql: sql.into(), wanted: wanted.to_owned() };
        Self { by, way, exact: true }
    }

    /// Every row of a table.
    pub(super) fn all(table: &str, id: &str) -> Self {
        let sql =
            format!("select {id} as id from {table} not indexed where {id} >= ?1 and {id} < ?2");
        Self::ordered(By::All, sql, "")
    }

    /// Whether a part of it costs no more than that part.
    pub(super) fn is_ordered(&self) -> bool {
        !matches!(self.way, Way::Sorted { .. })
    }

    /// Whether it can be gone at all: where everything has to be read, that must not be much.
    pub(super) async fn is_passable(
        &self,
        pool: &SqlitePool,
        from: i64,
        end: i64,
    ) -> Result<bool, Error> {
        let Way::Sorted { sql, wanted } = &self.way else { return Ok(true) };
        let sql = format!("select count(*) from ({sql} limit {})", SMALL + 1);
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(from)
            .bind(end)
            .bind(wanted.as_str())
            .fetch_one(pool)
            .await
            .map_err(unavailable)?;
        Ok(count <= SMALL)
    }

    /// The highest ids from one on and below another one, so many of them.
    pub(super) async fn ids(
        &self,
        pool: &SqlitePool,
        from: i64,
        end: i64,
        most: usize,
    ) -> Result<Found, Error> {
        let (sql, wanted) = match &self.way {
            Way::Stretches(stretches) => return stretches.ids(pool, from, end, most).await,
            Way::Ordered { sql, wanted } | Way::Sorted { sql, wanted } => (sql, wanted),
        };
        let sql = format!("{sql} order by id desc limit {most}");
        let ids: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(from)
            .bind(end)
            .bind(wanted.as_str())
            .fetch_all(pool)
            .await
            .map_err(unavailable)?;
        let through = if ids.len() < most { from } else { ids.last().copied().unwrap_or(from) };
        Ok(Found { ids, through, looks: 0 })
    }
}

/// The paths that lead to what a filter means.
pub(super) async fn paths(
    pool: &SqlitePool,
    view: View,
    filter: &Filter,
    searched: i64,
) -> Result<Vec<Path>, Error> {
    let mut paths = Vec::new();
    if let Some(sender) = &filter.sender {
        paths.extend(by_sender(view, sender));
    }
    if let Some(rule) = &filter.rule {
        paths.extend(by_rule(view, rule));
    }
    if let Some(state) = &filter.state {
        paths.extend(by_state(view, state));
    }
    if let Some(group) = &filter.group {
        paths.extend(by_place(pool, view, group, filter.topic.as_deref()).await?);
    }
    if view == View::Gaps && (filter.since.is_some() || filter.until.is_some()) {
        paths.push(by_time(filter));
    }
    if let Some(text) = &filter.text
        && !behind(pool, searched).await?
    {
        paths.extend(by_text(text, searched));
    }
    Ok(paths)
}

fn by_sender(view: View, sender: &str) -> Option<Path> {
    let sql = match view {
        View::Messages | View::Verdicts => {
            let way = Way::Stretches(Stretches::of_sender(sender));
            return Some(Path { by: By::Sender, way, exact: true });
        }
        View::Hits => {
            "select hit_id as id from hits indexed by hits_sender
             where sender = ?3 and hit_id >= ?1 and hit_id < ?2"
        }
        View::Recalls => {
            "select job_id as id from recall_jobs indexed by recall_jobs_sender
             where sender = ?3 and job_id >= ?1 and job_id < ?2"
        }
        View::Operations => {
            "select operation_id as id from operations indexed by operations_actor
             where actor = ?3 and operation_id >= ?1 and operation_id < ?2"
        }
        _ => return None,
    };
    Some(Path::ordered(By::Sender, sql, sender))
}

fn by_rule(view: View, rule: &str) -> Option<Path> {
    let sql = match view {
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
    Some(Path::ordered(By::Rule, sql, rule))
}

fn by_state(view: View, state: &str) -> Option<Path> {
    let sql = match (view, state) {
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
    Some(Path::ordered(By::State, sql, state))
}

/// Through the conversations of a group, or of one of its topics.
async fn by_place(
    pool: &SqlitePool,
    view: View,
    group: &str,
    topic: Option<&str>,
) -> Result<Option<Path>, Error> {
    let conversations: Vec<i64> = sqlx::query_scalar(
        "select conversation_id from conversations
         where group_id = ?1 and (?2 is null or topic_id = ?2)",
    )
    .bind(group)
    .bind(topic)
    .fetch_all(pool)
    .await
    .map_err(unavailable)?;
    let wanted = json!(conversations).to_string();
    Ok(match view {
        View::Messages | View::Verdicts => {
            let way = Way::Stretches(Stretches::of_conversations(&conversations));
            let few = conversations.len() <= MOST_CONVERSATIONS;
            few.then_some(Path { by: By::Place, way, exact: true })
        }
        View::Hits => merged(
            &conversations,
            "select hit_id as id from hits indexed by hits_conversation
             where hit_id >= ?1 and hit_id < ?2 and conversation_id",
        ),
        View::Calls => merged(
            &conversations,
            "select call_id as id from calls indexed by calls_conversation
             where call_id >= ?1 and call_id < ?2 and conversation_id",
        ),
        View::Recalls => Some(Path::sorted(
            By::Place,
            "select job_id as id from json_each(?3) c
             cross join recall_jobs j indexed by recall_jobs_key on j.conversation_id = c.value
             where job_id >= ?1 and job_id < ?2",
            &wanted,
        )),
        View::Gaps => Some(Path::sorted(
            By::Place,
            "select gap_id as id from json_each(?3) c
             cross join gaps g indexed by gaps_conversation on g.conversation_id = c.value
             where gap_id >= ?1 and gap_id < ?2",
            &wanted,
        )),
        _ => None,
    })
}

/// Each conversation comes in order, and so they are merged rather than sorted.
fn merged(conversations: &[i64], select: &str) -> Option<Path> {
    if conversations.len() > MOST_CONVERSATIONS {
        return None;
    }
    let each = conversations.iter().map(|conversation| format!("{select} = {conversation}"));
    let sql = each.collect::<Vec<_>>().join(" union all ");
    let sql = if sql.is_empty() { "select 0 as id where 0".to_owned() } else { sql };
    Some(Path::ordered(By::Place, sql, ""))
}

/// Gaps by when they were found. Of one that turned out to hold different things, each part is a row of its
/// own that was made later: here ids do not grow with the times.
fn by_time(filter: &Filter) -> Path {
    let since = filter.since.map_or(i64::MIN, Timestamp::millis);
    let until = filter.until.map_or(i64::MAX, Timestamp::millis);
    Path::sorted(
        By::Time,
        "select gap_id as id from gaps indexed by gaps_found
         where found_at >= ?3 ->> 0 and found_at < ?3 ->> 1 and gap_id >= ?1 and gap_id < ?2",
        &json!([since, until]).to_string(),
    )
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
    Some(Path { exact: false, ..Path::ordered(By::Text, sql, &parts.join(" AND ")) })
}

/// Whether an index that reaches to a message leaves out so many that reading these takes too long.
async fn behind(pool: &SqlitePool, through: i64) -> Result<bool, Error> {
    let last = number(pool, "select coalesce(max(message_id), 0) from messages").await?;
    Ok(last - through > MOST_BEHIND)
}

async fn number(pool: &SqlitePool, sql: &'static str) -> Result<i64, Error> {
    sqlx::query_scalar(sql).fetch_one(pool).await.map_err(unavailable)
}
