//! What the callbacks missed is found, pulled, judged and recalled; what was never theirs to bring
//! is explained.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quell::app::App;
use quell::model::{Clock, GroupId, MsgSeq, SystemClock, Timestamp};
use quell::sim::{CallbackTarget, Faults, NewMessage, Sim, SimOptions};
use quell::store::{Audit, View};

use super::support::daemon::{Home, TOKEN, TestApp, quell, shown};
use super::support::{ADMIN, APP_ID, KEY};

const QUICK: [&str; 2] = ["history.grace_ms=50", "history.probe_after_seconds=1"];
/// The same without probes: what is found, the gaps show.
const UNPROBED: [&str; 2] = ["history.grace_ms=50", "history.probe_after_seconds=3600"];

/// A daemon, and a simulated Chat that calls it back.
struct Scene {
    home: Home,
    app: Option<TestApp>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(&QUICK).await
    }

    async fn with(set: &[&str]) -> Self {
        let options =
            SimOptions { unknown_exist: false, ..SimOptions::new(APP_ID, ADMIN, KEY.into()) };
        let mut scene =
            Self { home: Home::opposite(Sim::start(options).await.unwrap()), app: None };
        scene.start(set).await;
        scene
    }

    async fn start(&mut self, set: &[&str]) {
        let app = self.home.start(set).await;
        self.call_back(app.app());
        self.app = Some(app);
    }

    fn call_back(&self, app: &App) {
        let url = format!("http://{}/callback", app.callback_address());
        let target = CallbackTarget { url, token: Some(TOKEN.into()) };
        self.home.sim.call_back(&target).unwrap();
    }

    fn app(&self) -> &TestApp {
        self.app.as_ref().unwrap()
    }

    fn group(&self, id: &str, group_type: &str) -> GroupId {
        self.home.sim.create_group(id, group_type).unwrap()
    }

    /// Somebody says something, and the callback arrives.
    fn say(&self, group: &GroupId, text: &str) -> MsgSeq {
        self.say_with(group, text, "")
    }

    /// The same with `CloudCustomData`.
    fn say_with(&self, group: &GroupId, text: &str, custom: &str) -> MsgSeq {
        let body = serde_json::json!([
            {"MsgType": "TIMTextElem", "MsgContent": {"Text": text}},
        ]);
        let message = NewMessage {
            group_id: group.clone(),
            topic_id: "".into(),
            sender: "mallory".into(),
            operator: "mallory".into(),
            random: rand::random(),
            online_only: false,
            body: body.to_string().into(),
            cloud_custom_data: custom.to_owned(),
        };
        self.home.sim.send(&message).unwrap()
    }

    /// Somebody says something, and the callback is lost.
    fn whisper(&self, group: &GroupId, text: &str) -> MsgSeq {
        self.home.sim.set_faults(Faults { dropped_callbacks: 1.0, ..Faults::default() });
        let seq = self.say(group, text);
        self.home.sim.set_faults(Faults::default());
        seq
    }

    async fn stored(&self) -> BTreeSet<(String, MsgSeq)> {
        let page = self.app().rows(View::Messages).await;
        let key = |row| {
            let seq = shown(page.cell(row, "msg_seq")).parse().unwrap();
            (shown(page.cell(row, "group_id")), seq)
        };
        page.rows.iter().map(|row| key(row)).collect()
    }

    /// Rows of `v_gaps`, lowest sequence first.
    async fn gaps(&self) -> Vec<String> {
        let page = self.app().rows(View::Gaps).await;
        let cell = |row, name| shown(page.cell(row, name));
        let mut gaps: Vec<_> = page
            .rows
            .iter()
            .map(|row| {
                let from: u64 = cell(row, "from_seq").parse().unwrap();
                let (to, group) = (cell(row, "to_seq"), cell(row, "group_id"));
                let (state, reason) = (cell(row, "state"), cell(row, "reason"));
                ((group.clone(), from), format!("{group} {from}-{to} {state}: {reason}"))
            })
            .collect();
        gaps.sort();
        gaps.into_iter().map(|(_, gap)| gap).collect()
    }

    /// Waits until something has come to pass.
    async fn until<F: Future<Output = bool>>(&self, what: &str, check: impl Fn() -> F) {
        let patience = async {
            while !check().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(30), patience).await.is_ok();
        assert!(came, "{what} never came to pass; gaps: {:?}", self.gaps().await);
    }

    /// Waits until so many messages are stored.
    async fn until_stored(&self, count: usize) {
        self.until("the callbacks", || async move { self.stored().await.len() == count }).await;
    }

    async fn until_recalled(&self, group: &GroupId, seq: MsgSeq) {
        let recalled = || async move {
            self.home.sim.recalled().iter().any(|key| key.group_id == *group && key.msg_seq == seq)
        };
        self.until("a recall", recalled).await;
    }

    async fn until_gaps(&self, wanted: &[&str]) {
        self.until(&format!("{wanted:?}"), || async { self.gaps().await == wanted }).await;
    }
}

fn shown_seq(page: &quell::store::Page, row: &[quell::store::Cell]) -> MsgSeq {
    shown(page.cell(row, "msg_seq")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_callback_was_lost_is_recalled() {
    let scene = Scene::new().await;
    let group = scene.group("g", "Public");
    scene.say(&group, "hello");
    scene.until_stored(1).await;
    let lost = scene.whisper(&group, "都来加微信领红包啦");
    scene.say(&group, "bye");
    scene.until_recalled(&group, lost).await;
    scene.until_gaps(&["g 2-2 filled: message"]).await;
    let sources = scene.app().column(View::Messages, "source").await;
    assert_eq!(sources.iter().filter(|source| *source == "history").count(), 1);
    let types = scene.app().column(View::Messages, "group_type").await;
    assert!(types.iter().all(|kind| kind == "Public"), "{types:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_last_message_is_asked_for() {
    let scene = Scene::new().await;
    let group = scene.group("g", "Public");
    scene.say(&group, "hello");
    scene.until_stored(1).await;
    let lost = scene.whisper(&group, "bad");
    scene.until_recalled(&group, lost).await;
    scene.until_gaps(&["g 2-2 filled: message"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_callback_raises_no_alarm() {
    let scene = Scene::with(&UNPROBED).await;
    let group = scene.group("g", "Public");
    scene.say(&group, "one");
    scene.until_stored(1).await;
    scene.home.sim.send_tip(&group, &"".into()).unwrap();
    scene.home.sim.send_tip(&group, &"".into()).unwrap();
    let lost = scene.whisper(&group, "taken back at once");
    scene.home.sim.take_back(&group, lost);
    scene.whisper(&group, "fine");
    scene.say(&group, "six");
    scene
        .until_gaps(&[
            "g 2-3 legitimate: system entry",
            "g 4-4 legitimate: recalled",
            "g 5-5 filled: message",
        ])
        .await;
    // And once explained, they are not asked for again.
    let explained = scene.gaps().await;
    scene.say(&group, "seven");
    scene.until_stored(4).await;
    assert_eq!(scene.gaps().await, explained);
    let (_, metrics) = scene.app().admin("/metrics").await;
    assert!(metrics.contains("quell_gaps_open_sequences 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_history_is_told_of_honestly() {
    let scene = Scene::new().await;
    let group = scene.group("live", "AVChatRoom");
    scene.say(&group, "one");
    scene.until_stored(1).await;
    scene.whisper(&group, "bad");
    scene.say(&group, "three");
    scene.until_gaps(&["live 2-2 unrepairable: groups of this type have no history"]).await;
    let calls = scene.home.sim.log();
    assert!(calls.iter().all(|call| call.command != "group_msg_get_simple"), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_while_nobody_listened_is_pulled_after_the_start() {
    let mut scene = Scene::with(&UNPROBED).await;
    let (busy, quiet) = (scene.group("busy", "Public"), scene.group("quiet", "Public"));
    scene.say(&busy, "hello");
    scene.say(&quiet, "hello");
    scene.until_stored(2).await;
    scene.app.take().unwrap().stop().await;
    for n in 0..35 {
        scene.whisper(&busy, if n == 17 { "bad" } else { "fine" });
    }
    let last = scene.whisper(&quiet, "bad");
    scene.start(&UNPROBED).await;
    scene.until_recalled(&busy, 19).await;
    scene.until_recalled(&quiet, last).await;
    scene.until_gaps(&["busy 2-36 filled: message", "quiet 2-2 filled: message"]).await;
    let pulls = scene.home.sim.log();
    let pulls = pulls.iter().filter(|call| call.command == "group_msg_get_simple").count();
    assert!(pulls <= 5, "{pulls} calls for 36 messages in two groups");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_quell_came_is_left_alone() {
    let options = SimOptions { unknown_exist: false, ..SimOptions::new(APP_ID, ADMIN, KEY.into()) };
    let home = Home::opposite(Sim::start(options).await.unwrap());
    let mut scene = Scene { home, app: None };
    let group = scene.group("g", "Public");
    for _ in 0..3 {
        scene.say(&group, "bad");
    }
    // History tells whole seconds: the next one must have begun.
    let began = SystemClock.now().secs();
    while SystemClock.now().secs() <= began + 1 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.start(&QUICK).await;
    let missed = scene.whisper(&group, "bad");
    scene.say(&group, "hello");
    scene.until_recalled(&group, missed).await;
    scene.until_gaps(&["g 4-4 filled: message"]).await;
    assert_eq!(scene.stored().await.len(), 2);
    assert_eq!(scene.home.sim.recalled().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_of_a_group_that_is_gone_is_closed() {
    let scene = Scene::new().await;
    let group = scene.group("g", "Public");
    scene.say(&group, "one");
    scene.until_stored(1).await;
    scene.home.sim.set_faults(Faults { error_code: Some(10_002), ..Faults::default() });
    for seq in [3, 5] {
        let message = super::support::daemon::message("g", seq, "fine");
        assert_eq!(scene.app().callbacks.send(&message).await, 200);
    }
    scene.until("gaps", || async { scene.gaps().await.len() == 2 }).await;
    let now = SystemClock.now();
    let destroyed = serde_json::json!({
        "CallbackCommand": "Group.CallbackAfterGroupDestroyed", "GroupId": "g",
        "EventTime": now.millis(),
    });
    assert_eq!(scene.app().callbacks.send(&destroyed).await, 200);
    scene
        .until_gaps(&["g 2-2 unrepairable: group destroyed", "g 4-4 unrepairable: group destroyed"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_comes_after_the_history_changes_nothing() {
    let scene = Scene::new().await;
    let group = scene.group("g", "Public");
    let sent = scene.say(&group, "hello");
    scene.until_stored(1).await;
    scene.home.sim.set_faults(Faults { dropped_callbacks: 1.0, ..Faults::default() });
    let lost = scene.say_with(&group, "bad", "note");
    scene.home.sim.set_faults(Faults::default());
    scene.say(&group, "bye");
    scene.until_recalled(&group, lost).await;
    scene.until_gaps(&["g 2-2 filled: message"]).await;
    // The callback after all, as Chat would have sent it: history tells whole seconds.
    let shown = scene.app().rows(View::Messages).await;
    let row = shown.rows.iter().find(|row| shown_seq(&shown, row) == lost).unwrap();
    let at: i64 = self::shown(shown.cell(row, "sent_at")).parse().unwrap();
    let mut late = super::support::daemon::message("g", lost, "bad");
    (late["MsgTime"], late["EventTime"]) = ((at / 1000).into(), (at + 7).into());
    late["CloudCustomData"] = "note".into();
    assert_eq!(scene.app().callbacks.send(&late).await, 200);
    assert_eq!(scene.app().rows(View::Conflicts).await.rows.len(), 0);
    assert_eq!(scene.app().rows(View::Recalls).await.rows.len(), 1);
    assert_eq!(scene.gaps().await, ["g 2-2 filled: message"]);
    assert!(sent < lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_was_never_given_out_does_not_blind_the_account() {
    let scene = Scene::new().await;
    let group = scene.group("g", "Public");
    scene.say(&group, "hello");
    scene.until_stored(1).await;
    let bogus = super::support::daemon::message("g", 4_000_000_000, "fine");
    assert_eq!(scene.app().callbacks.send(&bogus).await, 200);
    scene.until_gaps(&["g 2-3999999999 legitimate: not in history"]).await;
    let lost = scene.whisper(&group, "bad");
    scene.say(&group, "bye");
    scene.until_recalled(&group, lost).await;
    let pulls = scene.home.sim.log();
    let pulls = pulls.iter().filter(|call| call.command == "group_msg_get_simple").count();
    assert!(pulls < 200, "{pulls} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_history_is_asked_again() {
    let scene = Scene::with(&UNPROBED).await;
    let group = scene.group("g", "Public");
    scene.say(&group, "one");
    scene.until_stored(1).await;
    let lost = scene.whisper(&group, "bad");
    scene.home.sim.set_faults(Faults { error_code: Some(10_002), ..Faults::default() });
    scene.say(&group, "three");
    scene.until_gaps(&["g 2-2 open: 10002: internal error of the group service"]).await;
    scene.home.sim.set_faults(Faults::default());
    scene.until_recalled(&group, lost).await;
    scene.until_gaps(&["g 2-2 filled: message"]).await;
}

/// The machine's clock, moved on.
#[derive(Debug)]
struct Later(Duration);

impl Clock for Later {
    fn now(&self) -> Timestamp {
        SystemClock.now().after(self.0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_message_is_judged_as_it_is_now() {
    let mut scene = Scene::new().await;
    let group = scene.group("g", "Public");
    let first = scene.say(&group, "harmless");
    scene.say(&group, "as before");
    scene.until_stored(2).await;
    scene.app.take().unwrap().stop().await;
    scene.home.sim.edit(&group, first, "bad");
    let config = scene.home.config(&["history.reread_after_minutes=1"]);
    let app = App::start(&config, Arc::new(Later(Duration::from_secs(90)))).await.unwrap();
    while !scene.home.sim.recalled().iter().any(|key| key.msg_seq == first) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let filter = quell::store::Filter::default();
    let conflicts = app.store().page(View::Conflicts, &filter).await.unwrap();
    let text = shown(conflicts.cell(&conflicts.rows[0], "text"));
    assert_eq!((conflicts.rows.len(), text.as_str()), (1, "bad"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_reads_what_was_never_told_of() {
    let mut scene = Scene::new().await;
    scene.app.take().unwrap().stop().await;
    let group = scene.group("g", "Public");
    for n in 1..=36 {
        scene.whisper(&group, if n % 10 == 0 { "bad" } else { "fine" });
    }
    let config = scene.home.config_path().display().to_string();
    let backfill = async |extra: &[&str]| {
        let mut args = vec!["backfill", "--config", &config, "--format", "json"];
        args.extend(extra);
        quell(&args, scene.home.folder.path()).await
    };
    let (code, out, err) = backfill(&["--group", "g", "--from", "21"]).await;
    assert_eq!(code, Some(0), "{err}");
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&rows[0]["recorded"], &rows[0]["recalls"]), (&16.into(), &1.into()), "{out}");
    let (code, out, err) = backfill(&["--group", "g"]).await;
    assert_eq!(code, Some(0), "{err}");
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&rows[0]["recorded"], &rows[0]["recalls"]), (&20.into(), &2.into()), "{out}");
    let (code, _, err) = backfill(&["--group", "nowhere"]).await;
    assert_eq!(code, Some(1), "{err}");
    let (code, _, err) = backfill(&["--group", "g", "--from", "9", "--to", "3"]).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--from 9 is larger than --to 3"), "{err}");
}

#[tokio::test]
async fn a_backfill_by_broken_rules_reads_nothing() {
    let home = Home::new().await;
    std::fs::write(home.path("rules.yaml"), "version: 1\nrules: [{ id: x }]\n").unwrap();
    let config = home.config_path().display().to_string();
    let args = ["backfill", "--config", &config, "--group", "g"];
    let (code, out, err) = quell(&args, home.folder.path()).await;
    assert_eq!((code, out.as_str()), (Some(78), ""), "{err}");
    assert!(err.contains("rules.yaml:2:"), "{err}");
    assert!(home.sim.log().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_chat_refuses_ends_and_says_why() {
    let home = Home::new().await;
    home.sim.create_group("g", "Public").unwrap();
    let config = home.config_path().display().to_string();
    let wrong = "chat.secret_key=another";
    let args = ["backfill", "--config", &config, "--set", wrong, "--group", "g"];
    let (code, out, err) = quell(&args, home.folder.path()).await;
    assert_eq!(code, Some(1), "{err}");
    assert!(out.contains("failed") && out.contains("UserSig"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_backfills() {
    let scene = Scene::new().await;
    let group = scene.group("g", "Public");
    for n in 1..=25 {
        scene.whisper(&group, if n == 3 { "bad" } else { "fine" });
    }
    let admin = scene.app().app().admin_address();
    let config = scene.home.config_path().display().to_string();
    let listen = format!("admin.listen={admin}");
    let args = ["backfill", "--config", &config, "--set", &listen, "--group", "g"];
    let (code, out, err) = quell(&args, scene.home.folder.path()).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("done") && out.contains("25"), "{out}");
    scene.until_recalled(&group, 3).await;
    let acts = scene.app().column(View::Operations, "act").await;
    assert!(acts.contains(&"backfill".to_owned()), "{acts:?}");
}
