//! [`Jobs`] on SQLite.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::Sqlite;
use super::open::unavailable;
use super::writer::{Operation, Writing};
use crate::model::{GroupId, GroupType, JobId, JobState, MsgSeq, Severity, Timestamp, TopicId};
use crate::store::{
    Conversation, ConversationId, Error, Exposure, FinishedCall, JobEvents, JobUpdate, Jobs, Lease,
    LeaseRequest, LeasedJob, QueuedJob, SettledJob,
};

/// A job that waits: its id, conversation, sequence, severity, whether it is a sweep's, when it was
/// sent and is due.
type WaitingRow = (JobId, ConversationId, MsgSeq, i64, i64, Timestamp, Timestamp);

/// What a query of ours answered is no JSON of the shape that it asks for.
#[expect(clippy::needless_pass_by_value, reason = "it is an argument of map_err")]
fn unreadable(error: serde_json::Error) -> Error {
    Error::Unavailable(error.to_string())
}

#[async_trait]
impl Jobs for Sqlite {
    async fn subscribe(&self) -> Result<JobEvents, Error> {
        Ok(self.writer.subscribe())
    }
    async fn recover(&self, now: Timestamp) -> Result<u64, Error> {
        self.writer.perform(Recover { now }).await
    }
    async fn waiting(&self, after: JobId, limit: usize) -> Result<Vec<QueuedJob>, Error> {
        // A page comes as one JSON array: with a million jobs, handing over a row each costs several
        // times as much as reading them.
        let jobs: String = sqlx::query_scalar(
            "select json_group_array(json_array(job_id, conversation_id, msg_seq, severity,
                 background, sent_at, due_at))
             from (
                 select * from recall_jobs indexed by recall_jobs_waiting
                 where state in ('pending', 'retry') and job_id > ? order by job_id limit ?
             )",
        )
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_one(&self.readers)
        .await
        .map_err(unavailable)?;
        let jobs: Vec<WaitingRow> = serde_json::from_str(&jobs).map_err(unreadable)?;
        let ids: BTreeSet<_> = jobs.iter().map(|job| job.1).collect();
        let conversations: String = sqlx::query_scalar(
            "select json_group_array(json_array(conversation_id, group_id, topic_id, group_type))
             from conversations where conversation_id in (select value from json_each(?))",
        )
        .bind(serde_json::json!(ids).to_string())
        .fetch_one(&self.readers)
        .await
        .map_err(unavailable)?;
        let conversations: Vec<(ConversationId, GroupId, TopicId, GroupType)> =
            serde_json::from_str(&conversations).map_err(unreadable)?;
        let conversations: HashMap<_, _> = conversations
            .into_iter()
            .map(|(conversation_id, group_id, topic_id, group_type)| {
                let it = Conversation { conversation_id, group_id, topic_id, group_type };
                (conversation_id, Arc::new(it))
            })
            .collect();
        let queued = jobs.into_iter().filter_map(|row| {
            let (job_id, conversation, msg_seq, number, background, sent_at, due_at) = row;
            Some(QueuedJob {
                job_id,
                conversation: Arc::clone(conversations.get(&conversation)?),
                msg_seq,
                severity: severity(number),
                background: background != 0,
                sent_at,
                due_at,
            })
        });
        Ok(queued.collect())
    }
    async fn lease(&self, requests: Vec<LeaseRequest>) -> Result<Vec<Lease>, Error> {
        self.writer.perform(TakeLeases { requests }).await
    }
    async fn unlease(&self, lease: Lease) -> Result<(), Error> {
        self.writer.perform(GiveBack { lease }).await
    }
    async fn finish(
        &self,
        call: FinishedCall,
        updates: Vec<JobUpdate>,
    ) -> Result<Vec<SettledJob>, Error> {
        self.writer.perform(Finish { call, updates }).await
    }
    async fn give_up(
        &self,
        jobs: Vec<JobId>,
        state: JobState,
        reason: String,
        at: Timestamp,
    ) -> Result<Vec<SettledJob>, Error> {
        self.writer.perform(GiveUp { jobs, state, reason, at }).await
    }
    async fn last_call_at(&self) -> Result<Option<Timestamp>, Error> {
        let last: Option<i64> = sqlx::query_scalar("select max(started_at) from calls")
            .fetch_one(&self.readers)
            .await
            .map_err(unavailable)?;
        Ok(last.map(Timestamp))
    }
}

/// What [`queued_job`] reads of the jobs `j` that conditions mean. The hint is an `indexed by`, where
/// the planner would choose worse.
pub(super) fn select_queued(hint: &str, conditions: &str) -> String {
    format!(
        "select j.job_id, j.conversation_id, j.msg_seq, j.severity, j.background, j.sent_at,
             j.due_at, c.group_id, c.topic_id, c.group_type
         from recall_jobs j {hint}
         join conversations c on c.conversation_id = j.conversation_id
         {conditions}"
    )
}

pub(super) fn queued_job(
    row: &Row<'_>,
    conversations: &mut HashMap<ConversationId, Arc<Conversation>>,
) -> rusqlite::Result<QueuedJob> {
    let conversation_id = row.get(1)?;
    let conversation = match conversations.entry(conversation_id) {
        Entry::Occupied(known) => Arc::clone(known.get()),
        Entry::Vacant(place) => Arc::clone(place.insert(Arc::new(Conversation {
            conversation_id,
            group_id: row.get::<_, String>(7)?.into(),
            topic_id: row.get::<_, String>(8)?.into(),
            group_type: GroupType(row.get::<_, String>(9)?.as_str().into()),
        }))),
    };
    Ok(QueuedJob {
        job_id: row.get(0)?,
        conversation,
        msg_seq: row.get::<_, i64>(2)?.cast_unsigned(),
        severity: severity(row.get(3)?),
        background: row.get(4)?,
        sent_at: Timestamp(row.get(5)?),
        due_at: Timestamp(row.get(6)?),
    })
}

fn severity(number: i64) -> Severity {
    let place = usize::try_from(number).unwrap_or(0);
    Severity::ALL.get(place).copied().unwrap_or_default()
}

/// What comes before an attempt to recall again: an operator's wish, the end of the plan that asked,
/// a trip of the rule that asked. Null where nothing does.
const INSTEAD: &str = "coalesce(
    wish,
    case when background and exists (
        select 1 from plans p where requested_by = 'plan:' || p.plan_id
          and p.state in ('cancelling', 'cancelled'))
    then 'cancelled' end,
    case when exists (select 1 from tripped_rules t where requested_by = 'rule:' || t.rule_id)
    then 'held' end)";

/// Why, for a job that is now in the state that [`INSTEAD`] says.
const WHY_INSTEAD: &str = "coalesce(
    wish || ' by ' || wished_by,
    case when background then 'plan cancelled' else 'rule tripped' end)";

struct Recover {
    now: Timestamp,
}

impl Operation for Recover {
    type Answer = u64;
    fn run(&self, writing: &mut Writing<'_>) -> Result<u64, Error> {
        let put_back = writing.connection.execute(
            &format!(
            "update recall_jobs set state = coalesce({INSTEAD}, 'retry'), unclear = 1, due_at = ?1,
                 reason = iif({INSTEAD} is null, 'stopped while the call was under way',
                     {WHY_INSTEAD}),
                 finished_at = iif({INSTEAD} = 'cancelled', ?1, null),
                 wish = null, wished_by = null
             where state = 'leased'"
        ),
            params![self.now.millis()],
        )?;
        writing
            .connection
            .execute("update calls set outcome = 'unclear' where outcome = 'started'", [])?;
        Ok(put_back)
    }
}

struct TakeLeases {
    requests: Vec<LeaseRequest>,
}

impl Operation for TakeLeases {
    type Answer = Vec<Lease>;
    fn run(&self, writing: &mut Writing<'_>) -> Result<Vec<Lease>, Error> {
        let mut leases = Vec::with_capacity(self.requests.len());
        for request in &self.requests {
            leases.push(take(writing, request)?);
        }
        Ok(leases)
    }
}

fn take(writing: &mut Writing<'_>, request: &LeaseRequest) -> Result<Lease, Error> {
    let jobs = writing.connection.rows(
        "update recall_jobs set state = 'leased', lease = lease + 1, attempts = attempts + 1,
             called_at = ?
         where job_id in (select value from json_each(?)) and state in ('pending', 'retry')
           and conversation_id = ?
           and not exists (
               select 1 from conversations c
               where c.conversation_id = recall_jobs.conversation_id and destroyed_at is not null)
         returning job_id, msg_seq, lease, failures, unclear, requested_by",
        params![
            request.at.millis(),
            serde_json::json!(request.jobs).to_string(),
            request.conversation_id
        ],
        |row| {
            Ok(LeasedJob {
                job_id: row.get(0)?,
                msg_seq: row.get::<_, i64>(1)?.cast_unsigned(),
                lease: row.get(2)?,
                failures: row.get(3)?,
                unclear: row.get(4)?,
                requested_by: row.get(5)?,
            })
        },
    )?;
    if jobs.is_empty() {
        refuse_destroyed(writing, request)?;
        return Ok(Lease { call_id: 0, jobs });
    }
    let call_id = writing.ids.next_call();
    let sequences: Vec<_> = jobs.iter().map(|job| job.msg_seq).collect();
    writing.connection.execute(
        "insert into calls (call_id, conversation_id, sequences, started_at, outcome)
         values (?, ?, ?, ?, 'started')",
        params![
            call_id,
            request.conversation_id,
            serde_json::json!(sequences).to_string(),
            request.at.millis()
        ],
    )?;
    Ok(Lease { call_id, jobs })
}

/// Ends jobs that came to wait again after their group was destroyed: under the same id there may be
/// another group by now, and its messages have nothing to do with them.
fn refuse_destroyed(writing: &mut Writing<'_>, request: &LeaseRequest) -> Result<(), Error> {
    writing
        .connection
        .execute(
            "update recall_jobs set state = 'refused', reason = 'group destroyed', finished_at = ?
         where conversation_id = ? and state in ('pending', 'retry')
           and exists (
               select 1 from conversations c
               where c.conversation_id = recall_jobs.conversation_id and destroyed_at is not null)",
            params![request.at.millis(), request.conversation_id],
        )
        .map(drop)
}

struct GiveBack {
    lease: Lease,
}

impl Operation for GiveBack {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        let sql = format!(
            "update recall_jobs set attempts = attempts - 1,
                 called_at = case when attempts > 1 then called_at end,
                 state = coalesce({INSTEAD}, iif(attempts > 1, 'retry', 'pending')),
                 reason = iif({INSTEAD} is null, reason, {WHY_INSTEAD}),
                 finished_at = iif({INSTEAD} = 'cancelled', called_at, null),
                 wish = null, wished_by = null
             where job_id = ? and lease = ? and state = 'leased'"
        );
        for job in &self.lease.jobs {
            writing.connection.execute(&sql, params![job.job_id, job.lease])?;
        }
        writing.connection.execute(
            "delete from calls where call_id = ? and outcome = 'started'",
            params![self.lease.call_id],
        )?;
        Ok(())
    }
}

struct Finish {
    call: FinishedCall,
    updates: Vec<JobUpdate>,
}

impl Operation for Finish {
    type Answer = Vec<SettledJob>;
    fn run(&self, writing: &mut Writing<'_>) -> Result<Vec<SettledJob>, Error> {
        let call = &self.call;
        writing.connection.execute(
            "update calls set started_at = ?, duration_ms = ?, http_status = ?, error_code = ?,
                 outcome = ? where call_id = ?",
            params![
                call.started_at.millis(),
                call.duration_ms,
                call.http_status.map(i64::from),
                call.error_code,
                call.outcome.as_str(),
                call.call_id
            ],
        )?;
        let mut settled = Vec::with_capacity(self.updates.len());
        for same in alike(&self.updates) {
            settle(writing, call, &same, &mut settled)?;
        }
        Ok(settled)
    }
}

/// Updates that differ in the job alone: most calls end the same way for all their messages, and
/// then one statement does.
fn alike(updates: &[JobUpdate]) -> Vec<Vec<&JobUpdate>> {
    let same = |a: &JobUpdate, b: &JobUpdate| {
        let b = JobUpdate { job_id: a.job_id, lease: a.lease, ..b.clone() };
        *a == b
    };
    let mut groups: Vec<Vec<&JobUpdate>> = Vec::new();
    for update in updates {
        match groups.iter_mut().find(|group| same(group[0], update)) {
            Some(group) => group.push(update),
            None => groups.push(vec![update]),
        }
    }
    groups
}

fn settle(
    writing: &mut Writing<'_>,
    call: &FinishedCall,
    updates: &[&JobUpdate],
    settled: &mut Vec<SettledJob>,
) -> Result<(), Error> {
    let Some(first) = updates.first() else { return Ok(()) };
    let leases: Vec<_> = updates.iter().map(|update| (update.job_id, update.lease)).collect();
    // Where no repetition is asked for, neither is what comes before one.
    let waits = first.state == JobState::Retry;
    let instead = if waits { INSTEAD } else { "null" };
    let recalled_by = (first.ret_code == Some(0)).then_some(call);
    let rows = writing.connection.rows(
        &format!(
            "update recall_jobs set
             state = case
                 -- A repeat finds nothing to recall, because the unclear call before it had worked.
                 when ?2 in (10030, 10032) and unclear and confirmed_ours then 'recalled'
                 else coalesce({instead}, ?1) end,
             ret_code = coalesce(?2, ret_code),
             reason = iif({instead} is null, ?3, {WHY_INSTEAD}),
             due_at = ?4,
             failures = failures + ?5,
             unclear = max(unclear, ?6),
             called_at = ?7,
             wish = null,
             wished_by = null,
             finished_at = iif({instead} = 'cancelled', ?10, ?8)
         from json_each(?9) as held
         where recall_jobs.job_id = held.value ->> 0 and lease = held.value ->> 1
           and state = 'leased'
         returning job_id, state, sent_at, created_at, background"
        ),
        params![
            first.state.as_str(),
            first.ret_code,
            first.reason.as_deref(),
            first.due_at.millis(),
            i64::from(first.failed),
            i64::from(first.unclear),
            call.started_at.millis(),
            first.state.is_final().then_some(call.finished_at.millis()),
            serde_json::json!(leases).to_string(),
            call.finished_at.millis()
        ],
        |row| settled_job(row, recalled_by),
    )?;
    settled.extend(rows);
    Ok(())
}

fn settled_job(row: &Row<'_>, recalled_by: Option<&FinishedCall>) -> rusqlite::Result<SettledJob> {
    let (sent_at, created_at): (i64, i64) = (row.get(2)?, row.get(3)?);
    let (state, swept): (String, bool) = (row.get(1)?, row.get(4)?);
    Ok(SettledJob {
        job_id: row.get(0)?,
        state: JobState::from_word(&state).unwrap_or(JobState::Dead),
        // A sweep is of old messages: how long they were visible says nothing about the daemon.
        exposure: recalled_by.filter(|_| !swept).map(|call| Exposure {
            delivery_ms: created_at - sent_at,
            queue_ms: call.started_at.millis() - created_at,
            call_ms: call.finished_at.millis() - call.started_at.millis(),
        }),
    })
}

struct GiveUp {
    jobs: Vec<JobId>,
    state: JobState,
    reason: String,
    at: Timestamp,
}

impl Operation for GiveUp {
    type Answer = Vec<SettledJob>;
    fn run(&self, writing: &mut Writing<'_>) -> Result<Vec<SettledJob>, Error> {
        writing.connection.rows(
            "update recall_jobs set state = ?, reason = ?, finished_at = ?
             where job_id in (select value from json_each(?)) and state in ('pending', 'retry')
             returning job_id, state, sent_at, created_at, background",
            params![
                self.state.as_str(),
                self.reason.as_str(),
                self.at.millis(),
                serde_json::json!(self.jobs).to_string()
            ],
            |row| settled_job(row, None),
        )
    }
}
