//! [`Answers`] on SQLite: rows of `meta`, since there are few and they soon go.

use async_trait::async_trait;
use rusqlite::params;
use serde_json::{Value, json};
use sqlx::Row;

use super::Sqlite;
use super::open::unavailable;
use super::writer::{Operation, Writing};
use crate::model::Timestamp;
use crate::store::{Answer, Answers, Error};

/// What their names in `meta` begin with; `;` is the next character behind the colon.
const PREFIX: &str = "answer:";

#[async_trait]
impl Answers for Sqlite {
    async fn answer(&self, key: &str, since: Timestamp) -> Result<Option<Answer>, Error> {
        let row = sqlx::query("select value from meta where name = ?")
            .bind(format!("{PREFIX}{key}"))
            .fetch_optional(&self.readers)
            .await
            .map_err(unavailable)?;
        let said = row.and_then(|row| serde_json::from_str::<Value>(row.get(0)).ok());
        let text = |said: &Value| said.as_str().unwrap_or_default().to_owned();
        let answer = said.map(|said| Answer {
            at: Timestamp(said["at"].as_i64().unwrap_or(0)),
            request: text(&said["request"]),
            status: said["status"].as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(500),
            content_type: text(&said["content_type"]),
            body: text(&said["body"]),
        });
        Ok(answer.filter(|answer| answer.at >= since))
    }

    async fn remember(&self, key: &str, answer: &Answer, since: Timestamp) -> Result<(), Error> {
        let value = json!({
            "at": answer.at, "request": answer.request, "status": answer.status,
            "content_type": answer.content_type, "body": answer.body,
        });
        let name = format!("{PREFIX}{key}");
        self.writer.perform(Remember { name, value: value.to_string(), since }).await
    }

    async fn forget_answers(&self) -> Result<(), Error> {
        self.writer.perform(Forget { before: Timestamp(i64::MAX) }).await
    }
}

struct Remember {
    name: String,
    value: String,
    since: Timestamp,
}

impl Operation for Remember {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        Forget { before: self.since }.run(writing)?;
        writing
            .connection
            .execute(
                "insert or replace into meta (name, value) values (?, ?)",
                params![self.name.as_str(), self.value.as_str()],
            )
            .map(drop)
    }
}

struct Forget {
    before: Timestamp,
}

impl Operation for Forget {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        writing
            .connection
            .execute(
                "delete from meta where name >= 'answer:' and name < 'answer;'
             and json_extract(value, '$.at') < ?",
                params![self.before.millis()],
            )
            .map(drop)
    }
}
