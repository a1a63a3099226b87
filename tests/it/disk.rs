//! A disk that is full, a database that is locked, deleted or out of reach: nothing is acknowledged
//! that is not stored, readiness and log say why, and it goes on by itself once it can.

use std::collections::BTreeSet;

use quell::model::{Clock, SystemClock};
use quell::store::{By, Control, View};
use sqlx::{ConnectOptions, Connection};

use crate::support::daemon::{Home, Process, TestApp, message, quell};

/// Refusals in a row after which it is taken that nothing can be written any more.
const FULL: usize = 20;

/// Sends messages until nothing is taken any more. Answers what was acknowledged.
async fn fill(daemon: &Process) -> BTreeSet<u64> {
    let mut acknowledged = BTreeSet::new();
    let mut refused_in_a_row = 0;
    for seq in 1..=20_000 {
        match daemon.callbacks.say("g", seq, &"long ".repeat(1000)).await {
            200 => {
                refused_in_a_row = 0;
                acknowledged.insert(seq);
            }
            status => {
                assert_eq!(status, 503);
                refused_in_a_row += 1;
            }
        }
        if refused_in_a_row == FULL {
            return acknowledged;
        }
    }
    panic!("the disk never became full");
}

/// A service manager's watchdog: its socket, and how many signs of life came.
fn watchdog(home: &Home) -> (String, tokio::sync::watch::Receiver<u64>) {
    let socket = home.path("manager");
    let manager = tokio::net::UnixDatagram::bind(&socket).unwrap();
    let (beats, seen) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        let mut read = [0; 1024];
        while let Ok(length) = manager.recv(&mut read).await {
            beats.send_modify(|beats| *beats += u64::from(read[..length].starts_with(b"WATCHDOG")));
        }
    });
    (socket.display().to_string(), seen)
}

/// The limit on a file's size makes writes fail without root and without a file system of its own.
#[tokio::test]
async fn a_full_disk_is_refused_and_recovered_from() {
    let home = Home::new().await;
    let (manager, beats) = watchdog(&home);
    let script = format!(
        "trap '' XFSZ; ulimit -S -f 4096; NOTIFY_SOCKET={manager} WATCHDOG_USEC=100000 exec $0"
    );
    let daemon = home.spawn_by(&script, &["history.repair=false"]).await;
    let mut acknowledged = fill(&daemon).await;
    assert!(!acknowledged.is_empty());
    assert!(daemon.until_ready(false).await.contains("the database cannot be written"));
    // It refuses, but it is alive, and no service manager should start it anew.
    let (before, mut refused, mut seq) = (*beats.borrow(), 0, 40_000);
    while *beats.borrow() < before + 3 {
        seq += 1;
        match daemon.callbacks.say("g", seq, &"long ".repeat(1000)).await {
            200 => drop(acknowledged.insert(seq)),
            _ => refused += 1,
        }
    }
    assert!(refused > 0, "the disk was not full any more");
    assert_eq!(daemon.admin("/healthz").await.0, 200);
    // What is read does not depend on what can be written.
    assert_eq!(daemon.admin("/api/v1/messages?limit=1").await.0, 200);

    let room = format!("--pid={}", daemon.id());
    let made = std::process::Command::new("prlimit").args([&room, "--fsize=unlimited"]).status();
    assert!(made.unwrap().success());
    daemon.until_ready(true).await;
    assert_eq!(daemon.callbacks.say("g", 30_000, "fine").await, 200);
    acknowledged.insert(30_000);

    let (code, log) = daemon.terminate().await;
    assert_eq!(code, Some(0));
    assert!(log.contains("nothing of it is acknowledged"), "{log}");
    assert!(log.contains("the database can be written again"), "{log}");
    assert!(log.lines().count() < 60, "a full disk fills the log:\n{log}");
    let app = home.start(&[]).await;
    let stored: BTreeSet<u64> = app
        .column(View::Messages, "msg_seq")
        .await
        .iter()
        .map(|seq| seq.parse().unwrap())
        .collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and not stored: {lost:?}");
    app.stop().await;
}

async fn until(app: &TestApp, seqs: std::ops::RangeFrom<u64>, status: u16) {
    for seq in seqs.take(500) {
        if app.callbacks.say("g", seq, "fine").await == status {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("never answered {status}");
}

#[tokio::test]
async fn a_deleted_database_is_written_no_more() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "fine").await, 200);
    let (database, aside) = (home.path("quell.db"), home.path("aside.db"));
    std::fs::rename(&database, &aside).unwrap();
    for seq in 2..=4 {
        assert_eq!(app.callbacks.say("g", seq, "fine").await, 503);
    }
    let (status, said) = app.admin("/readyz").await;
    assert_eq!((status, said.contains("cannot be written")), (503, true), "{said}");
    assert!(!database.exists(), "a new database was begun in place of the one that is gone");
    // Another file in its place is not taken for it.
    std::fs::write(&database, "").unwrap();
    assert_eq!(app.callbacks.say("g", 5, "fine").await, 503);
    assert_eq!(std::fs::metadata(&database).unwrap().len(), 0);
    std::fs::rename(&aside, &database).unwrap();
    until(&app, 6.., 200).await;
    assert!(app.column(View::Messages, "msg_seq").await.contains(&"1".to_owned()));
    app.stop().await;
}

#[tokio::test]
async fn a_locked_database_makes_it_wait_and_then_unready() {
    let home = Home::new().await;
    let app = home.start(&["server.answer_timeout_ms=100"]).await;
    until(&app, 1.., 200).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(home.path("quell.db"));
    let mut other = options.connect().await.unwrap();
    sqlx::query("begin exclusive").execute(&mut other).await.unwrap();
    assert_eq!(app.callbacks.say("g", 1000, "fine").await, 503);
    while app.admin("/readyz").await.0 == 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    until(&app, 2000.., 200).await;
    while app.admin("/readyz").await.0 != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    app.stop().await;
}

#[tokio::test]
async fn a_database_out_of_reach_is_named_at_the_start() {
    let home = Home::new().await;
    let config = home.config_path();
    let folder = home.folder.path().display();
    for place in ["/proc/quell.db".to_owned(), format!("{folder}/no/such/quell.db")] {
        let url = format!("store.url=sqlite:{place}");
        let args = ["serve", "--config", config.to_str().unwrap(), "--set", &url];
        let (code, _, said) = quell(&args, home.folder.path()).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&place), "{said}");
    }
}

/// A message of a sender of its own that the rule `bait` matches.
async fn say_bad(app: &TestApp, seq: u64) -> u16 {
    let mut body = message("g", seq, "bad");
    body["From_Account"] = serde_json::json!(format!("user{seq}"));
    app.callbacks.send(&body).await
}

/// A daemon where one more message trips the rule `bait`, while no recall leaves.
async fn about_to_trip(home: &Home) -> TestApp {
    let set = ["guard.trip_min_senders=5", "server.answer_timeout_ms=1000", "history.repair=false"];
    let app = home.start(&set).await;
    app.app().store().set_paused(&By::new("ada", SystemClock.now()), true).await.unwrap();
    app.app().worker().pause(true);
    for seq in 1..=4 {
        assert_eq!(say_bad(&app, seq).await, 200);
    }
    assert!(app.app().store().tripped().await.unwrap().is_empty());
    app
}

async fn until_tripped(app: &TestApp) {
    while app.app().store().tripped().await.unwrap().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(app.column(View::Recalls, "state").await.iter().all(|state| state == "held"));
}

#[tokio::test]
async fn a_rule_trips_though_the_callback_that_tripped_it_came_too_late() {
    let home = Home::new().await;
    let app = about_to_trip(&home).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(home.path("quell.db"));
    let mut other = options.connect().await.unwrap();
    sqlx::query("begin exclusive").execute(&mut other).await.unwrap();
    assert_eq!(say_bad(&app, 5).await, 503);
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    until_tripped(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn a_rule_trips_once_the_store_can_be_written_again() {
    let home = Home::new().await;
    let app = about_to_trip(&home).await;
    let (database, aside) = (home.path("quell.db"), home.path("aside.db"));
    std::fs::rename(&database, &aside).unwrap();
    // Refused, not late: the trip was refused, too, by the time that this is answered.
    assert_eq!(say_bad(&app, 5).await, 503);
    std::fs::rename(&aside, &database).unwrap();
    until_tripped(&app).await;
    app.stop().await;
}
