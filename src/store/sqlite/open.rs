//! Opening: the lock, the version checks, the pragmas, the migrations.

use std::cmp::Ordering;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _};

use super::connection::{Aside, Connection};
use super::writer::Writer;
use super::{Reader, Sqlite, migrations};
use crate::store::Error;

/// The first SQLite without the bug that lets two connections, one of them checkpointing, lose
/// commits (present from 3.7.0 to 3.51.2).
const SQLITE_WANTED: &str = "3.51.3";
/// `quel` in ASCII: what `file` and SQLite tools show as the file's application.
const APPLICATION_ID: i64 = 0x7175_656c;

/// Pages of the write-ahead log, 2 MiB, at which it is worked into the database. A commit that comes
/// while they are copied and synced waits for a processor and for the disk: with 8,192 pages the 99th
/// percentile of the answer at 25,000 messages a second was 7.5 ms, with 1,024 5.1, and with these 4.7,
/// for the same CPU time.
pub const LOG_PAGES: u32 = 512;

/// How long to wait for another process that locks the database for a moment.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// When it is on the disk.
    #[default]
    Full,
    /// When the operating system has it.
    Normal,
}

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    pub path: PathBuf,
    pub synchronous: Synchronous,
    /// Writes that may wait before further ones are refused.
    pub queue: usize,
    /// Most messages in one transaction.
    pub batch: usize,
    pub readers: u32,
    pub quarantine_rows: u32,
    /// Pages of the write-ahead log at which it is worked into the database.
    pub log_pages: u32,
    /// Whether texts are put into an index that can be searched.
    pub search: bool,
    /// Whether to bring an older schema up to date, or to refuse it.
    pub migrate: bool,
}

impl Options {
    /// A database at a path, everything else as by default.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            synchronous: Synchronous::Full,
            queue: 8192,
            batch: 512,
            readers: 4,
            quarantine_rows: 10_000,
            log_pages: LOG_PAGES,
            search: false,
            migrate: true,
        }
    }

    /// Fails where there is no database: for whoever asks of what was recorded and must not make one.
    pub fn check_there(&self) -> Result<(), Error> {
        if self.path.exists() {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "{} is not there: nothing was ever recorded in it, or it was moved or deleted",
            self.path.display()
        )))
    }
}

/// Opens a database, creating it where there is none.
///
/// Refuses a file that another quell holds, one of a newer schema, and an SQLite library with the
/// WAL-reset bug.
pub async fn open(options: &Options) -> Result<Sqlite, Error> {
    let lock = lock(&options.path)?;
    let mut connection = connect(options).await?;
    refuse_old_library(&mut connection).await?;
    let found = migrations::version(&mut connection).await?;
    if found < migrations::latest_version() {
        // An empty file is no old database: there is nothing in it that a migration could touch.
        if !options.migrate && found > 0 {
            return Err(Error::NotMigrated { found, known: migrations::latest_version() });
        }
        migrations::run(&mut connection).await?;
    }
    if found > migrations::latest_version() {
        return Err(Error::TooNew { found, known: migrations::latest_version() });
    }
    let readers = SqlitePoolOptions::new()
        .max_connections(options.readers)
        .acquire_timeout(Duration::from_secs(10))
        .connect_lazy_with(connect_options(options).read_only(true).pragma("query_only", "on"));
    connection.close().await.map_err(unavailable)?;
    let writer = Writer::start(Connection::open(options)?, options)?;
    let past = Reader::new(readers.clone());
    Ok(Sqlite {
        writer,
        readers,
        past,
        options: options.clone(),
        aside: Aside::new(Connection::open_to_read(&options.path)?),
        random: Mutex::new(StdRng::from_os_rng()),
        _lock: lock,
    })
}

/// Opens a database for reading alone. A daemon may hold it and go on writing.
pub async fn open_to_read(options: &Options) -> Result<Reader, Error> {
    options.check_there()?;
    let path = options.path.display();
    let pool = SqlitePoolOptions::new()
        // Whoever reads it from end to end does so page by page, and each connection has a cache.
        .max_connections(1)
        .connect_with(
            SqliteConnectOptions::new()
                .filename(&options.path)
                .read_only(true)
                .busy_timeout(Duration::from_secs(5))
                .pragma("query_only", "on")
                .pragma("trusted_schema", "off")
                .pragma("cache_size", "-16384")
                .disable_statement_logging(),
        )
        .await
        .map_err(|error| Error::Unavailable(format!("{path}: {error}")))?;
    let mut connection = pool.acquire().await.map_err(unavailable)?;
    let marked: i64 = scalar(&mut connection, "pragma application_id").await?;
    if marked != APPLICATION_ID {
        return Err(Error::Invalid(format!("{path} is no database of quell")));
    }
    let found = migrations::version(&mut connection).await?;
    let known = migrations::latest_version();
    drop(connection);
    match found.cmp(&known) {
        Ordering::Less => Err(Error::NotMigrated { found, known }),
        Ordering::Equal => Ok(Reader::new(pool)),
        Ordering::Greater => Err(Error::TooNew { found, known }),
    }
}

/// Brings a database up to date and closes it. Answers the schema version before and after.
pub async fn migrate(options: &Options) -> Result<(i64, i64), Error> {
    let _lock = lock(&options.path)?;
    let mut connection = connect(options).await?;
    refuse_old_library(&mut connection).await?;
    let found = migrations::version(&mut connection).await?;
    if found > migrations::latest_version() {
        return Err(Error::TooNew { found, known: migrations::latest_version() });
    }
    migrations::run(&mut connection).await?;
    let now = migrations::version(&mut connection).await?;
    connection.close().await.map_err(unavailable)?;
    Ok((found, now))
}

fn lock(database: &Path) -> Result<File, Error> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(
            |error| Error::Unavailable(format!("{}: {error}", Path::new(&path).display())),
        )?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Locked { path: database.display().to_string() })
        }
        Err(TryLockError::Error(error)) => {
            Err(Error::Unavailable(format!("{}: {error}", Path::new(&path).display())))
        }
    }
}

/// Refuses a file of another program before anything of it is changed.
async fn refuse_foreign(options: &Options) -> Result<(), Error> {
    if !options.path.exists() {
        return Ok(());
    }
    let path = options.path.display();
    let unavailable = |error: sqlx::Error| Error::Unavailable(format!("{path}: {error}"));
    let mut connection = SqliteConnectOptions::new()
        .filename(&options.path)
        .busy_timeout(Duration::from_secs(5))
        .connect()
        .await
        .map_err(unavailable)?;
    let marked: i64 = sqlx::query_scalar("pragma application_id")
        .fetch_one(&mut connection)
        .await
        .map_err(unavailable)?;
    let tables: i64 = sqlx::query_scalar("select count(*) from sqlite_master")
        .fetch_one(&mut connection)
        .await
        .map_err(unavailable)?;
    connection.close().await.map_err(unavailable)?;
    if marked == APPLICATION_ID || (marked == 0 && tables == 0) {
        Ok(())
    } else {
        Err(Error::Invalid(format!("{path} is a database of another program")))
    }
}

async fn connect(options: &Options) -> Result<SqliteConnection, Error> {
    refuse_foreign(options).await?;
    let mut connection = connect_options(options)
        .connect()
        .await
        .map_err(|error| Error::Unavailable(format!("{}: {error}", options.path.display())))?;
    sqlx::query("pragma application_id = 1903519084")
        .execute(&mut connection)
        .await
        .map_err(unavailable)?;
    Ok(connection)
}

/// How every connection works that may write.
pub(super) const PRAGMAS: [(&str, &str); 8] = [
    ("foreign_keys", "on"),
    ("mmap_size", "0"),
    ("trusted_schema", "off"),
    ("cell_size_check", "on"),
    // What is deleted is overwritten: erased text must not lie about in the file.
    ("secure_delete", "on"),
    // For what migrates alone, when nobody waits for an answer.
    ("wal_autocheckpoint", "8192"),
    // After a checkpoint the WAL file is cut back to this many bytes. Less than it grows to between
    // two of them would have the file system allot it anew each time.
    ("journal_size_limit", "67108864"),
    // 16 MiB: the upper levels of the indexes of a large database.
    ("cache_size", "-16384"),
];

fn connect_options(options: &Options) -> SqliteConnectOptions {
    let connect = SqliteConnectOptions::new()
        .filename(&options.path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match options.synchronous {
            Synchronous::Full => SqliteSynchronous::Full,
            Synchronous::Normal => SqliteSynchronous::Normal,
        })
        .busy_timeout(BUSY)
        .statement_cache_capacity(200)
        .disable_statement_logging();
    PRAGMAS.iter().fold(connect, |connect, (name, value)| connect.pragma(*name, *value))
}

async fn refuse_old_library(connection: &mut SqliteConnection) -> Result<(), Error> {
    let found: String = scalar(connection, "select sqlite_version()").await?;
    if version_parts(&found) < version_parts(SQLITE_WANTED) {
        return Err(Error::SqliteTooOld { found, wanted: SQLITE_WANTED });
    }
    Ok(())
}

fn version_parts(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// The one value of the one row that a query answers.
pub(super) async fn scalar<T>(
    connection: &mut SqliteConnection,
    sql: &'static str,
) -> Result<T, Error>
where
    T: Send + Unpin + sqlx::Type<sqlx::Sqlite> + for<'r> sqlx::Decode<'r, sqlx::Sqlite>,
{
    sqlx::query_scalar(sql).fetch_one(connection).await.map_err(unavailable)
}

/// What a failure inside SQLite means to the caller.
#[expect(clippy::needless_pass_by_value, reason = "it is an argument of map_err")]
pub(super) fn unavailable(error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    if code.is_some_and(is_about_the_statement) {
        Error::Refused(error.to_string())
    } else {
        Error::Unavailable(error.to_string())
    }
}

/// Constraint, mismatch, range, misuse: about what was asked. Everything else (full, input or output,
/// busy, read-only, corrupt) is about the database.
pub(super) fn is_about_the_statement(code: i32) -> bool {
    [1, 18, 19, 20, 21, 25].contains(&(code & 0xff))
}

/// A bare connection, for tests that damage a database.
#[cfg(test)]
pub(super) async fn connect_for_tests(options: &Options) -> SqliteConnection {
    connect_options(options).connect().await.expect("the database can be opened")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(version_parts("3.51.10") > version_parts(SQLITE_WANTED));
        assert!(version_parts("3.6.23") < version_parts(SQLITE_WANTED));
        assert!(version_parts("3.51.3") >= version_parts(SQLITE_WANTED));
    }
}
