//! [`Intake`] on SQLite.

use async_trait::async_trait;
use rusqlite::params;

use super::Sqlite;
use super::conversations::Conversations;
use super::gaps::end_conversation;
use super::record::seq_to_i64;
use super::writer::{Operation, Writing};
use crate::model::{JobId, Timestamp, TopicId};
use crate::store::{
    ConversationId, Destroyed, Error, Intake, JobEvent, Quarantined, Recalled, Record, Recording,
    RuleSet, StoredMessage,
};

#[async_trait]
impl Intake for Sqlite {
    fn record(&self, record: Record) -> Recording {
        self.writer.record(record)
    }
    async fn quarantine(&self, body: Quarantined) -> Result<(), Error> {
        self.writer.perform(Keep { body, most: self.options.quarantine_rows }).await
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

impl Operation for Keep {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        let id: i64 = writing.connection.value(
            "insert into quarantine (received_at, command, reason, body) values (?, ?, ?, ?)
             returning quarantine_id",
            params![
                self.body.received_at.millis(),
                self.body.command.as_str(),
                self.body.reason.as_str(),
                self.body.body.as_slice()
            ],
        )?;
        writing.connection.execute(
            "delete from quarantine where quarantine_id <= ?",
            params![id - i64::from(self.most)],
        )?;
        Ok(())
    }
}

impl Operation for Recalled {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        let life = Conversations::at(writing.connection, &self.group_id, &self.topic_id, self.at)?;
        // Nothing of it was ever recorded, so there is no job to confirm.
        let Some(known) = life else { return Ok(()) };
        let mut withdrawn: Vec<JobId> = Vec::new();
        for seq in &self.seqs {
            let ended = writing.connection.rows(
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
            params![
                    self.at.millis(),
                    self.ours,
                    self.operator.as_str(),
                    known.conversation.conversation_id,
                    seq_to_i64(*seq)
                ],
            |row| Ok((row.get::<_, JobId>(0)?, row.get::<_, String>(1)?)),
        )?;
            let waited = ended.into_iter().filter(|(_, state)| state != "leased");
            withdrawn.extend(waited.map(|(job_id, _)| job_id));
        }
        if !withdrawn.is_empty() {
            writing.events.push(JobEvent::Withdrawn(withdrawn));
        }
        Ok(())
    }
}

impl Operation for Destroyed {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        let topics: Vec<_> = self.topic_ids.iter().map(TopicId::as_str).collect();
        // A repeated callback must not end a later life: only what had begun by then ends.
        let ended: Vec<ConversationId> = writing.connection.values(
            "update conversations set destroyed_at = ?1
             where group_id = ?2 and destroyed_at is null and created_at <= ?1
               and (?3 = 0 or topic_id in (select value from json_each(?4)))
             returning conversation_id",
            params![
                self.at.millis(),
                self.group_id.as_str(),
                i64::try_from(topics.len()).unwrap_or(i64::MAX),
                serde_json::json!(topics).to_string()
            ],
        )?;
        let mut withdrawn: Vec<JobId> = Vec::new();
        for conversation in ended {
            let jobs: Vec<JobId> = writing.connection.values(
                "update recall_jobs set state = 'refused', reason = 'group destroyed',
                     finished_at = ?
                 where conversation_id = ? and state in ('pending', 'retry', 'held')
                 returning job_id",
                params![self.at.millis(), conversation],
            )?;
            withdrawn.extend(jobs);
            end_conversation(writing.connection, conversation, self.at)?;
            writing.ended.push(conversation);
        }
        writing.conversations.forget(&self.group_id);
        if !withdrawn.is_empty() {
            writing.events.push(JobEvent::Withdrawn(withdrawn));
        }
        Ok(())
    }
}

impl Operation for RuleSet {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        writing.connection.execute(
            "insert into rule_sets (version, loaded_at, rules) values (?, ?, ?)
             on conflict do nothing",
            params![self.version.as_str(), self.at.millis(), self.rules.as_str()],
        )?;
        Ok(())
    }
}
