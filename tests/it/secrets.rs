//! Secrets and what people wrote show nowhere: not in logs at any level, not in metrics, not in
//! answers, not in the list of processes.

use std::time::Duration;

use quell::sim::Faults;
use serde_json::json;

use crate::support::daemon::{Callbacks, Home, message, quell};

const SEND: &str = "Group.CallbackAfterSendMsg";
const ADMIN_TOKEN: &str = "canary-admin-token";
const READ_TOKEN: &str = "canary-read-token";

/// Everything that must show nowhere.
fn canaries() -> Vec<&'static str> {
    vec![
        "canary-",
        crate::support::KEY,
        crate::support::daemon::TOKEN,
        "usersig",
        "Sign=",
        // How every UserSig begins: a zlib header in Base64.
        "eJw",
        "eJx",
        "eJz",
    ]
}

fn assert_clean(where_: &str, text: &str) {
    for canary in canaries() {
        assert!(!text.contains(canary), "{canary} in {where_}:\n{text}");
    }
}

#[tokio::test]
async fn nothing_that_it_says_holds_a_secret_or_a_message() {
    let home = Home::new().await;
    home.sim.set_faults(Faults::rough());
    std::fs::write(home.path("admin"), ADMIN_TOKEN).unwrap();
    std::fs::write(home.path("reader"), READ_TOKEN).unwrap();
    let token = format!("admin.token_file={}", home.path("admin").display());
    let read_token = format!("admin.read_token_file={}", home.path("reader").display());
    let set = ["log.level=trace,quell=trace", "server.max_body_bytes=4096", &token, &read_token];
    let daemon = home.spawn(&set).await;
    let mut answers = String::new();

    // Good, violating, unreadable, unauthentic, too large, unknown.
    let chat = &daemon.callbacks;
    assert_eq!(chat.say("g", 1, "canary-text").await, 200);
    for seq in 2..20 {
        assert_eq!(chat.say("g", seq, "bad canary-text").await, 200);
    }
    let mut other = message("g", 1, "canary-other");
    other["CloudCustomData"] = json!("canary-data");
    let good = Callbacks::query(SEND);
    let forged = good.replace("Sign=", "Sign=canary-sign");
    for (query, body, expected) in [
        (good.clone(), other.to_string(), 200),
        (good.clone(), "{\"canary-key\":".to_owned(), 400),
        (good.clone(), "{\"CallbackCommand\":\"canary-command\"}".to_owned(), 400),
        (good.clone(), format!("{{\"x\":\"{}canary-tail\"}}", "y".repeat(5000)), 413),
        (forged, message("g", 99, "canary-forged").to_string(), 403),
        (good.replace(SEND, "canary-query"), "canary-body".to_owned(), 200),
    ] {
        let (status, said) = chat.send_raw(&query, body).await;
        assert_eq!(status, expected, "{said}");
        answers += &said.to_string();
    }
    // The API with every kind of token, and requests that it cannot make sense of.
    for token in [ADMIN_TOKEN, READ_TOKEN, "canary-wrong-token"] {
        for path in ["/api/v1/status", "/api/v1/recalls", "/api/v1/calls", "/api/v1/no-such-view"] {
            answers += &daemon.admin_as(token, "GET", path, "").await.1;
        }
        for (path, body) in [
            ("/api/v1/plans", "{\"nonsense\":1}"),
            ("/api/v1/jobs/retry", "canary-nonsense"),
            ("/-/reload", ""),
        ] {
            answers += &daemon.admin_as(token, "POST", path, body).await.1;
        }
    }
    std::fs::write(home.path("rules.yaml"), "version: 1\nrules: [{id: broken, wen: 1}]\n").unwrap();
    answers += &daemon.admin_as(ADMIN_TOKEN, "POST", "/-/reload", "").await.1;
    answers += &daemon.admin("/readyz").await.1;
    answers += &daemon.admin("/metrics").await.1;
    while home.sim.recalled().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pid = daemon.id();
    let command_line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    let (code, log) = daemon.terminate().await;
    assert_eq!(code, Some(0));
    assert!(log.contains("\"verdict\"") && log.contains("TRACE"), "too little was logged:\n{log}");
    assert_clean("the answers", &answers);
    assert_clean("the log", &log);
    assert_clean("the list of processes", &command_line);
}

#[tokio::test]
async fn the_configuration_is_checked_and_printed_without_secrets() {
    let home = Home::new().await;
    let config = home.config_path();
    let config = config.to_str().unwrap();
    let folder = home.folder.path();
    std::fs::write(home.path("tokens"), "canary-new\ncanary-old\n").unwrap();
    let file = format!("chat.callback_token_file={}", home.path("tokens").display());
    for command in ["print", "check"] {
        for set in [
            vec![file.as_str()],
            // Mistakes beside secrets, and about them.
            vec![file.as_str(), "recall.batch_size=11", "admin.token=canary-token"],
            vec!["admin.token=canary-twin", "admin.read_token=canary-twin"],
            vec!["chat.secret_key_file=/no/such/file", "chat.secret_kye=canary-key"],
            vec![
                "notify.secret_file=/no/such/file",
                "notify.url=http://canary-url",
                "admin.token=canary-a",
            ],
            // A key alone has no use for the lines of two.
            vec![&file.replace("callback_token", "secret_key")],
        ] {
            let mut args = vec!["config", command, "--config", config];
            for set in &set {
                args.extend(["--set", set]);
            }
            let (_, out, said) = quell(&args, folder).await;
            assert_clean("what it says", &format!("{out}{said}"));
        }
    }
}

#[tokio::test]
async fn a_secret_given_by_a_flag_is_warned_of() {
    let home = Home::new().await;
    let config = home.config_path();
    let args = |set: &str| {
        ["config", "check", "--config", config.to_str().unwrap(), "--set", set].map(str::to_owned)
    };
    for (set, warned) in [
        ("chat.secret_key=canary-key", true),
        ("admin.token = canary-key", true),
        ("recall.batch_size=3", false),
    ] {
        let args = args(set);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let (_, _, said) = quell(&args, home.folder.path()).await;
        assert_eq!(said.contains("list of processes"), warned, "{said}");
        assert_clean("the warning", &said);
    }
}

#[tokio::test]
async fn a_token_that_can_be_guessed_is_warned_of() {
    let home = Home::new().await;
    let config = home.config_path();
    for (token, warned) in [("canary-short", true), (&"canary".repeat(6), false)] {
        let file = home.path("token");
        std::fs::write(&file, token).unwrap();
        let set = format!("admin.read_token_file={}", file.display());
        let args = ["config", "check", "--config", config.to_str().unwrap(), "--set", &set];
        let (code, _, said) = quell(&args, home.folder.path()).await;
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said.contains("admin.read_token is short"), warned, "{said}");
        assert_clean("the warning", &said);
    }
}

/// What is not in a build that is shipped. The names of the points are looked for in the program.
#[test]
fn a_build_without_the_feature_knows_no_fail_point() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_quell")).unwrap();
    let points = [
        "before_commit",
        "after_commit_before_ack",
        "after_claim",
        "after_send_before_record",
        "on_checkpoint",
        "checkpoint_write",
        "checkpoint_sync",
        "on_rule_swap",
        "FAILPOINTS",
    ];
    for point in points {
        let found = program.windows(point.len()).any(|window| window == point.as_bytes());
        assert_eq!(found, cfg!(feature = "fail"), "{point}");
    }
    let manifest = std::fs::read_to_string("Cargo.toml").unwrap();
    assert!(!manifest.contains("\ndefault = "), "no feature is on by default");
}
