//! What the README and the Datasette metadata ask by SQL, over a database as it is after a month.

use std::path::Path;

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use crate::support::daemon::quell;

#[path = "../../examples/populate/fill.rs"]
mod fill;

/// Statements in the SQL blocks of a page, with the comment that stands above each.
fn statements(page: &str) -> Vec<String> {
    let blocks = page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let all = blocks.flat_map(|block| block.split(";\n")).map(str::trim);
    all.filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

/// The queries of the metadata: what follows `sql:` up to the next entry.
fn canned(metadata: &str) -> Vec<String> {
    let parts = metadata.split("        sql: ").skip(1);
    let query = |part: &str| {
        let lines = part.strip_prefix("|-\n").unwrap_or(part).lines();
        let own = lines.take_while(|line| {
            !line.starts_with("      ")
                || line.starts_with("        ")
                || !line.trim_end().ends_with(':')
        });
        own.collect::<Vec<_>>().join("\n").trim().to_owned()
    };
    parts.map(query).collect()
}

async fn rows(file: &Path, sql: &str) -> usize {
    let mut connection =
        SqliteConnectOptions::new().filename(file).read_only(true).connect().await.unwrap();
    // Datasette names its parameters; here they have numbers.
    let numbered =
        sql.replace(":group_id", "?1").replace(":msg_seq", "?2").replace(":sender", "?1");
    let mut query = sqlx::query(AssertSqlSafe(numbered));
    if sql.contains(":group_id") {
        let known = sqlx::query("select group_id, msg_seq from v_messages limit 1");
        let known = known.fetch_one(&mut connection).await.unwrap();
        query = query.bind(known.get::<String, _>(0)).bind(known.get::<i64, _>(1));
    } else if sql.contains(":sender") {
        query = query.bind("user0");
    }
    match query.fetch_all(&mut connection).await {
        Ok(rows) => rows.len(),
        Err(error) => panic!("{error}:\n{sql}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_worked_question_has_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quell.db");
    fill::fill(&file, 30_000).await.unwrap();
    let readme = std::fs::read_to_string("README.md").unwrap();
    let questions = statements(&readme);
    assert_eq!(questions.len(), 10, "{questions:#?}");
    let metadata = std::fs::read_to_string("config/datasette/metadata.yaml").unwrap();
    let canned = canned(&metadata);
    assert_eq!(canned.len(), 13, "{canned:#?}");
    for sql in questions.iter().chain(&canned) {
        let today = sql.contains("operators do today");
        assert!(rows(&file, sql).await > 0 || today, "no answer to\n{sql}");
    }
    // The chain was built over it, and the command says so.
    let config = folder.path().join("quell.toml");
    std::fs::write(&config, format!("[store]\nurl = 'sqlite:{}'\n", file.display())).unwrap();
    let (code, out, err) = quell(&["audit", "verify", "--json"], folder.path()).await;
    assert_eq!(code, Some(0), "{err}");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&said["agrees"], &said["behind"]), (&true.into(), &0.into()));
    let head = said["head"].as_str().unwrap();
    let (code, out, _) = quell(&["audit", "verify", "--head", head], folder.path()).await;
    assert!(code == Some(0) && out.contains("everything agrees"), "{out}");
    let (code, out, _) =
        quell(&["audit", "verify", "--head", &"0".repeat(64)], folder.path()).await;
    assert!(code == Some(1) && out.contains("cut or made anew"), "{out}");
}
