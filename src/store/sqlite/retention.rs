//! [`Retention`] on SQLite.
//!
//! The writer's connection has `secure_delete`, so what an update or a delete frees is overwritten
//! with zeros; the pages as they were before lie in the write-ahead log until it is reset, which
//! [`Retention::scrub`] does.

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::Sqlite;
use super::chain::Kind;
use super::connection::Connection;
use super::control::record_act;
use super::gaps::set_number;
use super::open::unavailable;
use super::trail::{self, old_run};
use super::writer::{Operation, Writing};
use crate::model::faults::fault;
use crate::model::{JobState, Timestamp, UserId};
use crate::store::{By, Cutoffs, Erased, Error, Pruned, Retention};

#[async_trait]
impl Retention for Sqlite {
    async fn erase_some(
        &self,
        sender: &UserId,
        after: i64,
        limit: usize,
    ) -> Result<Option<Erased>, Error> {
        self.writer.perform(EraseSome { sender: sender.clone(), after, limit }).await
    }

    async fn erase_quarantined(&self, sender: &UserId) -> Result<u64, Error> {
        let (mut after, mut erased) = (0, 0);
        loop {
            let next: Vec<(i64, Vec<u8>)> = sqlx::query_as(
                "select quarantine_id, body from quarantine where quarantine_id > ?
                 order by quarantine_id limit ?",
            )
            .bind(after)
            .bind(BODIES)
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)?;
            let Some((last, _)) = next.last() else { return Ok(erased) };
            after = *last;
            let naming = next.iter().filter(|(_, body)| names(body, sender.as_str()));
            let ids: Vec<i64> = naming.map(|(id, _)| *id).collect();
            if !ids.is_empty() {
                erased += self.writer.perform(EraseQuarantined(ids)).await?;
            }
        }
    }

    async fn prune_some(&self, before: Cutoffs, limit: usize) -> Result<Pruned, Error> {
        self.writer.perform(PruneSome { before, limit }).await
    }

    async fn scrub(&self) -> Result<bool, Error> {
        fault!("on_checkpoint");
        self.writer.empty_log(&self.options).await
    }

    async fn note_removal(&self, by: &By, act: &str, detail: String) -> Result<(), Error> {
        let note = NoteRemoval { by: by.clone(), act: act.to_owned(), detail };
        self.writer.perform(note).await
    }
}

/// What of `detail` tells nothing about people: what stateful matchers counted.
const WHAT_STAYS: &str = "case when json_extract(detail, '$.signals') is null then null
    else json_object('signals', json_extract(detail, '$.signals')) end";

struct EraseSome {
    sender: UserId,
    after: i64,
    limit: usize,
}

impl Operation for EraseSome {
    type Answer = Option<Erased>;
    fn run(&self, writing: &mut Writing<'_>) -> Result<Option<Erased>, Error> {
        let ids: Vec<i64> = writing.connection.values(
            "select message_id from messages where sender = ?1 and message_id > ?2
             union
             select message_id from conflicts where sender = ?1 and message_id > ?2
             order by message_id limit ?3",
            params![
                self.sender.as_str(),
                self.after,
                i64::try_from(self.limit).unwrap_or(i64::MAX)
            ],
        )?;
        let Some(last) = ids.last().copied() else { return Ok(None) };
        blank(writing.connection, &ids, Some(&self.sender))?;
        Ok(Some(Erased { after: last, messages: ids.len() as u64 }))
    }
}

/// Bodies in quarantine looked at in one go.
const BODIES: i64 = 100;

/// Whether a body that may not even be JSON names somebody, be it as it is or with characters escaped
/// in any of the ways that JSON allows.
fn names(body: &[u8], sender: &str) -> bool {
    let sender = sender.as_bytes();
    let holds = |bytes: &[u8]| bytes.windows(sender.len().max(1)).any(|window| window == sender);
    holds(body) || (body.contains(&b'\\') && holds(&unescaped(body)))
}

/// The bytes with JSON's escapes undone wherever one stands; what is none stays as it is.
fn unescaped(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let Some((kind, behind)) = rest.split_first() else { break };
        let plain = match kind {
            b'u' => {
                if let Some((c, behind)) = code_point(rest) {
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    rest = behind;
                }
                continue;
            }
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            other => *other,
        };
        out.push(plain);
        rest = behind;
    }
    out.extend_from_slice(rest);
    out
}

/// The character of a `uXXXX`, of two of them where they are a surrogate pair, and what follows.
fn code_point(escape: &[u8]) -> Option<(char, &[u8])> {
    let unit = |bytes: &[u8]| {
        let digits = bytes.strip_prefix(b"u")?.get(..4)?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let first = unit(escape)?;
    if let Some(c) = char::from_u32(first.into()) {
        return Some((c, &escape[5..]));
    }
    let second = unit(escape[5..].strip_prefix(b"\\")?)?;
    let c = char::decode_utf16([first, second]).next()?.ok()?;
    Some((c, &escape[11..]))
}

/// Drops these bodies.
struct EraseQuarantined(Vec<i64>);

impl Operation for EraseQuarantined {
    type Answer = u64;
    fn run(&self, writing: &mut Writing<'_>) -> Result<u64, Error> {
        writing.connection.execute(
            "delete from quarantine where quarantine_id in (select value from json_each(?))",
            params![serde_json::json!(self.0).to_string()],
        )
    }
}

struct PruneSome {
    before: Cutoffs,
    limit: usize,
}

impl Operation for PruneSome {
    type Answer = Pruned;
    fn run(&self, writing: &mut Writing<'_>) -> Result<Pruned, Error> {
        let mut pruned = Pruned::default();
        let connection = writing.connection;
        if let Some(before) = self.before.text {
            let walk = Walk { marker: "text_pruned_through", matched: false, before };
            self.texts(connection, &walk, &mut pruned)?;
            let old = "delete from quarantine where quarantine_id in (
                select quarantine_id from quarantine where received_at < ? limit ?)";
            self.rows(connection, old, before, &mut pruned)?;
        }
        if let Some(before) = self.before.matched_text {
            let walk = Walk { marker: "matched_text_pruned_through", matched: true, before };
            self.texts(connection, &walk, &mut pruned)?;
        }
        if let Some(before) = self.before.rows {
            // What goes leaves the table of keys, too, so its key has to be there.
            writing.keys.file_all(connection)?;
            self.messages(connection, before, &mut pruned)?;
            self.calls(connection, before, &mut pruned)?;
            for state in JobState::ALL.iter().copied().filter(|state| state.is_final()) {
                self.jobs(connection, state, before, &mut pruned)?;
            }
            self.gaps(connection, before, &mut pruned)?;
        }
        Ok(pruned)
    }
}

/// How far the gaps were walked through, in `meta`; 0 before the first and after the last.
const GAPS_WALKED: &str = "gaps_pruned_through";

/// What goes with the messages from ?1 up to ?2: them last.
const OF_MESSAGES: [&str; 5] = [
    "delete from hits where message_id between ?1 and ?2",
    "delete from reviews where message_id between ?1 and ?2",
    "delete from conflicts where message_id between ?1 and ?2",
    "delete from message_keys where (conversation_id, msg_seq) in (
         select conversation_id, msg_seq from messages not indexed
         where message_id between ?1 and ?2)",
    "delete from messages where message_id between ?1 and ?2",
];

/// A way through the messages in order of recording, which is nearly that of time.
struct Walk {
    /// Where in `meta` it stands how far it has come.
    marker: &'static str,
    matched: bool,
    before: Timestamp,
}

/// An id, whether its row is old, and whether it is meant.
fn read_old(row: &Row<'_>) -> rusqlite::Result<(i64, bool, bool)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

impl PruneSome {
    fn limit(&self) -> i64 {
        i64::try_from(self.limit).unwrap_or(i64::MAX)
    }

    fn texts(
        &self,
        connection: &Connection,
        walk: &Walk,
        pruned: &mut Pruned,
    ) -> Result<(), Error> {
        let next = connection.rows(
            "select message_id, received_at < ?2, (verdict > 0) = ?3 from messages
             where message_id > coalesce((select cast(value as integer) from meta where name = ?1), 0)
             order by message_id limit ?4",
            params![walk.marker, walk.before.millis(), walk.matched, self.limit()],
            read_old,
        )?;
        let old: Vec<_> = next.iter().take_while(|(_, is_old, _)| *is_old).collect();
        let Some((last, ..)) = old.last() else { return Ok(()) };
        let meant: Vec<i64> =
            old.iter().filter(|(.., is_meant)| *is_meant).map(|(id, ..)| *id).collect();
        set_number(connection, walk.marker, *last)?;
        blank(connection, &meant, None)?;
        pruned.texts += meant.len() as u64;
        pruned.more |= old.len() >= self.limit;
        Ok(())
    }

    /// Takes old messages away, with all that is about them: a run that one link of the chain covers at a
    /// time, so that each link has its rows or none.
    fn messages(
        &self,
        connection: &Connection,
        before: Timestamp,
        pruned: &mut Pruned,
    ) -> Result<(), Error> {
        let mut gone = 0;
        while gone < self.limit as u64 {
            let run = old_run(connection, Kind::Messages, before.millis())?;
            let Some((link, from, to)) = run else { return Ok(()) };
            let ids: Vec<i64> = connection.values(
                "select message_id from messages not indexed where message_id between ? and ?",
                params![from, to],
            )?;
            blank(connection, &ids, None)?;
            connection.execute(
                "update chain set pruned_before = ?3, salts = null, digests = null
                 where kind = 1 and from_id in (
                     select conflict_id from conflicts where message_id between ?1 and ?2)",
                params![from, to, before.millis()],
            )?;
            for sql in OF_MESSAGES {
                connection.execute(sql, params![from, to])?;
            }
            trail::pruned(connection, link, before.millis())?;
            gone += ids.len() as u64;
            pruned.rows += ids.len() as u64;
            pruned.more = true;
        }
        Ok(())
    }

    fn calls(
        &self,
        connection: &Connection,
        before: Timestamp,
        pruned: &mut Pruned,
    ) -> Result<(), Error> {
        let mut gone = 0;
        while gone < self.limit as u64 {
            let run = old_run(connection, Kind::Calls, before.millis())?;
            let Some((link, from, to)) = run else { return Ok(()) };
            let rows = connection
                .execute("delete from calls where call_id between ? and ?", params![from, to])?;
            trail::pruned(connection, link, before.millis())?;
            gone += rows;
            pruned.rows += rows;
            pruned.more = true;
        }
        Ok(())
    }

    /// Takes old jobs of one final state away. The states are walked apart, so that jobs that still wait,
    /// however many and however old, never stand at the head of the line.
    fn jobs(
        &self,
        connection: &Connection,
        state: JobState,
        before: Timestamp,
        pruned: &mut Pruned,
    ) -> Result<(), Error> {
        let gone = connection.execute(
            "delete from recall_jobs where job_id in (
                 select job_id from (select job_id, created_at from recall_jobs
                     where state = ?3 order by job_id limit ?2)
                 where created_at < ?1)",
            params![before.millis(), self.limit(), state.as_str()],
        )?;
        pruned.rows += gone;
        pruned.more |= gone >= self.limit as u64;
        Ok(())
    }

    /// Takes old gaps away that are closed. Open ones stay and are walked past; the next time begins at
    /// the first again.
    fn gaps(
        &self,
        connection: &Connection,
        before: Timestamp,
        pruned: &mut Pruned,
    ) -> Result<(), Error> {
        let next = connection.rows(
            "select gap_id, found_at < ?2, coalesce(closed_at < ?2, 0) from gaps
             where gap_id > coalesce((select cast(value as integer) from meta where name = ?1), 0)
             order by gap_id limit ?3",
            params![GAPS_WALKED, before.millis(), self.limit()],
            read_old,
        )?;
        // None is closed before it is found, so what was found lately ends the walk.
        let old: Vec<_> = next.iter().take_while(|(_, is_old, _)| *is_old).collect();
        let closed: Vec<i64> =
            old.iter().filter(|(.., is_closed)| *is_closed).map(|(id, ..)| *id).collect();
        if !closed.is_empty() {
            connection.execute(
                "delete from gaps where gap_id in (select value from json_each(?))",
                params![serde_json::json!(closed).to_string()],
            )?;
        }
        let last = old.last().filter(|_| old.len() >= self.limit);
        pruned.rows += closed.len() as u64;
        pruned.more |= last.is_some();
        set_number(connection, GAPS_WALKED, last.map_or(0, |(id, ..)| *id))
    }

    fn rows(
        &self,
        connection: &Connection,
        sql: &'static str,
        before: Timestamp,
        pruned: &mut Pruned,
    ) -> Result<(), Error> {
        let gone = connection.execute(sql, params![before.millis(), self.limit()])?;
        pruned.rows += gone;
        pruned.more |= gone >= self.limit as u64;
        Ok(())
    }
}

/// Takes the text of messages away, with that of their conflicts and hits; of one sender alone where
/// one is given.
fn blank(connection: &Connection, messages: &[i64], sender: Option<&UserId>) -> Result<(), Error> {
    let these = serde_json::json!(messages).to_string();
    let meant = [
        "select message_id from messages
         where message_id in (select value from json_each(?1)) and (?2 is null or sender = ?2)",
        "select conflict_id from conflicts
         where message_id in (select value from json_each(?1)) and (?2 is null or sender = ?2)",
    ];
    let mut ids: [Vec<i64>; 2] = Default::default();
    for (sql, ids) in meant.into_iter().zip(&mut ids) {
        *ids = connection.values(sql, params![these.as_str(), sender.map(UserId::as_str)])?;
    }
    trail::forget(connection, &ids[0], &ids[1])?;
    for table in ["messages", "conflicts"] {
        let sql = format!(
            "update {table} set text = '', body = null, cloud_custom_data = '', detail = {WHAT_STAYS}
             where message_id in (select value from json_each(?1)) and (?2 is null or sender = ?2)"
        );
        connection.execute(&sql, params![these.as_str(), sender.map(UserId::as_str)])?;
    }
    connection.execute(
            "update hits set matched_text = '' where message_id in (select value from json_each(?1))
             and (?2 is null or ?2 = coalesce(
                 (select sender from conflicts x where x.conflict_id = hits.conflict_id),
                 (select sender from messages m where m.message_id = hits.message_id)))",
            params![these.as_str(), sender.map(UserId::as_str)],
        ).map(drop)
}

struct NoteRemoval {
    by: By,
    act: String,
    detail: String,
}

impl Operation for NoteRemoval {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        record_act(writing.connection, &self.by, &self.act, &self.detail)
    }
}
