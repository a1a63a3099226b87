//! Connections that are used where they are: the one that writes, on the writer's thread, and one that
//! reads behind it. A statement costs what it costs in SQLite, not a hand-over to another thread.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::config::DbConfig;
#[cfg(feature = "fail")]
use rusqlite::ffi;
use rusqlite::types::FromSql;
use rusqlite::{CachedStatement, OpenFlags, Params, Row, Transaction};

use super::open::{BUSY, Options, PRAGMAS, Synchronous, is_about_the_statement};
use crate::model::faults::fault;
use crate::store::Error;

/// Statements that stay prepared. There are some hundred on the writer's side.
const PREPARED: usize = 200;

/// Places for the values of so many rows, as `insert` has them behind `values`.
pub(super) fn rows_of(columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row; rows].join(", ")
}

/// A connection that may write.
pub(super) struct Connection(rusqlite::Connection);

impl Connection {
    /// Opens a database that is there and up to date.
    pub(super) fn open(options: &Options) -> Result<Self, Error> {
        let path: &Path = &options.path;
        // What is opened is the file that was there, never a new one in its place.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags)
            .map_err(|error| Error::Unavailable(format!("{}: {error}", path.display())))?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        connection.busy_timeout(BUSY)?;
        let synchronous = match options.synchronous {
            Synchronous::Full => "full",
            Synchronous::Normal => "normal",
        };
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", synchronous)?;
        for (name, value) in PRAGMAS {
            connection.pragma_update(None, name, value)?;
        }
        // 4 MiB, less than others have. SQLite moves pages about by way of the number of the page at 1 GiB
        // (PENDING_BYTE), and a commit then looks through all of the cache for pages behind the last one.
        connection.pragma_update(None, "cache_size", "-4096")?;
        // What works the log in says when: see `checkpoint`.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(Self(connection))
    }

    /// Opens a database for reading alone.
    pub(super) fn open_to_read(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags)
            .map_err(|error| Error::Unavailable(format!("{}: {error}", path.display())))?;
        connection.busy_timeout(BUSY)?;
        for (name, value) in [("query_only", "on"), ("trusted_schema", "off")] {
            connection.pragma_update(None, name, value)?;
        }
        Ok(Self(connection))
    }

    /// Runs a statement. Answers how many rows it changed.
    pub(super) fn execute(&self, sql: &str, values: impl Params) -> Result<u64, Error> {
        Ok(self.prepare(sql)?.execute(values)? as u64)
    }

    /// Writes into the database what it says already: whose it is.
    pub(super) fn mark(&self) -> Result<(), Error> {
        self.execute("pragma application_id = 1903519084", []).map(drop)
    }

    /// What a query answers, row by row.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.prepare(sql)?;
        let rows = statement.query_map(values, read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Goes through what a query answers.
    pub(super) fn each(
        &self,
        sql: &str,
        values: impl Params,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next()? {
            read(row)?;
        }
        Ok(())
    }

    /// The first row of what a query answers, if there is one.
    pub(super) fn row<T>(
        &self,
        sql: &str,
        values: impl Params,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query(values)?;
        Ok(rows.next()?.map(&mut read).transpose()?)
    }

    /// The first column of each row.
    pub(super) fn values<T: FromSql>(
        &self,
        sql: &str,
        values: impl Params,
    ) -> Result<Vec<T>, Error> {
        self.rows(sql, values, |row| row.get(0))
    }

    /// The first column of the first row, if there is one.
    pub(super) fn first<T: FromSql>(
        &self,
        sql: &str,
        values: impl Params,
    ) -> Result<Option<T>, Error> {
        self.row(sql, values, |row| row.get(0))
    }

    /// The one value that a query always answers.
    pub(super) fn value<T: FromSql>(&self, sql: &str, values: impl Params) -> Result<T, Error> {
        self.first(sql, values)?.ok_or_else(|| rusqlite::Error::QueryReturnedNoRows.into())
    }

    /// Until it is dropped, everything is read as it was at one moment.
    pub(super) fn moment(&self) -> Result<Transaction<'_>, Error> {
        Ok(self.0.unchecked_transaction()?)
    }

    /// A statement that stays prepared, for whoever runs it many times.
    pub(super) fn prepare(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.0.prepare_cached(sql)
    }

    /// Works what is in the log into the database, as far as no reader needs it as it was.
    pub(super) fn settle(&self) -> rusqlite::Result<Log> {
        fault!("checkpoint_write", Err(failure(ffi::SQLITE_IOERR_WRITE)));
        fault!("checkpoint_sync", Err(failure(ffi::SQLITE_IOERR_FSYNC)));
        self.checkpoint("pragma wal_checkpoint(passive)")
    }

    /// Works all of the log into the database and cuts the log to nothing. Answers whether that was done:
    /// a reader may stand in the way.
    pub(super) fn empty_log(&self) -> rusqlite::Result<bool> {
        fault!("checkpoint_sync", Err(failure(ffi::SQLITE_IOERR_FSYNC)));
        let mut statement = self.prepare("pragma wal_checkpoint(truncate)")?;
        statement.query_row([], |row| Ok(row.get::<_, i64>(0)? == 0))
    }

    /// How long the log is.
    pub(super) fn log(&self) -> rusqlite::Result<Log> {
        self.checkpoint("pragma wal_checkpoint(noop)")
    }

    fn checkpoint(&self, sql: &str) -> rusqlite::Result<Log> {
        let mut statement = self.prepare(sql)?;
        statement.query_row([], |row| Ok(Log { pages: row.get(1)?, copied: row.get(2)? }))
    }

    /// Ends it, and with the last one the log. What it could not write is told of. One that is dropped
    /// instead leaves the log as it is.
    pub(super) fn close(self) -> rusqlite::Result<()> {
        self.0.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        self.0.close().map_err(|(_, error)| error)
    }
}

/// A write-ahead log: its pages, and how many of them are in the database.
pub(super) struct Log {
    pub pages: i64,
    pub copied: i64,
}

#[cfg(feature = "fail")]
fn failure(code: std::ffi::c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("injected".to_owned()))
}

/// A connection that is read from where it may block, with what is remembered of what was read.
pub(super) struct Aside<T>(Arc<Mutex<(Connection, T)>>);

impl<T: Default + Send + 'static> Aside<T> {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Arc::new(Mutex::new((connection, T::default()))))
    }

    /// Does something with it on a thread that is there for what blocks.
    pub(super) async fn ask<A: Send + 'static>(
        &self,
        what: impl FnOnce(&Connection, &mut T) -> Result<A, Error> + Send + 'static,
    ) -> Result<A, Error> {
        let aside = Arc::clone(&self.0);
        let asked = tokio::task::spawn_blocking(move || {
            let mut aside = aside.lock().unwrap_or_else(PoisonError::into_inner);
            let (connection, remembered) = &mut *aside;
            what(connection, remembered)
        });
        asked.await.unwrap_or(Err(Error::Closed))
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let about_the_statement = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => {
                is_about_the_statement(failure.extended_code)
            }
            _ => true,
        };
        if about_the_statement {
            Self::Refused(error.to_string())
        } else {
            Self::Unavailable(error.to_string())
        }
    }
}
