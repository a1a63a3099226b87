//! The binary as it is shipped: starting, stopping, crashing, and its small commands.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quell::sim::Faults;
use quell::store::{Audit, Filter, View, sqlite};

use crate::support::daemon::{Callbacks, Home, quell, shown};

/// Sends messages, every fifth violating, until the daemon goes away. Answers what was acknowledged.
async fn traffic(callbacks: Callbacks, next: Arc<AtomicU64>, most: u64) -> BTreeSet<u64> {
    let mut acknowledged = BTreeSet::new();
    loop {
        let seq = next.fetch_add(1, Ordering::Relaxed);
        if seq > most {
            return acknowledged;
        }
        let text = if seq.is_multiple_of(5) { "bad" } else { "fine" };
        let body = crate::support::daemon::message(&format!("g{}", seq % 7), seq, text);
        let query = Callbacks::query("Group.CallbackAfterSendMsg");
        match callbacks.try_send(&query, body.to_string()).await {
            Ok((200, _)) => acknowledged.insert(seq),
            Ok(_) => false,
            Err(_) => return acknowledged,
        };
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_traffic_it_loses_nothing() {
    let home = Home::new().await;
    home.sim.set_faults(Faults { slow: 1.0, slow_ms: [5, 60], ..Faults::default() });
    let next = Arc::new(AtomicU64::new(1));
    let mut acknowledged = BTreeSet::new();
    for round in 1..=4 {
        let daemon = home.spawn(&[]).await;
        let senders: Vec<_> = (0..8)
            .map(|_| tokio::spawn(traffic(daemon.callbacks.clone(), Arc::clone(&next), 10_000)))
            .collect();
        // Killed when enough was sent and some recalls are done, whenever that is.
        while next.load(Ordering::Relaxed) < round * 300 || home.sim.recalled().is_empty() {
            tokio::task::yield_now().await;
        }
        daemon.kill().await;
        for sender in senders {
            acknowledged.extend(sender.await.unwrap());
        }
    }
    let app = home.start(&[]).await;
    app.drain().await;
    let stored: BTreeSet<u64> = app
        .column(View::Messages, "msg_seq")
        .await
        .iter()
        .map(|seq| seq.parse().unwrap())
        .collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and not stored: {lost:?}");
    let recalled: BTreeSet<u64> = home.sim.recalled().into_iter().map(|key| key.msg_seq).collect();
    let violating: BTreeSet<u64> = stored.into_iter().filter(|seq| seq % 5 == 0).collect();
    assert_eq!(recalled, violating);
    assert!(home.sim.max_calls_in_one_second() <= 200);
    app.stop().await;
}

#[tokio::test]
async fn it_stops_on_sigterm_and_leaves_nothing_leased() {
    let home = Home::new().await;
    home.sim.set_faults(Faults { slow: 1.0, slow_ms: [30, 120], ..Faults::default() });
    let daemon = home.spawn(&[]).await;
    for seq in 1..=20 {
        assert_eq!(daemon.callbacks.say(&format!("g{}", seq % 3), seq, "bad").await, 200);
    }
    let (code, _) = daemon.terminate().await;
    assert_eq!(code, Some(0));
    let store = sqlite::open(&sqlite::Options::at(&home.path("quell.db"))).await.unwrap();
    let unfinished = store.unfinished_by_state().await.unwrap();
    assert!(unfinished.iter().all(|(state, _)| state != "leased"), "{unfinished:?}");
    let calls = store.page(View::Calls, &Filter::default()).await.unwrap();
    let outcomes: BTreeSet<_> =
        calls.rows.iter().map(|row| shown(calls.cell(row, "outcome"))).collect();
    assert!(outcomes.is_subset(&BTreeSet::from(["answered".to_owned()])), "{outcomes:?}");
}

#[tokio::test]
async fn logs_hold_neither_message_text_nor_secrets() {
    let home = Home::new().await;
    let daemon = home.spawn(&["log.level=trace"]).await;
    assert_eq!(daemon.callbacks.say("g", 1, "bad canary-of-a-message").await, 200);
    let query = Callbacks::query("Group.CallbackAfterSendMsg");
    let unreadable = "{\"canary-of-a-body\":";
    assert_eq!(daemon.callbacks.send_raw(&query, unreadable).await.0, 400);
    let (_, log) = daemon.terminate().await;
    assert!(log.contains("\"verdict\""), "the verdict was not logged:\n{log}");
    for secret in
        ["canary-of", crate::support::KEY, crate::support::daemon::TOKEN, "usersig", "Sign="]
    {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[tokio::test]
async fn a_second_daemon_is_refused() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let config = home.config_path();
    let args = ["serve", "--config", config.to_str().unwrap()];
    let (code, _, said) = quell(&args, home.folder.path()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("in use by another quell"), "{said}");
    app.stop().await;
}

#[tokio::test]
async fn bad_configuration_and_bad_rules_are_78() {
    let home = Home::new().await;
    let folder = home.folder.path();
    let config = home.config_path();
    let config = config.to_str().unwrap();
    let (code, _, said) =
        quell(&["serve", "--config", config, "--set", "recall.batch_size=11"], folder).await;
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("recall.batch_size: must lie between 1 and 10"), "{said}");
    std::fs::write(home.path("rules.yaml"), "version: 1\nrules:\n  - id: x\n    wen: {}\n")
        .unwrap();
    let (code, _, said) = quell(&["serve", "--config", config], folder).await;
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("rules.yaml:4:") && said.contains("when"), "{said}");
    let (code, _, said) = quell(&["config", "check", "--config", "/no/such/file"], folder).await;
    assert_eq!(code, Some(78), "{said}");
    let (code, ..) = quell(&["serve", "--no-such-flag"], folder).await;
    assert_eq!(code, Some(2));
}

#[tokio::test]
async fn the_configuration_is_printed_without_secrets() {
    let home = Home::new().await;
    let config = home.config_path();
    let args =
        ["config", "print", "--config", config.to_str().unwrap(), "--set", "recall.batch_size=5"];
    let (code, shown, _) = quell(&args, home.folder.path()).await;
    assert_eq!(code, Some(0));
    assert!(shown.contains("secret_key = \"***\""), "{shown}");
    assert!(shown.contains("batch_size = 5  # --set"), "{shown}");
    assert!(!shown.contains(crate::support::KEY) && !shown.contains("callback-token-of"));
    let (code, _, said) =
        quell(&["config", "check", "--config", config.to_str().unwrap()], home.folder.path()).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn migrate_makes_a_database_and_healthcheck_finds_no_daemon() {
    let home = Home::new().await;
    let config = home.config_path();
    let config = config.to_str().unwrap();
    let (code, _, said) = quell(&["migrate", "--config", config], home.folder.path()).await;
    assert_eq!((code, said.contains("schema version 0 -> ")), (Some(0), true), "{said}");
    let (code, _, said) = quell(&["migrate", "--config", config], home.folder.path()).await;
    assert_eq!((code, said.contains("up to date")), (Some(0), true), "{said}");
    let (code, _, said) = quell(&["healthcheck", "--config", config], home.folder.path()).await;
    assert_eq!((code, said.contains("no daemon answers")), (Some(1), true), "{said}");
}

#[tokio::test]
async fn every_metric_is_there_before_anything_happened() {
    let home = Home::new().await;
    let daemon = home.spawn(&[]).await;
    let (status, metrics) = daemon.admin("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "quell_callbacks_total{result=\"stored\"} 0",
        "quell_messages_total{verdict=\"recall\"} 0",
        "quell_rule_hits_total{rule=\"bait\",mode=\"live\"} 0",
        "quell_rule_hits_total{rule=\"bait\",mode=\"shadow\"} 0",
        "quell_recall_calls_total{code=\"0\"} 0",
        "quell_recalled_messages_total{result=\"recalled\"} 0",
        "quell_recall_queue{state=\"pending\"} 0",
        "quell_exposure_seconds_bucket{le=\"+Inf\"} 0",
        "quell_exposure_seconds_count 0",
        "quell_callback_seconds_count 0",
        "quell_store_commit_seconds_count ",
        "quell_rules_info{version=",
        "quell_build_info{version=",
    ] {
        let there = metrics.lines().any(|shown| shown.starts_with(line));
        assert!(there, "{line} is missing in\n{metrics}");
    }
    daemon.terminate().await;
}

#[tokio::test]
async fn what_a_daemon_would_refuse_is_refused_by_the_check() {
    let home = Home::new().await;
    let pair = rcgen::generate_simple_self_signed(["quell.example".to_owned()]).unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| home.path(name).display().to_string());
    std::fs::write(&cert, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let broken = home.path("broken.yaml").display().to_string();
    std::fs::write(&broken, "version: 1\nrules:\n  - id: x\n    wen: {}\n").unwrap();
    let config = home.config_path().display().to_string();
    let run = async |command: &[&str], set: &[String]| {
        let mut args = command.to_vec();
        args.extend(["--config", &config]);
        for set in set {
            args.extend(["--set", set]);
        }
        quell(&args, home.folder.path()).await
    };
    let pair = |section: &str, cert: &str, key: &str| {
        vec![format!("{section}.tls_cert={cert}"), format!("{section}.tls_key={key}")]
    };
    let mut cases = vec![
        (vec!["rules.path=/no/such/rules.yaml".to_owned()], "/no/such/rules.yaml"),
        (vec![format!("rules.path={broken}")], "broken.yaml:4:"),
    ];
    for section in ["server", "admin"] {
        cases.push((pair(section, "/no/such.pem", &key), "/no/such.pem"));
        cases.push((pair(section, &cert, "/no/such.key"), "/no/such.key"));
        cases.push((vec![format!("{section}.tls_cert={cert}")], "tls_key"));
        let (code, _, said) = run(&["config", "check"], &pair(section, &cert, &key)).await;
        assert_eq!(code, Some(0), "{said}");
    }
    for (set, named) in &cases {
        for command in [&["config", "check"][..], &["serve"]] {
            let (code, _, said) = run(command, set).await;
            assert_eq!(code, Some(78), "{command:?} {set:?}: {said}");
            assert!(said.contains(named), "{command:?} {set:?}: {said}");
            assert!(!said.contains("is fine"), "{said}");
        }
    }
    // All of it at once, with what is wrong with values.
    let mut all = vec!["recall.batch_size=11".to_owned(), format!("rules.path={broken}")];
    all.extend(pair("admin", "/no/such.pem", &key));
    let (code, _, said) = run(&["config", "check"], &all).await;
    assert_eq!(code, Some(78));
    for named in ["recall.batch_size", "broken.yaml:4:", "/no/such.pem"] {
        assert!(said.contains(named), "{named}: {said}");
    }
    // And with what cannot be read at all; of that key nothing else is told.
    all.extend(
        ["chat.callback_token_file=/no/such.token", "recall.calls_per_second=fast"].map(Into::into),
    );
    all.extend(["server.lisen=here", "server.listen=0.0.0.0:80"].map(Into::into));
    let (code, _, said) = run(&["config", "check"], &all).await;
    assert_eq!(code, Some(78));
    for named in [
        "recall.batch_size",
        "broken.yaml:4:",
        "/no/such.pem",
        "/no/such.token",
        "calls_per_second",
        "server.lisen: unknown key; did you mean listen?",
    ] {
        assert!(said.contains(named), "{named}: {said}");
    }
    assert_eq!(said.matches("callback_token").count(), 1, "{said}");
    assert_eq!(said.matches("calls_per_second").count(), 1, "{said}");
}

#[tokio::test]
async fn alerts_without_a_signature_are_warned_of() {
    let home = Home::new().await;
    let config = home.config_path().display().to_string();
    let whsec = "notify.secret=whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    for (more, warned) in
        [("notify.form=standard", true), ("notify.form=slack", false), (whsec, false)]
    {
        let url = "notify.url=https://alerts.example/hook";
        let args = ["config", "check", "--config", &config, "--set", url, "--set", more];
        let (code, _, said) = quell(&args, home.folder.path()).await;
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said.contains("go out unsigned"), warned, "{said}");
    }
}
