//! Commands that are not written as they can be understood, lists without rows, and output that cannot
//! be written.

use quell::store::View;

use crate::support::daemon::{Home, quell};

/// Runs a command with the configuration of a home.
async fn run(home: &Home, args: &[&str]) -> (Option<i32>, String, String) {
    let config = home.config_path().display().to_string();
    let mut all = args.to_vec();
    all.extend(["--config", &config]);
    quell(&all, home.folder.path()).await
}

#[tokio::test]
async fn what_cannot_be_understood_exits_with_2() {
    let home = Home::new().await;
    let cases: [(&[&str], &str); 23] = [
        (&["audit", "verify", "--head", "9f2c"], "64 hexadecimal digits"),
        (&["serve", "--set", "foo"], "not section.key=value"),
        (&["serve", "--set", "recall.mode"], "not section.key=value"),
        (&["serve", "--set", "recall=live"], "not section.key=value"),
        (&["jobs", "retry"], "say which jobs"),
        (&["jobs", "cancel"], "say which jobs"),
        (&["erase", "--sender", "mallory"], "say --yes"),
        (&["erase", "--sender", "", "--yes"], "--sender"),
        (
            &["audit", "calls", "--sender", "x"],
            "calls cannot be filtered by sender, only by --group",
        ),
        (&["audit", "quarantine", "--group", "g"], "cannot be filtered by group"),
        (&["audit", "recalls", "--text", "x"], "cannot be filtered by text"),
        (&["audit", "recalls", "--state", "recaled"], "is one of pending, leased"),
        (&["export", "gaps", "--rule", "x"], "gaps cannot be filtered by rule"),
        (&["audit", "nothing"], "possible values: messages"),
        (&["audit"], "required"),
        (&["review", "list", "--text", "x"], "cannot be filtered by text"),
        (&["review", "list", "--state", "pass"], "is one of flag, recall, held"),
        (&["review", "right", "g/x"], "\"x\" is no sequence"),
        (&["review", "right", "7", "--topic", "t"], "--topic goes with"),
        (&["backfill", "--group", "g", "--from", "5", "--to", "4"], "larger than --to 4"),
        (&["recall", "--sender", "mallory"], "--since"),
        (&["recall", "--seq", "5"], "--group"),
        (&["allow", "sender", ""], "<VALUE>"),
    ];
    for (args, said) in cases {
        let (code, out, err) = run(&home, args).await;
        assert_eq!(code, Some(2), "{args:?}: {err}");
        assert!(err.contains(said) && out.is_empty(), "{args:?}: {err}");
    }
    assert!(!home.path("quell.db").exists(), "something was opened");
}

#[tokio::test]
async fn lists_without_rows_have_their_columns() {
    let home = Home::new().await;
    assert_eq!(run(&home, &["migrate"]).await.0, Some(0));
    for view in View::all() {
        let columns: Vec<_> = view.columns().iter().map(|column| column.name).collect();
        let header = columns.join(",") + "\n";
        for command in ["audit", "export"] {
            let (code, out, err) = run(&home, &[command, view.word(), "--format", "csv"]).await;
            assert_eq!((code, &out), (Some(0), &header), "{command} {}: {err}", view.word());
        }
    }
    for (args, header) in [
        (["jobs", "list"], "group_id,topic_id,msg_seq,sender,state,"),
        (["guard", "list"], "rule,at,at_iso,why\n"),
        (["allow", "list"], "id,kind,value,rule,note,by,at,at_iso\n"),
        (["review", "list"], "group_id,topic_id,msg_seq,sender,verdict,"),
        (["review", "precision"], "rule,right,wrong,precision\n"),
    ] {
        let (code, out, err) = run(&home, &[args[0], args[1], "--format", "csv"]).await;
        assert_eq!(code, Some(0), "{args:?}: {err}");
        assert!(out.starts_with(header) && out.lines().count() == 1, "{args:?}: {out}");
    }
}

#[tokio::test]
async fn rows_stand_under_their_columns() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "bad, =1+1").await, 200);
    app.drain().await;
    app.stop().await;
    let (_, out, _) = run(&home, &["audit", "messages", "--format", "csv"]).await;
    let mut lines = csv::Reader::from_reader(out.as_bytes());
    let header = lines.headers().unwrap().clone();
    let row = lines.records().next().unwrap().unwrap();
    let cell = |name: &str| row.get(header.iter().position(|cell| cell == name).unwrap()).unwrap();
    assert_eq!((cell("text"), cell("verdict"), cell("msg_seq")), ("bad, =1+1", "recall", "1"));
    let (code, out, _) = run(&home, &["export", "recalls", "--format", "csv"]).await;
    assert_eq!((code, out.lines().count()), (Some(0), 2));
    // A list item of a rules file begins as a formula does.
    std::fs::write(home.path("bad.yaml"), "version: 1\nrules:\n- id: x\n  wen: {}\n").unwrap();
    std::fs::write(home.path("odd.yaml"), "version: 1\nrules:\n- ids: x\n").unwrap();
    let args = ["rules", "check", "odd.yaml", "bad.yaml", "--format", "csv"];
    let (code, out, _) = quell(&args, home.folder.path()).await;
    assert_eq!(code, Some(78));
    assert!(out.starts_with("file,line,column,level,message,help,excerpt\n"), "{out}");
    assert!(out.contains(",'- ids: x\n") && !out.contains(",- "), "{out}");
    let (code, out, _) = quell(&["rules", "check", "bad.yaml"], home.folder.path()).await;
    assert_eq!(code, Some(78));
    assert!(out.contains("bad.yaml: because of these errors its examples were not run"), "{out}");
}

#[tokio::test]
async fn a_cancelled_plan_is_not_applied() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "fine").await, 200);
    app.stop().await;
    let args = ["recall", "--group", "g", "--seq", "1"];
    let (code, _, err) = run(&home, &args).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("to apply it: quell recall --plan 1 --yes"), "{err}");
    assert_eq!(run(&home, &["recall", "--plan", "1", "--cancel"]).await.0, Some(0));
    assert_eq!(run(&home, &["recall", "--plan", "1"]).await.0, Some(0), "looking is fine");
    let (code, out, err) = run(&home, &["recall", "--plan", "1", "--yes"]).await;
    assert_eq!(code, Some(1), "{err}");
    assert!(out.contains("cancelled") && err.contains("plan 1 was cancelled"), "{out}{err}");
    let (code, out, _) = run(&home, &["audit", "recalls", "--format", "json"]).await;
    assert_eq!((code, out.trim()), (Some(0), "[]"));
}

/// `/dev/full` takes nothing: a disk without room, without any privilege.
#[tokio::test]
async fn output_that_cannot_be_written_is_a_failure() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "fine").await, 200);
    app.stop().await;
    std::fs::write(home.path("lines"), "{\"id\":1,\"text\":\"bad\"}\n").unwrap();
    let config = home.config_path().display().to_string();
    let cases: [&[&str]; 7] = [
        &["audit", "messages", "--format", "csv", "--config", &config],
        &["audit", "messages", "--config", &config],
        &["export", "messages", "--config", &config],
        &["scan", "--rules", "rules.yaml", "--input", "lines"],
        &["rules", "schema"],
        &["openapi"],
        &["completions", "bash"],
    ];
    for args in cases {
        let ended = tokio::process::Command::new(env!("CARGO_BIN_EXE_quell"))
            .args(args)
            .current_dir(home.folder.path())
            .stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .await
            .unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("error: ") && said.contains("No space left"), "{args:?}: {said}");
    }
}
