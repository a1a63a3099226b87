//! What every proof stands on: a simulated Chat in this process, a folder with configuration and
//! rules, the daemon as a child process, a queue filled beforehand, and callbacks over bare sockets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use quell::chat::verify::sign;
use quell::model::{
    Clock, GroupType, JobState, Judgement, Mentions, Message, MessageKey, RequestedBy, Severity,
    Signals, Source, SystemClock, Text, Timestamp, Verdict,
};
use quell::sim::traffic::DEMO_RULES;
use quell::sim::{Arrival, Sim, SimOptions};
use quell::store::sqlite::{self, Sqlite};
use quell::store::{Intake, NewJob, Record, RuleSet};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::{JoinHandle, JoinSet};

pub(crate) const APP_ID: u64 = 1_400_000_000;
pub(crate) const IDENTIFIER: &str = "administrator";
/// Neither protects anything: both ends run here.
pub(crate) const SECRET_KEY: &str = "the-secret-key-of-the-proofs";
pub(crate) const CALLBACK_TOKEN: &str = "the-callback-token-of-the-proofs";
/// The command that the proofs are about.
const RECALL: &str = "group_msg_recall";
/// Records on their way into the store at once.
const PRELOAD_AT_ONCE: usize = 4000;
/// A daemon that does not listen by then never will.
const START_WITHIN: Duration = Duration::from_mins(1);

/// A simulated Chat and a folder for a daemon.
pub(crate) struct Bed {
    pub folder: TempDir,
    pub sim: Sim,
    /// No earlier than the zero of the times in the simulation's log.
    pub began: Instant,
}

impl Bed {
    /// Groups and messages that the simulation never saw are taken to exist or not.
    pub(crate) async fn new(unknown_exist: bool) -> Result<Self> {
        let options =
            SimOptions { unknown_exist, ..SimOptions::new(APP_ID, IDENTIFIER, SECRET_KEY.into()) };
        let sim = Sim::start(options).await?;
        let began = Instant::now();
        let folder = tempfile::Builder::new().prefix("quell-prove-").tempdir()?;
        std::fs::write(folder.path().join("rules.yaml"), DEMO_RULES)?;
        let home = folder.path().display();
        let config = format!(
            "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
             [chat]\nsdk_app_id = {APP_ID}\nidentifier = '{IDENTIFIER}'\n\
             secret_key = '{SECRET_KEY}'\nbase_url = '{}'\ncallback_token = '{CALLBACK_TOKEN}'\n\
             [store]\nurl = 'sqlite:{home}/quell.db'\n[rules]\npath = '{home}/rules.yaml'\n",
            sim.url()
        );
        std::fs::write(folder.path().join("quell.toml"), config)?;
        Ok(Self { folder, sim, began })
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("quell.db")
    }

    /// The database, while no daemon holds it.
    pub(crate) async fn store(&self) -> Result<Arc<Sqlite>> {
        let options = sqlite::Options {
            synchronous: sqlite::Synchronous::Normal,
            ..sqlite::Options::at(&self.database())
        };
        Ok(Arc::new(sqlite::open(&options).await?))
    }

    pub(crate) async fn spawn(&self, binary: &Path) -> Result<Daemon> {
        self.spawn_with(binary, &[]).await
    }

    /// With settings over those of the file.
    pub(crate) async fn spawn_with(&self, binary: &Path, set: &[&str]) -> Result<Daemon> {
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(self.folder.path().join("quell.toml"));
        for setting in set {
            command.arg("--set").arg(setting);
        }
        tokio::time::timeout(START_WITHIN, Daemon::start(command))
            .await
            .context("the daemon does not start")?
    }

    /// A build with the feature `fail`, with what is to go wrong.
    #[cfg(feature = "fail")]
    pub(crate) async fn spawn_failing(&self, binary: &Path, faults: &str) -> Result<Daemon> {
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(self.folder.path().join("quell.toml"));
        command.env("FAILPOINTS", faults);
        Daemon::start(command).await
    }

    /// The recall calls that arrived at Chat.
    pub(crate) fn calls(&self) -> Vec<Arrival> {
        self.sim.log().into_iter().filter(|call| call.command == RECALL).collect()
    }
}

/// The daemon as a process of its own.
pub(crate) struct Daemon {
    child: Child,
    pub callbacks: SocketAddr,
    pub admin: SocketAddr,
    log: JoinHandle<()>,
}

impl Daemon {
    /// Answers once it listens.
    async fn start(mut command: Command) -> Result<Self> {
        command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("the daemon cannot be run")?;
        let stderr = child.stderr.take().context("its log is piped")?;
        let mut lines = BufReader::new(stderr).lines();
        let mut said_before = String::new();
        let (callbacks, admin) = loop {
            let Some(line) = lines.next_line().await? else {
                bail!("the daemon ended before it listened:\n{said_before}")
            };
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            if let (Some(callbacks), Some(admin)) =
                (said["callbacks"].as_str(), said["admin"].as_str())
            {
                break (callbacks.parse()?, admin.parse()?);
            }
            said_before.push_str(&line);
            said_before.push('\n');
        };
        // Somebody has to read on, or it would block on a full pipe.
        let log = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, callbacks, admin, log })
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await?;
        self.log.await?;
        Ok(())
    }

    /// `SIGSTOP`, and `SIGCONT` some time later: what a debugger, a paused container or a machine that is
    /// moved do to it.
    pub(crate) async fn freeze(&self, time: Duration) -> Result<()> {
        self.signal("-STOP").await?;
        tokio::time::sleep(time).await;
        self.signal("-CONT").await
    }

    async fn signal(&self, signal: &str) -> Result<()> {
        let id = self.child.id().context("the daemon has ended by itself")?.to_string();
        let sent = Command::new("kill").args([signal, &id]).status().await?;
        anyhow::ensure!(sent.success(), "the daemon cannot be sent {signal}");
        Ok(())
    }

    /// `SIGTERM`; waits until it has ended in order.
    pub(crate) async fn terminate(mut self) -> Result<()> {
        self.signal("-TERM").await?;
        let ended = self.child.wait().await?;
        anyhow::ensure!(ended.success(), "the daemon ended with {ended}");
        self.log.await?;
        Ok(())
    }

    /// Waits until it has ended by itself.
    #[cfg(feature = "fail")]
    pub(crate) async fn ended(mut self) -> Result<()> {
        tokio::time::timeout(START_WITHIN, self.child.wait()).await.context("it goes on")??;
        self.log.await?;
        Ok(())
    }

    /// Posts to the admin listener; that it may end over it is the point.
    #[cfg(feature = "fail")]
    pub(crate) async fn ask(&self, path: &str, body: &str) {
        let mut line = Line::default();
        let head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\n", self.admin);
        let length = body.len();
        let rest =
            format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
        let _ = line.exchange(self.admin, format!("{head}{rest}").as_bytes()).await;
    }

    /// Its resident memory in MiB.
    pub(crate) fn resident_mib(&self) -> Result<u64> {
        let id = self.child.id().context("the daemon has ended by itself")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kib.parse::<u64>()? / 1024)
    }

    /// Recall jobs that are not finished, by its own metrics.
    pub(crate) async fn unfinished(&self) -> Result<u64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        Ok(self.metric("quell_recall_queue").await? as u64)
    }

    /// One of its own metrics, summed over its labels.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let mut line = Line::default();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", self.admin);
        let reply = line.exchange(self.admin, request.as_bytes()).await?;
        let body = String::from_utf8_lossy(&reply.bytes);
        let samples = body.lines().filter_map(|line| line.strip_prefix(name));
        let samples = samples.filter(|rest| rest.starts_with(['{', ' ']));
        Ok(samples.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

/// One kept HTTP connection.
#[derive(Debug, Default)]
pub(crate) struct Line {
    kept: Option<(SocketAddr, TcpStream)>,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub bytes: Vec<u8>,
}

impl Line {
    /// Sends a request as it stands and waits for the whole answer.
    pub(crate) async fn exchange(&mut self, to: SocketAddr, request: &[u8]) -> Result<Reply> {
        let mut stream = match self.kept.take() {
            Some((address, stream)) if address == to => stream,
            _ => TcpStream::connect(to).await?,
        };
        stream.set_nodelay(true)?;
        stream.write_all(request).await?;
        let bytes = read_message(&mut stream).await?.context("closed without an answer")?;
        let status = bytes.get(9..12).and_then(|word| std::str::from_utf8(word).ok());
        let status = status.and_then(|word| word.parse().ok()).context("no status")?;
        self.kept = Some((to, stream));
        Ok(Reply { status, bytes })
    }
}

/// A request or an answer of known length, head and body; `None` where the other side closed.
pub(crate) async fn read_message(stream: &mut TcpStream) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(2048);
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = std::str::from_utf8(&bytes[..end])?.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
            if bytes.len() >= end + 4 + length {
                return Ok(Some(bytes));
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            anyhow::ensure!(bytes.is_empty(), "closed in the middle");
            return Ok(None);
        }
    }
}

/// A signed callback of a text message, as a request.
pub(crate) fn callback(group: &str, seq: u64, text: &str) -> Vec<u8> {
    let now = SystemClock.now();
    let body = serde_json::json!({
        "CallbackCommand": "Group.CallbackAfterSendMsg", "GroupId": group, "Type": "Public",
        "From_Account": "mallory", "Operator_Account": "mallory", "Random": 7, "MsgSeq": seq,
        "MsgTime": now.secs(), "OnlineOnlyFlag": 0,
        "MsgBody": [{"MsgType": "TIMTextElem", "MsgContent": {"Text": text}}],
        "CloudCustomData": "", "EventTime": now.millis(),
    })
    .to_string();
    let (seconds, length) = (now.secs(), body.len());
    let signature = sign(CALLBACK_TOKEN, &seconds.to_string());
    format!(
        "POST /callback?SdkAppid={APP_ID}&CallbackCommand=Group.CallbackAfterSendMsg\
         &contenttype=json&ClientIP=203.0.113.7&OptPlatform=Android&Sign={signature}\
         &RequestTime={seconds} HTTP/1.1\r\nHost: quell\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A recall that waits: group and sequence.
pub(crate) type Waiting = (usize, u64, Severity);

/// So many violations over so many groups, of all severities, as even as can be.
pub(crate) fn spread(jobs: usize, groups: usize) -> impl Iterator<Item = Waiting> {
    (0..jobs).map(move |n| (n % groups, (n / groups) as u64 + 1, Severity::ALL[n / 7 % 4]))
}

/// Fills the queue through the store, as if the callbacks had come.
pub(crate) async fn preload(
    store: &Arc<Sqlite>,
    jobs: impl Iterator<Item = Waiting>,
) -> Result<()> {
    let now = SystemClock.now();
    store.rules_loaded(RuleSet { version: "proof".into(), rules: "[]".into(), at: now }).await?;
    let mut under_way = JoinSet::new();
    for job in jobs {
        let store = Arc::clone(store);
        under_way.spawn(async move { store.record(record(job, now)).await });
        if under_way.len() >= PRELOAD_AT_ONCE
            && let Some(recorded) = under_way.join_next().await
        {
            recorded??;
        }
    }
    while let Some(recorded) = under_way.join_next().await {
        recorded??;
    }
    Ok(())
}

fn record((group, msg_seq, severity): Waiting, now: Timestamp) -> Record {
    let mut content_hash = [0; 16];
    content_hash[..8].copy_from_slice(&msg_seq.to_le_bytes());
    let message = Message {
        key: MessageKey { group_id: format!("g{group}").into(), topic_id: "".into(), msg_seq },
        group_type: GroupType("Public".into()),
        sender: "mallory".into(),
        operator: "mallory".into(),
        sent_at: now,
        received_at: now,
        source: Source::Callback,
        online_only: false,
        platform: "Android".into(),
        mentions: Mentions::default(),
        elements: Vec::new(),
        cloud_custom_data: String::new(),
        text: Text::bare("free crypto giveaway"),
        content_hash,
    };
    let judgement =
        Judgement { verdict: Verdict::Recall, hits: Vec::new(), rules_version: "proof".into() };
    let job = NewJob {
        state: JobState::Pending,
        reason: None,
        severity,
        requested_by: RequestedBy::Rule("proof".into()),
    };
    Record { message: Box::new(message), judgement, signals: Signals::default(), job: Some(job) }
}

/// Asks until something holds. Answers `false` where it never does within the patience.
pub(crate) async fn until(
    patience: Duration,
    mut holds: impl AsyncFnMut() -> Result<bool>,
) -> Result<bool> {
    let end = Instant::now() + patience;
    while !holds().await? {
        if Instant::now() >= end {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(true)
}
