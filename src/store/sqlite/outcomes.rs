//! [`Outcomes`] on SQLite.

use async_trait::async_trait;
use serde_json::Value;

use super::Sqlite;
use super::audit::whole;
use super::open::unavailable;
use super::writer::{Operation, Writing};
use crate::store::{Error, Outcomes};

#[async_trait]
impl Outcomes for Sqlite {
    async fn outcomes(&self, call_id: i64) -> Result<Vec<Value>, Error> {
        let rows = sqlx::query(
            "select * from v_recalls where job_id in (
                 select max(j.job_id) from calls k
                 join recall_jobs j indexed by recall_jobs_key
                     on j.conversation_id = k.conversation_id
                     and j.msg_seq in (select value from json_each(k.sequences))
                 where k.call_id = ? group by j.msg_seq)
             order by msg_seq",
        )
        .bind(call_id)
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable)?;
        Ok(whole(&rows).objects())
    }

    async fn pulse(&self) -> Result<(), Error> {
        self.writer.perform(Pulse).await
    }
}

struct Pulse;

impl Operation for Pulse {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        // A transaction that writes nothing commits on a full disk, too, and would be taken for a sign
        // that all is well again.
        writing.connection.mark()
    }
}
