//! [`Plans`] on SQLite.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::params;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::Sqlite;
use super::connection::Connection;
use super::control::{announce, record_act};
use super::conversations::Arrival;
use super::keys::keyed;
use super::open::unavailable;
use super::record::seq_to_i64;
use super::writer::{Operation, Writing};
use crate::model::{GroupType, JobId, JobState, MsgSeq, PlanState, Severity, Timestamp};
use crate::store::{
    By, Conversation, ConversationId, Error, JobEvent, Meant, MeantMessage, NewPlan, Plan, PlanId,
    PlannedMessage, Plans,
};

/// Messages of a plan written in one transaction.
const WRITTEN_AT_ONCE: usize = 1_000;
/// A plan that is still being written after so long never will be: a crash left it behind.
const DRAFT: Duration = Duration::from_hours(1);
/// What a job of a sweep weighs among its like: they differ in nothing.
const SEVERITY: Severity = Severity::Medium;

/// The state of the latest job for a sequence of conversation `c`.
fn latest_job(seq: &str) -> String {
    format!(
        "(select j.state from recall_jobs j
          where j.conversation_id = c.conversation_id and j.msg_seq = {seq}
          order by j.job_id desc limit 1)"
    )
}

#[async_trait]
impl Plans for Sqlite {
    async fn meant(&self, which: &Meant, most: usize) -> Result<Vec<MeantMessage>, Error> {
        let rows = match which {
            Meant::Sequences { group, topic, seqs, at } => {
                if seqs.len() > most {
                    return Err(too_many(most));
                }
                return self.meant_sequences(group, topic, seqs, *at).await;
            }
            Meant::Sender { sender, group, since } => {
                self.select_meant(
                    "m.sender = ?1 and m.received_at >= ?2 and (?3 is null or c.group_id = ?3)",
                    sender,
                    *since,
                    group.as_deref(),
                    most,
                )
                .await?
            }
            Meant::Rule { rule, group, since } => {
                self.select_meant(
                    "m.message_id in (select message_id from hits where rule_id = ?1)
                     and m.received_at >= ?2 and (?3 is null or c.group_id = ?3)",
                    rule,
                    *since,
                    group.as_deref(),
                    most,
                )
                .await?
            }
            Meant::Ids(ids) => {
                self.select_meant(
                    "m.message_id in (select value from json_each(?1)) and m.received_at >= ?2
                     and ?3 is null",
                    &json!(ids).to_string(),
                    Timestamp(i64::MIN),
                    None,
                    most,
                )
                .await?
            }
        };
        if rows.len() > most {
            return Err(too_many(most));
        }
        let mut conversations = HashMap::new();
        Ok(rows.iter().map(|row| meant(row, &mut conversations)).collect())
    }

    async fn keep(&self, by: &By, plan: NewPlan) -> Result<PlanId, Error> {
        let plan = Arc::new(plan);
        let plan_id =
            self.writer.perform(Draft { by: by.clone(), plan: Arc::clone(&plan) }).await?;
        for first in (0..plan.messages.len()).step_by(WRITTEN_AT_ONCE) {
            self.writer.perform(Write { plan_id, plan: Arc::clone(&plan), first }).await?;
        }
        self.writer.perform(Made { by: by.clone(), plan_id, plan }).await?;
        Ok(plan_id)
    }

    async fn plan(&self, plan: PlanId) -> Result<Option<Plan>, Error> {
        let row = sqlx::query(
            "select plan_id, state, asked, digest, rules_version, messages, recallable, calls,
                 created_by, created_at, applied_by, applied_at, progress,
                 (select count(distinct c.group_id) from plan_messages p
                  join conversations c on c.conversation_id = p.conversation_id
                  where p.plan_id = plans.plan_id),
                 (select json_group_array(json_array(obstacle, n)) from (
                      select obstacle, count(*) as n from plan_messages p
                      where p.plan_id = plans.plan_id and obstacle is not null
                      group by obstacle order by n desc, obstacle)),
                 (select json_group_array(json_array(state, n)) from (
                      select state, count(*) as n from recall_jobs indexed by recall_jobs_swept
                      where background = 1 and requested_by = 'plan:' || plans.plan_id
                      group by state))
             from plans where plan_id = ? and state <> 'draft'",
        )
        .bind(plan)
        .fetch_optional(&self.readers)
        .await
        .map_err(unavailable)?;
        let counts =
            |row: &SqliteRow, at: usize| serde_json::from_str(row.get(at)).unwrap_or_default();
        Ok(row.map(|row| Plan {
            plan_id: row.get(0),
            state: PlanState::from_word(row.get(1)).unwrap_or(PlanState::Planned),
            asked: row.get(2),
            digest: row.get(3),
            rules_version: row.get::<&str, _>(4).into(),
            messages: number(&row, 5),
            recallable: number(&row, 6),
            calls: number(&row, 7),
            created_by: row.get(8),
            created_at: Timestamp(row.get(9)),
            applied_by: row.get(10),
            applied_at: row.get::<Option<i64>, _>(11).map(Timestamp),
            progress: number(&row, 12),
            groups: number(&row, 13),
            obstacles: counts(&row, 14),
            jobs: counts(&row, 15),
        }))
    }

    async fn planned(&self, plan: PlanId, most: usize) -> Result<Vec<PlannedMessage>, Error> {
        let rows = sqlx::query(
            "select c.conversation_id, c.group_id, c.topic_id, c.group_type, p.msg_seq, p.sender,
                 iif(p.message_id is null, null, p.sent_at), coalesce(m.text, ''), p.obstacle
             from plan_messages p join conversations c on c.conversation_id = p.conversation_id
             left join messages m on m.message_id = p.message_id
             where p.plan_id = ? order by p.place limit ?",
        )
        .bind(plan)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        let mut conversations = HashMap::new();
        let planned = |row: &SqliteRow| PlannedMessage {
            conversation: conversation(row, &mut conversations),
            msg_seq: number(row, 4),
            sender: row.get(5),
            sent_at: row.get::<Option<i64>, _>(6).map(Timestamp),
            text: row.get(7),
            obstacle: row.get(8),
        };
        Ok(rows.iter().map(planned).collect())
    }

    async fn apply(&self, by: &By, plan: PlanId) -> Result<(), Error> {
        self.writer.perform(Turn { by: by.clone(), plan, to: PlanState::Applying }).await?
    }

    async fn cancel(&self, by: &By, plan: PlanId) -> Result<(), Error> {
        self.writer.perform(Turn { by: by.clone(), plan, to: PlanState::Cancelling }).await?
    }

    async fn step(&self, plan: PlanId, most: usize, at: Timestamp) -> Result<bool, Error> {
        self.writer.perform(Step { plan, most, at }).await
    }

    async fn unfinished_plans(&self) -> Result<Vec<PlanId>, Error> {
        self.writer.perform(Unfinished).await
    }
}

fn too_many(most: usize) -> Error {
    Error::Invalid(format!("more than {most} messages are meant: narrow it down"))
}

fn no_such(plan: PlanId) -> Error {
    Error::Invalid(format!("there is no plan {plan}"))
}

fn number(row: &SqliteRow, at: usize) -> u64 {
    u64::try_from(row.get::<i64, _>(at)).unwrap_or(0)
}

/// The conversation in the first four columns of a row.
fn conversation(
    row: &SqliteRow,
    known: &mut HashMap<ConversationId, Arc<Conversation>>,
) -> Arc<Conversation> {
    let conversation_id = row.get(0);
    let conversation = known.entry(conversation_id).or_insert_with(|| {
        Arc::new(Conversation {
            conversation_id,
            group_id: row.get::<&str, _>(1).into(),
            topic_id: row.get::<&str, _>(2).into(),
            group_type: GroupType(row.get::<&str, _>(3).into()),
        })
    });
    Arc::clone(conversation)
}

fn meant(
    row: &SqliteRow,
    conversations: &mut HashMap<ConversationId, Arc<Conversation>>,
) -> MeantMessage {
    MeantMessage {
        conversation: conversation(row, conversations),
        is_destroyed: row.get(4),
        msg_seq: number(row, 5),
        message_id: row.get(6),
        sender: row.get(7),
        sent_at: Timestamp(row.get(8)),
        online_only: row.get(9),
        job: row.get::<Option<&str>, _>(10).and_then(JobState::from_word),
    }
}

impl Sqlite {
    async fn select_meant(
        &self,
        condition: &str,
        value: &str,
        since: Timestamp,
        group: Option<&str>,
        most: usize,
    ) -> Result<Vec<SqliteRow>, Error> {
        let job = latest_job("m.msg_seq");
        let sql = format!(
            "select c.conversation_id, c.group_id, c.topic_id, c.group_type,
                 c.destroyed_at is not null, m.msg_seq, m.message_id, m.sender, m.sent_at,
                 m.online_only, {job}
             from messages m join conversations c on c.conversation_id = m.conversation_id
             where {condition}
             order by c.group_id, c.topic_id, c.conversation_id, m.msg_seq limit ?4"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(value)
            .bind(since.millis())
            .bind(group)
            .bind(i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1))
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)
    }

    /// Sequences of the latest life of a group or topic.
    async fn meant_sequences(
        &self,
        group: &str,
        topic: &str,
        seqs: &[MsgSeq],
        at: Timestamp,
    ) -> Result<Vec<MeantMessage>, Error> {
        let latest: Option<ConversationId> = sqlx::query_scalar(
            "select conversation_id from conversations where group_id = ? and topic_id = ?
             order by incarnation desc limit 1",
        )
        .bind(group)
        .bind(topic)
        .fetch_optional(&self.readers)
        .await
        .map_err(unavailable)?;
        let Some(latest) = latest else {
            // Made when the plan is kept.
            let conversation = Arc::new(Conversation {
                conversation_id: 0,
                group_id: group.into(),
                topic_id: topic.into(),
                group_type: GroupType::default(),
            });
            let unknown = |&msg_seq: &MsgSeq| MeantMessage {
                conversation: Arc::clone(&conversation),
                is_destroyed: false,
                msg_seq,
                message_id: None,
                sender: String::new(),
                sent_at: at,
                online_only: false,
                job: None,
            };
            return Ok(seqs.iter().map(unknown).collect());
        };
        let job = latest_job("e.value");
        let next = keyed("c.conversation_id", "> e.value", "order by msg_seq limit 1");
        let this = keyed("c.conversation_id", "= e.value", "");
        let sql = format!(
            "select c.conversation_id, c.group_id, c.topic_id, c.group_type,
                 c.destroyed_at is not null, e.value, m.message_id, coalesce(m.sender, ''),
                 coalesce(m.sent_at, (
                     select n.sent_at from messages n where n.message_id = (
                         select message_id from ({next}) order by msg_seq limit 1)), ?3),
                 coalesce(m.online_only, 0), {job}
             from json_each(?2) e join conversations c on c.conversation_id = ?1
             left join messages m on m.message_id = (select message_id from ({this}))
             order by e.value"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(latest)
            .bind(json!(seqs).to_string())
            .bind(at.millis())
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)?;
        let mut conversations = HashMap::new();
        Ok(rows.iter().map(|row| meant(row, &mut conversations)).collect())
    }
}

/// Begins a plan. Nobody sees it yet.
struct Draft {
    by: By,
    plan: Arc<NewPlan>,
}

impl Operation for Draft {
    type Answer = PlanId;
    fn run(&self, writing: &mut Writing<'_>) -> Result<PlanId, Error> {
        let plan = &self.plan;
        let left_behind = self.by.at.before(DRAFT).millis();
        for sql in [
            "delete from plan_messages where plan_id in (
                 select plan_id from plans where state = 'draft' and created_at < ?)",
            "delete from plans where state = 'draft' and created_at < ?",
        ] {
            writing.connection.execute(sql, params![left_behind])?;
        }
        let recallable = plan.messages.iter().filter(|(_, obstacle)| obstacle.is_none()).count();
        writing.connection.value(
            "insert into plans (state, asked, digest, rules_version, messages, recallable, calls,
                 created_by, created_at, progress)
             values ('draft', ?, ?, ?, ?, ?, ?, ?, ?, 0) returning plan_id",
            params![
                plan.asked.as_str(),
                plan.digest.as_str(),
                plan.rules_version.as_str(),
                i64::try_from(plan.messages.len()).unwrap_or(i64::MAX),
                i64::try_from(recallable).unwrap_or(i64::MAX),
                seq_to_i64(plan.calls),
                self.by.actor.as_str(),
                self.by.at.millis()
            ],
        )
    }
}

/// Writes some messages of a plan.
struct Write {
    plan_id: PlanId,
    plan: Arc<NewPlan>,
    first: usize,
}

impl Operation for Write {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        let some = self.plan.messages.iter().enumerate().skip(self.first).take(WRITTEN_AT_ONCE);
        let mut rows = Vec::with_capacity(WRITTEN_AT_ONCE);
        for (at, (message, obstacle)) in some {
            let conversation_id = match message.conversation.conversation_id {
                0 => unseen(writing, message)?,
                known => known,
            };
            rows.push(json!([
                at + 1,
                conversation_id,
                message.msg_seq,
                message.message_id,
                message.sender,
                message.sent_at,
                obstacle
            ]));
        }
        writing
            .connection
            .execute(
                "insert into plan_messages (plan_id, place, conversation_id, msg_seq, message_id,
                 sender, sent_at, obstacle)
             select ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4,
                 value ->> 5, value ->> 6
             from json_each(?2)",
                params![self.plan_id, json!(rows).to_string()],
            )
            .map(drop)
    }
}

/// The conversation of a message in a group of which nothing was ever recorded.
fn unseen(writing: &mut Writing<'_>, message: &MeantMessage) -> Result<ConversationId, Error> {
    let Conversation { group_id, topic_id, group_type, .. } = message.conversation.as_ref();
    let arrival = Arrival {
        group_id,
        topic_id,
        group_type,
        msg_seq: seq_to_i64(message.msg_seq),
        sent_at: message.sent_at,
        content_hash: &[],
    };
    let known = writing.conversation(&arrival)?;
    Ok(known.conversation.conversation_id)
}

/// Makes a plan of a draft.
struct Made {
    by: By,
    plan_id: PlanId,
    plan: Arc<NewPlan>,
}

impl Operation for Made {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        writing.connection.execute(
            "update plans set state = 'planned' where plan_id = ?",
            params![self.plan_id],
        )?;
        let asked: serde_json::Value = serde_json::from_str(&self.plan.asked).unwrap_or_default();
        let detail = json!({
            "plan": self.plan_id, "digest": self.plan.digest, "asked": asked,
            "messages": self.plan.messages.len(),
        });
        record_act(writing.connection, &self.by, "plan", &detail.to_string())
    }
}

/// Tells a plan to go, or to end.
struct Turn {
    by: By,
    plan: PlanId,
    to: PlanState,
}

impl Operation for Turn {
    /// A refusal is an answer: the database is none the worse for it.
    type Answer = Result<(), Error>;
    fn run(&self, writing: &mut Writing<'_>) -> Result<Self::Answer, Error> {
        let connection = writing.connection;
        let Some(state) = state_of(connection, self.plan)? else {
            return Ok(Err(no_such(self.plan)));
        };
        let act = match (self.to, state) {
            (PlanState::Applying, PlanState::Planned) => {
                connection.execute(
                    "update plans set applied_by = ?, applied_at = ? where plan_id = ?",
                    params![self.by.actor.as_str(), self.by.at.millis(), self.plan],
                )?;
                "plan apply"
            }
            (PlanState::Applying, PlanState::Applying | PlanState::Applied)
            | (PlanState::Cancelling, PlanState::Cancelling | PlanState::Cancelled) => {
                return Ok(Ok(()));
            }
            (PlanState::Cancelling, PlanState::Applied)
                if !is_unfinished(connection, self.plan)? =>
            {
                let why = format!("nothing of plan {} waits any more: all was done", self.plan);
                return Ok(Err(Error::Invalid(why)));
            }
            (PlanState::Cancelling, _) => "plan cancel",
            _ => return Ok(Err(Error::Invalid(format!("plan {} is {state}", self.plan)))),
        };
        connection.execute(
            "update plans set state = ?, finished_at = null where plan_id = ?",
            params![self.to.as_str(), self.plan],
        )?;
        record_act(connection, &self.by, act, &json!({ "plan": self.plan }).to_string())?;
        Ok(Ok(()))
    }
}

fn state_of(connection: &Connection, plan: PlanId) -> Result<Option<PlanState>, Error> {
    let state: Option<String> =
        connection.first("select state from plans where plan_id = ?", params![plan])?;
    Ok(state.as_deref().and_then(PlanState::from_word))
}

/// Whether any job of a plan waits or is in a call, which may fail.
fn is_unfinished(connection: &Connection, plan: PlanId) -> Result<bool, Error> {
    let found: Option<i64> = connection.first(
        "select 1 from recall_jobs indexed by recall_jobs_swept
         where background = 1 and requested_by = 'plan:' || ?
           and state in ('pending', 'leased', 'retry', 'held') limit 1",
        params![plan],
    )?;
    Ok(found.is_some())
}

/// Jobs of a plan that wait or are held.
fn waiting(connection: &Connection, plan: PlanId, most: usize) -> Result<Vec<JobId>, Error> {
    connection.values(
        "select job_id from recall_jobs indexed by recall_jobs_swept
         where background = 1 and requested_by = 'plan:' || ?
           and state in ('pending', 'retry', 'held') limit ?",
        params![plan, i64::try_from(most).unwrap_or(i64::MAX)],
    )
}

/// The next step of a plan.
struct Step {
    plan: PlanId,
    most: usize,
    at: Timestamp,
}

impl Operation for Step {
    type Answer = bool;
    fn run(&self, writing: &mut Writing<'_>) -> Result<bool, Error> {
        let (done, to) = match state_of(writing.connection, self.plan)? {
            Some(PlanState::Applying) => (self.queue(writing)?, PlanState::Applied),
            Some(PlanState::Cancelling) => (self.end(writing)?, PlanState::Cancelled),
            _ => return Ok(false),
        };
        if done == self.most {
            return Ok(true);
        }
        writing.connection.execute(
            "update plans set state = ?, finished_at = ? where plan_id = ?",
            params![to.as_str(), self.at.millis(), self.plan],
        )?;
        Ok(false)
    }
}

impl Step {
    /// Queues the jobs of the next messages. Answers how many messages there were.
    fn queue(&self, writing: &mut Writing<'_>) -> Result<usize, Error> {
        // What became of a message since it was planned is looked up now: its job may be there, or
        // its group gone.
        let (mut jobs, mut obstacles) = (Vec::new(), Vec::new());
        let ids = &mut *writing.ids;
        let places = writing.connection.rows(
            "select p.place, p.conversation_id, p.msg_seq, p.message_id, p.sender, p.sent_at,
                 coalesce(p.obstacle,
                     case when c.destroyed_at is not null then 'group destroyed' end,
                     case when exists (
                         select 1 from recall_jobs j
                         where j.conversation_id = p.conversation_id and j.msg_seq = p.msg_seq
                           and j.state in ('pending', 'leased', 'retry', 'held', 'recalled', 'gone'))
                     then 'dealt with since it was planned' end)
             from plans join plan_messages p on p.plan_id = plans.plan_id and p.place > plans.progress
             join conversations c on c.conversation_id = p.conversation_id
             where plans.plan_id = ? order by p.place limit ?",
            params![self.plan, i64::try_from(self.most).unwrap_or(i64::MAX)],
            |row| {
                let place: i64 = row.get(0)?;
                if let Some(obstacle) = row.get::<_, Option<String>>(6)? {
                    obstacles.push(json!([place, obstacle]));
                    return Ok(place);
                }
                jobs.push(json!([
                    ids.next_job(),
                    row.get::<_, i64>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, Option<i64>>(3)?,
                    row.get::<_, String>(4)?,
                    row.get::<_, i64>(5)?
                ]));
                Ok(place)
            },
        )?;
        let Some(last) = places.last().copied() else { return Ok(0) };
        let queued: Vec<JobId> = writing.connection.values(
            "insert into recall_jobs (job_id, conversation_id, msg_seq, message_id, sender, state,
                 severity, background, lease, attempts, failures, unclear, due_at, requested_by,
                 sent_at, created_at)
             select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, 'pending',
                 ?1, 1, 0, 0, 0, 0, ?2, 'plan:' || ?3, value ->> 5, ?2
             from json_each(?4) where true on conflict do nothing returning job_id",
            params![SEVERITY as i64, self.at.millis(), self.plan, json!(jobs).to_string()],
        )?;
        writing.connection.execute(
            "update plan_messages set obstacle = e.value ->> 1 from json_each(?2) e
             where plan_id = ?1 and place = e.value ->> 0",
            params![self.plan, json!(obstacles).to_string()],
        )?;
        writing
            .connection
            .execute("update plans set progress = ? where plan_id = ?", params![last, self.plan])?;
        announce(writing, &queued)?;
        Ok(places.len())
    }

    /// Ends waiting jobs. Answers how many.
    fn end(&self, writing: &mut Writing<'_>) -> Result<usize, Error> {
        let jobs = waiting(writing.connection, self.plan, self.most)?;
        writing.connection.execute(
            "update recall_jobs set state = 'cancelled', reason = 'plan cancelled', finished_at = ?
             where job_id in (select value from json_each(?))",
            params![self.at.millis(), json!(jobs).to_string()],
        )?;
        let ended = jobs.len();
        writing.events.push(JobEvent::Withdrawn(jobs));
        Ok(ended)
    }
}

/// Finds what is left to do.
struct Unfinished;

impl Operation for Unfinished {
    type Answer = Vec<PlanId>;
    fn run(&self, writing: &mut Writing<'_>) -> Result<Vec<PlanId>, Error> {
        writing.connection.values(
            "select plan_id from plans where state in ('applying', 'cancelling') order by plan_id",
            [],
        )
    }
}
