//! What rows name by number, in the words that the chain's digests cover: the group and topic of a
//! conversation, the version of a rule set. Neither changes once it is there, so each is read once for
//! many rows.

use foldhash::HashMap;

use super::chain::add;
use super::connection::Connection;
use crate::store::ConversationId;

/// Conversations kept. Beyond that all are forgotten and read again as they come.
const KEPT: usize = 100_000;

/// Words as they go into a digest.
#[derive(Default)]
pub(super) struct Words {
    conversations: HashMap<ConversationId, Box<[u8]>>,
    rule_sets: HashMap<i64, Box<[u8]>>,
}

impl Words {
    /// Adds the group and the topic of a conversation; of one that is not there, that there is none.
    pub(super) fn conversation(
        &mut self,
        connection: &Connection,
        id: ConversationId,
        into: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        if self.conversations.len() > KEPT {
            self.conversations.clear();
        }
        let sql = "select group_id, topic_id from conversations where conversation_id = ?";
        look_up(&mut self.conversations, connection, (sql, 2), id, into)
    }

    /// Adds the version of a rule set.
    pub(super) fn rule_set(
        &mut self,
        connection: &Connection,
        id: i64,
        into: &mut Vec<u8>,
    ) -> rusqlite::Result<()> {
        let sql = "select version from rule_sets where rule_set_id = ?";
        look_up(&mut self.rule_sets, connection, (sql, 1), id, into)
    }
}

fn look_up(
    known: &mut HashMap<i64, Box<[u8]>>,
    connection: &Connection,
    (sql, columns): (&str, usize),
    id: i64,
    into: &mut Vec<u8>,
) -> rusqlite::Result<()> {
    if let Some(words) = known.get(&id) {
        into.extend_from_slice(words);
        return Ok(());
    }
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else {
        into.extend(std::iter::repeat_n(b'n', columns));
        return Ok(());
    };
    let begin = into.len();
    for at in 0..columns {
        add(into, row.get_ref(at)?);
    }
    known.insert(id, into[begin..].into());
    Ok(())
}
