//! [`Trail`] on SQLite.
//!
//! Rows are read and digested on a reading connection; what goes through the writer is the finished link
//! alone, with the places of its messages. Rows never change once they are committed but for what
//! retention takes away, so the writer refuses a link where something was taken away meanwhile, and it is
//! made again.

use std::sync::PoisonError;

use async_trait::async_trait;
use rand::RngCore;
use serde_json::json;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};

use super::Sqlite;
use super::chain::{self, Kind, NewLink, SALT};
use super::gaps::set_number;
use super::open::{scalar, unavailable};
use super::writer::{Operation, Writing};
use crate::model::Timestamp;
use crate::store::{Error, Trail};

/// Links that one step makes of a kind at most.
const LINKS_AT_ONCE: usize = 8;
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
        let mut more = false;
        for kind in Kind::ALL {
            more |= self.extend(kind, now).await?;
        }
        if self.search {
            more |= self.writer.perform(Index).await?;
        }
        Ok(more)
    }
}

/// What is read before links are made.
struct State {
    removals: i64,
    links: i64,
    hash: Vec<u8>,
    from: i64,
    last: i64,
}

impl Sqlite {
    /// Makes links of what there is of a kind. Answers whether there is more.
    async fn extend(&self, kind: Kind, now: Timestamp) -> Result<bool, Error> {
        let mut reading = self.readers.begin().await.map_err(unavailable)?;
        let state = state(&mut reading, kind).await?;
        let mut links: Vec<NewLink> = Vec::new();
        let (mut from, mut more) = (state.from, false);
        while from <= state.last {
            if links.len() == LINKS_AT_ONCE {
                more = true;
                break;
            }
            let to = (from + kind.span() - 1).min(state.last);
            if to - from + 1 < kind.span() && !is_old(&mut reading, kind, from, now).await? {
                break;
            }
            let rows = chain::rows(&mut reading, kind, from, to).await?;
            // Ids that were never given to a row that stayed, or whose rows are gone since long.
            let to = if rows.is_empty() { first(&mut reading, kind, from).await? - 1 } else { to };
            let salts = self.salts(to - from + 1, rows.is_empty());
            let before = links.last().map_or(state.hash.as_slice(), |link| &link.hash[..]);
            links.push(chain::link(before, kind, (from, to), &rows, &salts, now.millis()));
            from = to + 1;
        }
        reading.commit().await.map_err(unavailable)?;
        if links.is_empty() {
            return Ok(false);
        }
        let done = self
            .writer
            .perform(Append { removals: state.removals, links: state.links, new: links })
            .await?;
        Ok(more || !done)
    }

    fn salts(&self, ids: i64, none: bool) -> Vec<u8> {
        let mut salts = vec![0; if none { 0 } else { usize::try_from(ids).unwrap_or(0) * SALT }];
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.fill_bytes(&mut salts);
        salts
    }
}

async fn state(connection: &mut SqliteConnection, kind: Kind) -> Result<State, Error> {
    let (table, id) = kind.table();
    // A call that is under way is not finished yet, nor is what came after it.
    let last = match kind {
        Kind::Calls => "select coalesce(
                 (select min(call_id) - 1 from calls where outcome = 'started'),
                 (select max(call_id) from calls), 0)"
            .to_owned(),
        _ => format!("select coalesce(max({id}), 0) from {table}"),
    };
    let row = sqlx::query(AssertSqlSafe(format!(
        "select coalesce((select cast(value as integer) from meta where name = '{REMOVALS}'), 0),
             coalesce((select max(link_id) from chain), 0),
             coalesce((select hash from chain order by link_id desc limit 1), x''),
             coalesce((select to_id from chain indexed by chain_kind
                 where kind = {} order by from_id desc limit 1), 0) + 1,
             ({last})",
        kind as i64
    )))
    .fetch_one(connection)
    .await
    .map_err(unavailable)?;
    Ok(State {
        removals: row.get(0),
        links: row.get(1),
        hash: row.get(2),
        from: row.get(3),
        last: row.get(4),
    })
}

/// Whether the first row from an id on has waited long enough.
async fn is_old(
    connection: &mut SqliteConnection,
    kind: Kind,
    from: i64,
    now: Timestamp,
) -> Result<bool, Error> {
    let (table, id) = kind.table();
    let time = kind.time();
    let sql =
        format!("select {time} from {table} not indexed where {id} >= ? order by {id} limit 1");
    let at: Option<i64> = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(from)
        .fetch_optional(connection)
        .await
        .map_err(unavailable)?;
    Ok(at.is_none_or(|at| now.millis() - at >= PATIENCE_MS))
}

/// The first id of a row from another one on.
async fn first(connection: &mut SqliteConnection, kind: Kind, from: i64) -> Result<i64, Error> {
    let (table, id) = kind.table();
    let sql = format!("select coalesce(min({id}), ?1 + 1) from {table} where {id} >= ?1");
    sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(from)
        .fetch_one(connection)
        .await
        .map_err(unavailable)
}

/// Puts links at the end of the chain, unless it changed, or something was taken away, since the rows
/// were read. Answers whether it did.
struct Append {
    removals: i64,
    links: i64,
    new: Vec<NewLink>,
}

#[async_trait]
impl Operation for Append {
    type Answer = bool;
    async fn run(&self, writing: &mut Writing<'_>) -> Result<bool, Error> {
        let links: i64 =
            scalar(writing.connection, "select coalesce(max(link_id), 0) from chain").await?;
        if links != self.links || removals(writing.connection).await? != self.removals {
            return Ok(false);
        }
        for (place, link) in self.new.iter().enumerate() {
            sqlx::query(
                "insert into chain (link_id, kind, from_id, to_id, row_count, made_at, salts,
                     digests, root, hash) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(links + 1 + i64::try_from(place).unwrap_or(0))
            .bind(link.kind as i64)
            .bind(link.from)
            .bind(link.to)
            .bind(link.rows)
            .bind(link.at)
            .bind(link.salts.as_deref())
            .bind(link.digests.as_deref())
            .bind(&link.root[..])
            .bind(&link.hash[..])
            .execute(&mut *writing.connection)
            .await
            .map_err(unavailable)?;
        }
        let messages = self.new.iter().filter(|link| link.kind == Kind::Messages);
        let range = messages.fold(None, |range: Option<(i64, i64)>, link| {
            Some((range.map_or(link.from, |range| range.0), link.to))
        });
        if let Some((from, to)) = range {
            // In order, so that each page of the tree is visited once.
            sqlx::query(
                "insert or ignore into message_places (conversation_id, message_id)
                 select conversation_id, message_id from messages not indexed
                 where message_id between ? and ? order by conversation_id, message_id",
            )
            .bind(from)
            .bind(to)
            .execute(&mut *writing.connection)
            .await
            .map_err(unavailable)?;
        }
        Ok(true)
    }
}

async fn removals(connection: &mut SqliteConnection) -> Result<i64, Error> {
    scalar(
        connection,
        "select coalesce((select cast(value as integer) from meta where name = 'removals'), 0)",
    )
    .await
}

/// Puts texts into the index. Answers whether there are more.
struct Index;

#[async_trait]
impl Operation for Index {
    type Answer = bool;
    async fn run(&self, writing: &mut Writing<'_>) -> Result<bool, Error> {
        let row = sqlx::query(
            "select coalesce((select cast(value as integer) from meta where name = ?), 0),
                 coalesce((select max(message_id) from messages), 0)",
        )
        .bind(SEARCHED)
        .fetch_one(&mut *writing.connection)
        .await
        .map_err(unavailable)?;
        let (done, last): (i64, i64) = (row.get(0), row.get(1));
        let to: Option<i64> = sqlx::query_scalar(
            "select max(message_id) from (select message_id from messages not indexed
                 where message_id > ? order by message_id limit ?)",
        )
        .bind(done)
        .bind(TEXTS_AT_ONCE)
        .fetch_one(&mut *writing.connection)
        .await
        .map_err(unavailable)?;
        let to = to.unwrap_or(done);
        sqlx::query(
            "insert into message_search (rowid, text) select message_id, text from messages not indexed
             where message_id > ? and message_id <= ? and text <> ''",
        )
        .bind(done)
        .bind(to)
        .execute(&mut *writing.connection)
        .await
        .map_err(unavailable)?;
        set_number(writing.connection, SEARCHED, to).await?;
        Ok(to < last)
    }
}

/// Lets go of what is kept of the contents of messages and conflicts beside them: the salts that stand
/// in the chain, and what of their texts is in the index. Comes before the contents themselves go.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    messages: &[i64],
    conflicts: &[i64],
) -> Result<(), Error> {
    if messages.is_empty() && conflicts.is_empty() {
        return Ok(());
    }
    let removals = removals(connection).await?;
    set_number(connection, REMOVALS, removals + 1).await?;
    sqlx::query(
        "insert into message_search (message_search, rowid, text)
         select 'delete', message_id, text from messages
         where message_id in (select value from json_each(?)) and text <> ''
           and message_id <= coalesce(
               (select cast(value as integer) from meta where name = 'search_through'), 0)",
    )
    .bind(json!(messages).to_string())
    .execute(&mut *connection)
    .await
    .map_err(unavailable)?;
    unsalt(connection, Kind::Messages, messages).await?;
    unsalt(connection, Kind::Conflicts, conflicts).await
}

/// Overwrites the salts of rows.
async fn unsalt(connection: &mut SqliteConnection, kind: Kind, ids: &[i64]) -> Result<(), Error> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    let links = sqlx::query(
        "select distinct k.link_id, k.from_id, k.to_id, k.salts
         from json_each(?2) wanted
         cross join chain k on k.link_id = (
             select link_id from chain indexed by chain_kind
             where kind = ?1 and from_id <= wanted.value order by from_id desc limit 1)
         where k.to_id >= wanted.value and k.salts is not null",
    )
    .bind(kind as i64)
    .bind(json!(ids).to_string())
    .fetch_all(&mut *connection)
    .await
    .map_err(unavailable)?;
    for row in &links {
        let (link, from, to): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let mut salts: Vec<u8> = row.get(3);
        let first = ids.partition_point(|id| *id < from);
        for id in ids[first..].iter().take_while(|id| **id <= to) {
            let place = usize::try_from(id - from).unwrap_or(0) * SALT;
            if let Some(salt) = salts.get_mut(place..place + SALT) {
                salt.fill(0);
            }
        }
        let left = salts.iter().any(|byte| *byte != 0);
        sqlx::query("update chain set salts = ? where link_id = ?")
            .bind(left.then_some(salts))
            .bind(link)
            .execute(&mut *connection)
            .await
            .map_err(unavailable)?;
    }
    Ok(())
}

/// The oldest run of a kind in the chain of which every row is older than a time: where it ends, and its
/// link.
pub(super) async fn old_run(
    connection: &mut SqliteConnection,
    kind: Kind,
    before: i64,
) -> Result<Option<(i64, i64, i64)>, Error> {
    let oldest = sqlx::query(
        "select link_id, from_id, to_id from chain indexed by chain_kept
         where kind = ? and pruned_before is null order by from_id limit 1",
    )
    .bind(kind as i64)
    .fetch_optional(&mut *connection)
    .await
    .map_err(unavailable)?;
    let Some(oldest) = oldest else { return Ok(None) };
    let (link, from, to): (i64, i64, i64) = (oldest.get(0), oldest.get(1), oldest.get(2));
    let (table, id) = kind.table();
    let time = kind.time();
    let sql = format!(
        "select coalesce(max({time}), 0) < ?3 from {table} not indexed where {id} between ?1 and ?2"
    );
    let is_old: bool = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(from)
        .bind(to)
        .bind(before)
        .fetch_one(connection)
        .await
        .map_err(unavailable)?;
    Ok(is_old.then_some((link, from, to)))
}

/// Notes that the rows of a link were taken away. Its hash stays, so the chain goes on.
pub(super) async fn pruned(
    connection: &mut SqliteConnection,
    link: i64,
    before: i64,
) -> Result<(), Error> {
    sqlx::query(
        "update chain set pruned_before = ?, salts = null, digests = null where link_id = ?",
    )
    .bind(before)
    .bind(link)
    .execute(connection)
    .await
    .map(drop)
    .map_err(unavailable)
}
