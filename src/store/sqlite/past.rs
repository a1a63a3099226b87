//! [`Replay`] on SQLite.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::Deserialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqlitePool};

use super::Sqlite;
use super::axis::MESSAGES;
use super::open::unavailable;
use super::replay::elements;
use crate::model::{
    Element, GroupType, Mentions, Message, MessageKey, Mode, Origin, Signals, Source, Text,
    Timestamp, UserId, Verdict,
};
use crate::store::{
    Conversation, ConversationId, Error, JudgedMessage, JudgedPage, PastHit, Replay, Stretch,
};
use crate::text;

/// Conversations kept between pages. Beyond that they are looked up again.
const KEPT: usize = 100_000;

/// A database that is open for reading only, whoever else holds it.
pub struct Reader {
    pub(super) pool: SqlitePool,
    conversations: Mutex<HashMap<ConversationId, Arc<Conversation>>>,
}

impl Reader {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self { pool, conversations: Mutex::default() }
    }

    /// Writes a copy of the database as it is at this moment, while others go on writing to it. The
    /// copy must not exist yet.
    pub async fn copy_to(&self, copy: &Path) -> Result<(), Error> {
        let mut connection = self.pool.acquire().await.map_err(unavailable)?;
        // The copy counts as a write; the database itself stays open for reading alone.
        sqlx::query("pragma query_only = off")
            .execute(&mut *connection)
            .await
            .map_err(unavailable)?;
        let copied = sqlx::query("vacuum into ?")
            .bind(copy.display().to_string())
            .execute(&mut *connection)
            .await;
        connection.close().await.map_err(unavailable)?;
        copied.map(drop).map_err(unavailable)
    }

    /// Whether the database is whole, or what is wrong with it.
    pub async fn check(&self) -> Result<(), Error> {
        let said: String = sqlx::query_scalar("pragma quick_check(1)")
            .fetch_one(&self.pool)
            .await
            .map_err(unavailable)?;
        if said == "ok" { Ok(()) } else { Err(Error::Unavailable(said)) }
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A page comes as one JSON array: handing over a row each costs several times as much as reading
/// them.
const PAGE: &str = "select max(message_id), min(message_id),
     json_group_array(json_array(message_id, conversation_id, msg_seq, sender, sent_at, received_at,
         online_only, source, verdict, platform, text, body, cloud_custom_data, detail)),
     json_group_array(distinct conversation_id)";

#[async_trait]
impl Replay for Reader {
    async fn stretch(&self, since: Option<Timestamp>) -> Result<Stretch, Error> {
        // Apart: both ends in one question would be answered by reading every row.
        let row = sqlx::query(
            "select coalesce((select min(message_id) from messages), 1) - 1,
                 coalesce((select max(message_id) from messages), 0)",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(unavailable)?;
        let all = Stretch { after: row.get(0), until: row.get(1) };
        let Some(since) = since else { return Ok(all) };
        Ok(Stretch { after: MESSAGES.first(&self.pool, since).await? - 1, ..all })
    }

    async fn judged(
        &self,
        stretch: Stretch,
        limit: usize,
        group: Option<&str>,
    ) -> Result<Option<JudgedPage>, Error> {
        let rows = format!(
            "{PAGE} from (
                 select * from messages not indexed
                 where message_id > ?1 and message_id <= ?2
                   and (?4 is null or conversation_id in (
                       select conversation_id from conversations where group_id = ?4))
                 order by message_id limit ?3
             )"
        );
        let query = sqlx::query(AssertSqlSafe(rows)).bind(stretch.after).bind(stretch.until);
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX)).bind(group);
        self.page(&query.fetch_one(&self.pool).await.map_err(unavailable)?).await
    }

    async fn matched(
        &self,
        stretch: Stretch,
        least: Verdict,
        limit: usize,
    ) -> Result<Option<JudgedPage>, Error> {
        if least == Verdict::Pass {
            return self.judged(stretch, limit, None).await;
        }
        // Two walks along the index in the order of the ids, merged until there are enough.
        let rows = format!(
            "{PAGE} from (
                 select m.* from (
                     select message_id from messages indexed by messages_matched
                     where verdict = 1 and verdict > 0 and ?4 <= 1
                       and message_id > ?1 and message_id <= ?2
                     union all
                     select message_id from messages indexed by messages_matched
                     where verdict = 2 and verdict > 0
                       and message_id > ?1 and message_id <= ?2
                     order by message_id limit ?3
                 ) wanted cross join messages m on m.message_id = wanted.message_id
                 order by m.message_id
             )"
        );
        let query = sqlx::query(AssertSqlSafe(rows)).bind(stretch.after).bind(stretch.until);
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX)).bind(least as i64);
        self.page(&query.fetch_one(&self.pool).await.map_err(unavailable)?).await
    }

    async fn counted(&self, stretch: Stretch) -> Result<HashSet<String>, Error> {
        let all = sqlx::query("select rule_set_id, rules from rule_sets")
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?;
        let names: HashMap<i64, HashSet<String>> =
            all.iter().map(|row| (row.get(0), counted_by(row.get(1)))).collect();
        let used: Vec<i64> = if names.len() == 1 {
            names.keys().copied().collect()
        } else {
            sqlx::query_scalar(
                "select distinct rule_set_id from messages where message_id > ? and message_id <= ?",
            )
            .bind(stretch.after)
            .bind(stretch.until)
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?
        };
        let mut used = used.iter().map(|id| names.get(id).cloned().unwrap_or_default());
        let first = used.next().unwrap_or_default();
        Ok(used.fold(first, |common, names| common.intersection(&names).cloned().collect()))
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

    async fn conflicts(&self, stretch: Stretch, group: Option<&str>) -> Result<u64, Error> {
        let found: i64 = sqlx::query_scalar(
            "select count(*) from conflicts f join messages m on m.message_id = f.message_id
             where f.message_id > ?1 and f.message_id <= ?2
               and (?3 is null or m.conversation_id in (
                   select conversation_id from conversations where group_id = ?3))",
        )
        .bind(stretch.after)
        .bind(stretch.until)
        .bind(group)
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
    ) -> Result<Option<JudgedPage>, Error> {
        self.past.judged(stretch, limit, group).await
    }
    async fn matched(
        &self,
        stretch: Stretch,
        least: Verdict,
        limit: usize,
    ) -> Result<Option<JudgedPage>, Error> {
        self.past.matched(stretch, least, limit).await
    }
    async fn counted(&self, stretch: Stretch) -> Result<HashSet<String>, Error> {
        self.past.counted(stretch).await
    }
    async fn knows_group(&self, group: &str) -> Result<bool, Error> {
        self.past.knows_group(group).await
    }
    async fn conflicts(&self, stretch: Stretch, group: Option<&str>) -> Result<u64, Error> {
        self.past.conflicts(stretch, group).await
    }
}

impl Reader {
    /// The page of a row that [`PAGE`] answered.
    async fn page(&self, row: &SqliteRow) -> Result<Option<JudgedPage>, Error> {
        let (Some(last), Some(first)) = (row.get(0), row.get(1)) else { return Ok(None) };
        let rows: String = row.get(2);
        let hits = self.hits(first, last).await?;
        let conversations = self.conversations(row.get(3)).await?;
        Ok(Some(JudgedPage::new(last, move || decode(&rows, &hits, &conversations))))
    }

    /// The rules that hit messages, in order of the messages, as JSON.
    async fn hits(&self, first: i64, last: i64) -> Result<String, Error> {
        sqlx::query_scalar(
            "select json_group_array(json_array(message_id, rule_id, mode)) from (
                 select message_id, rule_id, mode from hits indexed by hits_message
                 where message_id between ? and ? and conflict_id is null
                 order by message_id, hit_id
             )",
        )
        .bind(first)
        .bind(last)
        .fetch_one(&self.pool)
        .await
        .map_err(unavailable)
    }

    /// The conversations with these ids.
    async fn conversations(&self, wanted: &str) -> Result<Conversations, Error> {
        let wanted: Vec<ConversationId> = serde_json::from_str(wanted).map_err(unreadable)?;
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
                group_type: GroupType(row.get::<&str, _>(3).into()),
            });
            kept.insert(row.get(0), Arc::clone(&conversation));
            found.insert(row.get(0), conversation);
        }
        Ok(found)
    }
}

type Conversations = HashMap<ConversationId, Arc<Conversation>>;

/// The names of what a rule set counts.
fn counted_by(rules: &str) -> HashSet<String> {
    #[derive(Deserialize)]
    struct Rule {
        #[serde(default)]
        counts: Vec<String>,
    }
    let rules: Vec<Rule> = serde_json::from_str(rules).unwrap_or_default();
    rules.into_iter().flat_map(|rule| rule.counts).collect()
}

/// Makes messages of what the queries answered.
fn decode(
    rows: &str,
    hits: &str,
    conversations: &Conversations,
) -> Result<Vec<JudgedMessage>, Error> {
    let rows: Vec<Judged<'_>> = serde_json::from_str(rows).map_err(unreadable)?;
    let hits: Vec<HitRow<'_>> = serde_json::from_str(hits).map_err(unreadable)?;
    let mut hits = hits.into_iter().peekable();
    let mut names = HashSet::new();
    let mut judged = Vec::with_capacity(rows.len());
    for row in rows {
        let mut its: Vec<PastHit> = Vec::new();
        while let Some(HitRow(message, rule, mode)) = hits.next_if(|hit| hit.0 <= row.message_id) {
            // Those of messages in between that are not wanted are read along.
            if message != row.message_id {
                continue;
            }
            // A rule matches at several places, in a row.
            if its.last().is_none_or(|last| last.rule.as_str() != rule) {
                let mode = Mode::from_word(&mode).unwrap_or_default();
                its.push(PastHit { rule: rule.as_ref().into(), mode });
            }
        }
        let Some(conversation) = conversations.get(&row.conversation_id) else { continue };
        judged.push(row.judged(conversation, its, &mut names));
    }
    Ok(judged)
}

/// Message, rule and mode of a hit.
#[derive(Deserialize)]
struct HitRow<'a>(i64, #[serde(borrow)] Cow<'a, str>, #[serde(borrow)] Cow<'a, str>);

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
struct Detail<'a> {
    operator: Option<UserId>,
    mentions_everyone: bool,
    mentions: Vec<UserId>,
    #[serde(borrow)]
    signals: BTreeMap<&'a str, u32>,
}

/// The signals with names that are shared by all messages.
fn signals(recorded: &BTreeMap<&str, u32>, names: &mut HashSet<Arc<str>>) -> Signals {
    let mut counts = BTreeMap::new();
    for (&name, &count) in recorded {
        let name = names.get(name).cloned().unwrap_or_else(|| {
            let name: Arc<str> = name.into();
            names.insert(Arc::clone(&name));
            name
        });
        counts.insert(name, count);
    }
    Signals { counts }
}

impl Judged<'_> {
    fn judged(
        self,
        conversation: &Arc<Conversation>,
        hits: Vec<PastHit>,
        names: &mut HashSet<Arc<str>>,
    ) -> JudgedMessage {
        let detail: Detail<'_> = self
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
            platform: self.platform.as_ref().into(),
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
            signals: signals(&detail.signals, names),
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
