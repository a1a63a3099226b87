//! [`Reviews`] on SQLite.

use async_trait::async_trait;
use rusqlite::params;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::Sqlite;
use super::audit::whole;
use super::control::record_act;
use super::keys::message_of;
use super::open::unavailable;
use super::writer::{Operation, Writing};
use crate::model::{MessageKey, Timestamp};
use crate::store::{By, Error, Filter, Page, Precision, Review, Reviews};

const DEFAULT_LIMIT: usize = 100;
/// Most candidates that one page looks at: what was reviewed already, or lies in another group, costs
/// a look too. First so many, and then ever more.
const CANDIDATES: usize = 5_000;
const FIRST_CANDIDATES: usize = 250;

#[async_trait]
impl Reviews for Sqlite {
    async fn to_review(&self, filter: &Filter) -> Result<Page, Error> {
        let limit = if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit };
        let (mut page, mut seen) = (Page { next: filter.cursor, ..Page::default() }, 0);
        let mut at_once = FIRST_CANDIDATES;
        loop {
            let candidates = self.candidates(filter, page.next, at_once).await?;
            let rows = self.to_be_reviewed(filter, &candidates, limit - page.rows.len()).await?;
            let found = whole(&rows);
            if !found.columns.is_empty() {
                page.columns = found.columns;
            }
            page.rows.extend(found.rows);
            if page.rows.len() == limit {
                page.next = rows.last().map(|row| row.get("message_id"));
                return Ok(page);
            }
            page.next = candidates.last().copied().filter(|_| candidates.len() == at_once);
            seen += candidates.len();
            if page.next.is_none() || seen >= CANDIDATES {
                return Ok(page);
            }
            at_once = (at_once * 4).min(CANDIDATES - seen);
        }
    }

    async fn message_id(&self, key: &MessageKey) -> Result<Option<i64>, Error> {
        let MessageKey { group_id, topic_id, msg_seq } = key;
        message_of(&self.readers, group_id.as_str(), topic_id.as_str(), *msg_seq).await
    }

    async fn review(&self, by: &By, review: &Review) -> Result<(), Error> {
        self.writer.perform(Keep { by: by.clone(), review: review.clone() }).await?
    }

    async fn precision(&self) -> Result<Vec<Precision>, Error> {
        let rows = sqlx::query("select rule_id, right, wrong from v_precision order by rule_id")
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)?;
        let count = |row: &SqliteRow, at| u64::try_from(row.get::<i64, _>(at)).unwrap_or(0);
        let precision = |row: &SqliteRow| Precision {
            rule: row.get::<&str, _>(0).into(),
            right: count(row, 1),
            wrong: count(row, 2),
        };
        Ok(rows.iter().map(precision).collect())
    }
}

impl Sqlite {
    async fn candidates(
        &self,
        filter: &Filter,
        before: Option<i64>,
        most: usize,
    ) -> Result<Vec<i64>, Error> {
        sqlx::query_scalar(AssertSqlSafe(candidates(filter)?))
            .bind(before.unwrap_or(i64::MAX))
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .bind(filter.rule.as_deref())
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)
    }

    /// Those of the candidates that wait, by every filter.
    async fn to_be_reviewed(
        &self,
        filter: &Filter,
        candidates: &[i64],
        most: usize,
    ) -> Result<Vec<SqliteRow>, Error> {
        sqlx::query(WAITING)
            .bind(json!(candidates).to_string())
            .bind(filter.group.as_deref())
            .bind(filter.topic.as_deref())
            .bind(filter.sender.as_deref())
            .bind(filter.since.map(Timestamp::millis))
            .bind(filter.until.map(Timestamp::millis))
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .bind(filter.rule.as_deref())
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)
    }
}

/// Message numbers that may wait, newest first: behind ?1, no more than ?2, of the rule ?3.
fn candidates(filter: &Filter) -> Result<String, Error> {
    let state = filter.state.as_deref();
    let of_rule = "select distinct message_id from hits indexed by hits_rule_message
        where rule_id = ?3 and message_id < ?1";
    let of_verdict = |verdict: u8| {
        format!(
            "select message_id from messages indexed by messages_matched
             where verdict = {verdict} and verdict > 0 and message_id < ?1"
        )
    };
    let sql = match (state, &filter.rule) {
        (Some("held"), None) => "select distinct message_id from recall_jobs
            where state = 'held' and message_id < ?1"
            .to_owned(),
        (Some("held"), Some(_)) => format!(
            "{of_rule} and exists (select 1 from recall_jobs j
                 where j.message_id = hits.message_id and j.state = 'held')"
        ),
        (None, Some(_)) => of_rule.to_owned(),
        (Some("flag"), Some(_)) => format!("{of_rule} and {OF_MESSAGE} = 1"),
        (Some("recall"), Some(_)) => format!("{of_rule} and {OF_MESSAGE} = 2"),
        (Some("flag"), None) => of_verdict(1),
        (Some("recall"), None) => of_verdict(2),
        // Each part comes in order, so that the two are merged rather than sorted.
        (None, None) => format!("{} union all {}", of_verdict(1), of_verdict(2)),
        (Some(other), _) => {
            let why = format!("{other} is nothing to review by: flag, recall or held");
            return Err(Error::Invalid(why));
        }
    };
    Ok(format!("{sql} order by message_id desc limit ?2"))
}

const OF_MESSAGE: &str = "(select verdict from messages m where m.message_id = hits.message_id)";

/// The candidates of ?1 that nobody reviewed, by the other filters. With a rule, what counts is whether
/// that rule was looked at.
const WAITING: &str = "
    select
        c.group_id as group_id,
        c.topic_id as topic_id,
        m.msg_seq as msg_seq,
        m.sender as sender,
        case m.verdict when 0 then 'pass' when 1 then 'flag' else 'recall' end as verdict,
        (select json_group_array(distinct h.rule_id) from hits h
            where h.message_id = m.message_id and h.mode = 'live') as rules,
        (select json_group_array(distinct h.rule_id) from hits h
            where h.message_id = m.message_id and h.mode = 'shadow') as shadow_rules,
        (select j.state from recall_jobs j indexed by recall_jobs_key
            where j.conversation_id = m.conversation_id and j.msg_seq = m.msg_seq
            order by j.job_id desc limit 1) as recall_state,
        m.text as text,
        m.received_at as received_at,
        strftime('%Y-%m-%dT%H:%M:%S', m.received_at / 1000, 'unixepoch')
            || printf('.%03dZ', m.received_at % 1000) as received_at_iso,
        m.message_id as message_id
    from json_each(?1) candidate
    cross join messages m on m.message_id = candidate.value
    cross join conversations c on c.conversation_id = m.conversation_id
    where (?2 is null or c.group_id = ?2)
      and (?3 is null or c.topic_id = ?3)
      and (?4 is null or m.sender = ?4)
      and (?5 is null or m.received_at >= ?5)
      and (?6 is null or m.received_at < ?6)
      and not exists (
          select 1 from reviews w where w.message_id = m.message_id and (?8 is null or w.rule_id = ?8))
    order by candidate.id limit ?7";

struct Keep {
    by: By,
    review: Review,
}

impl Operation for Keep {
    /// What makes no sense is an answer: a transaction that fails is made anew, and this one needs no
    /// repetition.
    type Answer = Result<(), Error>;
    fn run(&self, writing: &mut Writing<'_>) -> Result<Self::Answer, Error> {
        let review = &self.review;
        let mut meant = Vec::with_capacity(review.messages.len());
        for &message in &review.messages {
            match self.rules(writing, message)? {
                Ok(rules) => meant.extend(rules.into_iter().map(|rule| (message, rule))),
                Err(why) => return Ok(Err(Error::Invalid(why))),
            }
        }
        for (message, rule) in &meant {
            self.keep(writing, *message, rule)?;
        }
        let detail = json!({
            "messages": review.messages, "rule": review.rule,
            "verdict": verdict(review), "note": review.note,
        });
        record_act(writing.connection, &self.by, "review", &detail.to_string())?;
        Ok(Ok(()))
    }
}

fn verdict(review: &Review) -> &'static str {
    if review.right { "right" } else { "wrong" }
}

impl Keep {
    fn keep(&self, writing: &mut Writing<'_>, message: i64, rule: &str) -> Result<(), Error> {
        // A later word is a row of its own, so that lists have it at their head.
        writing.connection.execute(
            "delete from reviews where message_id = ? and rule_id = ?",
            params![message, rule],
        )?;
        writing
            .connection
            .execute(
                "insert into reviews (message_id, rule_id, verdict, note, reviewer, at)
             values (?, ?, ?, ?, ?, ?)",
                params![
                    message,
                    rule,
                    verdict(&self.review),
                    self.review.note.as_str(),
                    self.by.actor.as_str(),
                    self.by.at.millis()
                ],
            )
            .map(drop)
    }

    /// The rules of a message that the review is about; the empty one where nothing matched, and an
    /// operator had it recalled. Or why there is nothing to review.
    fn rules(
        &self,
        writing: &mut Writing<'_>,
        message: i64,
    ) -> Result<Result<Vec<String>, String>, Error> {
        let has_job: Option<bool> = writing.connection.first(
            "select exists (select 1 from recall_jobs j indexed by recall_jobs_key
                 where j.conversation_id = m.conversation_id and j.msg_seq = m.msg_seq)
             from messages m where m.message_id = ?",
            params![message],
        )?;
        let Some(has_job) = has_job else {
            return Ok(Err(format!("there is no message {message}")));
        };
        let hit: Vec<String> = writing
            .connection
            .values("select distinct rule_id from hits where message_id = ?", params![message])?;
        Ok(match &self.review.rule {
            Some(rule) if hit.iter().any(|hit| hit == rule.as_str()) => Ok(vec![rule.to_string()]),
            Some(rule) => Err(format!("rule {rule} did not match message {message}")),
            None if !hit.is_empty() => Ok(hit),
            None if has_job => Ok(vec![String::new()]),
            None => Err(format!(
                "message {message} was neither matched nor recalled: there is nothing to review"
            )),
        })
    }
}
