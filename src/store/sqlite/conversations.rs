//! Groups and topics, interned: a row each, kept in memory once seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;
use rusqlite::params;

use super::connection::Connection;
use super::keys::Keys;

use crate::model::{GroupId, GroupType, Timestamp, TopicId};
use crate::store::{Conversation, ConversationId, Error};

/// Groups kept in memory. Beyond that all are forgotten and looked up again as they come:
/// a million groups talking at once is far from what one daemon is for.
const KEPT: usize = 1_000_000;

/// The latest life of each conversation, and what rule sets are called inside.
#[derive(Default)]
pub(super) struct Conversations {
    known: HashMap<GroupId, BTreeMap<TopicId, Known>>,
    rule_sets: HashMap<String, i64>,
}

#[derive(Clone)]
pub(super) struct Known {
    pub conversation: Arc<Conversation>,
    pub incarnation: i64,
    pub destroyed_at: Option<Timestamp>,
    /// When the life before this one ended.
    pub began_after: Option<Timestamp>,
}

/// A message, as far as it decides which life of its conversation it belongs to.
pub(super) struct Arrival<'a> {
    pub group_id: &'a GroupId,
    pub topic_id: &'a TopicId,
    pub group_type: &'a GroupType,
    pub msg_seq: i64,
    pub sent_at: Timestamp,
    pub content_hash: &'a [u8],
}

impl Conversations {
    /// The transaction went through.
    pub(super) fn committed(&mut self) {
        if self.known.len() > KEPT {
            self.known.clear();
        }
    }

    /// Forgets a group, because its rows changed.
    pub(super) fn forget(&mut self, group_id: &GroupId) {
        self.known.remove(group_id);
    }

    /// The conversation that a message belongs to, where that can be told from memory.
    pub(super) fn known(&self, arrival: &Arrival<'_>) -> Option<&Known> {
        let known = self.known.get(arrival.group_id)?.get(arrival.topic_id)?;
        let is_it = known.destroyed_at.is_none()
            && known.began_after.is_none_or(|before| arrival.sent_at > before)
            && (is_untyped(arrival) || known.conversation.group_type == *arrival.group_type);
        is_it.then_some(known)
    }

    /// The conversation that a message belongs to, made where there is none.
    ///
    /// After its group was destroyed, an id stands for a new conversation with sequences of its own.
    /// What was sent before then still belongs to the old one, however late it comes.
    pub(super) fn of(
        &mut self,
        connection: &Connection,
        keys: &mut Keys,
        arrival: &Arrival<'_>,
    ) -> Result<Known, Error> {
        if let Some(known) = self.known(arrival) {
            return Ok(known.clone());
        }
        let lives = select_lives(connection, arrival.group_id, arrival.topic_id)?;
        let mut chosen = None;
        for life in &lives {
            if life.holds(arrival.sent_at) && !is_a_later_lifes(connection, keys, life, arrival)? {
                chosen = Some(life.clone());
                break;
            }
        }
        let known = match chosen {
            Some(known)
                if is_untyped(arrival) || known.conversation.group_type == *arrival.group_type =>
            {
                known
            }
            Some(known) => retype(connection, &known, arrival.group_type)?,
            None => {
                let last = lives.last();
                let incarnation = last.map_or(0, |last| last.incarnation + 1);
                let began_after = last.and_then(|last| last.destroyed_at);
                let known = insert(connection, incarnation, arrival)?;
                Known { began_after, ..known }
            }
        };
        if known.destroyed_at.is_none() {
            let topics = self.known.entry(arrival.group_id.clone()).or_default();
            topics.insert(arrival.topic_id.clone(), known.clone());
        }
        Ok(known)
    }

    /// The life that a conversation had at a time, if it was ever seen.
    pub(super) fn at(
        connection: &Connection,
        group_id: &GroupId,
        topic_id: &TopicId,
        at: Timestamp,
    ) -> Result<Option<Known>, Error> {
        let lives = select_lives(connection, group_id, topic_id)?;
        Ok(lives.into_iter().find(|life| life.holds(at)))
    }

    /// The number of a rule set.
    pub(super) fn rule_set(
        &mut self,
        connection: &Connection,
        version: &str,
    ) -> Result<i64, Error> {
        if let Some(id) = self.rule_sets.get(version) {
            return Ok(*id);
        }
        let id: Option<i64> = connection
            .first("select rule_set_id from rule_sets where version = ?", params![version])?;
        let id = id.ok_or_else(|| Error::Invalid(format!("unknown rule set {version}")))?;
        self.rule_sets.insert(version.to_owned(), id);
        Ok(id)
    }
}

impl Known {
    /// Whether a message sent then belongs to this life.
    fn holds(&self, at: Timestamp) -> bool {
        self.destroyed_at.is_none_or(|destroyed_at| at <= destroyed_at)
    }
}

fn is_untyped(arrival: &Arrival<'_>) -> bool {
    arrival.group_type.0.as_str().is_empty()
}

/// `MsgTime` has whole seconds, the end of a group milliseconds: within the second of the end, a time
/// does not tell which life a message belongs to. It is a later one's where this life holds other
/// content under its sequence.
fn is_a_later_lifes(
    connection: &Connection,
    keys: &mut Keys,
    life: &Known,
    arrival: &Arrival<'_>,
) -> Result<bool, Error> {
    let Some(destroyed_at) = life.destroyed_at else { return Ok(false) };
    if arrival.sent_at.millis() % 1000 != 0 || arrival.sent_at.secs() != destroyed_at.secs() {
        return Ok(false);
    }
    let known = keys.find(connection, life.conversation.conversation_id, arrival.msg_seq)?;
    let Some(known) = known else { return Ok(false) };
    let other: Option<i64> = connection.first(
        "select 1 from messages where message_id = ? and content_hash <> ?",
        params![known, arrival.content_hash],
    )?;
    Ok(other.is_some())
}

/// All lives of a conversation, the first one first.
fn select_lives(
    connection: &Connection,
    group_id: &GroupId,
    topic_id: &TopicId,
) -> Result<Vec<Known>, Error> {
    let rows = connection.rows(
        "select conversation_id, incarnation, group_type, destroyed_at from conversations
         where group_id = ? and topic_id = ? order by incarnation",
        params![group_id.as_str(), topic_id.as_str()],
        |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get::<_, Option<i64>>(3)?))
        },
    )?;
    let mut lives: Vec<Known> = Vec::with_capacity(rows.len());
    for (conversation_id, incarnation, group_type, destroyed_at) in rows {
        lives.push(Known {
            conversation: Arc::new(Conversation {
                conversation_id,
                group_id: group_id.clone(),
                topic_id: topic_id.clone(),
                group_type: GroupType(group_type.as_str().into()),
            }),
            incarnation,
            destroyed_at: destroyed_at.map(Timestamp),
            began_after: lives.last().and_then(|life| life.destroyed_at),
        });
    }
    Ok(lives)
}

fn insert(
    connection: &Connection,
    incarnation: i64,
    arrival: &Arrival<'_>,
) -> Result<Known, Error> {
    let Arrival { group_id, topic_id, .. } = *arrival;
    let conversation_id: ConversationId = connection.value(
        "insert into conversations (group_id, topic_id, incarnation, group_type, created_at)
         values (?, ?, ?, ?, ?) returning conversation_id",
        params![
            group_id.as_str(),
            topic_id.as_str(),
            incarnation,
            arrival.group_type.0.as_str(),
            arrival.sent_at.millis()
        ],
    )?;
    Ok(Known {
        conversation: Arc::new(Conversation {
            conversation_id,
            group_id: group_id.clone(),
            topic_id: topic_id.clone(),
            group_type: arrival.group_type.clone(),
        }),
        incarnation,
        destroyed_at: None,
        began_after: None,
    })
}

fn retype(connection: &Connection, known: &Known, group_type: &GroupType) -> Result<Known, Error> {
    connection.execute(
        "update conversations set group_type = ? where conversation_id = ?",
        params![group_type.0.as_str(), known.conversation.conversation_id],
    )?;
    let conversation =
        Conversation { group_type: group_type.clone(), ..known.conversation.as_ref().clone() };
    Ok(Known { conversation: Arc::new(conversation), ..known.clone() })
}
