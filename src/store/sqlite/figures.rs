//! [`Figures`] on SQLite.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::Sqlite;
use super::audit::whole;
use super::axis::{CALLS, HITS, JOBS, MESSAGES, OPERATIONS};
use super::open::unavailable;
use crate::model::{JobId, Timestamp, UserId};
use crate::store::{
    Bucket, Error, Figures, HeldJob, Ranked, RuleFigures, SenderFigures, Story, TopPlaces,
};

/// Most rows that a count goes through.
const MOST_ROWS: i64 = 100_000;
/// Most matched messages that places are ranked by: each is looked up.
const MOST_MATCHED: i64 = 20_000;
/// Most messages of a sender that are counted.
const MOST_OF_SENDER: i64 = 10_000;
/// Recalls that are read of one bucket; of more, every n-th.
const SAMPLE: i64 = 1_000;
const MOST_BUCKETS: i64 = 500;
/// Operations that are searched for a message.
const MOST_OPERATIONS: i64 = 10_000;
/// Longest span of calls by second.
const CALLS_SPAN: Duration = Duration::from_mins(10);
/// A call that held a message left no longer than this before its job says.
const CALL_SLACK: Duration = Duration::from_secs(5);

#[async_trait]
impl Figures for Sqlite {
    async fn exposure(
        &self,
        since: Timestamp,
        until: Timestamp,
        bucket: Duration,
    ) -> Result<Vec<Bucket>, Error> {
        let length = i64::try_from(bucket.as_millis()).unwrap_or(i64::MAX).max(1);
        let span = until.millis().saturating_sub(since.millis()).max(0);
        let count = span.div_euclid(length) + i64::from(span % length > 0);
        if count > MOST_BUCKETS {
            return Err(Error::Invalid(format!(
                "at most {MOST_BUCKETS} buckets: make them longer"
            )));
        }
        let mut buckets = Vec::new();
        let mut first = JOBS.halve(&self.readers, since.millis()).await?;
        for place in 0..count {
            let from = since.millis() + place * length;
            let end = JOBS.halve(&self.readers, from + length).await?;
            buckets.push(self.bucket(Timestamp(from), first, end).await?);
            first = end.max(first);
        }
        Ok(buckets)
    }

    async fn calls_per_second(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(Timestamp, u32)>, Error> {
        let since = since.max(until.before(CALLS_SPAN));
        let rows = sqlx::query(
            "select started_at / 1000 * 1000, count(*) from calls indexed by calls_started
             where started_at >= ? and started_at < ? group by 1 order by 1",
        )
        .bind(since.millis())
        .bind(until.millis())
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        let second = |row: &SqliteRow| (Timestamp(row.get(0)), row.get(1));
        Ok(rows.iter().map(second).collect())
    }

    async fn recalls_by_state(&self, since: Timestamp) -> Result<Vec<(String, u64)>, Error> {
        let first = JOBS.first(&self.readers, since).await?;
        let rows = sqlx::query(
            "select state, count(*) from (
                 select state, created_at from recall_jobs not indexed
                 where job_id >= ? order by job_id desc limit ?
             ) where created_at >= ? group by state order by state",
        )
        .bind(first)
        .bind(MOST_ROWS)
        .bind(since.millis())
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        Ok(rows.iter().map(|row| (row.get(0), number(row, 1))).collect())
    }

    async fn top_rules(&self, since: Timestamp, limit: usize) -> Result<Vec<RuleFigures>, Error> {
        let first = HITS.first(&self.readers, since).await?;
        let rows = sqlx::query(
            "select h.rule_id, live, shadow, coalesce(right, 0), coalesce(wrong, 0) from (
                 select rule_id, sum(mode = 'live') as live, sum(mode = 'shadow') as shadow from (
                     select rule_id, mode, judged_at from hits not indexed
                     where hit_id >= ? order by hit_id desc limit ?
                 ) where judged_at >= ? group by rule_id
             ) h left join v_precision p on p.rule_id = h.rule_id
             order by live + shadow desc, h.rule_id limit ?",
        )
        .bind(first)
        .bind(MOST_ROWS)
        .bind(since.millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        let figures = |row: &SqliteRow| RuleFigures {
            rule: row.get::<&str, _>(0).into(),
            live_hits: number(row, 1),
            shadow_hits: number(row, 2),
            right: number(row, 3),
            wrong: number(row, 4),
        };
        Ok(rows.iter().map(figures).collect())
    }

    async fn top_places(&self, since: Timestamp, limit: usize) -> Result<TopPlaces, Error> {
        let first = MESSAGES.first(&self.readers, since).await?;
        let rows = sqlx::query(
            "select c.group_id, m.sender, m.verdict from (
                 select message_id from messages indexed by messages_matched
                 where verdict = 1 and verdict > 0 and message_id >= ?1
                 union all
                 select message_id from messages indexed by messages_matched
                 where verdict = 2 and verdict > 0 and message_id >= ?1
                 order by message_id desc limit ?2
             ) latest
             cross join messages m on m.message_id = latest.message_id
             cross join conversations c on c.conversation_id = m.conversation_id
             where m.received_at >= ?3",
        )
        .bind(first)
        .bind(MOST_MATCHED)
        .bind(since.millis())
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        let ranked = |column: usize| {
            let mut by_name: HashMap<&str, Ranked> = HashMap::new();
            for row in &rows {
                let name: &str = row.get(column);
                let place = by_name.entry(name).or_insert_with(|| Ranked {
                    name: name.to_owned(),
                    recall: 0,
                    flag: 0,
                });
                if row.get::<i64, _>(2) == 2 { place.recall += 1 } else { place.flag += 1 }
            }
            let mut ranked: Vec<_> = by_name.into_values().collect();
            ranked.sort_by(|a, b| {
                (b.recall + b.flag).cmp(&(a.recall + a.flag)).then_with(|| a.name.cmp(&b.name))
            });
            ranked.truncate(limit);
            ranked
        };
        let whole = i64::try_from(rows.len()).is_ok_and(|rows| rows < MOST_MATCHED);
        Ok(TopPlaces { groups: ranked(0), senders: ranked(1), whole })
    }

    async fn story(&self, message_id: i64) -> Result<Option<Story>, Error> {
        let of_message = [Bound::Number(message_id)];
        let message = self
            .objects(
                "select v.*, m.body, m.cloud_custom_data, m.detail from v_messages v
                 join messages m on m.message_id = v.message_id where v.message_id = ?1",
                &of_message,
            )
            .await?;
        let Some(message) = message.into_iter().next() else { return Ok(None) };
        let recalls = "select v.* from messages m
             join recall_jobs j indexed by recall_jobs_key
                 on j.conversation_id = m.conversation_id and j.msg_seq = m.msg_seq
             join v_recalls v on v.job_id = j.job_id
             where m.message_id = ?1 order by j.job_id desc limit 100";
        let recalls = self.objects(recalls, &of_message).await?;
        let calls = self.calls_of(message_id, &recalls).await?;
        let operations = self.operations_of(message_id, &message, &recalls).await?;
        Ok(Some(Story {
            hits: self
                .objects(
                    "select * from v_hits where message_id = ?1
                     order by on_conflict, start_char, hit_id limit 1000",
                    &of_message,
                )
                .await?,
            conflicts: self
                .objects(
                    "select * from v_conflicts where message_id = ?1 order by conflict_id limit 100",
                    &of_message,
                )
                .await?,
            reviews: self
                .objects(
                    "select * from v_reviews where message_id = ?1 order by review_id desc limit 100",
                    &of_message,
                )
                .await?,
            recalls,
            calls,
            operations,
            message,
        }))
    }

    async fn sender(
        &self,
        sender: &UserId,
        before: Option<i64>,
        limit: usize,
    ) -> Result<SenderFigures, Error> {
        let counted = sqlx::query(
            "select count(*), coalesce(sum(m.verdict = 1), 0), coalesce(sum(m.verdict = 2), 0)
             from (
                 select message_id from messages indexed by messages_sender
                 where sender = ? order by message_id desc limit ?
             ) latest cross join messages m on m.message_id = latest.message_id",
        )
        .bind(sender.as_str())
        .bind(MOST_OF_SENDER)
        .fetch_one(&self.readers)
        .await
        .map_err(unavailable)?;
        let latest = self
            .objects(
                "select v.*, m.text,
                     (select j.state from recall_jobs j indexed by recall_jobs_key
                         where j.conversation_id = m.conversation_id and j.msg_seq = m.msg_seq
                         order by j.job_id desc limit 1) as recall_state
                 from (
                     select message_id from messages indexed by messages_sender
                     where sender = ?2 and message_id < ?1 order by message_id desc limit ?3
                 ) latest
                 cross join messages m on m.message_id = latest.message_id
                 cross join v_verdicts v on v.message_id = m.message_id
                 order by m.message_id desc",
                &[
                    Bound::Number(before.unwrap_or(i64::MAX)),
                    Bound::Text(sender.as_str().to_owned()),
                    Bound::Number(i64::try_from(limit).unwrap_or(i64::MAX)),
                ],
            )
            .await?;
        let next = if latest.len() == limit { latest.last() } else { None };
        Ok(SenderFigures {
            messages: number(&counted, 0),
            flag: number(&counted, 1),
            recall: number(&counted, 2),
            whole: counted.get::<i64, _>(0) < MOST_OF_SENDER,
            next: next.and_then(|row| row["message_id"].as_i64()),
            latest,
        })
    }

    async fn held(&self, after: JobId, limit: usize) -> Result<Vec<HeldJob>, Error> {
        let jobs = self
            .objects(
                "select v.*, m.text, m.received_at,
                     case m.verdict when 0 then 'pass' when 1 then 'flag' when 2 then 'recall' end
                         as verdict
                 from recall_jobs j indexed by recall_jobs_state
                 join v_recalls v on v.job_id = j.job_id
                 left join messages m on m.message_id = j.message_id
                 where j.state = 'held' and j.job_id > ?1 order by j.job_id limit ?2",
                &[Bound::Number(after), Bound::Number(i64::try_from(limit).unwrap_or(i64::MAX))],
            )
            .await?;
        let messages: Vec<_> = jobs.iter().map(|job| &job["message_id"]).collect();
        let hits = self
            .objects(
                "select v.* from json_each(?1) as wanted
                 cross join v_hits v on v.message_id = wanted.value
                 order by v.message_id, v.on_conflict, v.start_char limit 10000",
                &[Bound::Text(json!(messages).to_string())],
            )
            .await?;
        let held = jobs.into_iter().map(|job| {
            let its = hits.iter().filter(|hit| hit["message_id"] == job["message_id"]);
            HeldJob { hits: its.cloned().collect(), job }
        });
        Ok(held.collect())
    }
}

/// A value that a statement of this file is given.
enum Bound {
    Number(i64),
    Text(String),
}

fn number(row: &SqliteRow, at: usize) -> u64 {
    u64::try_from(row.get::<i64, _>(at)).unwrap_or(0)
}

impl Sqlite {
    /// The rows that a query answers, as objects.
    async fn objects(&self, sql: &'static str, bound: &[Bound]) -> Result<Vec<Value>, Error> {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in bound {
            query = match value {
                Bound::Number(number) => query.bind(*number),
                Bound::Text(text) => query.bind(text.clone()),
            };
        }
        let rows = query.fetch_all(&self.readers).await.map_err(unavailable)?;
        Ok(whole(&rows).objects())
    }

    /// What became of the recalls with ids from one up to another one.
    async fn bucket(&self, from: Timestamp, first: JobId, end: JobId) -> Result<Bucket, Error> {
        let asked = end.saturating_sub(first).max(0);
        let every = (asked / SAMPLE).max(1);
        // Ids are all but dense, so looking every n-th up costs the sample alone.
        let mut exposures: Vec<i64> = sqlx::query_scalar(
            "with recursive wanted (id) as (
                 select ?1 where ?1 < ?2 union all select id + ?3 from wanted where id + ?3 < ?2)
             select j.finished_at - j.sent_at from wanted cross join recall_jobs j on j.job_id = wanted.id
             where j.ret_code = 0 and j.background = 0 and j.finished_at is not null",
        )
        .bind(first)
        .bind(end)
        .bind(every)
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        exposures.sort_unstable();
        let at = |share: usize| {
            let place = (exposures.len() * share).div_ceil(100).max(1) - 1;
            exposures.get(place).copied()
        };
        Ok(Bucket {
            from,
            asked: u64::try_from(asked).unwrap_or(0),
            recalled: exposures.len() as u64,
            p50_ms: at(50),
            p99_ms: at(99),
            whole: every == 1,
        })
    }

    /// Calls that held a message: they left between its jobs' first and last sign.
    async fn calls_of(&self, message_id: i64, recalls: &[Value]) -> Result<Vec<Value>, Error> {
        let created = recalls.iter().filter_map(|job| job["created_at"].as_i64()).min();
        let Some(created) = created else { return Ok(Vec::new()) };
        let called = recalls.iter().filter_map(|job| job["called_at"].as_i64()).max();
        let Some(called) = called else { return Ok(Vec::new()) };
        let first = CALLS.first(&self.readers, Timestamp(created).before(CALL_SLACK)).await?;
        let end = CALLS.end(&self.readers, Timestamp(called).after(CALL_SLACK)).await?;
        self.objects(
            "select v.* from messages m
             join calls k indexed by calls_conversation on k.conversation_id = m.conversation_id
                 and k.call_id >= ?2 and k.call_id < ?3
             join v_calls v on v.call_id = k.call_id
             where m.message_id = ?1
               and m.msg_seq in (select value from json_each(k.sequences))
             order by k.call_id desc limit 100",
            &[Bound::Number(message_id), Bound::Number(first), Bound::Number(end)],
        )
        .await
    }

    /// Operators' acts that name a message, one of its jobs, or its sender.
    async fn operations_of(
        &self,
        message_id: i64,
        message: &Value,
        recalls: &[Value],
    ) -> Result<Vec<Value>, Error> {
        let received = Timestamp(message["received_at"].as_i64().unwrap_or(0));
        let first = OPERATIONS.first(&self.readers, received).await?;
        let jobs: Vec<_> = recalls.iter().map(|job| &job["job_id"]).collect();
        self.objects(
            "select * from (
                 select * from v_operations where operation_id >= ?4
                 order by operation_id desc limit ?5
             ) where json_valid(detail) and (
                 exists (select 1 from json_each(detail, '$.messages') where value = ?1)
                 or exists (select 1 from json_each(detail, '$.jobs')
                     where value in (select value from json_each(?2)))
                 or json_extract(detail, '$.sender') = ?3)
             order by operation_id desc limit 100",
            &[
                Bound::Number(message_id),
                Bound::Text(json!(jobs).to_string()),
                Bound::Text(message["sender"].as_str().unwrap_or_default().to_owned()),
                Bound::Number(first),
                Bound::Number(MOST_OPERATIONS),
            ],
        )
        .await
    }
}
