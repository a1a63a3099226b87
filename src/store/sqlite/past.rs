//! [`Replay`] on SQLite.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::Deserialize;
use sqlx::{Row, SqlitePool};

use super::Sqlite;
use super::open::unavailable;
use super::replay::elements;
use crate::model::{
    Element, GroupType, Mentions, Message, MessageKey, Mode, Origin, Signals, Source, Text,
    Timestamp, UserId, Verdict,
};
use crate::store::{Conversation, ConversationId, Error, JudgedMessage, PastHit, Replay, Stretch};
use crate::text;

/// Conversations kept between pages. Beyond that they are looked up again.
const KEPT: usize = 100_000;
/// Messages are recorded in the order in which they came in, give or take this long.
const DISORDER_MS: i64 = 60_000;

/// A database that is open for reading only, whoever else holds it.
pub struct Reader {
    pool: SqlitePool,
    conversations: Mutex<HashMap<ConversationId, Arc<Conversation>>>,
}

impl Reader {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self { pool, conversations: Mutex::default() }
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[async_trait]
impl Replay for Reader {
    async fn stretch(&self, since: Option<Timestamp>) -> Result<Stretch, Error> {
        let row = sqlx::query(
            "select coalesce(min(message_id), 1) - 1, coalesce(max(message_id), 0) from messages",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(unavailable)?;
        let all = Stretch { after: row.get(0), until: row.get(1) };
        let Some(since) = since else { return Ok(all) };
        let since = since.millis().saturating_sub(DISORDER_MS);
        let (mut low, mut high) = (all.after, all.until);
        // Ids grow with the time of recording: halving finds where a time lies among them.
        while low < high {
            let middle = low + (high - low) / 2;
            let row = sqlx::query(
                "select message_id, received_at from messages where message_id > ? and message_id <= ?
                 order by message_id limit 1",
            )
            .bind(middle)
            .bind(high)
            .fetch_optional(&self.pool)
            .await
            .map_err(unavailable)?;
            match row {
                Some(row) if row.get::<i64, _>(1) < since => low = row.get(0),
                _ => high = middle,
            }
        }
        Ok(Stretch { after: low, ..all })
    }

    async fn judged(
        &self,
        stretch: Stretch,
        limit: usize,
        group: Option<&str>,
    ) -> Result<Vec<JudgedMessage>, Error> {
        // A page comes as one JSON array: handing over a row each costs several times as much as
        // reading them.
        let page: String = sqlx::query_scalar(
            "select json_group_array(json_array(message_id, conversation_id, msg_seq, sender,
                 sent_at, received_at, online_only, source, verdict, platform, text, body,
                 cloud_custom_data, detail))
             from (
                 select * from messages not indexed
                 where message_id > ?1 and message_id <= ?2
                   and (?4 is null or conversation_id in (
                       select conversation_id from conversations where group_id = ?4))
                 order by message_id limit ?3
             )",
        )
        .bind(stretch.after)
        .bind(stretch.until)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(group)
        .fetch_one(&self.pool)
        .await
        .map_err(unavailable)?;
        let rows: Vec<Judged<'_>> = serde_json::from_str(&page).map_err(unreadable)?;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Vec::new()) };
        let mut hits = self.hits(first.message_id, last.message_id).await?.into_iter().peekable();
        let conversations = self.conversations(&rows).await?;
        let mut judged = Vec::with_capacity(rows.len());
        for row in rows {
            let mut its = Vec::new();
            while let Some((of, _)) = hits.peek()
                && *of <= row.message_id
            {
                let Some((of, hit)) = hits.next() else { break };
                if of == row.message_id {
                    its.push(hit);
                }
            }
            let Some(conversation) = conversations.get(&row.conversation_id) else { continue };
            judged.push(row.judged(conversation, its));
        }
        Ok(judged)
    }

    async fn knows_group(&self, group: &str) -> Result<bool, Error> {
        let found: Option<i64> =
            sqlx::query_scalar("select 1 from conversations where group_id = ? limit 1")
                .bind(group)
                .fetch_optional(&self.pool)
                .await
                .map_err(unavailable)?;
        Ok(found.is_some())
    }

    async fn conflicts(&self) -> Result<u64, Error> {
        let found: i64 = sqlx::query_scalar("select count(*) from conflicts")
            .fetch_one(&self.pool)
            .await
            .map_err(unavailable)?;
        Ok(u64::try_from(found).unwrap_or(0))
    }
}

#[async_trait]
impl Replay for Sqlite {
    async fn stretch(&self, since: Option<Timestamp>) -> Result<Stretch, Error> {
        self.past.stretch(since).await
    }
    async fn judged(
        &self,
        stretch: Stretch,
        limit: usize,
        group: Option<&str>,
    ) -> Result<Vec<JudgedMessage>, Error> {
        self.past.judged(stretch, limit, group).await
    }
    async fn knows_group(&self, group: &str) -> Result<bool, Error> {
        self.past.knows_group(group).await
    }
    async fn conflicts(&self) -> Result<u64, Error> {
        self.past.conflicts().await
    }
}

impl Reader {
    /// The rules that hit messages, in order of the messages.
    async fn hits(&self, first: i64, last: i64) -> Result<Vec<(i64, PastHit)>, Error> {
        let hits: String = sqlx::query_scalar(
            "select json_group_array(json_array(message_id, rule_id, mode)) from (
                 select message_id, rule_id, mode from hits indexed by hits_message
                 where message_id between ? and ? and conflict_id is null
                 group by message_id, rule_id, mode order by message_id, min(hit_id)
             )",
        )
        .bind(first)
        .bind(last)
        .fetch_one(&self.pool)
        .await
        .map_err(unavailable)?;
        let hits: Vec<(i64, Cow<'_, str>, Cow<'_, str>)> =
            serde_json::from_str(&hits).map_err(unreadable)?;
        let hit = |(of, rule, mode): (i64, Cow<'_, str>, Cow<'_, str>)| {
            let mode = Mode::from_word(&mode).unwrap_or_default();
            (of, PastHit { rule: rule.as_ref().into(), mode })
        };
        Ok(hits.into_iter().map(hit).collect())
    }

    /// The conversations of a page.
    async fn conversations(
        &self,
        rows: &[Judged<'_>],
    ) -> Result<HashMap<ConversationId, Arc<Conversation>>, Error> {
        let wanted: BTreeSet<_> = rows.iter().map(|row| row.conversation_id).collect();
        let mut found = HashMap::with_capacity(wanted.len());
        let mut missing = Vec::new();
        {
            let mut kept = self.conversations.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() > KEPT {
                kept.clear();
            }
            for id in wanted {
                match kept.get(&id) {
                    Some(conversation) => drop(found.insert(id, Arc::clone(conversation))),
                    None => missing.push(id),
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let rows = sqlx::query(
            "select conversation_id, group_id, topic_id, group_type from conversations
             where conversation_id in (select value from json_each(?))",
        )
        .bind(serde_json::json!(missing).to_string())
        .fetch_all(&self.pool)
        .await
        .map_err(unavailable)?;
        let mut kept = self.conversations.lock().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            let conversation = Arc::new(Conversation {
                conversation_id: row.get(0),
                group_id: row.get::<&str, _>(1).into(),
                topic_id: row.get::<&str, _>(2).into(),
                group_type: GroupType(row.get(3)),
            });
            kept.insert(row.get(0), Arc::clone(&conversation));
            found.insert(row.get(0), conversation);
        }
        Ok(found)
    }
}

/// What a query of ours answered is no JSON of the shape that it asks for.
#[expect(clippy::needless_pass_by_value, reason = "it is an argument of map_err")]
fn unreadable(error: serde_json::Error) -> Error {
    Error::Unavailable(error.to_string())
}

/// A row of `messages`, its columns in the order of the query.
#[derive(Deserialize)]
struct Judged<'a> {
    message_id: i64,
    conversation_id: ConversationId,
    msg_seq: u64,
    #[serde(borrow)]
    sender: Cow<'a, str>,
    sent_at: i64,
    received_at: i64,
    online_only: i64,
    source: i64,
    verdict: i64,
    #[serde(borrow)]
    platform: Cow<'a, str>,
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cloud_custom_data: Cow<'a, str>,
    #[serde(borrow)]
    detail: Option<Cow<'a, str>>,
}

/// What is rarely there.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Detail {
    operator: Option<UserId>,
    mentions_everyone: bool,
    mentions: Vec<UserId>,
    signals: Signals,
}

impl Judged<'_> {
    fn judged(self, conversation: &Arc<Conversation>, hits: Vec<PastHit>) -> JudgedMessage {
        let detail: Detail = self
            .detail
            .as_deref()
            .and_then(|detail| serde_json::from_str(detail).ok())
            .unwrap_or_default();
        let sender = UserId::from(self.sender.as_ref());
        let body = self.body.as_deref();
        let (elements, text) = content(body, &self.text, &self.cloud_custom_data);
        let message = Message {
            key: MessageKey {
                group_id: conversation.group_id.clone(),
                topic_id: conversation.topic_id.clone(),
                msg_seq: self.msg_seq,
            },
            group_type: conversation.group_type.clone(),
            operator: detail.operator.unwrap_or_else(|| sender.clone()),
            sender,
            sent_at: Timestamp(self.sent_at),
            received_at: Timestamp(self.received_at),
            source: if self.source == 0 { Source::Callback } else { Source::History },
            online_only: self.online_only != 0,
            platform: self.platform.into_owned(),
            mentions: Mentions { everyone: detail.mentions_everyone, accounts: detail.mentions },
            elements,
            text,
            cloud_custom_data: self.cloud_custom_data.into_owned(),
            content_hash: standing_in(self.message_id),
        };
        JudgedMessage {
            message_id: self.message_id,
            conversation: Arc::clone(conversation),
            message,
            signals: detail.signals,
            verdict: match self.verdict {
                0 => Verdict::Pass,
                1 => Verdict::Flag,
                _ => Verdict::Recall,
            },
            hits,
            // Without a body there was a text element that was not empty.
            has_text: self.body.is_some() || !self.text.is_empty(),
        }
    }
}

/// Tells messages apart as the digest of their content does, at less cost to read.
fn standing_in(message_id: i64) -> [u8; 16] {
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&message_id.to_le_bytes());
    hash
}

/// Elements and text of a row.
fn content(body: Option<&str>, joined: &str, cloud_custom_data: &str) -> (Vec<Element>, Text) {
    let elements = elements(body, joined, cloud_custom_data);
    if body.is_some() || !cloud_custom_data.is_empty() {
        let text = text::extract(&elements, cloud_custom_data);
        return (elements, text);
    }
    // Nearly every message is like this: one piece, known already.
    let mut text = Text::default();
    text.push(Origin::Element { index: 0, path: "Text".into() }, joined);
    (elements, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_and_the_long_way_give_the_same_text() {
        for text in ["hello", "two\nlines", "加微信", "a\u{0}b"] {
            let (elements, short) = content(None, text, "");
            assert_eq!(short, crate::text::extract(&elements, ""));
        }
    }
}
