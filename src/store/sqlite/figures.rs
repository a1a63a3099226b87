//! [`Figures`] on SQLite.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::Sqlite;
use super::audit::whole;
use super::axis::{CALLS, HITS, JOBS, OPERATIONS};
use super::open::unavailable;
use super::stretches::Stretches;
use crate::model::{JobId, Timestamp, UserId};
use crate::store::{
    Bucket, Error, Figures, HeldJob, Ranked, RuleFigures, SenderFigures, Story, TopPlaces,
};

/// Most rows that a count goes through.
const MOST_ROWS: i64 = 100_000;
/// Most hits that places are ranked by: the verdict of each is looked up.
const MOST_HITS: i64 = 10_000;
/// Most messages of a sender that are counted.
const MOST_OF_SENDER: usize = 10_000;
/// Recalls that are read of one bucket, and of all together; of more, every n-th.
const SAMPLE: i64 = 1_000;
const SAMPLE_OF_ALL: i64 = 10_000;
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
        let starts: Vec<i64> = (0..=count).map(|place| since.millis() + place * length).collect();
        let mut ends = JOBS.halve_each(&self.readers, &starts).await?;
        // Jobs come in order of their times, give or take a little.
        for place in 1..ends.len() {
            ends[place] = ends[place].max(ends[place - 1]);
        }
        self.buckets(&starts, &ends).await
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
        let first = HITS.first(&self.readers, since).await?;
        // Hits lie side by side where their messages lie far apart, and the verdicts stand in an index.
        let rows = sqlx::query(
            "select c.group_id, latest.sender, m.verdict from (
                 select distinct message_id, sender, conversation_id from (
                     select * from hits not indexed where hit_id >= ? order by hit_id desc limit ?
                 ) where judged_at >= ? and conflict_id is null
             ) latest
             cross join (select 1 as verdict union all select 2) v
             cross join messages m indexed by messages_matched
                 on m.verdict = v.verdict and m.verdict > 0 and m.message_id = latest.message_id
             cross join conversations c on c.conversation_id = latest.conversation_id",
        )
        .bind(first)
        .bind(MOST_HITS)
        .bind(since.millis())
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        let last: i64 = sqlx::query_scalar("select coalesce(max(hit_id), 0) from hits")
            .fetch_one(&self.readers)
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
        Ok(TopPlaces { groups: ranked(0), senders: ranked(1), whole: last - first < MOST_HITS })
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
        let walk = Stretches::of_sender(sender.as_str());
        let newest = walk.ids(&self.readers, i64::MIN, i64::MAX, MOST_OF_SENDER).await?;
        // What nobody minds is not in this index, so that no message itself is read.
        let counted = sqlx::query(
            "select coalesce(sum(v.verdict = 1), 0), coalesce(sum(v.verdict = 2), 0)
             from (select 1 as verdict union all select 2) v cross join json_each(?) i
             cross join messages m indexed by messages_matched
                 on m.verdict = v.verdict and m.verdict > 0 and m.message_id = i.value",
        )
        .bind(json!(newest.ids).to_string())
        .fetch_one(&self.readers)
        .await
        .map_err(unavailable)?;
        let first = newest.ids.partition_point(|id| before.is_some_and(|before| *id >= before));
        let mut shown: Vec<i64> = newest.ids[first..].iter().copied().take(limit).collect();
        let mut through = i64::MIN;
        if shown.len() < limit && newest.through > i64::MIN {
            let before = before.unwrap_or(i64::MAX);
            let found = walk.ids(&self.readers, i64::MIN, before, limit).await?;
            (shown, through) = (found.ids, found.through);
        }
        let latest = self
            .objects(
                "select v.*, m.text,
                     (select j.state from recall_jobs j indexed by recall_jobs_key
                         where j.conversation_id = m.conversation_id and j.msg_seq = m.msg_seq
                         order by j.job_id desc limit 1) as recall_state
                 from json_each(?1) latest
                 cross join messages m on m.message_id = latest.value
                 cross join v_verdicts v on v.message_id = m.message_id
                 order by m.message_id desc",
                &[Bound::Text(json!(shown).to_string())],
            )
            .await?;
        let next = if shown.len() == limit { shown.last().copied() } else { None };
        Ok(SenderFigures {
            messages: newest.ids.len() as u64,
            flag: number(&counted, 0),
            recall: number(&counted, 1),
            whole: newest.through == i64::MIN,
            // Where seeking took too long there may be more before, however few were found.
            next: next.or((through > i64::MIN).then_some(through)),
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

/// Of so many recalls that were asked for, those that were looked at.
fn bucket(from: Timestamp, asked: u64, mut exposures: Vec<i64>, whole: bool) -> Bucket {
    exposures.sort_unstable();
    let at = |share: usize| {
        let place = (exposures.len() * share).div_ceil(100).max(1) - 1;
        exposures.get(place).copied()
    };
    Bucket { from, asked, recalled: exposures.len() as u64, p50_ms: at(50), p99_ms: at(99), whole }
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

    /// What became of recalls: those of each bucket have ids from one end up to the next.
    async fn buckets(&self, starts: &[i64], ends: &[JobId]) -> Result<Vec<Bucket>, Error> {
        let spans = || ends.windows(2).map(|ends| (ends[0], ends[1]));
        let most = i64::try_from(ends.len()).unwrap_or(i64::MAX);
        let most = (SAMPLE_OF_ALL / most.max(1)).min(SAMPLE);
        let every = |(first, end): (JobId, JobId)| ((end - first) / most.max(1)).max(1);
        let wanted: Vec<_> = spans().map(|span| (span.0, span.1, every(span))).collect();
        // Ids are all but dense, so looking every n-th up costs the sample alone.
        let rows = sqlx::query(
            "with recursive
                 bucket (place, id, beyond, every) as (
                     select key, value ->> 0, value ->> 1, value ->> 2 from json_each(?)),
                 wanted (place, id, beyond, every) as (
                     select * from bucket where id < beyond union all
                     select place, id + every, beyond, every from wanted where id + every < beyond)
             select wanted.place, json_group_array(j.finished_at - j.sent_at)
             from wanted cross join recall_jobs j on j.job_id = wanted.id
             where j.ret_code = 0 and j.background = 0 and j.finished_at is not null
             group by wanted.place",
        )
        .bind(json!(wanted).to_string())
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        let mut exposures: HashMap<i64, Vec<i64>> = HashMap::new();
        for row in &rows {
            exposures.insert(row.get(0), serde_json::from_str(row.get(1)).unwrap_or_default());
        }
        let bucket = |(place, span): (usize, (JobId, JobId))| {
            let its = i64::try_from(place).ok().and_then(|place| exposures.remove(&place));
            let asked = u64::try_from(span.1 - span.0).unwrap_or(0);
            bucket(Timestamp(starts[place]), asked, its.unwrap_or_default(), every(span) == 1)
        };
        Ok(spans().enumerate().map(bucket).collect())
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
