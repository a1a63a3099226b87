//! [`Gaps`] on SQLite.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::params;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::Sqlite;
use super::connection::Connection;
use super::keys::keyed;
use super::open::unavailable;
use super::record::{self, seq_to_i64};
use super::writer::{Operation, Writing};
use crate::model::{GroupType, Message, MsgSeq, Source, Timestamp};
use crate::store::{
    Conversation, ConversationId, Error, Explained, Gaps, Known, NotedGaps, OpenGap, QUELL,
    Reached, Record, Recorded, Seen, Sightings, Unexplained,
};

/// Nothing is ever put off for so long: what is due later than that was put off before the clock was
/// set back, and waits no longer.
pub(super) const CLOCK_WAS_SET: Duration = Duration::from_mins(10);

#[async_trait]
impl Gaps for Sqlite {
    fn sightings(&self) -> Sightings {
        self.writer.sightings()
    }

    async fn gaps_checkpoint(&self) -> Result<i64, Error> {
        self.number("gaps_checkpoint").await
    }

    async fn reached(
        &self,
        checkpoint: i64,
        after: ConversationId,
        limit: usize,
    ) -> Result<Vec<Reached>, Error> {
        // Few messages lie behind the checkpoint, so walking down the keys past them is short.
        let before = keyed(
            "c.conversation_id",
            ">= 0 and message_id <= ?1",
            "order by msg_seq desc limit 1",
        );
        let sql = format!(
            "select c.conversation_id, c.group_type, coalesce(m.msg_seq, 0),
                 coalesce(m.received_at, c.created_at),
                 exists (select 1 from gaps g where g.conversation_id = c.conversation_id
                     and (g.state in ('open', 'unrepairable') or g.reason = 'not in history')),
                 (select json_group_array(json_array(g.from_seq, g.to_seq) order by g.from_seq)
                     from gaps g where g.conversation_id = c.conversation_id
                         and g.to_seq > coalesce(m.msg_seq, 0)),
                 c.destroyed_at is not null
             from (
                 select c.*, (
                     select message_id from ({before}) order by msg_seq desc limit 1) as top
                 from conversations c
                 where c.conversation_id > ?2 and (c.destroyed_at is null or c.conversation_id in (
                     select conversation_id from messages where message_id > ?1))
                 order by c.conversation_id limit ?3
             ) c left join messages m on m.message_id = c.top
             order by c.conversation_id"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(checkpoint)
            .bind(after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)?;
        let reached = |row: &SqliteRow| Reached {
            conversation_id: row.get(0),
            has_history: !GroupType(row.get::<&str, _>(1).into()).is_av_chat_room(),
            high: seq(row, 2),
            received_at: Timestamp(row.get(3)),
            has_gaps: row.get(4),
            noted: serde_json::from_str(row.get(5)).unwrap_or_default(),
            has_ended: row.get(6),
        };
        Ok(rows.iter().map(reached).collect())
    }

    async fn seen_after(&self, message_id: i64, limit: usize) -> Result<Vec<Seen>, Error> {
        let rows = sqlx::query(
            "select m.conversation_id, m.msg_seq, m.message_id, m.received_at, m.source,
                 c.group_type
             from messages m join conversations c on c.conversation_id = m.conversation_id
             where m.message_id > ? order by m.message_id limit ?",
        )
        .bind(message_id)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        let seen = |row: &SqliteRow| Seen {
            conversation_id: row.get(0),
            msg_seq: seq(row, 1),
            message_id: row.get(2),
            received_at: Timestamp(row.get(3)),
            source: if row.get::<i64, _>(4) == 0 { Source::Callback } else { Source::History },
            has_history: !GroupType(row.get::<&str, _>(5).into()).is_av_chat_room(),
        };
        Ok(rows.iter().map(seen).collect())
    }

    async fn note_gaps(&self, noted: NotedGaps) -> Result<(), Error> {
        self.writer.perform(noted).await
    }

    async fn open_gaps(&self, now: Timestamp, limit: usize) -> Result<Vec<OpenGap>, Error> {
        let rows = sqlx::query(
            "select conversation_id, from_seq, to_seq, found_at, attempts from gaps
             where state = 'open' and (due_at <= ?1 or due_at > ?2) order by due_at limit ?3",
        )
        .bind(now.millis())
        .bind(now.after(CLOCK_WAS_SET).millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        let open = |row: &SqliteRow| OpenGap {
            conversation_id: row.get(0),
            from_seq: seq(row, 1),
            to_seq: seq(row, 2),
            found_at: Timestamp(row.get(3)),
            attempts: u32::try_from(row.get::<i64, _>(4)).unwrap_or(u32::MAX),
        };
        Ok(rows.iter().map(open).collect())
    }

    async fn known(
        &self,
        conversation: ConversationId,
        from: MsgSeq,
        to: MsgSeq,
    ) -> Result<Known, Error> {
        let rows = |sql: String| async move {
            sqlx::query(AssertSqlSafe(sql))
                .bind(conversation)
                .bind(seq_to_i64(from))
                .bind(seq_to_i64(to))
                .fetch_all(&self.readers)
                .await
                .map_err(unavailable)
        };
        let messages = rows(format!(
            "select msg_seq from ({}) order by msg_seq",
            keyed("?1", "between ?2 and ?3", "")
        ));
        let explained = rows(
            "select from_seq, to_seq from gaps where conversation_id = ?1 and to_seq >= ?2
                 and from_seq <= ?3 and state in ('filled', 'legitimate')
                 and reason <> 'not in history' order by from_seq"
                .to_owned(),
        );
        let unconfirmed = rows(
            "select distinct msg_seq from recall_jobs where conversation_id = ?
                 and msg_seq between ? and ? and confirmed_at is null
                 and state in ('pending', 'retry', 'held', 'leased', 'recalled') order by msg_seq"
                .to_owned(),
        );
        Ok(Known {
            messages: messages.await?.iter().map(|row| seq(row, 0)).collect(),
            explained: explained.await?.iter().map(|row| (seq(row, 0), seq(row, 1))).collect(),
            unconfirmed: unconfirmed.await?.iter().map(|row| seq(row, 0)).collect(),
        })
    }

    async fn explain(
        &self,
        explained: Explained,
        messages: Vec<Record>,
    ) -> Result<Vec<Recorded>, Error> {
        self.writer.perform(Explain { explained, messages }).await
    }

    async fn unexplained(&self, failed: Unexplained) -> Result<(), Error> {
        self.writer.perform(failed).await
    }

    async fn conversation(
        &self,
        conversation: ConversationId,
    ) -> Result<Option<Conversation>, Error> {
        let row = sqlx::query(
            "select conversation_id, group_id, topic_id, group_type from conversations
             where conversation_id = ? and destroyed_at is null",
        )
        .bind(conversation)
        .fetch_optional(&self.readers)
        .await
        .map_err(unavailable)?;
        Ok(row.map(|row| read_conversation(&row)))
    }

    async fn watching_since(&self) -> Result<Timestamp, Error> {
        self.number("watching_since").await.map(Timestamp)
    }

    async fn stored_messages(
        &self,
        conversation: ConversationId,
        from: MsgSeq,
        to: MsgSeq,
    ) -> Result<Vec<Message>, Error> {
        self.read_stretch(conversation, seq_to_i64(from), seq_to_i64(to)).await
    }

    async fn reread_through(&self) -> Result<i64, Error> {
        self.number("reread_through").await
    }

    async fn set_reread_through(&self, message_id: i64) -> Result<(), Error> {
        self.writer.perform(SetNumber { name: "reread_through", value: message_id }).await
    }

    async fn open_sequences(&self) -> Result<u64, Error> {
        let sum: i64 = sqlx::query_scalar(
            "select coalesce(sum(to_seq - from_seq + 1), 0) from gaps where state = 'open'",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(unavailable)?;
        Ok(u64::try_from(sum).unwrap_or(0))
    }
}

impl Sqlite {
    /// A number of `meta`; 0 where it was never set.
    async fn number(&self, name: &str) -> Result<i64, Error> {
        let value: Option<i64> =
            sqlx::query_scalar("select cast(value as integer) from meta where name = ?")
                .bind(name)
                .fetch_optional(&self.readers)
                .await
                .map_err(unavailable)?;
        Ok(value.unwrap_or(0))
    }
}

pub(super) fn seq(row: &SqliteRow, at: usize) -> MsgSeq {
    MsgSeq::try_from(row.get::<i64, _>(at)).unwrap_or(0)
}

/// From columns 0 to 3: number, group, topic, type.
pub(super) fn read_conversation(row: &SqliteRow) -> Conversation {
    Conversation {
        conversation_id: row.get(0),
        group_id: row.get::<&str, _>(1).into(),
        topic_id: row.get::<&str, _>(2).into(),
        group_type: GroupType(row.get::<&str, _>(3).into()),
    }
}

struct SetNumber {
    name: &'static str,
    value: i64,
}

impl Operation for SetNumber {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        set_number(writing.connection, self.name, self.value)
    }
}

pub(super) fn set_number(connection: &Connection, name: &str, value: i64) -> Result<(), Error> {
    connection
        .execute(
            "insert or replace into meta (name, value) values (?, ?)",
            params![name, value.to_string()],
        )
        .map(drop)
}

impl Operation for NotedGaps {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        let at = self.at.millis();
        for gap in &self.gaps {
            writing.connection.execute(
                "insert into gaps (conversation_id, from_seq, to_seq, state, reason, found_at,
                     closed_at, attempts, due_at)
                 select conversation_id, ?2, ?3,
                     iif(?4 and destroyed_at is null, 'open', 'unrepairable'),
                     case when destroyed_at is not null then 'group destroyed'
                         when not ?4 then 'groups of this type have no history' end,
                     ?5, iif(?4 and destroyed_at is null, null, ?5), 0, ?5
                 from conversations where conversation_id = ?1",
                params![
                    gap.conversation_id,
                    seq_to_i64(gap.from_seq),
                    seq_to_i64(gap.to_seq),
                    gap.repairable,
                    at
                ],
            )?;
        }
        for (conversation, first) in &self.firsts {
            // A first message that quell did not see is only of interest where it was sent since.
            writing.connection.execute(
                "insert into backfills (conversation_id, from_seq, to_seq, next_seq, not_before,
                     state, requested_by, pages, recorded, recalls, attempts, due_at, created_at)
                 select ?1, 1, ?2, ?2, cast(value as integer), 'running', ?3, 0, 0, 0, 0, ?4, ?4
                 from meta where name = 'watching_since' and exists (
                     select 1 from conversations
                     where conversation_id = ?1 and destroyed_at is null)",
                params![conversation, seq_to_i64(first.saturating_sub(1)), QUELL, at],
            )?;
        }
        for (conversation, seq) in &self.late {
            cut(writing.connection, *conversation, *seq, *seq)?;
        }
        set_number(writing.connection, "gaps_checkpoint", self.checkpoint)
    }
}

/// Takes a stretch out of the gaps that are not explained for good: open ones, those that could not be
/// pulled, and sequences that history did not list, since it may list them later. Answers when the
/// earliest of them was found.
fn cut(
    connection: &Connection,
    conversation: ConversationId,
    from: MsgSeq,
    to: MsgSeq,
) -> Result<Option<i64>, Error> {
    let (from, to) = (seq_to_i64(from), seq_to_i64(to));
    let taken = connection.rows(
        "delete from gaps where conversation_id = ?1 and to_seq >= ?2 and from_seq <= ?3
             and (state in ('open', 'unrepairable') or reason = 'not in history')
         returning from_seq, to_seq, state, reason, found_at, closed_at, attempts, due_at",
        params![conversation, from, to],
        |row| {
            Ok(Taken {
                from: row.get(0)?,
                to: row.get(1)?,
                state: row.get(2)?,
                reason: row.get(3)?,
                found_at: row.get(4)?,
                closed_at: row.get(5)?,
                attempts: row.get(6)?,
                due_at: row.get(7)?,
            })
        },
    )?;
    for gap in &taken {
        let (low, high) = (gap.from, gap.to);
        for (low, high) in [(low, from - 1), (to + 1, high)] {
            if low > high {
                continue;
            }
            connection.execute(
                "insert into gaps (conversation_id, from_seq, to_seq, state, reason, found_at,
                     closed_at, attempts, due_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    conversation,
                    low,
                    high,
                    gap.state,
                    gap.reason,
                    gap.found_at,
                    gap.closed_at,
                    gap.attempts,
                    gap.due_at
                ],
            )?;
        }
    }
    Ok(taken.iter().map(|gap| gap.found_at).min())
}

/// A row of `gaps`, taken out to be put back in part.
struct Taken {
    from: i64,
    to: i64,
    state: String,
    reason: Option<String>,
    found_at: i64,
    closed_at: Option<i64>,
    attempts: i64,
    due_at: i64,
}

/// What of a stretch no row explains for good. A pull of a gap and a probe can be under way for the
/// same stretch at once; whichever comes second finds it explained.
fn unexplained(
    connection: &Connection,
    conversation: ConversationId,
    (from, to): (MsgSeq, MsgSeq),
) -> Result<Vec<(MsgSeq, MsgSeq)>, Error> {
    let explained = connection.rows(
        "select from_seq, to_seq from gaps
         where conversation_id = ?1 and to_seq >= ?2 and from_seq <= ?3 order by from_seq",
        params![conversation, seq_to_i64(from), seq_to_i64(to)],
        |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned())),
    )?;
    let mut left = Vec::new();
    let mut next = from;
    for (low, high) in explained {
        if next < low {
            left.push((next, low - 1));
        }
        next = next.max(high + 1);
    }
    if next <= to {
        left.push((next, to));
    }
    Ok(left)
}

/// What was pulled one after the other, top down, and turned out the same is one run.
const SAME_RUN: Duration = Duration::from_hours(1);

fn close(
    connection: &Connection,
    conversation: ConversationId,
    (from, to): (MsgSeq, MsgSeq),
    (state, reason): (&str, &str),
    found_at: i64,
    closed_at: Timestamp,
) -> Result<(), Error> {
    let joined = connection.execute(
        "update gaps set from_seq = ?2, found_at = min(found_at, ?6), closed_at = ?7
         where conversation_id = ?1 and to_seq > ?3 and from_seq = ?3 + 1 and state = ?4
             and reason = ?5 and closed_at > ?8",
        params![
            conversation,
            seq_to_i64(from),
            seq_to_i64(to),
            state,
            reason,
            found_at,
            closed_at.millis(),
            closed_at.before(SAME_RUN).millis()
        ],
    )?;
    if joined > 0 {
        return Ok(());
    }
    connection.execute(
            "insert into gaps (conversation_id, from_seq, to_seq, state, reason, found_at, closed_at,
             attempts, due_at) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?7)",
            params![conversation, seq_to_i64(from), seq_to_i64(to), state, reason, found_at, closed_at.millis()],
        ).map(drop)
}

struct Explain {
    explained: Explained,
    messages: Vec<Record>,
}

impl Operation for Explain {
    type Answer = Vec<Recorded>;
    fn run(&self, writing: &mut Writing<'_>) -> Result<Vec<Recorded>, Error> {
        let Explained { conversation_id, from_seq, to_seq, runs, at } = &self.explained;
        let records: Vec<_> = self.messages.iter().collect();
        let recorded = record::all(writing, &records)?;
        let connection = writing.connection;
        let found_at = cut(connection, *conversation_id, *from_seq, *to_seq)?;
        let found_at = found_at.unwrap_or(at.millis());
        for (from, to, finding) in runs {
            for run in unexplained(connection, *conversation_id, (*from, *to))? {
                close(connection, *conversation_id, run, finding.words(), found_at, *at)?;
            }
        }
        Ok(recorded)
    }
}

impl Operation for Unexplained {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        let (sql, at) = if self.give_up {
            (
                "update gaps set state = 'unrepairable', reason = ?, closed_at = ?
                 where conversation_id = ? and to_seq >= ? and from_seq <= ? and state = 'open'",
                self.at,
            )
        } else {
            (
                "update gaps set attempts = attempts + 1, reason = ?, due_at = ?
                 where conversation_id = ? and to_seq >= ? and from_seq <= ? and state = 'open'",
                self.due_at,
            )
        };
        let (from, to) = (seq_to_i64(self.from_seq), seq_to_i64(self.to_seq));
        let values = params![self.reason.as_str(), at.millis(), self.conversation_id, from, to];
        writing.connection.execute(sql, values).map(drop)
    }
}

/// Ends what was open of a conversation that is no more.
pub(super) fn end_conversation(
    connection: &Connection,
    conversation: ConversationId,
    at: Timestamp,
) -> Result<(), Error> {
    for sql in [
        "update gaps set state = 'unrepairable', reason = 'group destroyed', closed_at = ?
         where conversation_id = ? and state = 'open'",
        "update backfills set state = 'failed', reason = 'group destroyed', finished_at = ?
         where conversation_id = ? and state = 'running'",
    ] {
        connection.execute(sql, params![at.millis(), conversation])?;
    }
    Ok(())
}
