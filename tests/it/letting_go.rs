//! Erasing, pruning, copies and exports.

use std::time::Duration;

use quell::model::{Clock, SystemClock};
use quell::retention::{self, Days};
use quell::store::{By, Filter, View};
use serde_json::Value;

use crate::support::daemon::{Home, TestApp, quell};

/// Something that stands nowhere else.
const CANARY: &str = "bad canary-of-mallory";

async fn said(home: &Home, app: &TestApp, args: &[&str]) -> (Option<i32>, String, String) {
    let admin = format!("admin.listen={}", app.app().admin_address());
    let config = home.config_path().display().to_string();
    let mut all = args.to_vec();
    all.extend(["--config", &config, "--set", &admin]);
    quell(&all, home.folder.path()).await
}

/// Whether any file in the folder holds some bytes.
fn holds(home: &Home, bytes: &str) -> Vec<String> {
    let files = std::fs::read_dir(home.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let holding = files.filter(|path| {
        let content = std::fs::read(path).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes.as_bytes())
    });
    holding.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erased_text_is_gone_from_every_file() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    for seq in 1..=60 {
        let long = format!("{CANARY} {}", "padding ".repeat(seq % 7 * 150));
        assert_eq!(app.callbacks.say("g", u64::try_from(seq).unwrap(), &long).await, 200);
    }
    app.drain().await;
    assert!(!holds(&home, "canary-of-mallory").is_empty());
    let (code, _, err) = said(&home, &app, &["erase", "--sender", "mallory"]).await;
    assert_eq!(code, Some(2), "without a terminal nobody agreed: {err}");
    let (code, _, err) = said(&home, &app, &["erase", "--sender", "mallory", "--yes"]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("the text of 60 messages"), "{err}");
    assert_eq!(holds(&home, "canary-of-mallory"), Vec::<String>::new());
    let verdicts = app.column(View::Messages, "verdict").await;
    assert_eq!(verdicts, vec!["recall"; 60]);
    let acts = app.column(View::Operations, "act").await;
    assert_eq!(acts, ["erase"]);
    app.stop().await;
    assert_eq!(holds(&home, "canary-of-mallory"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_whole_while_the_daemon_goes_on() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    for seq in 1..=50 {
        assert_eq!(app.callbacks.say("g", seq, "fine").await, 200);
    }
    let copying = said(&home, &app, &["backup", "copy.db"]);
    let going_on = async {
        for seq in 51..=90 {
            assert_eq!(app.callbacks.say("g", seq, "fine").await, 200);
        }
    };
    let ((code, _, err), ()) = tokio::join!(copying, going_on);
    assert_eq!(code, Some(0), "{err}");
    let copy = quell::store::sqlite::Options::at(&home.path("copy.db"));
    let copy = quell::store::sqlite::open(&copy).await.unwrap();
    let filter = Filter { limit: 1000, ..Filter::default() };
    let page = quell::store::Audit::page(&copy, View::Messages, &filter).await.unwrap();
    assert!((50..=90).contains(&page.rows.len()), "{} messages", page.rows.len());
    copy.close().await;
    let (code, _, err) = said(&home, &app, &["backup", "copy.db"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("copy.db is there already"), "{err}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_are_complete_and_harmless() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    for seq in 1..=1005 {
        let text = if seq == 3 { "=HYPERLINK(\"http://evil\")" } else { "fine" };
        assert_eq!(app.callbacks.say("g", seq, text).await, 200);
    }
    let (code, out, err) = said(&home, &app, &["export", "messages"]).await;
    assert_eq!(code, Some(0), "{err}");
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[0]["msg_seq"]), (1005, &1005.into()));
    let args = ["export", "messages", "--format", "csv", "--output", "m.csv"];
    let (code, _, err) = said(&home, &app, &args).await;
    assert_eq!(code, Some(0), "{err}");
    let csv = std::fs::read_to_string(home.path("m.csv")).unwrap();
    assert_eq!(csv.lines().filter(|line| line.starts_with("group_id,")).count(), 1);
    assert!(csv.contains(r#""'=HYPERLINK(""http://evil"")""#));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pruning_takes_what_is_old_and_says_so() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "fine").await, 200);
    let (code, _, err) = said(&home, &app, &["prune"]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("pruned 0 texts and 0 rows"), "{err}");
    // Two days on, where texts are kept for one.
    let now = SystemClock.now().after(Duration::from_hours(48));
    let cutoffs = Days { text: 1, matched_text: 1, rows: 400 }.cutoffs(now);
    let store = app.app().store();
    let by = By::new("ann", now);
    let pruned = retention::prune(store.as_ref(), &by, cutoffs, |_| ()).await.unwrap();
    assert_eq!((pruned.texts, pruned.rows), (1, 0));
    assert_eq!(app.column(View::Messages, "text").await, [""]);
    // What an operator asks for is recorded, whether or not there was anything to take.
    assert_eq!(app.column(View::Operations, "act").await, ["prune", "prune"]);
    app.stop().await;
}

#[tokio::test]
async fn completions_and_pages_are_made_of_what_reads_the_arguments() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = quell(&["completions", shell], folder.path()).await;
        assert!(code == Some(0) && out.contains("backtest"), "{shell}");
    }
    let (code, _, err) = quell(&["man", "--folder", "man"], folder.path()).await;
    assert_eq!(code, Some(0), "{err}");
    let page = std::fs::read_to_string(folder.path().join("man/quell-recall.1")).unwrap();
    assert!(page.contains("Recall messages after the fact"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_that_is_not_wanted_is_never_stored() {
    for (wanted, texts) in [("matched", ["", "bad words", "odd", "shade", ""]), ("none", [""; 5])] {
        let home = Home::new().await;
        let set = format!("retention.store_text={wanted}");
        let app = home.start(&[&set]).await;
        for (seq, text) in [(1, "harmless canary"), (2, "bad words"), (3, "odd"), (4, "shade")] {
            assert_eq!(app.callbacks.say("g", seq, text).await, 200);
        }
        let other = crate::support::daemon::message("g", 1, "another canary");
        assert_eq!(app.callbacks.send(&other).await, 200);
        let again = crate::support::daemon::message("g", 5, "canary said twice");
        for _ in 0..2 {
            assert_eq!(app.callbacks.send(&again).await, 200);
        }
        app.drain().await;
        let mut stored = app.column(View::Messages, "text").await;
        stored.reverse();
        assert_eq!(stored, texts, "{wanted}");
        // What was decided is the same, and so is what counts as a repetition or as another content.
        let mut verdicts = app.column(View::Verdicts, "verdict").await;
        verdicts.reverse();
        assert_eq!(verdicts, ["pass", "recall", "flag", "pass", "pass"]);
        assert_eq!(app.column(View::Conflicts, "text").await, [""]);
        assert_eq!(app.column(View::Recalls, "state").await, ["recalled"]);
        let mut matched = app.column(View::Hits, "matched_text").await;
        matched.reverse();
        let expected = if wanted == "none" { ["", "", ""] } else { ["bad", "odd", "shade"] };
        assert_eq!(matched, expected, "{wanted}");
        let rules = home.path("rules.yaml").display().to_string();
        let (code, out, err) = said(&home, &app, &["backtest", "--rules", &rules]).await;
        assert_eq!(code, Some(0), "{err}");
        let left_out =
            if wanted == "none" { "5 messages were left out" } else { "2 messages were left out" };
        assert!(format!("{out}{err}").contains(left_out), "{out}{err}");
        app.stop().await;
        assert_eq!(holds(&home, "canary"), Vec::<String>::new());
    }
}
