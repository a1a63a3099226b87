//! Stored messages read back as they were judged.

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::Sqlite;
use super::keys::keyed;
use super::open::unavailable;
use crate::model::{Element, GroupType, Mentions, Message, MessageKey, Source, Timestamp, UserId};
use crate::store::{ConversationId, Error, StoredMessage};
use crate::text;

/// What [`stored`] reads, up to the condition.
macro_rules! stored_columns {
    () => {
        "select m.message_id, c.group_id, c.topic_id, c.group_type, m.msg_seq, m.sender,
             m.sent_at, m.received_at, m.online_only, m.source, m.platform, m.text, m.body,
             m.cloud_custom_data, m.detail, m.content_hash
         from messages m join conversations c on c.conversation_id = m.conversation_id "
    };
}

impl Sqlite {
    pub(super) async fn read_messages(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, Error> {
        let rows = sqlx::query(concat!(
            stored_columns!(),
            "where m.message_id > ? order by m.message_id limit ?",
        ))
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        Ok(rows.iter().map(stored).collect())
    }

    /// Messages of a stretch of one conversation, lowest sequence first. Those whose content is no
    /// longer kept are left out.
    pub(super) async fn read_stretch(
        &self,
        conversation: ConversationId,
        from: i64,
        to: i64,
    ) -> Result<Vec<Message>, Error> {
        let sql = format!(
            // What was pruned or erased has neither.
            "{} where m.message_id in (select message_id from ({}))
                 and (m.body is not null or m.text <> '') order by m.msg_seq",
            stored_columns!(),
            keyed("?1", "between ?2 and ?3", "")
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(conversation)
            .bind(from)
            .bind(to)
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)?;
        Ok(rows.iter().map(|row| stored(row).message).collect())
    }

    /// The id behind which the messages received since then lie, but not more than `most` of them.
    pub(super) async fn message_before(&self, since: Timestamp, most: usize) -> Result<i64, Error> {
        // Ids grow with the time of recording, so the latest lie at the end.
        sqlx::query_scalar(
            "select coalesce(min(message_id) - 1, (select max(message_id) from messages), 0) from (
                 select message_id, received_at from messages order by message_id desc limit ?
             ) where received_at >= ?",
        )
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .bind(since.millis())
        .fetch_one(&self.readers)
        .await
        .map_err(unavailable)
    }
}

fn stored(row: &SqliteRow) -> StoredMessage {
    let text: &str = row.get(11);
    let cloud_custom_data: String = row.get(13);
    let elements = elements(row.get(12), text, &cloud_custom_data);
    let detail: Value = row
        .get::<Option<&str>, _>(14)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let sender = UserId::from(row.get::<&str, _>(5));
    let accounts = detail["mentions"].as_array().into_iter().flatten();
    let hash: Vec<u8> = row.get(15);
    let mut content_hash = [0; 16];
    if hash.len() == content_hash.len() {
        content_hash.copy_from_slice(&hash);
    }
    let message = Message {
        key: MessageKey {
            group_id: row.get::<&str, _>(1).into(),
            topic_id: row.get::<&str, _>(2).into(),
            msg_seq: u64::try_from(row.get::<i64, _>(4)).unwrap_or(0),
        },
        group_type: GroupType(row.get::<&str, _>(3).into()),
        operator: detail["operator"].as_str().map_or_else(|| sender.clone(), UserId::from),
        sender,
        sent_at: Timestamp(row.get(6)),
        received_at: Timestamp(row.get(7)),
        online_only: row.get(8),
        source: if row.get::<i64, _>(9) == 0 { Source::Callback } else { Source::History },
        platform: row.get::<&str, _>(10).into(),
        mentions: Mentions {
            everyone: detail["mentions_everyone"] == true,
            accounts: accounts.filter_map(Value::as_str).map(UserId::from).collect(),
        },
        text: text::extract(&elements, &cloud_custom_data),
        elements,
        cloud_custom_data,
        content_hash,
    };
    StoredMessage { message_id: row.get(0), message }
}

/// The elements of a row: its body, or the one text element that was left out because the text
/// begins with it.
pub(super) fn elements(body: Option<&str>, joined: &str, cloud_custom_data: &str) -> Vec<Element> {
    if let Some(body) = body {
        return serde_json::from_str(body).unwrap_or_default();
    }
    let custom = text::extract(&[], cloud_custom_data);
    let own = match custom.as_str() {
        "" => joined,
        custom => {
            joined.strip_suffix(custom).and_then(|own| own.strip_suffix('\n')).unwrap_or(joined)
        }
    };
    vec![Element { msg_type: "TIMTextElem".into(), content: json!({ "Text": own }).into() }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_element_that_was_left_out_comes_back() {
        let text_of = |joined: &str, custom: &str| {
            let elements = elements(None, joined, custom);
            assert_eq!(text::extract(&elements, custom).as_str(), joined);
            elements[0].content["Text"].as_str().unwrap().to_owned()
        };
        assert_eq!(text_of("hello", ""), "hello");
        assert_eq!(text_of("two\nlines", ""), "two\nlines");
        assert_eq!(text_of("hello\nandroid\n3.1", r#"{"client":"android","v":"3.1"}"#), "hello");
    }
}
