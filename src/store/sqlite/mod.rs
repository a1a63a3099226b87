//! The SQLite backend: one writer with group commit, a pool of readers.
//!
//! The file is WAL with `synchronous=FULL`, so that a commit that was answered survives a power cut.
//! Every write goes through one connection in `BEGIN IMMEDIATE` transactions, each of which takes
//! whatever waits at that moment (see `writer`). Readers are `query_only`. A lock file beside the
//! database keeps a second daemon out.

mod allowances;
mod answers;
mod audit;
mod axis;
mod backfills;
mod cases;
mod chain;
mod checkpoint;
mod connection;
mod control;
mod conversations;
mod figures;
mod gaps;
mod intake;
mod jobs;
mod keys;
mod listing;
mod migrations;
mod open;
mod outcomes;
mod past;
mod paths;
mod place;
mod plans;
mod record;
mod replay;
mod retention;
mod reviews;
mod shape;
mod stretches;
#[cfg(test)]
mod tampering;
mod trail;
mod words;
mod writer;

pub use migrations::latest_version;
pub use open::{LOG_PAGES, Options, Synchronous, migrate, open, open_to_read};
pub use past::Reader;

use rand::rngs::StdRng;
use sqlx::SqlitePool;
use std::fs::File;
use std::sync::Mutex;

use self::connection::Aside;
use self::words::Words;
use self::writer::Writer;

/// A database that is open for reading and writing.
pub struct Sqlite {
    writer: Writer,
    readers: SqlitePool,
    past: Reader,
    /// For the salts of the chain.
    random: Mutex<StdRng>,
    /// For what is read behind the writer.
    aside: Aside<Words>,
    /// How it was opened.
    options: Options,
    /// Held as long as the database is open.
    _lock: File,
}

impl Sqlite {
    /// Whether the latest transaction went through.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.writer.is_healthy()
    }

    /// Whether anything can be written at all, now or later: false once the writer has ended, which
    /// only a bug or closing can do.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.writer.is_alive()
    }

    /// Writes what waits, then closes the database.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Error;
    use crate::store::contract::contract_tests;

    async fn fresh() -> (Sqlite, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let options =
            Options { quarantine_rows: 5, ..Options::at(&folder.path().join("quell.db")) };
        (open(&options).await.unwrap(), folder)
    }

    /// What is behind the writer is built, so that rows may be pruned.
    async fn follow(store: &Sqlite) {
        use crate::store::Trail;
        let later = crate::store::contract::NOW.after(std::time::Duration::from_hours(1));
        while store.follow(later).await.unwrap() {}
    }

    contract_tests!(fresh);

    #[tokio::test]
    async fn a_database_is_held_by_one_daemon() {
        let (store, folder) = fresh().await;
        let options = Options::at(&folder.path().join("quell.db"));
        assert!(matches!(open(&options).await, Err(Error::Locked { .. })));
        store.close().await;
        drop(store);
        open(&options).await.unwrap();
    }

    #[tokio::test]
    async fn ids_go_on_where_they_were_although_everything_was_pruned() {
        use crate::store::contract::{message, prune_rows, rules};
        use crate::store::{Gaps, Intake, NotedGaps};
        let (store, folder) = fresh().await;
        rules(&store).await;
        for seq in 1..=3 {
            store.record(message(seq)).await.unwrap();
        }
        let noted = NotedGaps { checkpoint: 3, ..NotedGaps::default() };
        store.note_gaps(noted).await.unwrap();
        follow(&store).await;
        prune_rows(&store, 10).await;
        store.close().await;
        drop(store);
        let store = open(&Options::at(&folder.path().join("quell.db"))).await.unwrap();
        store.record(message(4)).await.unwrap();
        assert_eq!(store.seen_after(3, 10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_message_is_known_although_all_before_it_was_pruned() {
        use crate::store::contract::{message, prune_rows, rules};
        use crate::store::{Intake, Recorded};
        let (store, folder) = fresh().await;
        rules(&store).await;
        for seq in 1..=5 {
            store.record(message(seq)).await.unwrap();
        }
        follow(&store).await;
        prune_rows(&store, 10).await;
        let mut store = Some(store);
        for wanted in [Recorded::New, Recorded::Duplicate] {
            let open_now = store.take().unwrap();
            open_now.close().await;
            drop(open_now);
            let again = open(&Options::at(&folder.path().join("quell.db"))).await.unwrap();
            for seq in 11..=13 {
                assert_eq!(again.record(message(seq)).await.unwrap(), wanted, "{seq}");
            }
            store = Some(again);
        }
    }

    #[tokio::test]
    async fn after_closing_the_database_alone_holds_everything() {
        use crate::store::contract::{message, rules};
        use crate::store::{Audit, Filter, Intake, View};
        let (store, folder) = fresh().await;
        rules(&store).await;
        for seq in 1..=5 {
            store.record(message(seq)).await.unwrap();
        }
        // A reader that stays open until the end.
        store.page(View::Messages, &Filter::default()).await.unwrap();
        store.close().await;
        drop(store);
        let copy = folder.path().join("copy.db");
        std::fs::copy(folder.path().join("quell.db"), &copy).unwrap();
        let copy = open(&Options::at(&copy)).await.unwrap();
        assert_eq!(copy.page(View::Messages, &Filter::default()).await.unwrap().rows.len(), 5);
    }

    #[tokio::test]
    async fn another_programs_database_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::at(&folder.path().join("other.db"));
        drop(open(&options).await.unwrap());
        let mut other = open::connect_for_tests(&options).await;
        sqlx::query("pragma application_id = 7").execute(&mut other).await.unwrap();
        drop(other);
        assert!(matches!(open(&options).await, Err(Error::Invalid(_))));
    }

    #[tokio::test]
    async fn an_unmarked_database_with_tables_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        let options =
            sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::query("create table theirs (x)").execute(&mut other).await.unwrap();
        drop(other);
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(migrate(&Options::at(&path)).await, Err(Error::Invalid(_))));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[tokio::test]
    async fn a_schema_from_the_future_is_refused() {
        let (store, folder) = fresh().await;
        store.close().await;
        drop(store);
        let options = Options::at(&folder.path().join("quell.db"));
        let mut connection = open::connect_for_tests(&options).await;
        sqlx::query(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             values (9999, 'later', 1, x'00', 0)",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        drop(connection);
        assert!(matches!(open(&options).await, Err(Error::TooNew { found: 9999, .. })));
        assert!(matches!(migrate(&options).await, Err(Error::TooNew { found: 9999, .. })));
    }

    #[tokio::test]
    async fn sqlite_is_built_as_it_should_be() {
        let (store, _folder) = fresh().await;
        let options: Vec<String> =
            sqlx::query_scalar("pragma compile_options").fetch_all(&store.readers).await.unwrap();
        // `.cargo/config.toml` says why.
        assert!(options.iter().any(|option| option == "DEFAULT_MEMSTATUS=0"), "{options:?}");
        assert!(!options.iter().any(|option| option == "ENABLE_MEMORY_MANAGEMENT"), "{options:?}");
    }

    #[tokio::test]
    async fn a_senders_messages_are_sought_in_the_index() {
        let (_store, folder) = fresh().await;
        let options = Options::at(&folder.path().join("quell.db"));
        let mut connection = open::connect_for_tests(&options).await;
        for view in ["v_messages", "v_verdicts"] {
            let sql =
                format!("select * from {view} where sender = 'mallory' order by message_id desc");
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(sqlx::AssertSqlSafe(format!("explain query plan {sql}")))
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
            let steps: Vec<_> = plan.into_iter().map(|(.., step)| step).collect();
            let sought = "SEARCH m USING INDEX messages_sender (ANY(<expr>) AND sender=?)";
            assert!(steps.iter().any(|step| step == sought), "{view}: {steps:#?}");
        }
    }

    #[tokio::test]
    async fn migrating_twice_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::at(&folder.path().join("quell.db"));
        assert_eq!(migrate(&options).await.unwrap(), (0, latest_version()));
        assert_eq!(migrate(&options).await.unwrap(), (latest_version(), latest_version()));
    }

    #[tokio::test]
    async fn what_was_let_in_is_written_before_closing() {
        let (store, folder) = fresh().await;
        crate::store::contract::rules(&store).await;
        store.close().await;
        drop(store);
        let options = Options { migrate: false, ..Options::at(&folder.path().join("quell.db")) };
        open(&options).await.unwrap();
    }
}
