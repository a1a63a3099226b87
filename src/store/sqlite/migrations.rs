//! The schema's history. Migrations are only ever added; each runs in a transaction of its own
//! together with its entry in the ledger, so that one killed half-way never happened.

use std::borrow::Cow;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnection;

use super::open::scalar;
use crate::store::Error;

const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "the main path", include_str!("../../../migrations/sqlite/0001_the_main_path.sql")),
    (2, "gaps", include_str!("../../../migrations/sqlite/0002_gaps.sql")),
    (3, "plans", include_str!("../../../migrations/sqlite/0003_plans.sql")),
    (4, "audit", include_str!("../../../migrations/sqlite/0004_audit.sql")),
    (5, "reviews", include_str!("../../../migrations/sqlite/0005_reviews.sql")),
    (6, "wishes", include_str!("../../../migrations/sqlite/0006_wishes.sql")),
    (
        7,
        "senders by stretch",
        include_str!("../../../migrations/sqlite/0007_senders_by_stretch.sql"),
    ),
    (8, "trail", include_str!("../../../migrations/sqlite/0008_trail.sql")),
    (9, "lists", include_str!("../../../migrations/sqlite/0009_lists.sql")),
    (
        10,
        "keys behind the writer",
        include_str!("../../../migrations/sqlite/0010_keys_behind_the_writer.sql"),
    ),
    (
        11,
        "shorter stretches",
        include_str!("../../../migrations/sqlite/0011_shorter_stretches.sql"),
    ),
    (12, "stretches of 512", include_str!("../../../migrations/sqlite/0012_stretches_of_512.sql")),
];

/// The schema version that this quell works with.
#[must_use]
pub fn latest_version() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, ..)| *version)
}

/// The schema version of a database; 0 where nothing was made yet.
pub(super) async fn version(connection: &mut SqliteConnection) -> Result<i64, Error> {
    let ledger: i64 = scalar(
        connection,
        "select count(*) from sqlite_master where type = 'table' and name = '_sqlx_migrations'",
    )
    .await?;
    if ledger == 0 {
        return Ok(0);
    }
    scalar(connection, "select coalesce(max(version), 0) from _sqlx_migrations where success").await
}

/// Runs what is missing.
pub(super) async fn run(connection: &mut SqliteConnection) -> Result<(), Error> {
    run_first(connection, MIGRATIONS.len()).await
}

/// Runs what is missing of the first `count`.
async fn run_first(connection: &mut SqliteConnection, count: usize) -> Result<(), Error> {
    let migrations = MIGRATIONS.iter().take(count).map(|&(version, description, sql)| {
        let description = Cow::Borrowed(description);
        Migration::new(version, description, MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
        .run(connection)
        .await
        .map_err(|error| Error::Unavailable(format!("the schema cannot be migrated: {error}")))
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;

    async fn empty(folder: &tempfile::TempDir, name: &str) -> SqliteConnection {
        let path = folder.path().join(name);
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        options.connect().await.unwrap()
    }

    async fn schema(connection: &mut SqliteConnection) -> Vec<(String, Option<String>)> {
        sqlx::query_as("select name, sql from sqlite_schema order by name")
            .fetch_all(connection)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn every_version_leads_to_the_same_schema() {
        let folder = tempfile::tempdir().unwrap();
        let mut fresh = empty(&folder, "fresh").await;
        run(&mut fresh).await.unwrap();
        let expected = schema(&mut fresh).await;
        for (at, (known, ..)) in MIGRATIONS.iter().enumerate() {
            let mut older = empty(&folder, &format!("from-{known}")).await;
            run_first(&mut older, at + 1).await.unwrap();
            assert_eq!(version(&mut older).await.unwrap(), *known);
            run(&mut older).await.unwrap();
            assert_eq!(version(&mut older).await.unwrap(), latest_version());
            assert_eq!(schema(&mut older).await, expected, "from version {known}");
        }
    }

    #[tokio::test]
    async fn a_migration_that_breaks_off_never_happened() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = empty(&folder, "broken-off").await;
        for (at, (next, ..)) in MIGRATIONS.iter().enumerate() {
            run_first(&mut connection, at).await.unwrap();
            let before = schema(&mut connection).await;
            // The ledger refuses the entry, which is written last.
            let refuse = format!(
                "create trigger refuse before insert on _sqlx_migrations when new.version = {next}
                 begin select raise(abort, 'killed here'); end"
            );
            if at > 0 {
                sqlx::query(sqlx::AssertSqlSafe(refuse)).execute(&mut connection).await.unwrap();
                assert!(run_first(&mut connection, at + 1).await.is_err(), "version {next}");
                sqlx::query("drop trigger refuse").execute(&mut connection).await.unwrap();
                assert_eq!(schema(&mut connection).await, before, "version {next}");
            }
        }
        run(&mut connection).await.unwrap();
        assert_eq!(version(&mut connection).await.unwrap(), latest_version());
    }
}
