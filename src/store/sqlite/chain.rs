//! The chain: what a row's digest covers, how links are made, and how they are compared.
//!
//! A link covers a run of ids of one table. Every number and text goes into a digest with its length, so
//! that no two rows look alike. What people wrote goes in by a digest of its own with a random salt: once
//! the salt is gone, nobody can tell from it what was written, and the chain still holds.

use std::collections::HashMap;

use async_trait::async_trait;
use rusqlite::types::ValueRef;
use sha2::{Digest, Sha256};

use super::Sqlite;
use super::connection::{Aside, Connection};
use super::open::unavailable;
use super::past::Reader;
use super::words::Words;
use crate::store::{Chain, Disagreement, Error, Verified};

/// Ids that one link covers at most.
pub(super) const SPAN: i64 = 256;
/// Of a salt, and of a digest over a content.
pub(super) const SALT: usize = 16;
/// Columns of [`Kind::select_hits`].
const HIT_COLUMNS: usize = 6;
/// Findings that are kept.
const MOST_FINDINGS: usize = 100;

/// What a link covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Messages = 0,
    Conflicts = 1,
    Calls = 2,
    Operations = 3,
}

impl Kind {
    pub(super) const ALL: [Self; 4] =
        [Self::Messages, Self::Conflicts, Self::Calls, Self::Operations];

    fn of(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i64 == number)
    }

    /// Conflicts go with their messages, at any time, so each is a link of its own.
    pub(super) fn span(self) -> i64 {
        if self == Self::Conflicts { 1 } else { SPAN }
    }

    pub(super) fn table(self) -> (&'static str, &'static str) {
        match self {
            Self::Messages => ("messages", "message_id"),
            Self::Conflicts => ("conflicts", "conflict_id"),
            Self::Calls => ("calls", "call_id"),
            Self::Operations => ("operations", "operation_id"),
        }
    }

    /// When a row came, for telling whether it waited long enough.
    pub(super) fn time(self) -> &'static str {
        match self {
            Self::Messages | Self::Conflicts => "received_at",
            Self::Calls => "started_at",
            Self::Operations => "at",
        }
    }

    fn has_content(self) -> bool {
        matches!(self, Self::Messages | Self::Conflicts)
    }

    /// How many bytes the salts of a run of ids take.
    pub(super) fn salted(self, from: i64, to: i64) -> usize {
        if self.has_content() { usize::try_from(to - from + 1).unwrap_or(0) * SALT } else { 0 }
    }

    /// Rows from ?1 up to and with ?2: the id, what stays, and what people wrote in the last four.
    fn select(self) -> &'static str {
        match self {
            Self::Messages => {
                "select message_id, conversation_id, msg_seq, sender, sent_at, received_at,
                     online_only, source, verdict, rule_set_id,
                     text, body, cloud_custom_data, detail
                 from messages not indexed
                 where message_id between ?1 and ?2 order by message_id"
            }
            Self::Conflicts => {
                "select conflict_id, message_id, sender, sent_at, received_at,
                     online_only, source, verdict, rule_set_id,
                     text, body, cloud_custom_data, detail
                 from conflicts not indexed
                 where conflict_id between ?1 and ?2 order by conflict_id"
            }
            Self::Calls => {
                "select call_id, conversation_id, sequences, started_at, duration_ms, http_status,
                     error_code, outcome
                 from calls not indexed
                 where call_id between ?1 and ?2 order by call_id"
            }
            Self::Operations => {
                "select operation_id, actor, act, detail, at from operations not indexed
                 where operation_id between ?1 and ?2 order by operation_id"
            }
        }
    }

    /// How many of the columns of [`Self::select`] stay, whatever is erased.
    fn stays(self) -> usize {
        match self {
            Self::Messages => 10,
            Self::Conflicts => 9,
            Self::Calls => 8,
            Self::Operations => 5,
        }
    }

    /// What a column of [`Self::select`] holds.
    fn column(self, at: usize) -> Column {
        match (self, at) {
            (Self::Messages | Self::Calls, 1) => Column::Conversation,
            (Self::Messages, 9) | (Self::Conflicts, 8) => Column::RuleSet,
            _ => Column::Value,
        }
    }

    /// The hits of rows from ?1 up to and with ?2.
    fn select_hits(self) -> Option<&'static str> {
        match self {
            Self::Messages => Some(
                "select message_id, rule_id, mode, severity, start_char, end_char
                 from hits indexed by hits_message
                 where message_id between ?1 and ?2 and conflict_id is null
                 order by message_id, hit_id",
            ),
            Self::Conflicts => Some(
                "select h.conflict_id, h.rule_id, h.mode, h.severity, h.start_char, h.end_char
                 from conflicts x cross join hits h indexed by hits_message
                     on h.message_id = x.message_id and h.conflict_id = x.conflict_id
                 where x.conflict_id between ?1 and ?2 order by h.conflict_id, h.hit_id",
            ),
            Self::Calls | Self::Operations => None,
        }
    }
}

/// What a digest covers of a column: the value itself, or the words that its number stands for.
enum Column {
    Value,
    Conversation,
    RuleSet,
}

/// A row as the chain sees it.
struct Seen<'a> {
    id: i64,
    /// Over what stays.
    facts: [u8; 32],
    /// What people wrote, with lengths; nothing of it where it was erased.
    content: &'a [u8],
    erased: bool,
}

/// Adds a value with what it is and how long.
pub(super) fn add(into: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Integer(number) => {
            into.push(b'i');
            into.extend_from_slice(&number.to_le_bytes());
        }
        ValueRef::Text(text) => {
            into.push(b't');
            into.extend_from_slice(&(text.len() as u64).to_le_bytes());
            into.extend_from_slice(text);
        }
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => into.push(b'n'),
    }
}

/// Goes through the rows of a run of ids, in their order.
fn each_row(
    connection: &Connection,
    words: &mut Words,
    kind: Kind,
    (from, to): (i64, i64),
    mut see: impl FnMut(Seen<'_>),
) -> Result<(), Error> {
    let mut hits = hits(connection, kind, (from, to))?.into_iter().peekable();
    let stays = kind.stays();
    let written = if kind.has_content() { 4 } else { 0 };
    let (mut facts, mut content) = (Vec::new(), Vec::new());
    connection.each(kind.select(), [from, to], |row| {
        let id: i64 = row.get(0)?;
        facts.clear();
        facts.push(kind as u8);
        for at in 0..stays {
            match kind.column(at) {
                Column::Value => add(&mut facts, row.get_ref(at)?),
                Column::Conversation => words.conversation(connection, row.get(at)?, &mut facts)?,
                Column::RuleSet => words.rule_set(connection, row.get(at)?, &mut facts)?,
            }
        }
        while let Some((of, digest)) = hits.next_if(|(of, _)| *of <= id) {
            if of == id {
                facts.extend_from_slice(&digest);
            }
        }
        content.clear();
        for at in stays..stays + written {
            add(&mut content, row.get_ref(at)?);
        }
        // A message without text has a body.
        let erased = written > 0
            && row.get_ref(stays)? == ValueRef::Text(b"")
            && row.get_ref(stays + 1)? == ValueRef::Null;
        see(Seen { id, facts: Sha256::digest(&facts).into(), content: &content, erased });
        Ok(())
    })
}

/// The digests over the hits of each row of a run of ids that has any, in order of their ids.
fn hits(
    connection: &Connection,
    kind: Kind,
    (from, to): (i64, i64),
) -> Result<Vec<(i64, [u8; 32])>, Error> {
    let Some(sql) = kind.select_hits() else { return Ok(Vec::new()) };
    let mut digests = Vec::new();
    let (mut of, mut bytes) = (None, Vec::new());
    let mut end = |of: Option<i64>, bytes: &mut Vec<u8>| {
        if let Some(id) = of {
            digests.push((id, Sha256::digest(&bytes).into()));
            bytes.clear();
        }
    };
    connection.each(sql, [from, to], |row| {
        let id = Some(row.get(0)?);
        if id != of {
            end(of, &mut bytes);
            of = id;
        }
        for at in 1..HIT_COLUMNS {
            add(&mut bytes, row.get_ref(at)?);
        }
        Ok(())
    })?;
    end(of, &mut bytes);
    Ok(digests)
}

/// The digest of a content under a salt.
fn content_digest(salt: &[u8], content: &[u8]) -> [u8; SALT] {
    let full: [u8; 32] = Sha256::new().chain_update(salt).chain_update(content).finalize().into();
    let mut short = [0; SALT];
    short.copy_from_slice(&full[..SALT]);
    short
}

/// What a link says of the rows that it covers.
pub(super) struct Covered {
    pub rows: i64,
    pub salts: Option<Vec<u8>>,
    pub digests: Option<Vec<u8>>,
    pub root: [u8; 32],
}

/// A link that is not in the chain yet.
pub(super) struct NewLink {
    pub kind: Kind,
    pub from: i64,
    pub to: i64,
    pub at: i64,
    pub covered: Covered,
    pub hash: [u8; 32],
}

/// Digests a run of ids. `salts` has random bytes for every id of a kind with content.
pub(super) fn cover(
    connection: &Connection,
    words: &mut Words,
    kind: Kind,
    (from, to): (i64, i64),
    salts: &[u8],
) -> Result<Covered, Error> {
    let (mut kept, mut digests) = (vec![0; salts.len()], vec![0; salts.len()]);
    let mut root = Sha256::new();
    let mut rows = 0;
    each_row(connection, words, kind, (from, to), |row| {
        let mut digest = [0; SALT];
        if kind.has_content() {
            let place = usize::try_from(row.id - from).unwrap_or(0) * SALT;
            let range = place..place + SALT;
            digest = content_digest(&salts[range.clone()], row.content);
            // What was erased before it came here needs no salt: there is nothing to tell.
            if !row.erased {
                kept[range.clone()].copy_from_slice(&salts[range.clone()]);
            }
            digests[range].copy_from_slice(&digest);
        }
        root.update(row.facts);
        root.update(digest);
        rows += 1;
    })?;
    let has_content = kind.has_content() && rows > 0;
    Ok(Covered {
        rows,
        salts: has_content.then_some(kept),
        digests: has_content.then_some(digests),
        root: root.finalize().into(),
    })
}

/// Makes a link of what covers a run of ids, behind a hash.
pub(super) fn link(
    before: &[u8],
    kind: Kind,
    (from, to): (i64, i64),
    covered: Covered,
    at: i64,
) -> NewLink {
    let hash = hash(before, kind as i64, (from, to), covered.rows, at, &covered.root);
    NewLink { kind, from, to, at, covered, hash }
}

fn hash(
    before: &[u8],
    kind: i64,
    (from, to): (i64, i64),
    count: i64,
    at: i64,
    root: &[u8],
) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    for number in [kind, from, to, count, at] {
        hash.update(number.to_le_bytes());
    }
    hash.update(root);
    hash.finalize().into()
}

#[async_trait]
impl Chain for Sqlite {
    async fn verify(
        &self,
        head: Option<&str>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Verified, Error> {
        self.past.verify(head, progress).await
    }
    async fn head(&self) -> Result<String, Error> {
        self.past.head().await
    }
}

#[async_trait]
impl Chain for Reader {
    async fn verify(
        &self,
        head: Option<&str>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Verified, Error> {
        let file = self.pool.connect_options().get_filename().to_path_buf();
        let reading = Aside::new(Connection::open_to_read(&file)?);
        Check::new(reading, head, progress).run().await
    }

    async fn head(&self) -> Result<String, Error> {
        let head: Option<Vec<u8>> =
            sqlx::query_scalar("select hash from chain order by link_id desc limit 1")
                .fetch_optional(&self.pool)
                .await
                .map_err(unavailable)?;
        Ok(head.map_or_else(String::new, |head| hex(&head)))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A comparison under way.
struct Check<'a> {
    reading: Aside<Words>,
    wanted: Option<String>,
    progress: &'a mut (dyn FnMut(u64) + Send),
    found: Verified,
    before: Vec<u8>,
    /// Where the next link of each kind has to begin.
    next: HashMap<Kind, i64>,
}

/// A link as it stands in the table, with what the rows that it covers come to as they stand in theirs.
struct Kept {
    link: i64,
    kind: i64,
    from: i64,
    to: i64,
    count: i64,
    at: i64,
    salts: Vec<u8>,
    digests: Vec<u8>,
    root: Vec<u8>,
    hash: Vec<u8>,
    pruned: bool,
    now: Now,
}

/// The rows of a link as they are now.
#[derive(Default)]
struct Now {
    rows: i64,
    erased: u64,
    root: [u8; 32],
    /// What their contents do not agree with.
    findings: Vec<String>,
}

/// The first link behind another one.
fn next_link(connection: &Connection, words: &mut Words, link: i64) -> Result<Option<Kept>, Error> {
    // Retention may take rows away meanwhile, and the link must say so then.
    let _moment = connection.moment()?;
    let kept = connection.row(
        "select link_id, kind, from_id, to_id, row_count, made_at, salts, digests, root, hash,
             pruned_before is not null
         from chain where link_id > ? order by link_id limit 1",
        [link],
        |row| {
            Ok(Kept {
                link: row.get(0)?,
                kind: row.get(1)?,
                from: row.get(2)?,
                to: row.get(3)?,
                count: row.get(4)?,
                at: row.get(5)?,
                salts: row.get::<_, Option<_>>(6)?.unwrap_or_default(),
                digests: row.get::<_, Option<_>>(7)?.unwrap_or_default(),
                root: row.get(8)?,
                hash: row.get(9)?,
                pruned: row.get(10)?,
                now: Now::default(),
            })
        },
    )?;
    let Some(mut kept) = kept else { return Ok(None) };
    if let Some(kind) = Kind::of(kept.kind) {
        kept.now = kept.read(connection, words, kind)?;
    }
    Ok(Some(kept))
}

impl Kept {
    fn read(&self, connection: &Connection, words: &mut Words, kind: Kind) -> Result<Now, Error> {
        let mut now = Now::default();
        let mut root = Sha256::new();
        each_row(connection, words, kind, (self.from, self.to), |row| {
            root.update(row.facts);
            root.update(self.content(kind, &row, &mut now));
            now.rows += 1;
        })?;
        now.root = root.finalize().into();
        Ok(now)
    }

    /// The digest that a row's content has, or had before it was erased.
    fn content(&self, kind: Kind, row: &Seen<'_>, now: &mut Now) -> [u8; SALT] {
        let mut digest = [0; SALT];
        if !kind.has_content() {
            return digest;
        }
        let (table, _) = kind.table();
        let place = usize::try_from(row.id - self.from).unwrap_or(0) * SALT;
        if let Some(stated) = self.digests.get(place..place + SALT) {
            digest.copy_from_slice(stated);
        }
        let salt = self.salts.get(place..place + SALT);
        match salt.filter(|salt| salt.iter().any(|byte| *byte != 0)) {
            Some(salt) if content_digest(salt, row.content) != digest => {
                now.findings.push(format!("{table} {}: its content was changed", row.id));
            }
            None if !row.erased => now
                .findings
                .push(format!("{table} {}: has a content again after it was erased", row.id)),
            None => now.erased += 1,
            Some(_) => {}
        }
        digest
    }
}

impl<'a> Check<'a> {
    fn new(
        reading: Aside<Words>,
        head: Option<&str>,
        progress: &'a mut (dyn FnMut(u64) + Send),
    ) -> Self {
        let wanted = head.map(str::to_ascii_lowercase);
        let (found, before, next) = (Verified::default(), Vec::new(), HashMap::new());
        Self { reading, wanted, progress, found, before, next }
    }

    async fn run(mut self) -> Result<Verified, Error> {
        let mut known = self.wanted.is_none();
        let mut link = 0;
        // A read of its own for each link: a long one would keep the log from being cut back.
        let next =
            |link| move |reading: &Connection, words: &mut Words| next_link(reading, words, link);
        while let Some(kept) = self.reading.ask(next(link)).await? {
            let expected = link + 1;
            link = kept.link;
            if link != expected {
                self.find(expected, format!("links {expected} to {} are gone", link - 1));
            }
            self.found.links += 1;
            self.one(&kept);
            known |= self.wanted.as_deref() == Some(hex(&self.before).as_str());
            (self.progress)(self.found.rows);
        }
        if !known {
            let what = "the head that was given is no link of this chain: it was cut or made anew";
            self.find(link, what.to_owned());
        }
        self.found.head = hex(&self.before);
        for kind in Kind::ALL {
            let (table, id) = kind.table();
            let next = self.next.get(&kind).copied().unwrap_or(1);
            let ask = move |reading: &Connection, _: &mut Words| {
                let behind = format!("select count(*) from {table} not indexed where {id} >= ?");
                let before = format!("select count(*) from {table} not indexed where {id} < 1");
                Ok((reading.value::<i64>(&behind, [next])?, reading.value::<i64>(&before, [])?))
            };
            let (behind, before) = self.reading.ask(ask).await?;
            self.found.behind += u64::try_from(behind).unwrap_or(0);
            if before > 0 {
                self.find(link, format!("{before} rows of {table} stand before the chain"));
            }
        }
        Ok(self.found)
    }

    fn find(&mut self, link: i64, what: String) {
        if self.found.findings.len() < MOST_FINDINGS {
            self.found.findings.push(Disagreement { link, what });
        }
    }

    fn one(&mut self, kept: &Kept) {
        let Some(kind) = Kind::of(kept.kind) else {
            self.find(kept.link, "covers a kind of rows that there is not".to_owned());
            self.before.clone_from(&kept.hash);
            return;
        };
        let range = (kept.from, kept.to);
        let hash = hash(&self.before, kept.kind, range, kept.count, kept.at, &kept.root);
        if hash[..] != kept.hash {
            self.find(kept.link, "does not follow from the link before it".to_owned());
        }
        self.before.clone_from(&kept.hash);
        let begins = self.next.insert(kind, kept.to + 1);
        if begins.unwrap_or(1) != kept.from {
            self.find(
                kept.link,
                format!("does not begin where the link before it ends: {}", kept.from),
            );
        }
        self.rows(kind, kept);
    }

    /// Compares the rows that a link covers with what it says of them.
    fn rows(&mut self, kind: Kind, kept: &Kept) {
        let (table, _) = kind.table();
        let range = format!("{table} {} to {}", kept.from, kept.to);
        let count = kept.now.rows;
        if kept.pruned {
            self.found.pruned += u64::try_from(kept.count).unwrap_or(0);
            if count > 0 {
                self.find(kept.link, format!("{range} were pruned, and {count} are there"));
            }
            return;
        }
        self.found.rows += u64::try_from(count).unwrap_or(0);
        if count != kept.count {
            let what = format!("{range}: {count} rows where {} were chained", kept.count);
            self.find(kept.link, what);
        }
        self.found.erased += kept.now.erased;
        for what in &kept.now.findings {
            self.find(kept.link, what.clone());
        }
        if kept.now.root[..] != kept.root && count == kept.count {
            self.find(kept.link, format!("{range}: a row was changed"));
        }
    }
}
