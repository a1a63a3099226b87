//! Works the write-ahead log into the database, beside the writer.
//!
//! Thousands of pages are copied and synced at a time, during which the writer, were it to do so itself,
//! would keep everybody waiting. So a thread with a connection of its own copies while the writer goes
//! on; a passive checkpoint stands in nobody's way. Under load it never quite reaches the log's end, and
//! only a log that was copied to its end begins anew: what little is left then, the writer copies between
//! two transactions. Where the log grows all the same, because a reader holds on to it or the disk is too
//! slow, the writer waits and does what can be done before it goes on.
//!
//! A page that could not be written is written again: the log holds it until the database is synced.
//! After a failed sync nobody knows which pages are on the disk, and another sync may not tell. Then the
//! log must not begin anew, and nothing can be done but to end: the next start reads all of it again, unless
//! another process has the database open meanwhile.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::ffi;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::open::Options;
use crate::store::Error;

/// The writer copies by itself once the log is so many times as long as it should be.
const MOST: i64 = 4;
/// A part of that length: by so much the log grows before a copy that did not come to its end is begun
/// again, and so much may be left for the writer.
const PART: i64 = 8;
/// Each copy leaves what was written meanwhile, some fifth of what it copied, and every one syncs log and
/// database, which commits wait for: as soon as little is left, that is the writer's.
const ROUNDS: u32 = 16;
/// How long a reader is waited for that stands in the way.
const A_MOMENT: Duration = Duration::from_millis(2);
/// Failure after failure is told of so often.
const TELL_AGAIN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    /// The thread copies.
    Copying,
    /// The writer is to copy what is left.
    Rest,
    Ended,
}

/// Whether a sync of the database failed, for all who might write to it.
#[derive(Clone, Default)]
pub(super) struct Lost(CancellationToken);

impl Lost {
    pub(super) fn is_so(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is so.
    pub(super) async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// Takes note of what a checkpoint failed by. Answers whether it is so.
    pub(super) fn note(&self, error: &rusqlite::Error) -> bool {
        metrics::counter!("quell_store_checkpoint_failures_total").increment(1);
        if is_a_sync(error) && !self.is_so() {
            self.0.cancel();
            tracing::error!(
                %error,
                "the database could not be synced, so that nobody knows what of it is on the disk: \
                 quell ends, and the next start reads the whole log again"
            );
        }
        self.is_so()
    }
}

struct Shared {
    stage: Mutex<Stage>,
    changed: Condvar,
    told: Mutex<Option<Instant>>,
    lost: Lost,
}

/// What works the log of one connection's database in. Dropping it ends it.
pub(super) struct Checkpoints {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Pages of the log from which on it is worth working in.
    worth: i64,
    /// Pages of the log at which this is begun next.
    next: i64,
    /// Pages of the log after the transaction before.
    seen: i64,
}

impl Checkpoints {
    pub(super) fn start(options: &Options, lost: Lost) -> Result<Self, Error> {
        let connection = Connection::open(options)?;
        let shared = Arc::new(Shared {
            stage: Mutex::new(Stage::Idle),
            changed: Condvar::new(),
            told: Mutex::default(),
            lost,
        });
        let worth = i64::from(options.log_pages);
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("quell-log".to_owned())
            .spawn(move || run(&connection, &theirs, worth / PART))
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self { shared, thread: Some(thread), worth, next: worth, seen: 0 })
    }

    /// Looks after the log, between two transactions of a connection.
    pub(super) fn tend(&mut self, connection: &Connection) {
        if let Err(error) = self.step(connection) {
            self.shared.failed(&error);
        }
    }

    fn step(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.shared.lost.is_so() {
            return Ok(());
        }
        let mut pages = connection.log()?.pages;
        // It may have begun anew already: where no commit came meanwhile, nothing was left.
        if self.shared.moves(Stage::Rest, Stage::Idle) && pages >= self.worth {
            let began = Instant::now();
            pages = connection.settle()?.pages;
            tracing::debug!(
                duration_ms = began.elapsed().as_millis(),
                "worked the rest of the log in"
            );
        }
        if pages < self.seen {
            // It began anew.
            self.next = self.worth;
        }
        self.seen = pages;
        if pages >= self.worth * MOST {
            let _ = self.shared.wait_while(|stage| stage == Stage::Copying);
            // After a failed sync another one might not fail, though the pages are not on the disk.
            if !self.shared.lost.is_so() {
                connection.settle()?;
            }
        } else if pages >= self.next && self.shared.moves(Stage::Idle, Stage::Copying) {
            self.next = pages + self.worth / PART;
        }
        Ok(())
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        *self.shared.stage() = Stage::Ended;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes from one stage to another, if that is where it is.
    fn moves(&self, from: Stage, to: Stage) -> bool {
        let mut stage = self.stage();
        let moves = *stage == from;
        if moves {
            *stage = to;
            self.changed.notify_all();
        }
        moves
    }

    /// Waits as long as something is so. Answers what is then.
    fn wait_while(&self, is_so: impl Fn(Stage) -> bool) -> Stage {
        let waiting = self.changed.wait_while(self.stage(), |stage| is_so(*stage));
        *waiting.unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: &rusqlite::Error) {
        if self.lost.note(error) {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
            *told = Some(Instant::now());
            tracing::error!(%error, "the log could not be worked into the database: it will be tried again");
        }
    }
}

fn is_a_sync(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(failure, _)
        if failure.extended_code == ffi::SQLITE_IOERR_FSYNC)
}

fn run(connection: &Connection, shared: &Shared, rest: i64) {
    let works = |stage| matches!(stage, Stage::Copying | Stage::Ended);
    while shared.wait_while(|stage| !works(stage)) == Stage::Copying {
        let next = match copy(connection, shared, rest) {
            Ok(true) => Stage::Rest,
            Ok(false) => Stage::Idle,
            Err(error) => {
                shared.failed(&error);
                Stage::Idle
            }
        };
        shared.moves(Stage::Copying, next);
    }
}

/// Copies until the log's end is close. Answers whether the writer can do the rest.
fn copy(connection: &Connection, shared: &Shared, rest: i64) -> rusqlite::Result<bool> {
    let mut copied = 0;
    for round in 1..=ROUNDS {
        let began = Instant::now();
        let done = connection.settle()?;
        let now = connection.log()?;
        tracing::debug!(
            round,
            copied = done.copied,
            of = now.pages,
            duration_ms = began.elapsed().as_millis(),
            "worked the log in"
        );
        if now.pages < done.pages || *shared.stage() != Stage::Copying || shared.lost.is_so() {
            // It began anew already, or nobody wants it any more.
            return Ok(false);
        }
        if now.pages - done.copied <= rest {
            return Ok(true);
        }
        if done.copied <= copied {
            std::thread::sleep(A_MOMENT);
        }
        copied = done.copied;
    }
    let log = connection.log()?;
    Ok(log.pages - log.copied <= rest)
}

#[cfg(test)]
mod tests {
    use super::super::{Options, Sqlite, open};
    use super::*;
    use crate::store::contract::message;
    use crate::store::{Intake, Recorded};

    /// Pages; some ten messages of these tests.
    const WORTH: u32 = 64;

    async fn with_a_short_log() -> (Sqlite, Options, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { log_pages: WORTH, ..Options::at(&folder.path().join("quell.db")) };
        let store = open(&options).await.unwrap();
        crate::store::contract::rules(&store).await;
        (store, options, folder)
    }

    async fn record(store: &Sqlite, seqs: std::ops::RangeInclusive<u64>) {
        for seq in seqs {
            assert_eq!(store.record(message(seq)).await.unwrap(), Recorded::New);
        }
    }

    /// The longest that the log ever was, in pages.
    fn log_length(options: &Options) -> u64 {
        let mut log = options.path.as_os_str().to_owned();
        log.push("-wal");
        std::fs::metadata(log).unwrap().len() / 4096
    }

    #[tokio::test]
    async fn the_log_begins_anew_while_messages_come() {
        let (store, options, _folder) = with_a_short_log().await;
        record(&store, 1..=1_000).await;
        // At four times its length the writer itself sees to it, between two commits.
        let most = u64::from(WORTH) * 4 + 64;
        assert!(log_length(&options) <= most, "{} pages", log_length(&options));
        store.close().await;
        drop(store);
        let store = open(&options).await.unwrap();
        assert_eq!(store.record(message(1_000)).await.unwrap(), Recorded::Duplicate);
        assert!(store.is_healthy());
    }

    #[tokio::test]
    async fn a_reader_that_holds_the_log_stops_nobody() {
        let (store, options, _folder) = with_a_short_log().await;
        let reading = Connection::open_to_read(&options.path).unwrap();
        record(&store, 1..=10).await;
        let moment = reading.moment().unwrap();
        let count = || reading.value::<i64>("select count(*) from messages", []).unwrap();
        assert_eq!(count(), 10);
        record(&store, 11..=500).await;
        assert_eq!(count(), 10, "it reads what was there when it began");
        let held = log_length(&options);
        assert!(held > u64::from(WORTH) * 4, "{held} pages");
        drop(moment);
        record(&store, 501..=2_000).await;
        assert!(log_length(&options) <= held + 64, "{held} pages, then {}", log_length(&options));
        assert_eq!(count(), 2_000);
    }

    #[test]
    fn a_failed_sync_is_told_from_a_failed_write() {
        for (code, wanted) in [
            (ffi::SQLITE_IOERR_FSYNC, true),
            (ffi::SQLITE_IOERR_WRITE, false),
            (ffi::SQLITE_FULL, false),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(is_a_sync(&error), wanted, "{code}");
        }
    }
}
