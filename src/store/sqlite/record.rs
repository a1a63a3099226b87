//! Recording: messages with their hits and jobs, many at once.

use std::sync::{Arc, LazyLock};

use rusqlite::{CachedStatement, params};
use serde_json::json;

use super::connection::{Connection, rows_of};
use super::conversations::{Arrival, Known};
use super::writer::Writing;
use crate::model::{Element, JobId, JobState, Message, Source, Verdict};
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
    pub(super) fn read(connection: &Connection) -> Result<Self, Error> {
        Ok(Self {
            // Markers, and links of the chain, name rows that may all be pruned: a new one below them
            // would be taken for one that was dealt with.
            message: connection.value(
                "select max(
                     coalesce((select max(message_id) from messages), 0),
                     coalesce((select max(cast(value as integer)) from meta where name in (
                         'text_pruned_through', 'matched_text_pruned_through',
                         'gaps_checkpoint', 'reread_through', 'keys_filed_through',
                         'search_through')), 0),
                     coalesce((select to_id from chain where kind = 0
                         order by from_id desc limit 1), 0))",
                [],
            )?,
            conflict: connection.value(
                "select max(
                     coalesce((select max(conflict_id) from conflicts), 0),
                     coalesce((select to_id from chain where kind = 1
                         order by from_id desc limit 1), 0))",
                [],
            )?,
            job: connection.value("select coalesce(max(job_id), 0) from recall_jobs", [])?,
            call: connection.value(
                "select max(
                     coalesce((select max(call_id) from calls), 0),
                     coalesce((select to_id from chain where kind = 2
                         order by from_id desc limit 1), 0))",
                [],
            )?,
        })
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

/// New messages that go in by one statement: each costs an eighth less than by one of its own.
const TOGETHER: usize = 16;
/// Whoever fails takes the transaction down, so a statement need not be able to undo its first rows.
const MESSAGE: &str = "insert or fail into messages (message_id, conversation_id, msg_seq, sender,
    sent_at, received_at, online_only, source, verdict, rule_set_id, platform, text, body,
    cloud_custom_data, detail, content_hash) values ";
static ONE_MESSAGE: LazyLock<String> = LazyLock::new(|| MESSAGE.to_owned() + &rows_of(16, 1));
static MESSAGES: LazyLock<String> = LazyLock::new(|| MESSAGE.to_owned() + &rows_of(16, TOGETHER));
const CONFLICT: &str =
    "insert into conflicts (conflict_id, message_id, sender, sent_at, received_at,
    online_only, source, verdict, rule_set_id, platform, text, body, cloud_custom_data, detail,
    content_hash) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing";
const HIT: &str =
    "insert into hits (message_id, conflict_id, conversation_id, sender, rule_id, mode,
    severity, start_char, end_char, matched_text, judged_at)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const JOB: &str = "insert into recall_jobs (job_id, conversation_id, msg_seq, message_id, sender, state,
    severity, background, lease, attempts, failures, unclear, due_at, reason, requested_by, sent_at,
    created_at, finished_at) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, 0, 0, 0, ?8, ?9, ?10, ?11, ?8,
    ?12) on conflict do nothing";

/// A record with what its row needs.
struct Prepared<'a> {
    record: &'a Record,
    /// Given once it is known to be new.
    message_id: i64,
    conversation: Arc<Conversation>,
    gone: bool,
    rule_set_id: i64,
    body: Option<String>,
    detail: Option<String>,
}

impl Prepared<'_> {
    fn seq(&self) -> i64 {
        seq_to_i64(self.record.message.key.msg_seq)
    }
    fn source(&self) -> i64 {
        match self.record.message.source {
            Source::Callback => 0,
            Source::History => 1,
        }
    }
    fn verdict(&self) -> i64 {
        match self.record.judgement.verdict {
            Verdict::Pass => 0,
            Verdict::Flag => 1,
            Verdict::Recall => 2,
        }
    }
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
pub(super) fn all(writing: &mut Writing<'_>, records: &[&Record]) -> Result<Vec<Recorded>, Error> {
    let mut outcomes = Vec::with_capacity(records.len());
    let mut new = Vec::with_capacity(TOGETHER);
    let mut jobs = Vec::new();
    for &record in records {
        let arrival = arrival(&record.message);
        let known = if let Some(known) = writing.conversations.known(&arrival) {
            known.clone()
        } else {
            // Which life of a group it is may be told by messages.
            insert_new(writing, &mut new, &mut jobs)?;
            writing.conversation(&arrival)?
        };
        let mut row = prepare(writing, record, known)?;
        let (conversation, seq) = (row.conversation.conversation_id, row.seq());
        let id = writing.ids.message + 1;
        if let Some(known) = writing.keys.claim(writing.connection, conversation, seq, id)? {
            // It may be the key of one of these.
            insert_new(writing, &mut new, &mut jobs)?;
            outcomes.push(beside(writing, &row, known, &mut jobs)?);
            continue;
        }
        writing.ids.message = id;
        row.message_id = id;
        new.push(row);
        if new.len() == TOGETHER {
            insert_new(writing, &mut new, &mut jobs)?;
        }
        outcomes.push(Recorded::New);
    }
    insert_new(writing, &mut new, &mut jobs)?;
    enqueue(writing, &mut jobs)?;
    Ok(outcomes)
}

/// Inserts new messages with their hits, and collects their jobs.
fn insert_new<'a>(
    writing: &mut Writing<'_>,
    new: &mut Vec<Prepared<'a>>,
    jobs: &mut Vec<JobRow<'a>>,
) -> Result<(), Error> {
    if new.is_empty() {
        return Ok(());
    }
    let (sql, at_once) =
        if new.len() == TOGETHER { (&MESSAGES, TOGETHER) } else { (&ONE_MESSAGE, 1) };
    let mut statement = writing.connection.prepare(sql)?;
    for rows in new.chunks(at_once) {
        let mut place = 1;
        for row in rows {
            let ids = [row.message_id, row.conversation.conversation_id, row.seq()];
            place = bind(&mut statement, place, &ids, row)?;
        }
        statement.raw_execute()?;
    }
    for row in new.drain(..) {
        writing.seen.push(row.seen());
        follow(writing, &row, None, row.message_id, jobs)?;
    }
    Ok(())
}

fn arrival(message: &Message) -> Arrival<'_> {
    Arrival {
        group_id: &message.key.group_id,
        topic_id: &message.key.topic_id,
        group_type: &message.group_type,
        msg_seq: seq_to_i64(message.key.msg_seq),
        sent_at: message.sent_at,
        content_hash: &message.content_hash,
    }
}

fn prepare<'a>(
    writing: &mut Writing<'_>,
    record: &'a Record,
    known: Known,
) -> Result<Prepared<'a>, Error> {
    let version = record.judgement.rules_version.as_str();
    Ok(Prepared {
        record,
        message_id: 0,
        gone: known.destroyed_at.is_some(),
        conversation: known.conversation,
        rule_set_id: writing.conversations.rule_set(writing.connection, version)?,
        body: body(&record.message),
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
        && msg_type.as_str() == "TIMTextElem"
        && content.only_text().is_some_and(|text| !text.is_empty())
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

/// Binds a row that begins with these ids and goes on with the columns that `messages` and `conflicts`
/// share, from a place on. Answers the place behind it.
fn bind(
    statement: &mut CachedStatement<'_>,
    first: usize,
    ids: &[i64],
    row: &Prepared<'_>,
) -> Result<usize, Error> {
    let message = &row.record.message;
    let shared = params![
        message.sender.as_str(),
        message.sent_at.millis(),
        message.received_at.millis(),
        message.online_only,
        row.source(),
        row.verdict(),
        row.rule_set_id,
        message.platform.as_str(),
        message.text.as_str(),
        row.body.as_deref(),
        message.cloud_custom_data.as_str(),
        row.detail.as_deref(),
        message.content_hash.as_slice()
    ];
    for (place, id) in (first..).zip(ids) {
        statement.raw_bind_parameter(place, id)?;
    }
    for (place, value) in (first + ids.len()..).zip(shared) {
        statement.raw_bind_parameter(place, value)?;
    }
    Ok(first + ids.len() + shared.len())
}

/// Deals with content for a key that is taken: the same again is a duplicate, other content is kept
/// beside the first.
fn beside<'a>(
    writing: &mut Writing<'_>,
    row: &Prepared<'a>,
    known: i64,
    jobs: &mut Vec<JobRow<'a>>,
) -> Result<Recorded, Error> {
    let message = &row.record.message;
    let stored: Vec<u8> = writing
        .connection
        .value("select content_hash from messages where message_id = ?", params![known])?;
    if stored == message.content_hash {
        return Ok(Recorded::Duplicate);
    }
    let conflict_id = writing.ids.next_conflict();
    let mut statement = writing.connection.prepare(CONFLICT)?;
    bind(&mut statement, 1, &[conflict_id, known], row)?;
    if statement.raw_execute()? == 0 {
        return Ok(Recorded::Duplicate);
    }
    follow(writing, row, Some(conflict_id), known, jobs)?;
    Ok(Recorded::Conflict)
}

/// Stores the hits of content that was new, and collects its job.
fn follow<'a>(
    writing: &mut Writing<'_>,
    row: &Prepared<'a>,
    conflict_id: Option<i64>,
    message_id: i64,
    jobs: &mut Vec<JobRow<'a>>,
) -> Result<(), Error> {
    let record = row.record;
    for hit in &record.judgement.hits {
        writing.connection.execute(
            HIT,
            params![
                message_id,
                conflict_id,
                row.conversation.conversation_id,
                record.message.sender.as_str(),
                hit.rule.as_str(),
                hit.mode.as_str(),
                hit.severity.as_str(),
                i64::try_from(hit.start).unwrap_or(i64::MAX),
                i64::try_from(hit.end).unwrap_or(i64::MAX),
                hit.text.as_str(),
                record.message.received_at.millis()
            ],
        )?;
    }
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
    Ok(())
}

/// Puts jobs into the queue; one for which an unfinished job is there already is left out.
fn enqueue(writing: &mut Writing<'_>, jobs: &mut [JobRow<'_>]) -> Result<(), Error> {
    if jobs.iter().any(|job| job.state == JobState::Pending) {
        hold_tripped(writing.connection, jobs)?;
    }
    for row in jobs {
        let received_at = row.message.received_at.millis();
        let inserted = writing.connection.execute(
            JOB,
            params![
                row.job_id,
                row.conversation.conversation_id,
                seq_to_i64(row.message.key.msg_seq),
                row.message_id,
                row.message.sender.as_str(),
                row.state.as_str(),
                row.job.severity as i64,
                received_at,
                row.reason,
                row.job.requested_by.to_string(),
                row.message.sent_at.millis(),
                row.state.is_final().then_some(received_at)
            ],
        )?;
        if inserted > 0 && row.state == JobState::Pending {
            writing.events.push(JobEvent::Queued(row.queued()));
        }
    }
    Ok(())
}

/// Holds jobs whose rule tripped while they were on their way here.
fn hold_tripped(connection: &Connection, jobs: &mut [JobRow<'_>]) -> Result<(), Error> {
    let tripped: Vec<String> =
        connection.values("select 'rule:' || rule_id from tripped_rules", [])?;
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

pub(super) fn seq_to_i64(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::writer::Operation;
    use super::super::{Options, open};
    use super::*;
    use crate::store::contract::{key, record, rules};

    /// All of them in one transaction.
    struct All(Vec<Record>);

    impl Operation for All {
        type Answer = Vec<Recorded>;
        fn run(&self, writing: &mut Writing<'_>) -> Result<Vec<Recorded>, Error> {
            all(writing, &self.0.iter().collect::<Vec<_>>())
        }
    }

    #[tokio::test]
    async fn records_of_one_transaction_know_of_each_other_however_many_go_in_together() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&Options::at(&folder.path().join("quell.db"))).await.unwrap();
        rules(&store).await;
        let (mut records, mut expected) = (Vec::new(), Vec::new());
        let mut add = |group: &str, seq, text: &str, outcome| {
            records.push(record(key(group, "", seq), text, text.contains("bait")));
            expected.push(outcome);
        };
        for n in 0..3 * TOGETHER as u64 + 5 {
            add("g", n, "hello", Recorded::New);
            match n {
                // Of one that waits to go in, and of one that went in with others.
                3 => add("g", 3, "hello", Recorded::Duplicate),
                5 => add("g", 4, "bait", Recorded::Conflict),
                40 => add("g", 20, "hello", Recorded::Duplicate),
                // A group that was never seen.
                30 => add("other", 7, "bait", Recorded::New),
                _ => {}
            }
        }
        let new = expected.iter().filter(|outcome| **outcome == Recorded::New).count();
        assert_eq!(store.writer.perform(All(records)).await.unwrap(), expected);
        let ids: Vec<i64> = sqlx::query_scalar("select message_id from messages order by 1")
            .fetch_all(&store.readers)
            .await
            .unwrap();
        assert_eq!(ids, (1..=i64::try_from(new).unwrap()).collect::<Vec<_>>());
        let (hits, jobs): (i64, i64) = sqlx::query_as(
            "select (select count(*) from hits), (select count(*) from recall_jobs)",
        )
        .fetch_one(&store.readers)
        .await
        .unwrap();
        assert_eq!((hits, jobs), (2, 2));
    }
}
