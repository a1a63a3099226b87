//! Recording: messages with their hits and jobs, many at once.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::conversations::Arrival;
use super::open::{scalar, unavailable};
use super::rows::{Insert, Query};
use super::writer::Writing;
use crate::model::{Element, JobId, JobState, Message, Source, Timestamp, Verdict};
use crate::store::{Conversation, Error, JobEvent, NewJob, QueuedJob, Record, Recorded, Seen};

/// The next free row of each table that the writer numbers itself, so that a batch needs no answer
/// to know its ids.
pub(super) struct Ids {
    message: i64,
    conflict: i64,
    job: JobId,
    call: i64,
}

impl Ids {
    pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Self, Error> {
        Ok(Self {
            // Markers name messages that may all be pruned: a new one below them would be taken for
            // one that was dealt with.
            message: scalar(
                connection,
                "select max(
                     coalesce((select max(message_id) from messages), 0),
                     coalesce((select max(cast(value as integer)) from meta where name in (
                         'text_pruned_through', 'matched_text_pruned_through',
                         'gaps_checkpoint', 'reread_through')), 0))",
            )
            .await?,
            conflict: scalar(connection, "select coalesce(max(conflict_id), 0) from conflicts")
                .await?,
            job: scalar(connection, "select coalesce(max(job_id), 0) from recall_jobs").await?,
            call: scalar(connection, "select coalesce(max(call_id), 0) from calls").await?,
        })
    }
    fn next_message(&mut self) -> i64 {
        self.message += 1;
        self.message
    }
    fn next_conflict(&mut self) -> i64 {
        self.conflict += 1;
        self.conflict
    }
    pub(super) fn next_job(&mut self) -> JobId {
        self.job += 1;
        self.job
    }
    pub(super) fn next_call(&mut self) -> i64 {
        self.call += 1;
        self.call
    }
}

static MESSAGES: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        // `or fail`: a plain insert of many rows keeps a journal of the statement, which spills.
        "insert or fail into messages (message_id, conversation_id, msg_seq, sender, sent_at,
         received_at, online_only, source, verdict, rule_set_id, platform, text, body,
         cloud_custom_data, detail, content_hash)",
        16,
        "on conflict do nothing",
    )
});
static HITS: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "insert or fail into hits (message_id, conflict_id, rule_id, mode, severity, start_char,
         end_char, matched_text, judged_at)",
        9,
        "",
    )
});
static JOBS: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "insert or fail into recall_jobs (job_id, conversation_id, msg_seq, message_id, sender,
         state, severity, background, lease, attempts, failures, unclear, due_at, reason,
         requested_by, sent_at, created_at, finished_at)",
        18,
        "on conflict do nothing",
    )
});

/// A record with what its row needs.
struct Prepared<'a> {
    record: &'a Record,
    message_id: i64,
    conversation: Arc<Conversation>,
    gone: bool,
    rule_set_id: i64,
    body: Option<String>,
    detail: Option<String>,
}

impl Prepared<'_> {
    fn seen(&self) -> Seen {
        let message = &self.record.message;
        Seen {
            conversation_id: self.conversation.conversation_id,
            msg_seq: message.key.msg_seq,
            message_id: self.message_id,
            received_at: message.received_at,
            source: message.source,
            has_history: !self.conversation.group_type.is_av_chat_room(),
        }
    }
}

/// A place that a rule matched, of a message or of a conflict.
struct HitRow<'a> {
    hit: &'a crate::model::Hit,
    message_id: i64,
    conflict_id: Option<i64>,
    judged_at: Timestamp,
}

/// A job on its way into the queue.
struct JobRow<'a> {
    job_id: JobId,
    job: &'a NewJob,
    state: JobState,
    reason: Option<&'a str>,
    message: &'a Message,
    message_id: i64,
    conversation: Arc<Conversation>,
}

/// Stores records, in order. Answers what became of each.
pub(super) async fn all(
    writing: &mut Writing<'_>,
    records: &[&Record],
) -> Result<Vec<Recorded>, Error> {
    let mut outcomes = vec![Recorded::New; records.len()];
    let mut rows = Vec::with_capacity(records.len());
    let mut places = Vec::with_capacity(records.len());
    let mut again = Vec::new();
    let mut keys = HashSet::with_capacity(records.len());
    for (place, &record) in records.iter().enumerate() {
        let row = prepare(writing, record).await?;
        if keys.insert((row.conversation.conversation_id, record.message.key.msg_seq)) {
            places.push(place);
            rows.push(row);
        } else {
            again.push((place, row));
        }
    }
    let chunks = MESSAGES.run(writing.connection, &rows, bind_message).await?;
    let mut hits = Vec::new();
    let mut jobs = Vec::new();
    for (range, inserted) in chunks {
        let all_new = inserted == range.len() as u64;
        for at in range {
            let row = &rows[at];
            let known = if all_new { None } else { existing(writing.connection, row).await? };
            match known {
                Some(known) if known.message_id != row.message_id => {
                    outcomes[places[at]] =
                        beside(writing, row, &known, &mut hits, &mut jobs).await?;
                }
                _ => {
                    writing.seen.push(row.seen());
                    follow(writing, row, None, row.message_id, &mut hits, &mut jobs);
                }
            }
        }
    }
    for (place, row) in &again {
        let known = existing(writing.connection, row).await?;
        let known = known.ok_or_else(|| Error::Unavailable("a stored message is gone".into()))?;
        outcomes[*place] = beside(writing, row, &known, &mut hits, &mut jobs).await?;
    }
    HITS.run(writing.connection, &hits, bind_hit).await?;
    enqueue(writing, &mut jobs).await?;
    Ok(outcomes)
}

async fn prepare<'a>(writing: &mut Writing<'_>, record: &'a Record) -> Result<Prepared<'a>, Error> {
    let message = &record.message;
    let known = writing
        .conversations
        .of(
            writing.connection,
            &Arrival {
                group_id: &message.key.group_id,
                topic_id: &message.key.topic_id,
                group_type: &message.group_type,
                msg_seq: seq_to_i64(message.key.msg_seq),
                sent_at: message.sent_at,
                content_hash: &message.content_hash,
            },
        )
        .await?;
    let version = record.judgement.rules_version.as_str();
    Ok(Prepared {
        record,
        message_id: writing.ids.next_message(),
        gone: known.destroyed_at.is_some(),
        conversation: known.conversation,
        rule_set_id: writing.conversations.rule_set(writing.connection, version).await?,
        body: body(message),
        detail: detail(record),
    })
}

/// `MsgBody` as JSON; nothing where it is one plain text element, whose text begins the message's, or
/// where it is not to be stored.
fn body(message: &Message) -> Option<String> {
    if message.elements.is_empty() {
        return None;
    }
    if let [Element { msg_type, content }] = message.elements.as_slice()
        && msg_type == "TIMTextElem"
        && content.as_object().is_some_and(|fields| fields.len() == 1)
        && content.get("Text").and_then(|text| text.as_str()).is_some_and(|text| !text.is_empty())
    {
        return None;
    }
    serde_json::to_string(&message.elements).ok()
}

/// What is rarely there, as JSON.
fn detail(record: &Record) -> Option<String> {
    let Record { message, signals, .. } = record;
    let mut detail = serde_json::Map::new();
    if message.operator != message.sender && !message.operator.is_empty() {
        detail.insert("operator".into(), json!(message.operator));
    }
    if message.mentions.everyone {
        detail.insert("mentions_everyone".into(), json!(true));
    }
    if !message.mentions.accounts.is_empty() {
        detail.insert("mentions".into(), json!(message.mentions.accounts));
    }
    if !signals.is_empty() {
        detail.insert("signals".into(), json!(signals));
    }
    (!detail.is_empty()).then(|| serde_json::Value::Object(detail).to_string())
}

fn bind_message<'q>(query: Query<'q>, row: &'q Prepared<'_>) -> Query<'q> {
    let query = query
        .bind(row.message_id)
        .bind(row.conversation.conversation_id)
        .bind(seq_to_i64(row.record.message.key.msg_seq));
    bind_content(query, row)
}

/// The columns that `messages` and `conflicts` share, in their order.
fn bind_content<'q>(query: Query<'q>, row: &'q Prepared<'_>) -> Query<'q> {
    let message = &row.record.message;
    query
        .bind(message.sender.as_str())
        .bind(message.sent_at.millis())
        .bind(message.received_at.millis())
        .bind(message.online_only)
        .bind(match message.source {
            Source::Callback => 0,
            Source::History => 1,
        })
        .bind(match row.record.judgement.verdict {
            Verdict::Pass => 0,
            Verdict::Flag => 1,
            Verdict::Recall => 2,
        })
        .bind(row.rule_set_id)
        .bind(message.platform.as_str())
        .bind(message.text.as_str())
        .bind(row.body.as_deref())
        .bind(message.cloud_custom_data.as_str())
        .bind(row.detail.as_deref())
        .bind(message.content_hash.as_slice())
}

struct Existing {
    message_id: i64,
    content_hash: Vec<u8>,
}

async fn existing(
    connection: &mut SqliteConnection,
    row: &Prepared<'_>,
) -> Result<Option<Existing>, Error> {
    let found = sqlx::query(
        "select message_id, content_hash from messages where conversation_id = ? and msg_seq = ?",
    )
    .bind(row.conversation.conversation_id)
    .bind(seq_to_i64(row.record.message.key.msg_seq))
    .fetch_optional(connection)
    .await
    .map_err(unavailable)?;
    Ok(found.map(|row| Existing { message_id: row.get(0), content_hash: row.get(1) }))
}

/// Deals with content for a key that is taken: the same again is a duplicate, other content is kept
/// beside the first.
async fn beside<'a>(
    writing: &mut Writing<'_>,
    row: &Prepared<'a>,
    known: &Existing,
    hits: &mut Vec<HitRow<'a>>,
    jobs: &mut Vec<JobRow<'a>>,
) -> Result<Recorded, Error> {
    if known.content_hash == row.record.message.content_hash {
        return Ok(Recorded::Duplicate);
    }
    let conflict_id = writing.ids.next_conflict();
    let query = sqlx::query(
        "insert into conflicts (conflict_id, message_id, sender, sent_at, received_at, online_only,
         source, verdict, rule_set_id, platform, text, body, cloud_custom_data, detail,
         content_hash) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
    )
    .bind(conflict_id)
    .bind(known.message_id);
    let inserted = bind_content(query, row)
        .execute(&mut *writing.connection)
        .await
        .map_err(unavailable)?
        .rows_affected();
    if inserted == 0 {
        return Ok(Recorded::Duplicate);
    }
    follow(writing, row, Some(conflict_id), known.message_id, hits, jobs);
    Ok(Recorded::Conflict)
}

/// Collects the hits and the job of content that was new.
fn follow<'a>(
    writing: &mut Writing<'_>,
    row: &Prepared<'a>,
    conflict_id: Option<i64>,
    message_id: i64,
    hits: &mut Vec<HitRow<'a>>,
    jobs: &mut Vec<JobRow<'a>>,
) {
    let record = row.record;
    let judged_at = record.message.received_at;
    hits.extend(record.judgement.hits.iter().map(|hit| HitRow {
        hit,
        message_id,
        conflict_id,
        judged_at,
    }));
    if let Some(job) = &record.job {
        let (state, reason) = if row.gone && !job.state.is_final() {
            (JobState::Refused, Some("group destroyed"))
        } else {
            (job.state, job.reason.as_deref())
        };
        jobs.push(JobRow {
            job_id: writing.ids.next_job(),
            job,
            state,
            reason,
            message: &record.message,
            message_id,
            conversation: Arc::clone(&row.conversation),
        });
    }
}

fn bind_hit<'q>(query: Query<'q>, row: &'q HitRow<'_>) -> Query<'q> {
    query
        .bind(row.message_id)
        .bind(row.conflict_id)
        .bind(row.hit.rule.as_str())
        .bind(row.hit.mode.as_str())
        .bind(row.hit.severity.as_str())
        .bind(i64::try_from(row.hit.start).unwrap_or(i64::MAX))
        .bind(i64::try_from(row.hit.end).unwrap_or(i64::MAX))
        .bind(row.hit.text.as_str())
        .bind(row.judged_at.millis())
}

/// Puts jobs into the queue; one for which an unfinished job is there already is left out.
async fn enqueue(writing: &mut Writing<'_>, jobs: &mut [JobRow<'_>]) -> Result<(), Error> {
    if jobs.iter().any(|job| job.state == JobState::Pending) {
        hold_tripped(writing.connection, jobs).await?;
    }
    let chunks = JOBS.run(writing.connection, jobs, bind_job).await?;
    for (range, inserted) in chunks {
        let all_new = inserted == range.len() as u64;
        for row in &jobs[range] {
            if row.state == JobState::Pending
                && (all_new || is_queued(writing.connection, row.job_id).await?)
            {
                writing.events.push(JobEvent::Queued(row.queued()));
            }
        }
    }
    Ok(())
}

/// Holds jobs whose rule tripped while they were on their way here.
async fn hold_tripped(
    connection: &mut SqliteConnection,
    jobs: &mut [JobRow<'_>],
) -> Result<(), Error> {
    let tripped: Vec<String> = sqlx::query_scalar("select 'rule:' || rule_id from tripped_rules")
        .fetch_all(connection)
        .await
        .map_err(unavailable)?;
    if tripped.is_empty() {
        return Ok(());
    }
    for row in jobs.iter_mut().filter(|row| row.state == JobState::Pending) {
        if tripped.contains(&row.job.requested_by.to_string()) {
            row.state = JobState::Held;
            row.reason = Some("rule tripped");
        }
    }
    Ok(())
}

async fn is_queued(connection: &mut SqliteConnection, job_id: JobId) -> Result<bool, Error> {
    let found: Option<i64> = sqlx::query_scalar("select 1 from recall_jobs where job_id = ?")
        .bind(job_id)
        .fetch_optional(connection)
        .await
        .map_err(unavailable)?;
    Ok(found.is_some())
}

impl JobRow<'_> {
    fn queued(&self) -> QueuedJob {
        QueuedJob {
            job_id: self.job_id,
            conversation: Arc::clone(&self.conversation),
            msg_seq: self.message.key.msg_seq,
            severity: self.job.severity,
            background: false,
            sent_at: self.message.sent_at,
            due_at: self.message.received_at,
        }
    }
}

fn bind_job<'q>(query: Query<'q>, row: &'q JobRow<'_>) -> Query<'q> {
    let received_at = row.message.received_at.millis();
    query
        .bind(row.job_id)
        .bind(row.conversation.conversation_id)
        .bind(seq_to_i64(row.message.key.msg_seq))
        .bind(row.message_id)
        .bind(row.message.sender.as_str())
        .bind(row.state.as_str())
        .bind(row.job.severity as i64)
        .bind(false)
        .bind(0)
        .bind(0)
        .bind(0)
        .bind(false)
        .bind(received_at)
        .bind(row.reason)
        .bind(row.job.requested_by.to_string())
        .bind(row.message.sent_at.millis())
        .bind(received_at)
        .bind(row.state.is_final().then_some(received_at))
}

pub(super) fn seq_to_i64(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
