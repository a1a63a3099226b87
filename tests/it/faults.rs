//! Steps that fail inside the daemon: a build with the feature `fail` is told by `FAILPOINTS` which.
//!
//! ```text
//! cargo test --features fail --test it fault
//! ```

use serde_json::json;

use crate::support::daemon::{Callbacks, Home, Process, message};

async fn failing(home: &Home, faults: &str) -> Process {
    home.spawn_by(&format!("FAILPOINTS='{faults}' exec $0"), &["log.level=debug"]).await
}

#[tokio::test]
async fn a_failing_disk_makes_it_unready_and_nothing_is_acknowledged() {
    let home = Home::new().await;
    // The start itself commits a few times.
    let daemon = failing(&home, "before_commit=10*off->40*return(error)->off").await;
    let mut refused = 0;
    for seq in 1..=200 {
        match daemon.callbacks.say("g", seq, "fine").await {
            200 if refused > 0 => break,
            200 => {}
            status => {
                assert_eq!(status, 503);
                refused += 1;
                if refused == 1 {
                    assert!(daemon.until_ready(false).await.contains("cannot be written"));
                    let (_, metrics) = daemon.admin("/metrics").await;
                    // What goes on behind the writer may have failed, too.
                    let told = |line: &str| {
                        line.strip_prefix("quell_store_failures_total ")?.parse::<u64>().ok()
                    };
                    assert!(metrics.lines().find_map(told).unwrap() >= 1, "{metrics}");
                }
            }
        }
    }
    daemon.until_ready(true).await;
    assert!(refused > 0);
    let (code, log) = daemon.terminate().await;
    assert_eq!(code, Some(0));
    assert!(log.contains("nothing of it is acknowledged"), "{log}");
    assert!(log.contains("the database can be written again"), "{log}");
}

#[tokio::test]
async fn a_message_that_makes_the_rules_panic_stands_in_nobodys_way() {
    let home = Home::new().await;
    let daemon = failing(&home, "judge=return").await;
    assert_eq!(daemon.callbacks.say("g", 1, "bad before").await, 200);
    for _ in 0..3 {
        let poison = message("g", 2, "bad poison canary-in-a-panic");
        let query = Callbacks::query("Group.CallbackAfterSendMsg");
        assert_eq!(daemon.callbacks.send_raw(&query, poison.to_string()).await.0, 200);
    }
    assert_eq!(daemon.callbacks.say("g", 3, "bad after").await, 200);
    let (_, metrics) = daemon.admin("/metrics").await;
    assert!(metrics.contains("quell_unjudged_messages_total 3"), "{metrics}");
    let (_, messages) = daemon.admin("/api/v1/messages").await;
    let messages: serde_json::Value = serde_json::from_str(&messages).unwrap();
    let messages = messages["rows"].as_array().unwrap_or_else(|| messages.as_array().unwrap());
    let verdict = |seq: u64| {
        let row = messages.iter().find(|row| row["msg_seq"] == seq).unwrap();
        row["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!([verdict(1), verdict(2), verdict(3)], ["recall", "pass", "recall"]);
    let (_, quarantine) = daemon.admin("/api/v1/quarantine").await;
    assert!(quarantine.contains("judging it failed inside quell"), "{quarantine}");
    assert_eq!(daemon.admin("/readyz").await.0, 200);
    let (_, log) = daemon.terminate().await;
    assert!(log.contains("quell panicked") && log.contains("intake/mod.rs"), "{log}");
    assert!(!log.contains("canary-in-a-panic"), "{log}");
}

#[tokio::test]
async fn a_panicking_writer_ends_the_daemon_and_the_next_one_goes_on() {
    let home = Home::new().await;
    let daemon = failing(&home, "after_commit_before_ack=12*off->1*panic").await;
    let mut stored = 0;
    for seq in 1..=50 {
        if daemon.callbacks.say("g", seq, "fine").await == 200 {
            stored += 1;
        } else {
            break;
        }
    }
    let (code, log) = daemon.ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("the writer of the database has ended"), "{log}");
    let app = home.start(&[]).await;
    let rows = app.rows(quell::store::View::Messages).await.rows.len();
    // What was committed and not acknowledged is there, too.
    assert!(rows >= stored, "{rows} of {stored}");
    app.stop().await;
}

#[tokio::test]
async fn a_call_that_panics_is_made_again() {
    let home = Home::new().await;
    let daemon = failing(&home, "after_claim=2*panic->off").await;
    for seq in 1..=3 {
        assert_eq!(daemon.callbacks.say(&format!("g{seq}"), seq, "bad").await, 200);
    }
    while home.sim.recalled().len() < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let (code, log) = daemon.terminate().await;
    assert_eq!(code, Some(0));
    assert_eq!(log.matches("a recall call panicked").count(), 2, "{log}");
}

/// Enough messages for a write-ahead log that is longer than it is left.
const A_LONG_LOG: u64 = 800;

/// Sends them. Answers how many were acknowledged before one was not.
async fn fill_the_log(daemon: &Process) -> u64 {
    let long = "long ".repeat(13_000);
    for seq in 1..=A_LONG_LOG {
        if daemon.callbacks.say("g", seq, &long).await != 200 {
            return seq - 1;
        }
    }
    A_LONG_LOG
}

#[tokio::test]
async fn a_log_that_cannot_be_worked_in_is_told_of_and_tried_again() {
    let home = Home::new().await;
    let daemon = failing(&home, "checkpoint_write=2*return->off").await;
    assert_eq!(fill_the_log(&daemon).await, A_LONG_LOG);
    let (_, metrics) = daemon.admin("/metrics").await;
    assert!(metrics.contains("quell_store_checkpoint_failures_total 2"), "{metrics}");
    assert_eq!(daemon.admin("/readyz").await.0, 200);
    let (code, log) = daemon.terminate().await;
    assert_eq!(code, Some(0));
    assert_eq!(log.matches("the log could not be worked into the database").count(), 1, "{log}");
}

#[tokio::test]
async fn a_database_that_cannot_be_synced_ends_the_daemon_and_loses_nothing() {
    let home = Home::new().await;
    let daemon = failing(&home, "checkpoint_sync=return").await;
    let acknowledged = fill_the_log(&daemon).await;
    assert!((1..A_LONG_LOG).contains(&acknowledged), "{acknowledged}");
    let (code, log) = daemon.ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("the database could not be synced"), "{log}");
    assert!(log.contains("the writer of the database has ended"), "{log}");
    let app = home.start(&[]).await;
    let rows = app.rows(quell::store::View::Messages).await.rows.len() as u64;
    assert!(rows >= acknowledged, "{rows} of {acknowledged}");
    app.stop().await;
}

#[tokio::test]
async fn a_database_that_cannot_be_synced_after_erasing_ends_the_daemon_too() {
    let home = Home::new().await;
    let daemon = failing(&home, "checkpoint_sync=return").await;
    for seq in 1..=10 {
        assert_eq!(daemon.callbacks.say("g", seq, "fine").await, 200);
    }
    let (status, said) = daemon.post("/api/v1/erase", json!({ "sender": "mallory" })).await;
    assert_eq!(status, 503, "{said}");
    let (code, log) = daemon.ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert_eq!(log.matches("the database could not be synced").count(), 1, "{log}");
    assert!(log.contains("the writer of the database has ended"), "{log}");
    let app = home.start(&[]).await;
    assert_eq!(app.rows(quell::store::View::Messages).await.rows.len(), 10);
    app.stop().await;
}
