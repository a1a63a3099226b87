//! [`Allowances`] on SQLite: one row of `meta`, since they are few and always read together.

use async_trait::async_trait;
use rusqlite::params;
use serde_json::json;
use sqlx::SqlitePool;

use super::Sqlite;
use super::connection::Connection;
use super::control::record_act;
use super::open::unavailable;
use super::past::Reader;
use super::writer::{Operation, Writing};
use crate::model::{Allowance, AllowanceKind};
use crate::store::{Allowances, By, Error, NewAllowance};

/// More would be a rules file of its own.
const MOST: usize = 1_000;
const ALL: &str = "select value from meta where name = 'allowances'";

impl Reader {
    /// What operators let through beside the rules file.
    pub async fn allowances(&self) -> Result<Vec<Allowance>, Error> {
        read(&self.pool).await
    }
}

#[async_trait]
impl Allowances for Sqlite {
    async fn allowances(&self) -> Result<Vec<Allowance>, Error> {
        read(&self.readers).await
    }
    async fn allow(&self, by: &By, allowance: &NewAllowance) -> Result<Allowance, Error> {
        self.writer.perform(Allow { by: by.clone(), allowance: allowance.clone() }).await?
    }
    async fn disallow(&self, by: &By, kind: AllowanceKind, id: i64) -> Result<bool, Error> {
        self.writer.perform(Disallow { by: by.clone(), kind, id }).await
    }
}

async fn read(pool: &SqlitePool) -> Result<Vec<Allowance>, Error> {
    let text: Option<String> =
        sqlx::query_scalar(ALL).fetch_optional(pool).await.map_err(unavailable)?;
    parse(text)
}

fn parse(text: Option<String>) -> Result<Vec<Allowance>, Error> {
    let Some(text) = text else { return Ok(Vec::new()) };
    // To go on without them would recall what somebody said must stay.
    serde_json::from_str(&text)
        .map_err(|error| Error::Unavailable(format!("the allowances cannot be read: {error}")))
}

fn read_in(connection: &Connection) -> Result<Vec<Allowance>, Error> {
    let text: Option<String> = connection.first(ALL, [])?;
    parse(text)
}

fn write_in(connection: &Connection, all: &[Allowance]) -> Result<(), Error> {
    connection
        .execute(
            "insert or replace into meta (name, value) values ('allowances', ?)",
            params![json!(all).to_string()],
        )
        .map(drop)
}

struct Allow {
    by: By,
    allowance: NewAllowance,
}

impl Operation for Allow {
    /// That there are too many is an answer, not a failed transaction.
    type Answer = Result<Allowance, Error>;
    fn run(&self, writing: &mut Writing<'_>) -> Result<Self::Answer, Error> {
        let mut all = read_in(writing.connection)?;
        let NewAllowance { kind, value, rule, note } = &self.allowance;
        let same = |known: &&Allowance| {
            known.kind == *kind && known.value == *value && known.rule == *rule
        };
        let made = match all.iter().find(same) {
            Some(known) => known.clone(),
            None if all.len() >= MOST => {
                let why =
                    format!("there are {MOST} allowances already: put them into the rules file");
                return Ok(Err(Error::Invalid(why)));
            }
            None => {
                let made = Allowance {
                    id: all.iter().map(|known| known.id).max().unwrap_or(0) + 1,
                    kind: *kind,
                    value: value.clone(),
                    rule: rule.clone(),
                    note: note.clone(),
                    by: self.by.actor.clone(),
                    at: self.by.at,
                };
                all.push(made.clone());
                write_in(writing.connection, &all)?;
                made
            }
        };
        let detail = json!({
            "id": made.id, "kind": kind, "value": value, "rule": rule, "note": note,
        });
        record_act(writing.connection, &self.by, "allow", &detail.to_string())?;
        Ok(Ok(made))
    }
}

struct Disallow {
    by: By,
    kind: AllowanceKind,
    id: i64,
}

impl Operation for Disallow {
    type Answer = bool;
    fn run(&self, writing: &mut Writing<'_>) -> Result<bool, Error> {
        let mut all = read_in(writing.connection)?;
        let meant = |known: &Allowance| known.id == self.id && known.kind == self.kind;
        let Some(place) = all.iter().position(meant) else { return Ok(false) };
        let taken = all.remove(place);
        write_in(writing.connection, &all)?;
        let detail = json!({
            "id": taken.id, "kind": taken.kind, "value": taken.value, "rule": taken.rule,
        });
        record_act(writing.connection, &self.by, "disallow", &detail.to_string())?;
        Ok(true)
    }
}
