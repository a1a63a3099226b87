//! [`Control`] on SQLite.

use std::collections::HashMap;

use async_trait::async_trait;
use rusqlite::params;
use serde_json::json;
use sqlx::Row;

use super::Sqlite;
use super::connection::Connection;
use super::jobs::{queued_job, select_queued};
use super::open::unavailable;
use super::writer::{Operation, Writing};
use crate::model::{JobId, RuleId, Timestamp};
use crate::store::{By, Control, Error, JobChange, JobEvent, JobFilter, Pause, Tripped};

#[async_trait]
impl Control for Sqlite {
    async fn paused(&self) -> Result<Option<Pause>, Error> {
        let row = sqlx::query("select value from meta where name = 'paused'")
            .fetch_optional(&self.readers)
            .await
            .map_err(unavailable)?;
        Ok(row.and_then(|row| {
            let said: serde_json::Value = serde_json::from_str(row.get(0)).ok()?;
            let by = said["by"].as_str().unwrap_or_default().to_owned();
            Some(Pause { by, at: Timestamp(said["at"].as_i64().unwrap_or(0)) })
        }))
    }
    async fn set_paused(&self, by: &By, paused: bool) -> Result<(), Error> {
        self.writer.perform(SetPaused { by: by.clone(), paused }).await
    }
    async fn change_jobs(
        &self,
        by: &By,
        change: JobChange,
        which: &JobFilter,
    ) -> Result<u64, Error> {
        self.writer.perform(ChangeJobs { by: by.clone(), change, which: which.clone() }).await
    }
    async fn tripped(&self) -> Result<Vec<Tripped>, Error> {
        let rows = sqlx::query("select rule_id, at, why from tripped_rules order by at")
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)?;
        let tripped = |row: &sqlx::sqlite::SqliteRow| Tripped {
            rule: row.get::<&str, _>(0).into(),
            at: Timestamp(row.get(1)),
            why: row.get(2),
        };
        Ok(rows.iter().map(tripped).collect())
    }
    async fn trip(&self, by: &By, rule: &RuleId, why: &str) -> Result<(), Error> {
        let trip = Trip { by: by.clone(), rule: rule.clone(), why: why.to_owned() };
        self.writer.perform(trip).await
    }
    async fn untrip(&self, by: &By, rule: &RuleId) -> Result<bool, Error> {
        self.writer.perform(Untrip { by: by.clone(), rule: rule.clone() }).await
    }
    async fn note(
        &self,
        by: &By,
        act: &str,
        detail: String,
        limit: Option<u32>,
    ) -> Result<(), Error> {
        self.writer.perform(Note { by: by.clone(), act: act.to_owned(), detail, limit }).await
    }
}

/// Records an act.
pub(super) fn record_act(
    connection: &Connection,
    by: &By,
    act: &str,
    detail: &str,
) -> Result<(), Error> {
    connection
        .execute(
            "insert into operations (actor, act, detail, at) values (?, ?, ?, ?)",
            params![by.actor.as_str(), act, detail, by.at.millis()],
        )
        .map(drop)
}

struct SetPaused {
    by: By,
    paused: bool,
}

impl Operation for SetPaused {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        if self.paused {
            writing.connection.execute(
                "insert or replace into meta (name, value) values ('paused', ?)",
                params![json!({ "by": self.by.actor, "at": self.by.at }).to_string()],
            )?;
        } else {
            writing.connection.execute("delete from meta where name = 'paused'", [])?;
        }
        let act = if self.paused { "pause" } else { "resume" };
        record_act(writing.connection, &self.by, act, "{}")
    }
}

struct ChangeJobs {
    by: By,
    change: JobChange,
    which: JobFilter,
}

/// Jobs that a filter means; binds its conditions 1 to 5.
const WHICH: &str = "
    (?1 = '[]' or job_id in (select value from json_each(?1)))
    and (?2 is null or conversation_id in (
        select conversation_id from conversations
        where group_id = ?2 and (?3 is null or topic_id = ?3)))
    and (?4 is null or sender = ?4)
    and (?5 is null or requested_by = 'rule:' || ?5)";

impl Operation for ChangeJobs {
    type Answer = u64;
    fn run(&self, writing: &mut Writing<'_>) -> Result<u64, Error> {
        let at = self.by.at.millis();
        // `or ignore`: a job that was given up may have been asked for again since, and there is one
        // unfinished job a message.
        let (set, from) = match self.change {
            JobChange::Hold => {
                ("state = 'held', reason = 'held by ' || act.actor", "'pending', 'retry'")
            }
            JobChange::Release => ("state = 'pending', reason = null, due_at = act.at", "'held'"),
            JobChange::Cancel => (
                "state = 'cancelled', reason = 'cancelled by ' || act.actor, finished_at = act.at",
                "'pending', 'retry', 'held'",
            ),
            JobChange::Retry => (
                "state = 'pending', reason = null, failures = 0, due_at = act.at,
                 finished_at = null",
                "'dead', 'refused'",
            ),
        };
        let sql = format!(
            "update or ignore recall_jobs set {set} from (select ?6 as actor, ?7 as at) as act
             where state in ({from}) and {WHICH}
             returning job_id"
        );
        let changed: Vec<JobId> = writing.connection.values(
            &sql,
            params![
                json!(self.which.jobs).to_string(),
                self.which.group.as_deref(),
                self.which.topic.as_deref(),
                self.which.sender.as_deref(),
                self.which.rule.as_deref(),
                self.by.actor.as_str(),
                at
            ],
        )?;
        let in_calls = self.wish(writing)?;
        let count = changed.len() as u64 + in_calls;
        let detail = json!({
            "changed": count, "jobs": self.which.jobs, "group": self.which.group,
            "topic": self.which.topic, "sender": self.which.sender, "rule": self.which.rule,
        });
        let act = format!("jobs {}", self.change.as_str());
        record_act(writing.connection, &self.by, &act, &detail.to_string())?;
        match self.change {
            JobChange::Hold | JobChange::Cancel => {
                writing.events.push(JobEvent::Withdrawn(changed));
            }
            JobChange::Release | JobChange::Retry => announce(writing, &changed)?,
        }
        Ok(count)
    }
}

impl ChangeJobs {
    /// Remembers what is wanted of jobs that are in a call at this moment: what the call did is done,
    /// but where it has to be repeated, that counts. Answers of how many.
    fn wish(&self, writing: &mut Writing<'_>) -> Result<u64, Error> {
        let (wish, from) = match self.change {
            JobChange::Hold => (Some("held"), "wish is null"),
            JobChange::Cancel => (Some("cancelled"), "coalesce(wish, '') <> 'cancelled'"),
            JobChange::Release => (None, "wish = 'held'"),
            JobChange::Retry => return Ok(0),
        };
        let sql = format!(
            "update recall_jobs set wish = ?7, wished_by = ?6
             where state = 'leased' and {from} and {WHICH}
             returning job_id, lease"
        );
        let leased = writing.connection.rows(
            &sql,
            params![
                json!(self.which.jobs).to_string(),
                self.which.group.as_deref(),
                self.which.topic.as_deref(),
                self.which.sender.as_deref(),
                self.which.rule.as_deref(),
                self.by.actor.as_str(),
                wish
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let count = leased.len() as u64;
        if wish.is_some() {
            writing.events.push(JobEvent::Unwanted(leased));
        }
        Ok(count)
    }
}

/// Tells the worker of jobs that wait again.
pub(super) fn announce(writing: &mut Writing<'_>, jobs: &[JobId]) -> Result<(), Error> {
    let sql =
        select_queued("", "where j.job_id in (select value from json_each(?)) order by j.job_id");
    let mut conversations = HashMap::new();
    let queued = writing
        .connection
        .rows(&sql, params![json!(jobs).to_string()], |row| queued_job(row, &mut conversations))?;
    writing.events.extend(queued.into_iter().map(JobEvent::Queued));
    Ok(())
}

struct Trip {
    by: By,
    rule: RuleId,
    why: String,
}

impl Operation for Trip {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        let fresh = writing.connection.execute(
            "insert into tripped_rules (rule_id, at, why) values (?, ?, ?) on conflict do nothing",
            params![self.rule.as_str(), self.by.at.millis(), self.why.as_str()],
        )?;
        if fresh == 0 {
            return Ok(());
        }
        let held: Vec<JobId> = writing.connection.values(
            "update recall_jobs set state = 'held', reason = 'rule tripped'
             where state in ('pending', 'retry') and requested_by = 'rule:' || ?
             returning job_id",
            params![self.rule.as_str()],
        )?;
        let detail = json!({ "rule": self.rule, "why": self.why, "held": held.len() });
        writing.events.push(JobEvent::Withdrawn(held));
        let leased = writing.connection.rows(
            "select job_id, lease from recall_jobs indexed by recall_jobs_state
             where state = 'leased' and requested_by = 'rule:' || ?",
            params![self.rule.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        writing.events.push(JobEvent::Unwanted(leased));
        record_act(writing.connection, &self.by, "rule tripped", &detail.to_string())
    }
}

struct Untrip {
    by: By,
    rule: RuleId,
}

impl Operation for Untrip {
    type Answer = bool;
    fn run(&self, writing: &mut Writing<'_>) -> Result<bool, Error> {
        let removed = writing
            .connection
            .execute("delete from tripped_rules where rule_id = ?", params![self.rule.as_str()])?;
        if removed > 0 {
            let detail = json!({ "rule": self.rule }).to_string();
            record_act(writing.connection, &self.by, "rule reset", &detail)?;
        }
        Ok(removed > 0)
    }
}

struct Note {
    by: By,
    act: String,
    detail: String,
    limit: Option<u32>,
}

impl Operation for Note {
    type Answer = ();
    fn run(&self, writing: &mut Writing<'_>) -> Result<(), Error> {
        record_act(writing.connection, &self.by, &self.act, &self.detail)?;
        writing.events.extend(self.limit.map(JobEvent::Limit));
        Ok(())
    }
}
