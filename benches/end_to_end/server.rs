//! A server under load, as a process of its own, and what the system says of it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{ADMIN, APP_ID, KEY, TOKEN};

/// Ticks of a second in which Linux accounts CPU time (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// A process that takes callbacks.
pub(crate) struct Server {
    process: Child,
    pub address: SocketAddr,
    /// Where quell tells its metrics.
    pub admin: Option<String>,
}

/// What quell's writer did so far.
#[derive(Clone, Copy)]
pub(crate) struct Commits {
    pub commits: f64,
    pub rows: f64,
}

impl Server {
    /// This program as the reference.
    pub(crate) async fn reference() -> Self {
        let program = std::env::current_exe().expect("a path to this program");
        let mut command = Command::new(program);
        command.arg("--reference").stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("the reference");
        let stdout = process.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await.expect("its address");
        Self { process, address: line.trim().parse().expect("an address"), admin: None }
    }

    /// `quell serve` opposite a simulated Chat.
    pub(crate) async fn quell(folder: &Path, chat: &str, set: &[String]) -> Self {
        let path = folder.display();
        let mut config = format!(
            "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
             [chat]\nsdk_app_id = {APP_ID}\nidentifier = '{ADMIN}'\nsecret_key = '{KEY}'\n\
             base_url = '{chat}'\ncallback_token = '{TOKEN}'\n\
             [store]\nurl = 'sqlite:{path}/quell.db'\n[rules]\npath = '{path}/rules.yaml'\n"
        );
        writeln!(config, "[log]\nlevel = 'info'\nformat = 'json'").expect("a string");
        let file = folder.join("quell.toml");
        std::fs::write(&file, config).expect("a folder that can be written");
        let log = std::fs::File::create(folder.join("quell.log")).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
        command.arg("serve").arg("--config").arg(file);
        for flag in set {
            command.arg("--set").arg(flag);
        }
        command.stderr(log).kill_on_drop(true);
        let process = command.spawn().expect("quell");
        let (callbacks, admin) = announced(&folder.join("quell.log")).await;
        Self { process, address: callbacks, admin: Some(format!("http://{admin}/metrics")) }
    }

    /// CPU time that the process took so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        // The program's name stands in brackets and may hold anything.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
        Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS)
    }

    /// Memory that the process holds.
    pub(crate) fn rss_mib(&self) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or(f64::NAN) / 1024.0
    }

    fn proc(&self, name: &str) -> String {
        let pid = self.process.id().expect("a process that runs");
        std::fs::read_to_string(format!("/proc/{pid}/{name}")).expect("Linux")
    }

    pub(crate) async fn commits(&self) -> Commits {
        let Some(url) = &self.admin else {
            return Commits { commits: f64::NAN, rows: f64::NAN };
        };
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let text = http.get(url).send().await.expect("metrics").text().await.expect("a text");
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
        };
        Commits {
            commits: value("quell_store_commit_messages_count"),
            rows: value("quell_store_commit_messages_sum"),
        }
    }

    /// Ends it, which for the reference is the only way to end.
    pub(crate) async fn stop(mut self) {
        self.process.kill().await.expect("a process of ours");
    }
}

/// Both addresses, from the log of a quell that starts.
async fn announced(log: &Path) -> (SocketAddr, SocketAddr) {
    for _ in 0..100 {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            let line: serde_json::Value = line;
            let address = |name: &str| line[name].as_str()?.parse().ok();
            if let (Some(callbacks), Some(admin)) = (address("callbacks"), address("admin")) {
                return (callbacks, admin);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let text = std::fs::read_to_string(log).unwrap_or_default();
    panic!("quell did not start: {text}");
}
