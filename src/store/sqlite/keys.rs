//! Which sequences of which conversations are recorded, so that none is recorded twice.
//!
//! An index that is unique over all messages has a page of its own for nearly every message of a commit,
//! each of which is written as a whole: it cost as much as all the rest of a row. So the table of keys is
//! filled behind the writer, many messages at once and in order, and what is not in it yet is
//! remembered here. That only one thread writes makes this enough: nobody else can add a message.

use foldhash::{HashMap, HashMapExt};
use rusqlite::params;
use sqlx::{AssertSqlSafe, SqlitePool};

use super::connection::{Connection, rows_of};
use super::gaps::set_number;
use super::open::unavailable;
use super::record::seq_to_i64;
use super::stretches::STRETCH_BITS;
use crate::model::MsgSeq;
use crate::store::{ConversationId, Error};

/// Where in `meta` it stands up to which message the keys are in their table.
pub(super) const FILED: &str = "keys_filed_through";
/// Keys that are filed in one transaction, at least and at most, and what part of all: each costs the
/// writer a microsecond or a few, which messages wait for.
const FEW: usize = 128;
const AT_ONCE: usize = 1_024;
const PART_AT_ONCE: usize = 64;
/// Keys that go in by one statement.
const TOGETHER: usize = 32;
/// As many as this are worth filing: the more at once, the more of them share a page.
const WORTH_FILING: usize = 16_384;

/// Conversations that are remembered.
const KEPT: usize = 1_000_000;

/// A message's id under its conversation and sequence.
type Key = (ConversationId, i64);

/// The keys of all messages: those in their table, and those that are not there yet.
pub(super) struct Keys {
    conversations: HashMap<ConversationId, Numbered>,
    unfiled: Unfiled,
    /// The latest message whose key came here.
    last: i64,
    filing: Option<Filing>,
    /// Room for the next filing, so that its memory is not made anew each time.
    room: Vec<(Key, i64)>,
}

/// What is remembered of a conversation's sequences.
#[derive(Default)]
struct Numbered {
    /// The highest of all, once it was asked for. A higher one must be new.
    highest: Option<i64>,
    /// The highest that is not in the table.
    unfiled: Option<Place>,
}

/// Keys that are not in the table, but for those that are being filed, in the order in which they came.
/// Those of a conversation lead from the highest to the lowest.
#[derive(Default)]
struct Unfiled {
    keys: Vec<UnfiledKey>,
    /// How often all of them were taken away to be filed.
    round: u32,
}

struct UnfiledKey {
    key: Key,
    message: i64,
    /// The next lower one of the conversation.
    lower: Option<Place>,
}

/// A place among the unfiled keys of a round.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    round: u32,
    at: u32,
}

/// Keys on their way into the table, in its order.
struct Filing {
    keys: Vec<(Key, i64)>,
    done: usize,
    /// The message up to which, inclusive, all are in the table then.
    through: i64,
}

impl Keys {
    /// What is to be remembered of a database.
    pub(super) fn read(connection: &Connection) -> Result<Self, Error> {
        let filed: i64 = connection.value(
            "select coalesce((select cast(value as integer) from meta where name = ?), 0)",
            params![FILED],
        )?;
        let mut keys = Self {
            conversations: HashMap::new(),
            unfiled: Unfiled::default(),
            last: filed,
            filing: None,
            room: Vec::new(),
        };
        connection.each(
            "select conversation_id, msg_seq, message_id from messages not indexed
             where message_id > ? order by message_id",
            params![filed],
            |row| {
                let (conversation, message) = (row.get(0)?, row.get(2)?);
                let numbered = keys.conversations.entry(conversation).or_default();
                numbered.insert(&mut keys.unfiled, (conversation, row.get(1)?), message);
                keys.last = message;
                Ok(())
            },
        )?;
        Ok(keys)
    }

    /// The message that has a key, if there is one.
    pub(super) fn find(
        &mut self,
        connection: &Connection,
        conversation: ConversationId,
        seq: i64,
    ) -> Result<Option<i64>, Error> {
        self.make_room(KEPT);
        let numbered = self.conversations.entry(conversation).or_default();
        numbered.find(connection, &self.unfiled, self.filing.as_ref(), (conversation, seq))
    }

    /// The message that has a key; where there is none, the key becomes that of a new message.
    pub(super) fn claim(
        &mut self,
        connection: &Connection,
        conversation: ConversationId,
        seq: i64,
        new: i64,
    ) -> Result<Option<i64>, Error> {
        self.make_room(KEPT);
        let (key, filing) = ((conversation, seq), self.filing.as_ref());
        let numbered = self.conversations.entry(conversation).or_default();
        let known = numbered.find(connection, &self.unfiled, filing, key)?;
        if known.is_none() {
            numbered.insert(&mut self.unfiled, key, new);
            self.last = new;
        }
        Ok(known)
    }

    /// Forgets what can be read again, once that is most of very much.
    fn make_room(&mut self, kept: usize) {
        if self.conversations.len() >= kept.max(2 * self.unfiled.keys.len()) {
            let Self { conversations, unfiled, .. } = self;
            conversations.retain(|_, numbered| unfiled.at(numbered.unfiled).is_some());
        }
    }

    /// Whether so many wait that they are worth filing.
    pub(super) fn is_worth_filing(&self) -> bool {
        self.filing.is_some() || self.unfiled.keys.len() >= WORTH_FILING
    }

    /// Puts some keys into the table. Answers whether there are more that wait already.
    pub(super) fn file_some(&mut self, connection: &Connection) -> Result<bool, Error> {
        let filing = self.filing.get_or_insert_with(|| Filing {
            keys: self.unfiled.take(std::mem::take(&mut self.room)),
            done: 0,
            through: self.last,
        });
        let at_once = (filing.keys.len() / PART_AT_ONCE).clamp(FEW, AT_ONCE);
        let end = filing.keys.len().min(filing.done + at_once);
        let (many, rest) = filing.keys[filing.done..end].as_chunks::<TOGETHER>();
        insert(connection, many.iter().map(<[_; TOGETHER]>::as_slice), TOGETHER)?;
        insert(connection, rest.chunks(1), 1)?;
        filing.done = end;
        if end < filing.keys.len() {
            return Ok(true);
        }
        set_number(connection, FILED, filing.through)?;
        if let Some(Filing { mut keys, .. }) = self.filing.take() {
            keys.clear();
            keys.shrink_to(2 * WORTH_FILING);
            self.room = keys;
        }
        Ok(false)
    }

    /// Puts all of them into the table.
    pub(super) fn file_all(&mut self, connection: &Connection) -> Result<(), Error> {
        while self.filing.is_some() || !self.unfiled.keys.is_empty() {
            while self.file_some(connection)? {}
        }
        Ok(())
    }
}

/// Inserts keys, so many at once.
fn insert<'a>(
    connection: &Connection,
    keys: impl Iterator<Item = &'a [(Key, i64)]>,
    at_once: usize,
) -> Result<(), Error> {
    // A part of them may be there since before a crash.
    let sql = "insert or ignore into message_keys (conversation_id, msg_seq, message_id) values ";
    let mut insert = connection.prepare(&(sql.to_owned() + &rows_of(3, at_once)))?;
    for keys in keys {
        for (at, ((conversation, seq), message)) in keys.iter().enumerate() {
            insert.raw_bind_parameter(3 * at + 1, conversation)?;
            insert.raw_bind_parameter(3 * at + 2, seq)?;
            insert.raw_bind_parameter(3 * at + 3, message)?;
        }
        insert.raw_execute()?;
    }
    Ok(())
}

impl Unfiled {
    fn at(&self, place: Option<Place>) -> Option<&UnfiledKey> {
        let place = place.filter(|place| place.round == self.round)?;
        self.keys.get(place.at as usize)
    }

    /// From a conversation's highest one down, those above a sequence: the last of them, if there is one,
    /// and the one that follows.
    fn above(&self, highest: Option<Place>, seq: i64) -> (Option<Place>, Option<Place>) {
        let (mut above, mut next) = (None, highest);
        while let Some(key) = self.at(next).filter(|key| key.key.1 > seq) {
            (above, next) = (next, key.lower);
        }
        (above, next)
    }

    /// All of them, in the order of the table. Messages wait meanwhile.
    fn take(&mut self, mut room: Vec<(Key, i64)>) -> Vec<(Key, i64)> {
        self.round = self.round.wrapping_add(1);
        room.extend(self.keys.drain(..).map(|key| (key.key, key.message)));
        // As one number each they are compared without a branch. Neither part is below zero.
        room.sort_unstable_by_key(|((conversation, seq), _)| {
            u128::from(conversation.cast_unsigned()) << 64 | u128::from(seq.cast_unsigned())
        });
        room
    }
}

impl Numbered {
    fn insert(&mut self, unfiled: &mut Unfiled, key: Key, message: i64) {
        self.highest = self.highest.map(|highest| highest.max(key.1));
        let (above, lower) = unfiled.above(self.unfiled, key.1);
        let at = u32::try_from(unfiled.keys.len()).unwrap_or(u32::MAX);
        let place = Some(Place { round: unfiled.round, at });
        unfiled.keys.push(UnfiledKey { key, message, lower });
        match above.and_then(|above| unfiled.keys.get_mut(above.at as usize)) {
            Some(above) => above.lower = place,
            None => self.unfiled = place,
        }
    }

    fn find(
        &mut self,
        connection: &Connection,
        unfiled: &Unfiled,
        filing: Option<&Filing>,
        key: Key,
    ) -> Result<Option<i64>, Error> {
        let (conversation, seq) = key;
        let highest = if let Some(highest) = self.highest {
            highest
        } else {
            let read = self.read_highest(connection, unfiled, filing, conversation)?;
            *self.highest.insert(read)
        };
        if seq > highest {
            return Ok(None);
        }
        let (_, next) = unfiled.above(self.unfiled, seq);
        if let Some(found) = unfiled.at(next).filter(|found| found.key == key) {
            return Ok(Some(found.message));
        }
        if let Some(Filing { keys, .. }) = filing
            && let Ok(place) = keys.binary_search_by_key(&key, |(key, _)| *key)
        {
            return Ok(Some(keys[place].1));
        }
        connection.first(
            "select message_id from message_keys where conversation_id = ? and msg_seq = ?",
            params![conversation, seq],
        )
    }

    fn read_highest(
        &self,
        connection: &Connection,
        unfiled: &Unfiled,
        filing: Option<&Filing>,
        conversation: ConversationId,
    ) -> Result<i64, Error> {
        let filed: i64 = connection.value(
            "select coalesce(max(msg_seq), -1) from message_keys where conversation_id = ?",
            params![conversation],
        )?;
        let filing = filing.and_then(|Filing { keys, .. }| {
            let end = keys.partition_point(|((of, _), _)| *of <= conversation);
            let ((of, seq), _) = keys.get(end.checked_sub(1)?)?;
            (*of == conversation).then_some(*seq)
        });
        let unfiled = unfiled.at(self.unfiled).map(|highest| highest.key.1);
        Ok(filed.max(filing.unwrap_or(-1)).max(unfiled.unwrap_or(-1)))
    }
}

/// The message with a key in the latest life that has it.
pub(super) async fn message_of(
    pool: &SqlitePool,
    group: &str,
    topic: &str,
    seq: MsgSeq,
) -> Result<Option<i64>, Error> {
    let sql = format!(
        "select (select message_id from ({})) as found from conversations c
         where group_id = ?1 and topic_id = ?2 and found is not null
         order by incarnation desc limit 1",
        keyed("c.conversation_id", "= ?3", "")
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(group)
        .bind(topic)
        .bind(seq_to_i64(seq))
        .fetch_optional(pool)
        .await
        .map_err(unavailable)
}

/// SQL for the sequences and ids of a conversation's messages. What the conversation is, and what is
/// wanted of `msg_seq`, are given as SQL; `rest` may order and limit.
pub(super) fn keyed(conversation: &str, wanted: &str, rest: &str) -> String {
    // The keys that are not in the table yet are in the last stretches of the index. A few of what is
    // there is in the table all the same, hence `union`.
    format!(
        "select * from (select msg_seq, message_id from message_keys
             where conversation_id = {conversation} and msg_seq {wanted} {rest})
         union
         select * from (select msg_seq, message_id from messages indexed by messages_key
             where message_id >> {STRETCH_BITS} in (
                     with recursive stretch (n) as (
                         select cast(value as integer) >> {STRETCH_BITS} from meta
                         where name = 'keys_filed_through'
                         union all
                         select n + 1 from stretch
                         where n < (select max(message_id) >> {STRETCH_BITS} from messages))
                     select n from stretch)
                 and conversation_id = {conversation} and msg_seq {wanted} {rest})"
    )
}

#[cfg(test)]
mod tests {
    use super::super::writer::{Operation, Writing};
    use super::super::{Options, Sqlite, open};
    use super::*;
    use crate::store::contract::{key, record};
    use crate::store::{Intake, Recorded};

    struct FileAll;

    impl Operation for FileAll {
        type Answer = ();
        fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
            writing.keys.file_all(writing.connection)
        }
    }

    async fn recorded(store: &Sqlite, seq: u64, text: &str) -> Recorded {
        store.record(record(key("g", "", seq), text, false)).await.unwrap()
    }

    #[tokio::test]
    async fn a_message_is_known_before_and_after_its_key_is_filed_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::at(&folder.path().join("quell.db"));
        let store = open(&options).await.unwrap();
        crate::store::contract::rules(&store).await;
        for seq in [7, 9, 8] {
            assert_eq!(recorded(&store, seq, "hello").await, Recorded::New);
        }
        assert_eq!(recorded(&store, 9, "hello").await, Recorded::Duplicate);
        store.writer.perform(FileAll).await.unwrap();
        assert_eq!(recorded(&store, 8, "hello").await, Recorded::Duplicate);
        assert_eq!(recorded(&store, 9, "other").await, Recorded::Conflict);
        // Below the highest and yet new; then one that waits for the next filing.
        assert_eq!(recorded(&store, 3, "hello").await, Recorded::New);
        store.close().await;
        drop(store);
        let store = open(&options).await.unwrap();
        for seq in [3, 7, 8, 9] {
            assert_eq!(recorded(&store, seq, "hello").await, Recorded::Duplicate, "{seq}");
        }
        for (seq, wanted) in [(3, 4), (7, 1), (8, 3), (9, 2)] {
            let found = message_of(&store.readers, "g", "", seq).await.unwrap();
            assert_eq!(found, Some(wanted), "{seq}");
        }
    }

    #[tokio::test]
    async fn keys_are_filed_behind_the_writer_a_part_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quell.db");
        drop(open(&Options::at(&path)).await.unwrap());
        let connection = Connection::open(&Options::at(&path)).unwrap();
        let mut keys = Keys::read(&connection).unwrap();
        let all = i64::try_from(WORTH_FILING).unwrap();
        for id in 1..=all {
            assert!(!keys.is_worth_filing());
            assert_eq!(keys.claim(&connection, id % 100, id, id).unwrap(), None);
        }
        while keys.is_worth_filing() {
            let more = keys.file_some(&connection).unwrap();
            // While a part is there and the rest is not, all of them are known.
            let known = keys.claim(&connection, 0, all + 1, all + 1).unwrap();
            assert!(known.is_none_or(|known| known == all + 1));
            for id in [1, 99, 100, all] {
                assert_eq!(keys.find(&connection, id % 100, id).unwrap(), Some(id));
            }
            assert_eq!(keys.find(&connection, 1, 2).unwrap(), None);
            if !more {
                break;
            }
        }
        let filed: i64 = connection.value("select count(*) from message_keys", []).unwrap();
        assert_eq!(filed, all);
        assert_eq!(keys.find(&connection, 0, all + 1).unwrap(), Some(all + 1));
        keys.file_all(&connection).unwrap();
        assert_eq!(
            Keys::read(&connection).unwrap().find(&connection, 0, all + 1).unwrap(),
            Some(all + 1)
        );
    }

    #[tokio::test]
    async fn every_key_is_known_in_whatever_order_they_come_and_are_filed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quell.db");
        drop(open(&Options::at(&path)).await.unwrap());
        let connection = Connection::open(&Options::at(&path)).unwrap();
        let _transaction = connection.moment().unwrap();
        let mut keys = Keys::read(&connection).unwrap();
        let mut model = std::collections::HashMap::new();
        let (mut random, mut last, mut forgotten) = (7_u64, 0, 0);
        let mut next = |below: i64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            i64::try_from(random >> 33).unwrap() % below
        };
        for turn in 1..=20_000_i64 {
            // Mostly higher ones, some of them again, some from far below.
            let key = (next(40), (turn / 50 + next(30)).max(next(4) - 1));
            let known = keys.claim(&connection, key.0, key.1, last + 1).unwrap();
            assert_eq!(known, model.get(&key).copied(), "{key:?}");
            if known.is_none() {
                last += 1;
                model.insert(key, last);
            }
            let absent = (next(40), 1_000_000);
            assert_eq!(keys.find(&connection, absent.0, absent.1).unwrap(), None);
            if keys.filing.is_some() || next(2_000) == 0 {
                keys.file_some(&connection).unwrap();
            }
            if next(100) == 0 {
                keys.make_room(1);
                forgotten += usize::from(keys.conversations.len() < 40);
            }
        }
        assert!(forgotten > 0, "everything was remembered");
        assert!(keys.filing.is_some() || !keys.unfiled.keys.is_empty(), "nothing was left to file");
        keys.file_all(&connection).unwrap();
        let filed: i64 = connection.value("select count(*) from message_keys", []).unwrap();
        assert_eq!(filed, last);
        let mut again = Keys::read(&connection).unwrap();
        for (key, id) in model {
            assert_eq!(again.find(&connection, key.0, key.1).unwrap(), Some(id));
        }
    }
}
