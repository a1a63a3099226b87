//! A daemon opposite a simulated Chat: in this process, or as the binary that is shipped.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use quell::app::App;
use quell::chat::verify::sign;
use quell::config::{Config, Overrides};
use quell::model::SystemClock;
use quell::sim::{Sim, SimOptions};
use quell::store::{Audit, Cell, Filter, Page, View};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{ADMIN, APP_ID, KEY};

/// How long a wait for the worker goes without a look at the database.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(crate) const TOKEN: &str = "callback-token-of-the-tests";

/// `红包` and `bad` are recalled, `odd` is flagged, `shade` hits in shadow.
pub(crate) const RULES: &str = r"
version: 1
rules:
  - id: bait
    severity: high
    when: { keyword: { words: [加微信领红包, bad] } }
  - id: curious
    actions: [flag]
    when: { keyword: { words: [odd] } }
  - id: tried-out
    mode: shadow
    when: { pattern: { regex: 'shade' } }
";

/// A folder with rules and a configuration that points at a simulation.
pub(crate) struct Home {
    pub folder: TempDir,
    pub sim: Sim,
}

impl Home {
    pub(crate) async fn new() -> Self {
        Self::opposite(Sim::start(SimOptions::new(APP_ID, ADMIN, KEY.into())).await.unwrap())
    }

    pub(crate) fn opposite(sim: Sim) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
        let home = Self { folder, sim };
        std::fs::write(home.config_path(), home.config_text()).unwrap();
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Recall calls that arrived at Chat, whatever else did.
    pub(crate) fn recall_calls(&self) -> usize {
        self.sim.log().iter().filter(|call| call.command == "group_msg_recall").count()
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.path("quell.toml")
    }

    /// As patient as can be, for machines that stand still for a while.
    fn config_text(&self) -> String {
        let folder = self.folder.path().display();
        let url = self.sim.url();
        format!(
            "[server]\nlisten = '127.0.0.1:0'\nanswer_timeout_ms = 1900\n[admin]\nlisten = '127.0.0.1:0'\n\
             [chat]\nsdk_app_id = {APP_ID}\nidentifier = '{ADMIN}'\nsecret_key = '{KEY}'\n\
             base_url = '{url}'\ncallback_token = '{TOKEN}'\n\
             [store]\nurl = 'sqlite:{folder}/quell.db'\n[rules]\npath = '{folder}/rules.yaml'\n"
        )
    }

    pub(crate) fn config(&self, set: &[&str]) -> Config {
        let flags = set.iter().map(|flag| (*flag).to_owned()).collect();
        let overrides = Overrides { env: Vec::new(), flags };
        quell::config::load(Some(&self.config_path()), &overrides).unwrap().config
    }

    /// Starts the daemon in this process.
    pub(crate) async fn start(&self, set: &[&str]) -> TestApp {
        let app = App::start(&self.config(set), Arc::new(SystemClock)).await.unwrap();
        let url = format!("http://{}", app.callback_address());
        TestApp { app: Some(app), callbacks: Callbacks::to(&url) }
    }

    /// Starts the binary that is shipped.
    pub(crate) async fn spawn(&self, set: &[&str]) -> Process {
        self.spawn_under(set, &[]).await
    }

    /// The same in an environment of its own making.
    pub(crate) async fn spawn_under(&self, set: &[&str], env: &[(&str, &str)]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
        command.arg("serve").arg("--config").arg(self.config_path());
        for flag in set {
            command.arg("--set").arg(flag);
        }
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
        command.envs(env.iter().copied());
        Process::start(command).await
    }

    /// The same by a command of the shell's: `$0` stands for the daemon's own.
    pub(crate) async fn spawn_by(&self, script: &str, set: &[&str]) -> Process {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script.replace("$0", "\"$0\" \"$@\""));
        command.arg(env!("CARGO_BIN_EXE_quell")).arg("serve").arg("--config");
        command.arg(self.config_path());
        for flag in set {
            command.arg("--set").arg(flag);
        }
        Process::start(command).await
    }
}

/// Sends callbacks as Chat does.
#[derive(Clone)]
pub(crate) struct Callbacks {
    url: String,
    http: reqwest::Client,
}

impl Callbacks {
    pub(crate) fn to(url: &str) -> Self {
        quell::chat::client::install_crypto();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url: format!("{url}/callback"), http }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://").trim_end_matches("/callback")
    }

    pub(crate) fn query(command: &str) -> String {
        let now = quell::model::Clock::now(&SystemClock).secs().to_string();
        let sign = sign(TOKEN, &now);
        format!(
            "SdkAppid={APP_ID}&CallbackCommand={command}&contenttype=json&ClientIP=10.0.0.1\
             &OptPlatform=Android&Sign={sign}&RequestTime={now}"
        )
    }

    /// Sends a body with a query; answers status and body.
    pub(crate) async fn send_raw(
        &self,
        query: &str,
        body: impl Into<reqwest::Body>,
    ) -> (u16, Value) {
        self.try_send(query, body).await.unwrap()
    }

    pub(crate) async fn try_send(
        &self,
        query: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<(u16, Value), reqwest::Error> {
        let response = self.http.post(format!("{}?{query}", self.url)).body(body).send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    pub(crate) async fn send(&self, body: &Value) -> u16 {
        let command = body["CallbackCommand"].as_str().unwrap_or("").to_owned();
        self.send_raw(&Self::query(&command), body.to_string()).await.0
    }

    /// A text message; answers the status.
    pub(crate) async fn say(&self, group: &str, seq: u64, text: &str) -> u16 {
        self.send(&message(group, seq, text)).await
    }
}

/// The callback of a text message sent now.
pub(crate) fn message(group: &str, seq: u64, text: &str) -> Value {
    let now = quell::model::Clock::now(&SystemClock);
    json!({
        "CallbackCommand": "Group.CallbackAfterSendMsg",
        "GroupId": group, "Type": "Public", "From_Account": "mallory",
        "Operator_Account": "mallory", "Random": 7, "MsgSeq": seq, "MsgTime": now.secs(),
        "OnlineOnlyFlag": 0,
        "MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": text}}],
        "CloudCustomData": "", "EventTime": now.millis(),
    })
}

/// A daemon in this process.
pub(crate) struct TestApp {
    app: Option<App>,
    pub callbacks: Callbacks,
}

impl TestApp {
    pub(crate) fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    /// Waits until no job waits for anything.
    pub(crate) async fn drain(&self) {
        let mut status = self.app().worker().watch();
        loop {
            let unfinished = self.app().store().unfinished_by_state().await.unwrap();
            if unfinished.iter().all(|(state, _)| state == "held") {
                return;
            }
            // What a job ends as may be written without the worker's state being another for it.
            let _ = tokio::time::timeout(LOOK_AGAIN, status.changed()).await;
        }
    }

    pub(crate) async fn rows(&self, view: View) -> Page {
        let filter = Filter { limit: 100_000, ..Filter::default() };
        self.app().store().page(view, &filter).await.unwrap()
    }

    /// One column of a view, newest first.
    pub(crate) async fn column(&self, view: View, column: &str) -> Vec<String> {
        let page = self.rows(view).await;
        page.rows.iter().map(|row| shown(page.cell(row, column))).collect()
    }

    pub(crate) async fn admin(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.app().admin_address());
        let response = self.callbacks.http.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Posts to the admin listener as `ada`.
    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.app().admin_address());
        let request = self.callbacks.http.post(url).header("x-quell-actor", "ada").json(&body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    /// Deletes something of the admin listener as `ada`.
    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.app().admin_address());
        let request = self.callbacks.http.delete(url).header("x-quell-actor", "ada");
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    pub(crate) async fn stop(mut self) {
        if let Some(app) = self.app.take() {
            app.stop().await;
        }
    }
}

pub(crate) fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Integer(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
    }
}

/// The daemon as a process of its own.
pub(crate) struct Process {
    child: Child,
    pub callbacks: Callbacks,
    admin: String,
    /// Everything that it logged, once it has ended.
    log: tokio::task::JoinHandle<String>,
}

impl Process {
    async fn start(mut command: Command) -> Self {
        command.stderr(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        let (address, admin) = loop {
            let line = lines.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended before it listened:\n{log}"));
            log.push_str(&line);
            log.push('\n');
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            if let (Some(address), Some(admin)) =
                (said["callbacks"].as_str(), said["admin"].as_str())
            {
                break (address.to_owned(), format!("http://{admin}"));
            }
        };
        let log = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                log.push_str(&line);
                log.push('\n');
            }
            log
        });
        Self { child, callbacks: Callbacks::to(&format!("http://{address}")), admin, log }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Asks the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> (u16, String) {
        let response = self.callbacks.http.get(format!("{}{path}", self.admin)).send().await;
        let response = response.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Has the admin listener do something.
    #[cfg(feature = "fail")]
    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, String) {
        let request = self.callbacks.http.post(format!("{}{path}", self.admin)).json(&body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The same with a bearer token.
    pub(crate) async fn admin_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> (u16, String) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.callbacks.http.request(method, format!("{}{path}", self.admin));
        let response = request.bearer_auth(token).body(body.to_owned()).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Waits until it is ready, or is not.
    pub(crate) async fn until_ready(&self, ready: bool) -> String {
        loop {
            let (status, said) = self.admin("/readyz").await;
            if (status == 200) == ready {
                return said;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it has ended by itself. Answers the exit code and what it had logged.
    #[cfg(feature = "fail")]
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        (ended.unwrap().unwrap().code(), self.log.await.unwrap())
    }

    /// `kill -9`. Answers what it had logged.
    pub(crate) async fn kill(mut self) -> String {
        self.child.kill().await.unwrap();
        self.log.await.unwrap()
    }

    /// Sends a signal, such as `-HUP`.
    pub(crate) async fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").arg(signal).arg(pid).status().await.unwrap();
        assert!(sent.success());
    }

    /// `SIGTERM`, and the exit code. Answers what it had logged, too.
    pub(crate) async fn terminate(mut self) -> (Option<i32>, String) {
        self.signal("-TERM").await;
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        (ended.unwrap().unwrap().code(), self.log.await.unwrap())
    }
}

/// Runs a command of the binary to its end.
pub(crate) async fn quell(args: &[&str], folder: &Path) -> (Option<i32>, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_quell")).args(args).current_dir(folder).output().await;
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}
