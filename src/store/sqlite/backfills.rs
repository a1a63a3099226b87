//! [`Backfills`] on SQLite.

use async_trait::async_trait;
use rusqlite::params;
use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::Sqlite;
use super::control::record_act;
use super::conversations::Arrival;
use super::gaps::{CLOCK_WAS_SET, read_conversation, seq};
use super::open::unavailable;
use super::record::seq_to_i64;
use super::writer::{Operation, Writing};
use crate::model::{GroupId, GroupType, MsgSeq, Timestamp, TopicId};
use crate::store::{Backfill, BackfillStep, Backfills, By, Error, QUELL, StepOutcome};

#[async_trait]
impl Backfills for Sqlite {
    async fn start_backfill(
        &self,
        by: &By,
        group: &GroupId,
        topic: &TopicId,
        from: MsgSeq,
        to: MsgSeq,
    ) -> Result<i64, Error> {
        let start =
            StartBackfill { by: by.clone(), group: group.clone(), topic: topic.clone(), from, to };
        self.writer.perform(start).await?
    }

    async fn running_backfills(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Backfill>, Error> {
        let rows = sqlx::query(
            "select c.conversation_id, c.group_id, c.topic_id, c.group_type, b.backfill_id,
                 b.from_seq, b.next_seq, b.not_before, b.attempts, b.requested_by
             from backfills b join conversations c on c.conversation_id = b.conversation_id
             where b.state = 'running' and c.destroyed_at is null
                 and (b.due_at <= ?1 or b.due_at > ?2)
             order by b.due_at limit ?3",
        )
        .bind(now.millis())
        .bind(now.after(CLOCK_WAS_SET).millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        let backfill = |row: &SqliteRow| Backfill {
            conversation: read_conversation(row),
            backfill_id: row.get(4),
            from_seq: seq(row, 5),
            next_seq: seq(row, 6),
            not_before: Timestamp(row.get(7)),
            attempts: u32::try_from(row.get::<i64, _>(8)).unwrap_or(u32::MAX),
            own: row.get::<&str, _>(9) == QUELL,
        };
        Ok(rows.iter().map(backfill).collect())
    }

    async fn backfilled(&self, step: BackfillStep) -> Result<(), Error> {
        self.writer.perform(step).await
    }

    async fn cancel_backfill(&self, by: &By, backfill_id: i64) -> Result<bool, Error> {
        self.writer.perform(CancelBackfill { by: by.clone(), backfill_id }).await
    }
}

struct StartBackfill {
    by: By,
    group: GroupId,
    topic: TopicId,
    from: MsgSeq,
    to: MsgSeq,
}

impl Operation for StartBackfill {
    /// A refusal is an answer: the database is none the worse for it.
    type Answer = Result<i64, Error>;
    fn run(&self, writing: &mut Writing<'_>) -> Result<Self::Answer, Error> {
        let at = self.by.at;
        let arrival = Arrival {
            group_id: &self.group,
            topic_id: &self.topic,
            group_type: &GroupType::default(),
            msg_seq: seq_to_i64(self.to),
            sent_at: at,
            content_hash: &[],
        };
        let known = writing.conversation(&arrival)?;
        if known.conversation.group_type.is_av_chat_room() {
            return Ok(Err(Error::Invalid(format!(
                "{} is an AVChatRoom: Chat keeps no history of such groups",
                self.group
            ))));
        }
        let backfill_id: i64 = writing.connection.value(
            "insert into backfills (conversation_id, from_seq, to_seq, next_seq, not_before, state,
                 requested_by, pages, recorded, recalls, attempts, due_at, created_at)
             values (?1, ?2, ?3, ?3, 0, 'running', 'operator:' || ?4, 0, 0, 0, 0, ?5, ?5)
             returning backfill_id",
            params![
                known.conversation.conversation_id,
                seq_to_i64(self.from),
                seq_to_i64(self.to),
                self.by.actor.as_str(),
                at.millis()
            ],
        )?;
        let detail = json!({
            "backfill": backfill_id, "group": self.group, "topic": self.topic, "from": self.from,
            "to": self.to,
        });
        record_act(writing.connection, &self.by, "backfill", &detail.to_string())?;
        Ok(Ok(backfill_id))
    }
}

struct CancelBackfill {
    by: By,
    backfill_id: i64,
}

impl Operation for CancelBackfill {
    type Answer = bool;
    fn run(&self, writing: &mut Writing<'_>) -> Result<bool, Error> {
        let ended = writing.connection.execute(
            "update backfills set state = 'cancelled', reason = 'by ' || ?, finished_at = ?
             where backfill_id = ? and state = 'running'",
            params![self.by.actor.as_str(), self.by.at.millis(), self.backfill_id],
        )? > 0;
        if ended {
            let detail = json!({ "backfill": self.backfill_id }).to_string();
            record_act(writing.connection, &self.by, "backfill cancelled", &detail)?;
        }
        Ok(ended)
    }
}

impl Operation for BackfillStep {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        let at = self.at.millis();
        let (state, next, reason, due_at, failed) = match &self.outcome {
            StepOutcome::Next(next) => ("running", Some(*next), None, at, false),
            StepOutcome::Done(why) => ("done", None, Some(why.as_str()), at, false),
            StepOutcome::Again { why, due_at } => {
                ("running", None, Some(why.as_str()), due_at.millis(), true)
            }
            StepOutcome::Failed(why) => ("failed", None, Some(why.as_str()), at, true),
        };
        writing.connection.execute(
            "update backfills set state = ?2, next_seq = coalesce(?3, next_seq), reason = ?4,
                 due_at = ?5, attempts = iif(?6, attempts + 1, 0), pages = pages + 1,
                 recorded = recorded + ?7, recalls = recalls + ?8,
                 finished_at = iif(?2 = 'running', null, ?9)
             where backfill_id = ?1 and state = 'running'",
            params![
                self.backfill_id,
                state,
                next.map(seq_to_i64),
                reason,
                due_at,
                failed,
                self.recorded,
                self.recalls,
                at
            ],
        )?;
        // What quell looked up by itself and found nothing in is not worth a row.
        writing.connection.execute(
            "delete from backfills where backfill_id = ? and requested_by = ? and state = 'done'
                 and recorded = 0",
            params![self.backfill_id, QUELL],
        ).map(drop)
    }
}
