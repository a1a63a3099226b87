//! [`Intake`] on SQLite.

use async_trait::async_trait;
use sqlx::Row;

use super::Sqlite;
use super::conversations::Conversations;
use super::gaps::end_conversation;
use super::open::unavailable;
use super::record::seq_to_i64;
use super::writer::{Operation, Writing};
use crate::model::{JobId, Timestamp, TopicId};
use crate::store::{
    Destroyed, Error, Intake, JobEvent, Quarantined, Recalled, Record, Recorded, RuleSet,
    StoredMessage,
};

#[async_trait]
impl Intake for Sqlite {
    async fn record(&self, record: Record) -> Result<Recorded, Error> {
        self.writer.record(record).await
    }
    async fn quarantine(&self, body: Quarantined) -> Result<(), Error> {
        self.writer.perform(Keep { body, most: self.quarantine_rows }).await
    }
    async fn recalled(&self, recalled: Recalled) -> Result<(), Error> {
        self.writer.perform(recalled).await
    }
    async fn destroyed(&self, destroyed: Destroyed) -> Result<(), Error> {
        self.writer.perform(destroyed).await
    }
    async fn message_before(&self, since: Timestamp, most: usize) -> Result<i64, Error> {
        Sqlite::message_before(self, since, most).await
    }
    async fn messages_after(&self, after: i64, limit: usize) -> Result<Vec<StoredMessage>, Error> {
        self.read_messages(after, limit).await
    }
    async fn rules_loaded(&self, rules: RuleSet) -> Result<(), Error> {
        self.writer.perform(rules).await
    }
}

struct Keep {
    body: Quarantined,
    most: u32,
}

#[async_trait]
impl Operation for Keep {
    type Answer = ();
    async fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        let id: i64 = sqlx::query_scalar(
            "insert into quarantine (received_at, command, reason, body) values (?, ?, ?, ?)
             returning quarantine_id",
        )
        .bind(self.body.received_at.millis())
        .bind(self.body.command.as_str())
        .bind(self.body.reason.as_str())
        .bind(self.body.body.as_slice())
        .fetch_one(&mut *writing.connection)
        .await
        .map_err(unavailable)?;
        sqlx::query("delete from quarantine where quarantine_id <= ?")
            .bind(id - i64::from(self.most))
            .execute(&mut *writing.connection)
            .await
            .map_err(unavailable)?;
        Ok(())
    }
}

#[async_trait]
impl Operation for Recalled {
    type Answer = ();
    async fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        let life =
            Conversations::at(writing.connection, &self.group_id, &self.topic_id, self.at).await?;
        // Nothing of it was ever recorded, so there is no job to confirm.
        let Some(known) = life else { return Ok(()) };
        let mut withdrawn: Vec<JobId> = Vec::new();
        for seq in &self.seqs {
            let ended = sqlx::query(
                "update recall_jobs set
                     confirmed_at = coalesce(confirmed_at, ?1),
                     confirmed_ours = max(confirmed_ours, ?2),
                     state = case
                         when state in ('pending', 'retry', 'held', 'gone', 'dead') and unclear and ?2
                             then 'recalled'
                         when state in ('pending', 'retry', 'held') then 'gone'
                         else state end,
                     reason = case
                         when state in ('pending', 'retry', 'held', 'gone', 'dead') and unclear and ?2
                             then 'confirmed by the recall callback'
                         when state in ('pending', 'retry', 'held') then 'recalled by ' || ?3
                         else reason end,
                     finished_at = case
                         when state in ('pending', 'retry', 'held') then ?1
                         else finished_at end
                 where conversation_id = ?4 and msg_seq = ?5
                 returning job_id, state",
            )
            .bind(self.at.millis())
            .bind(self.ours)
            .bind(self.operator.as_str())
            .bind(known.conversation.conversation_id)
            .bind(seq_to_i64(*seq))
            .fetch_all(&mut *writing.connection)
            .await
            .map_err(unavailable)?;
            withdrawn.extend(
                ended
                    .iter()
                    .filter(|row| row.get::<&str, _>(1) != "leased")
                    .map(|row| row.get::<JobId, _>(0)),
            );
        }
        if !withdrawn.is_empty() {
            writing.events.push(JobEvent::Withdrawn(withdrawn));
        }
        Ok(())
    }
}

#[async_trait]
impl Operation for Destroyed {
    type Answer = ();
    async fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        let topics: Vec<_> = self.topic_ids.iter().map(TopicId::as_str).collect();
        // A repeated callback must not end a later life: only what had begun by then ends.
        let ended = sqlx::query(
            "update conversations set destroyed_at = ?1
             where group_id = ?2 and destroyed_at is null and created_at <= ?1
               and (?3 = 0 or topic_id in (select value from json_each(?4)))
             returning conversation_id",
        )
        .bind(self.at.millis())
        .bind(self.group_id.as_str())
        .bind(i64::try_from(topics.len()).unwrap_or(i64::MAX))
        .bind(serde_json::json!(topics).to_string())
        .fetch_all(&mut *writing.connection)
        .await
        .map_err(unavailable)?;
        let mut withdrawn: Vec<JobId> = Vec::new();
        for row in &ended {
            let jobs: Vec<JobId> = sqlx::query_scalar(
                "update recall_jobs set state = 'refused', reason = 'group destroyed',
                     finished_at = ?
                 where conversation_id = ? and state in ('pending', 'retry', 'held')
                 returning job_id",
            )
            .bind(self.at.millis())
            .bind(row.get::<i64, _>(0))
            .fetch_all(&mut *writing.connection)
            .await
            .map_err(unavailable)?;
            withdrawn.extend(jobs);
            end_conversation(writing.connection, row.get(0), self.at).await?;
            writing.ended.push(row.get(0));
        }
        writing.conversations.forget(&self.group_id);
        if !withdrawn.is_empty() {
            writing.events.push(JobEvent::Withdrawn(withdrawn));
        }
        Ok(())
    }
}

#[async_trait]
impl Operation for RuleSet {
    type Answer = ();
    async fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        sqlx::query(
            "insert into rule_sets (version, loaded_at, rules) values (?, ?, ?)
             on conflict do nothing",
        )
        .bind(self.version.as_str())
        .bind(self.at.millis())
        .bind(self.rules.as_str())
        .execute(&mut *writing.connection)
        .await
        .map_err(unavailable)?;
        Ok(())
    }
}
