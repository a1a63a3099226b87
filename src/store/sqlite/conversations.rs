//! Groups and topics, interned: a row each, kept in memory once seen.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::open::unavailable;
use crate::model::{GroupId, GroupType, Timestamp, TopicId};
use crate::store::{Conversation, ConversationId, Error};

/// Conversations kept in memory. Beyond that all are forgotten and looked up again as they come:
/// a million groups talking at once is far from what one daemon is for.
const KEPT: usize = 1_000_000;

/// The latest life of each conversation, and what rule sets are called inside.
#[derive(Default)]
pub(super) struct Conversations {
    known: HashMap<(GroupId, TopicId), Known>,
    rule_sets: HashMap<String, i64>,
}

#[derive(Clone)]
pub(super) struct Known {
    pub conversation: Arc<Conversation>,
    pub incarnation: i64,
    pub destroyed_at: Option<Timestamp>,
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
        self.known.retain(|(group, _), _| group != group_id);
    }

    /// The conversation that a message sent at `at` belongs to, made where there is none.
    ///
    /// After its group was destroyed, an id stands for a new conversation: one with sequences of
    /// its own. What was sent before then still belongs to the old one.
    pub(super) async fn at(
        &mut self,
        connection: &mut SqliteConnection,
        group_id: &GroupId,
        topic_id: &TopicId,
        group_type: &GroupType,
        at: Timestamp,
    ) -> Result<Known, Error> {
        let key = (group_id.clone(), topic_id.clone());
        if let Some(known) = self.known.get(&key)
            && known.holds(at)
            && (known.conversation.group_type == *group_type || group_type.0.is_empty())
        {
            return Ok(known.clone());
        }
        let latest = select_latest(connection, group_id, topic_id).await?;
        let known = match latest {
            Some(mut known) if known.holds(at) => {
                if known.conversation.group_type != *group_type && !group_type.0.is_empty() {
                    known = retype(connection, known, group_type).await?;
                }
                known
            }
            latest => {
                let incarnation = latest.map_or(0, |known| known.incarnation + 1);
                insert(connection, &key, incarnation, group_type, at).await?
            }
        };
        self.known.insert(key, known.clone());
        Ok(known)
    }

    /// The latest life of a conversation, if it was ever seen.
    pub(super) async fn latest(
        &mut self,
        connection: &mut SqliteConnection,
        group_id: &GroupId,
        topic_id: &TopicId,
    ) -> Result<Option<Known>, Error> {
        if let Some(known) = self.known.get(&(group_id.clone(), topic_id.clone())) {
            return Ok(Some(known.clone()));
        }
        select_latest(connection, group_id, topic_id).await
    }

    /// The number of a rule set.
    pub(super) async fn rule_set(
        &mut self,
        connection: &mut SqliteConnection,
        version: &str,
    ) -> Result<i64, Error> {
        if let Some(id) = self.rule_sets.get(version) {
            return Ok(*id);
        }
        let id: Option<i64> =
            sqlx::query_scalar("select rule_set_id from rule_sets where version = ?")
                .bind(version)
                .fetch_optional(connection)
                .await
                .map_err(unavailable)?;
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

async fn select_latest(
    connection: &mut SqliteConnection,
    group_id: &GroupId,
    topic_id: &TopicId,
) -> Result<Option<Known>, Error> {
    let row = sqlx::query(
        "select conversation_id, incarnation, group_type, destroyed_at from conversations
         where group_id = ? and topic_id = ? order by incarnation desc limit 1",
    )
    .bind(group_id.as_str())
    .bind(topic_id.as_str())
    .fetch_optional(connection)
    .await
    .map_err(unavailable)?;
    Ok(row.map(|row| Known {
        conversation: Arc::new(Conversation {
            conversation_id: row.get(0),
            group_id: group_id.clone(),
            topic_id: topic_id.clone(),
            group_type: GroupType(row.get(2)),
        }),
        incarnation: row.get(1),
        destroyed_at: row.get::<Option<i64>, _>(3).map(Timestamp),
    }))
}

async fn insert(
    connection: &mut SqliteConnection,
    (group_id, topic_id): &(GroupId, TopicId),
    incarnation: i64,
    group_type: &GroupType,
    at: Timestamp,
) -> Result<Known, Error> {
    let conversation_id: ConversationId = sqlx::query_scalar(
        "insert into conversations (group_id, topic_id, incarnation, group_type, created_at)
         values (?, ?, ?, ?, ?) returning conversation_id",
    )
    .bind(group_id.as_str())
    .bind(topic_id.as_str())
    .bind(incarnation)
    .bind(group_type.0.as_str())
    .bind(at.millis())
    .fetch_one(connection)
    .await
    .map_err(unavailable)?;
    Ok(Known {
        conversation: Arc::new(Conversation {
            conversation_id,
            group_id: group_id.clone(),
            topic_id: topic_id.clone(),
            group_type: group_type.clone(),
        }),
        incarnation,
        destroyed_at: None,
    })
}

async fn retype(
    connection: &mut SqliteConnection,
    known: Known,
    group_type: &GroupType,
) -> Result<Known, Error> {
    sqlx::query("update conversations set group_type = ? where conversation_id = ?")
        .bind(group_type.0.as_str())
        .bind(known.conversation.conversation_id)
        .execute(connection)
        .await
        .map_err(unavailable)?;
    let conversation =
        Conversation { group_type: group_type.clone(), ..known.conversation.as_ref().clone() };
    Ok(Known { conversation: Arc::new(conversation), ..known })
}
