//! [`Cases`] on SQLite, on read-only connections. Every statement walks an index for a bounded
//! stretch.

use async_trait::async_trait;
use serde::Deserialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::Sqlite;
use super::keys::{keyed, message_of};
use super::open::unavailable;
use super::past::Reader;
use super::stretches::Stretches;
use crate::model::{JobId, JobState, Mode, MsgSeq, Severity, Timestamp, Verdict};
use crate::store::{Case, CaseHit, CaseJob, Cases, Error, LOOK_BACK, NameOf, Wanted};

/// The columns of a case, of a message `m`, its conversation `c` and its latest job `j`.
const COLUMNS: &str = "
    m.message_id as message_id, c.group_id as group_id, c.topic_id as topic_id,
    c.group_type as group_type, c.destroyed_at is not null as is_destroyed, coalesce(m.msg_seq, j.msg_seq) as msg_seq,
    coalesce(m.sender, j.sender) as sender, coalesce(m.sent_at, j.sent_at) as sent_at,
    coalesce(m.received_at, j.created_at) as received_at,
    coalesce(m.online_only, 0) as online_only, coalesce(m.source, 0) as source,
    coalesce(m.platform, '') as platform, coalesce(m.text, '') as text,
    coalesce(m.verdict, 0) as verdict, coalesce(r.version, '') as version,
    (select json_group_array(json_array(h.rule_id, h.mode, h.severity, h.start_char, h.end_char,
            h.matched_text))
        from hits h where h.message_id = m.message_id and h.conflict_id is null) as hits,
    j.job_id as job_id, j.state as state, j.attempts as attempts, j.ret_code as ret_code,
    j.reason as reason, j.requested_by as requested_by, j.created_at as created_at,
    j.called_at as called_at, j.finished_at as finished_at, j.confirmed_at as confirmed_at,
    case when j.ret_code = 0 then j.finished_at - j.sent_at end as exposure_ms";

/// Messages with their latest job.
const FROM_MESSAGES: &str = "
    from messages m
    join conversations c on c.conversation_id = m.conversation_id
    left join rule_sets r on r.rule_set_id = m.rule_set_id
    left join recall_jobs j on j.job_id = (
        select max(k.job_id) from recall_jobs k
        where k.conversation_id = m.conversation_id and k.msg_seq = m.msg_seq)";

#[async_trait]
impl Cases for Sqlite {
    async fn recent(&self, wanted: &Wanted, limit: usize) -> Result<Vec<Case>, Error> {
        self.past.recent(wanted, limit).await
    }
    async fn latest(&self) -> Result<i64, Error> {
        self.past.latest().await
    }
    async fn cases(&self, messages: &[i64]) -> Result<Vec<Case>, Error> {
        self.past.cases(messages).await
    }
    async fn held_cases(&self, after: JobId, limit: usize) -> Result<Vec<Case>, Error> {
        self.past.held_cases(after, limit).await
    }
    async fn around(&self, message: i64, side: usize) -> Result<(Vec<Case>, Vec<Case>), Error> {
        self.past.around(message, side).await
    }
    async fn find(&self, group: &str, topic: &str, seq: MsgSeq) -> Result<Option<i64>, Error> {
        self.past.find(group, topic, seq).await
    }
    async fn named(&self, word: &str) -> Result<NameOf, Error> {
        self.past.named(word).await
    }
}

#[async_trait]
impl Cases for Reader {
    async fn recent(&self, wanted: &Wanted, limit: usize) -> Result<Vec<Case>, Error> {
        let mut conditions = vec![
            // One bound: of two, the walk backwards would end at the one that stands first.
            "m.message_id > max(?, (select coalesce(max(message_id), 0) from messages) - ?)"
                .to_owned(),
            "m.verdict >= ?".to_owned(),
        ];
        let mut words = Vec::new();
        for (word, condition) in [
            (&wanted.group, "+c.group_id = ?"),
            (&wanted.sender, "+m.sender = ?"),
            (
                &wanted.rule,
                "m.message_id in (select message_id from hits where rule_id = ?
                     order by hit_id desc limit 1000)",
            ),
        ] {
            if let Some(word) = word {
                conditions.push(condition.to_owned());
                words.push(word);
            }
        }
        let conditions = conditions.join(" and ");
        let sql = format!(
            "select {COLUMNS} {FROM_MESSAGES} where {conditions}
             order by m.message_id desc limit {limit}"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(wanted.after).bind(LOOK_BACK);
        let mut query = query.bind(wanted.verdict as i64);
        for word in words {
            query = query.bind(word);
        }
        let rows = query.fetch_all(&self.pool).await.map_err(unavailable)?;
        Ok(rows.iter().map(case).collect())
    }

    async fn latest(&self) -> Result<i64, Error> {
        sqlx::query_scalar("select coalesce(max(message_id), 0) from messages")
            .fetch_one(&self.pool)
            .await
            .map_err(unavailable)
    }

    async fn cases(&self, messages: &[i64]) -> Result<Vec<Case>, Error> {
        let sql = format!(
            "select {COLUMNS} from json_each(?) i join messages m on m.message_id = i.value
             {}  order by i.key",
            FROM_MESSAGES.replacen("from messages m", "", 1)
        );
        let ids = serde_json::to_string(messages).unwrap_or_default();
        let query = sqlx::query(AssertSqlSafe(sql)).bind(ids);
        let rows = query.fetch_all(&self.pool).await.map_err(unavailable)?;
        Ok(rows.iter().map(case).collect())
    }

    async fn held_cases(&self, after: JobId, limit: usize) -> Result<Vec<Case>, Error> {
        let sql = format!(
            "select {COLUMNS} from recall_jobs j
             join conversations c on c.conversation_id = j.conversation_id
             left join messages m on m.message_id = j.message_id
             left join rule_sets r on r.rule_set_id = m.rule_set_id
             where j.state = 'held' and j.job_id > ? order by j.job_id limit {limit}"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(after);
        let rows = query.fetch_all(&self.pool).await.map_err(unavailable)?;
        Ok(rows.iter().map(case).collect())
    }

    async fn around(&self, message: i64, side: usize) -> Result<(Vec<Case>, Vec<Case>), Error> {
        let ids = |beside: &str, order: &str| {
            let sql = format!(
                "select message_id from ({}) order by msg_seq {order} limit {side}",
                keyed(
                    "(select conversation_id from messages where message_id = ?1)",
                    &format!("{beside} (select msg_seq from messages where message_id = ?1)"),
                    &format!("order by msg_seq {order} limit {side}"),
                )
            );
            let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(message);
            query.fetch_all(&self.pool)
        };
        let mut before: Vec<i64> = ids("<", "desc").await.map_err(unavailable)?;
        before.reverse();
        let after: Vec<i64> = ids(">", "asc").await.map_err(unavailable)?;
        Ok((self.cases(&before).await?, self.cases(&after).await?))
    }

    async fn find(&self, group: &str, topic: &str, seq: MsgSeq) -> Result<Option<i64>, Error> {
        message_of(&self.pool, group, topic, seq).await
    }

    async fn named(&self, word: &str) -> Result<NameOf, Error> {
        let row = sqlx::query(
            "select exists (select 1 from conversations where group_id = ?1),
                 exists (select 1 from hits where rule_id = ?1)",
        )
        .bind(word)
        .fetch_one(&self.pool)
        .await
        .map_err(unavailable)?;
        let (walk, mut end, mut sender) = (Stretches::of_sender(word), i64::MAX, false);
        while end > i64::MIN && !sender {
            let theirs = walk.ids(&self.pool, i64::MIN, end, 1).await?;
            (sender, end) = (!theirs.ids.is_empty(), theirs.through);
        }
        Ok(NameOf { group: row.get(0), sender, rule: row.get(1) })
    }
}

fn case(row: &SqliteRow) -> Case {
    Case {
        message_id: row.get("message_id"),
        group_id: row.get("group_id"),
        topic_id: row.get("topic_id"),
        group_type: row.get("group_type"),
        is_destroyed: row.get("is_destroyed"),
        msg_seq: row.get::<i64, _>("msg_seq").try_into().unwrap_or_default(),
        sender: row.get("sender"),
        sent_at: Timestamp(row.get("sent_at")),
        received_at: Timestamp(row.get("received_at")),
        online_only: row.get::<i64, _>("online_only") != 0,
        from_history: row.get::<i64, _>("source") != 0,
        platform: row.get("platform"),
        text: row.get("text"),
        verdict: verdict(row.get("verdict")),
        rules_version: row.get("version"),
        hits: hits(row.get("hits")),
        job: job(row),
    }
}

fn job(row: &SqliteRow) -> Option<CaseJob> {
    let time = |column| row.get::<Option<i64>, _>(column).map(Timestamp);
    Some(CaseJob {
        job_id: row.get::<Option<i64>, _>("job_id")?,
        state: JobState::from_word(row.get("state"))?,
        attempts: row.get("attempts"),
        ret_code: row.get("ret_code"),
        reason: row.get("reason"),
        requested_by: row.get("requested_by"),
        created_at: Timestamp(row.get("created_at")),
        called_at: time("called_at"),
        finished_at: time("finished_at"),
        confirmed_at: time("confirmed_at"),
        exposure_ms: row.get("exposure_ms"),
    })
}

fn verdict(number: i64) -> Verdict {
    match number {
        0 => Verdict::Pass,
        1 => Verdict::Flag,
        _ => Verdict::Recall,
    }
}

/// A hit as the statement writes it.
#[derive(Deserialize)]
struct Written(String, Mode, Severity, usize, usize, String);

fn hits(json: &str) -> Vec<CaseHit> {
    let written: Vec<Written> = serde_json::from_str(json).unwrap_or_default();
    let hit = |Written(rule, mode, severity, start, end, text)| CaseHit {
        rule,
        mode,
        severity,
        start,
        end,
        text,
    };
    written.into_iter().map(hit).collect()
}
