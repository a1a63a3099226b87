//! [`Trail`] on SQLite.
//!
//! Rows are read and digested on a reading connection; what goes through the writer is the finished link
//! alone. Rows never change once they are committed but for what
//! retention takes away, so the writer refuses a link where something was taken away meanwhile, and it is
//! made again.

use std::sync::PoisonError;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use rusqlite::params;
use serde_json::json;

use super::Sqlite;
use super::chain::{self, Kind, NewLink, SALT};
use super::connection::Connection;
use super::gaps::set_number;
use super::words::Words;
use super::writer::{Operation, Writing};
use crate::model::Timestamp;
use crate::store::{Error, Trail};

/// Links that one step makes of a kind at most, and what part of those that wait. Digesting one takes a
/// quarter of a millisecond, and so long somebody else may have no processor: steps are short unless much
/// waits.
const LINKS_AT_ONCE: i64 = 8;
const PART_AT_ONCE: i64 = 64;
/// A row is in the chain after so long, in a link that is not full if need be.
const PATIENCE_MS: i64 = 10_000;
/// Texts that one step puts into the index: each costs the writer some ten microseconds.
const TEXTS_AT_ONCE: i64 = 200;
/// Where in `meta` it stands how often content was taken away.
const REMOVALS: &str = "removals";
/// Where in `meta` it stands up to which message texts are in the index.
pub(super) const SEARCHED: &str = "search_through";

#[async_trait]
impl Trail for Sqlite {
    async fn follow(&self, now: Timestamp) -> Result<bool, Error> {
        let made = self.links(now).await;
        // What ails the chain must not keep the writer from letting go of keys.
        let keys = self.writer.perform(FileKeys);
        let mut more = match made {
            Ok((append, behind)) if !append.new.is_empty() => {
                // At once, so that one transaction does for both.
                let (filed, appended) = tokio::join!(keys, self.writer.perform(append));
                filed? | behind | !appended?
            }
            Ok(_) => keys.await?,
            Err(error) => {
                keys.await?;
                return Err(error);
            }
        };
        if self.options.search {
            more |= self.writer.perform(Index).await?;
        }
        Ok(more)
    }
}

impl Sqlite {
    /// Makes links of what there is, and says whether there is more.
    async fn links(&self, now: Timestamp) -> Result<(Append, bool), Error> {
        let mut random = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            StdRng::from_rng(&mut *random)
        };
        self.aside.ask(move |reading, words| links(reading, words, now, &mut random)).await
    }
}

/// Makes the next links of each kind. Answers whether there are rows for more.
fn links(
    reading: &Connection,
    words: &mut Words,
    now: Timestamp,
    random: &mut StdRng,
) -> Result<(Append, bool), Error> {
    // What is read must be of one moment.
    let _moment = reading.moment()?;
    let links = last_link(reading)?;
    let mut hash: Vec<u8> = reading
        .first("select hash from chain order by link_id desc limit 1", [])?
        .unwrap_or_default();
    let mut append = Append { removals: removals(reading)?, links, new: Vec::new() };
    let mut more = false;
    for kind in Kind::ALL {
        let (mut from, last) = behind(reading, kind)?;
        let waiting = (last - from + 1) / kind.span();
        let at_once = (waiting / PART_AT_ONCE).clamp(1, LINKS_AT_ONCE);
        let mut made = 0;
        while from <= last {
            if made == at_once {
                more = true;
                break;
            }
            let to = (from + kind.span() - 1).min(last);
            if to - from + 1 < kind.span() && !is_old(reading, kind, from, now)? {
                break;
            }
            let mut salts = vec![0; kind.salted(from, to)];
            random.fill_bytes(&mut salts);
            let covered = chain::cover(reading, words, kind, (from, to), &salts)?;
            // Ids that were never given to a row that stayed, or whose rows are gone since long.
            let to = if covered.rows == 0 { first(reading, kind, from)? - 1 } else { to };
            let link = chain::link(&hash, kind, (from, to), covered, now.millis());
            hash = link.hash.to_vec();
            append.new.push(link);
            made += 1;
            from = to + 1;
        }
    }
    Ok((append, more))
}

/// The ids of a kind that are not in the chain: the first, and the last.
fn behind(reading: &Connection, kind: Kind) -> Result<(i64, i64), Error> {
    let (table, id) = kind.table();
    // A call that is under way is not finished yet, nor is what came after it.
    let last = match kind {
        Kind::Calls => "select coalesce(
                 (select min(call_id) - 1 from calls where outcome = 'started'),
                 (select max(call_id) from calls), 0)"
            .to_owned(),
        _ => format!("select coalesce(max({id}), 0) from {table}"),
    };
    let sql = format!(
        "select coalesce((select to_id from chain indexed by chain_kind
             where kind = {} order by from_id desc limit 1), 0) + 1, ({last})",
        kind as i64
    );
    let ids = reading.row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    ids.ok_or(Error::Closed)
}

/// Whether the first row from an id on has waited long enough.
fn is_old(reading: &Connection, kind: Kind, from: i64, now: Timestamp) -> Result<bool, Error> {
    let (table, id) = kind.table();
    let time = kind.time();
    let sql =
        format!("select {time} from {table} not indexed where {id} >= ? order by {id} limit 1");
    let at: Option<i64> = reading.first(&sql, [from])?;
    Ok(at.is_none_or(|at| now.millis() - at >= PATIENCE_MS))
}

/// The first id of a row from another one on.
fn first(reading: &Connection, kind: Kind, from: i64) -> Result<i64, Error> {
    let (table, id) = kind.table();
    let sql = format!("select coalesce(min({id}), ?1 + 1) from {table} where {id} >= ?1");
    reading.value(&sql, [from])
}

/// Puts links at the end of the chain, unless it changed, or something was taken away, since the rows
/// were read. Answers whether it did.
struct Append {
    removals: i64,
    links: i64,
    new: Vec<NewLink>,
}

impl Operation for Append {
    type Answer = bool;
    fn run(&self, writing: &mut Writing<'_>) -> Result<bool, Error> {
        let links = last_link(writing.connection)?;
        if links != self.links || removals(writing.connection)? != self.removals {
            return Ok(false);
        }
        for (place, link) in self.new.iter().enumerate() {
            writing.connection.execute(
                "insert into chain (link_id, kind, from_id, to_id, row_count, made_at, salts,
                     digests, root, hash) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    links + 1 + i64::try_from(place).unwrap_or(0),
                    link.kind as i64,
                    link.from,
                    link.to,
                    link.covered.rows,
                    link.at,
                    link.covered.salts.as_deref(),
                    link.covered.digests.as_deref(),
                    &link.covered.root[..],
                    &link.hash[..]
                ],
            )?;
        }
        Ok(true)
    }
}

fn last_link(connection: &Connection) -> Result<i64, Error> {
    connection.value("select coalesce(max(link_id), 0) from chain", [])
}

fn removals(connection: &Connection) -> Result<i64, Error> {
    connection.value(
        "select coalesce((select cast(value as integer) from meta where name = 'removals'), 0)",
        [],
    )
}

/// Puts keys of messages into their table, where so many wait that it is worth it. Answers whether
/// there are more.
struct FileKeys;

impl Operation for FileKeys {
    type Answer = bool;
    fn run(&self, writing: &mut Writing<'_>) -> Result<bool, Error> {
        Ok(writing.keys.is_worth_filing() && writing.keys.file_some(writing.connection)?)
    }
}

/// Puts texts into the index. Answers whether there are more.
struct Index;

impl Operation for Index {
    type Answer = bool;
    fn run(&self, writing: &mut Writing<'_>) -> Result<bool, Error> {
        let state = writing.connection.row(
            "select coalesce((select cast(value as integer) from meta where name = ?), 0),
                 coalesce((select max(message_id) from messages), 0)",
            params![SEARCHED],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )?;
        let (done, last) = state.unwrap_or_default();
        let to: Option<i64> = writing.connection.value(
            "select max(message_id) from (select message_id from messages not indexed
                 where message_id > ? order by message_id limit ?)",
            params![done, TEXTS_AT_ONCE],
        )?;
        let to = to.unwrap_or(done);
        writing.connection.execute(
            "insert into message_search (rowid, text) select message_id, text from messages not indexed
             where message_id > ? and message_id <= ? and text <> ''",
            params![done, to],
        )?;
        set_number(writing.connection, SEARCHED, to)?;
        Ok(to < last)
    }
}

/// Lets go of what is kept of the contents of messages and conflicts beside them: the salts that stand
/// in the chain, and what of their texts is in the index. Comes before the contents themselves go.
pub(super) fn forget(
    connection: &Connection,
    messages: &[i64],
    conflicts: &[i64],
) -> Result<(), Error> {
    if messages.is_empty() && conflicts.is_empty() {
        return Ok(());
    }
    let removals = removals(connection)?;
    set_number(connection, REMOVALS, removals + 1)?;
    connection.execute(
        "insert into message_search (message_search, rowid, text)
         select 'delete', message_id, text from messages
         where message_id in (select value from json_each(?)) and text <> ''
           and message_id <= coalesce(
               (select cast(value as integer) from meta where name = 'search_through'), 0)",
        params![json!(messages).to_string()],
    )?;
    unsalt(connection, Kind::Messages, messages)?;
    unsalt(connection, Kind::Conflicts, conflicts)
}

/// Overwrites the salts of rows.
fn unsalt(connection: &Connection, kind: Kind, ids: &[i64]) -> Result<(), Error> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    let links = connection.rows(
        "select distinct k.link_id, k.from_id, k.to_id, k.salts
         from json_each(?2) wanted
         cross join chain k on k.link_id = (
             select link_id from chain indexed by chain_kind
             where kind = ?1 and from_id <= wanted.value order by from_id desc limit 1)
         where k.to_id >= wanted.value and k.salts is not null",
        params![kind as i64, json!(ids).to_string()],
        |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, Vec<u8>>(3)?,
            ))
        },
    )?;
    for (link, from, to, mut salts) in links {
        let first = ids.partition_point(|id| *id < from);
        for id in ids[first..].iter().take_while(|id| **id <= to) {
            let place = usize::try_from(id - from).unwrap_or(0) * SALT;
            if let Some(salt) = salts.get_mut(place..place + SALT) {
                salt.fill(0);
            }
        }
        let left = salts.iter().any(|byte| *byte != 0);
        connection.execute(
            "update chain set salts = ? where link_id = ?",
            params![left.then_some(salts), link],
        )?;
    }
    Ok(())
}

/// The oldest run of a kind in the chain of which every row is older than a time: where it ends, and its
/// link.
pub(super) fn old_run(
    connection: &Connection,
    kind: Kind,
    before: i64,
) -> Result<Option<(i64, i64, i64)>, Error> {
    let oldest = connection.row(
        "select link_id, from_id, to_id from chain indexed by chain_kept
         where kind = ? and pruned_before is null order by from_id limit 1",
        params![kind as i64],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let Some(oldest) = oldest else { return Ok(None) };
    let (link, from, to): (i64, i64, i64) = oldest;
    let (table, id) = kind.table();
    let time = kind.time();
    let sql = format!(
        "select coalesce(max({time}), 0) < ?3 from {table} not indexed where {id} between ?1 and ?2"
    );
    let is_old: bool = connection.value(&sql, params![from, to, before])?;
    Ok(is_old.then_some((link, from, to)))
}

/// Notes that the rows of a link were taken away. Its hash stays, so the chain goes on.
pub(super) fn pruned(connection: &Connection, link: i64, before: i64) -> Result<(), Error> {
    connection
        .execute(
            "update chain set pruned_before = ?, salts = null, digests = null where link_id = ?",
            params![before, link],
        )
        .map(drop)
}
