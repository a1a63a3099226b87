//! Stands between Chat and the daemon, and writes down which callbacks were sent and which were
//! acknowledged: a line each, synced to the disk, read back at the end.
//!
//! It forwards bytes as they are. While no daemon listens, or where one is killed in the middle, the
//! sender's connection is closed without an answer.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use quell::model::MessageKey;
use quell::sim::traffic;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::super::bed::{Line, read_message};
use super::by_key;
use super::checker::Record;

/// A recorder that runs.
pub(crate) struct Ledger {
    address: SocketAddr,
    daemon: watch::Sender<Option<SocketAddr>>,
    lines: mpsc::Sender<Value>,
    accepting: tokio::task::JoinHandle<()>,
    writing: JoinHandle<std::io::Result<()>>,
    path: PathBuf,
}

impl Ledger {
    pub(crate) async fn start(path: &Path) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (daemon, forward_to) = watch::channel(None);
        let (lines, written) = mpsc::channel();
        let file = File::create_new(path)?;
        let writing = std::thread::spawn(move || write(file, &written));
        let to_write = lines.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A connection that breaks is what is being tried here.
                tokio::spawn(carry(stream, forward_to.clone(), to_write.clone()));
            }
        });
        Ok(Self { address, daemon, lines, accepting, writing, path: path.to_path_buf() })
    }

    /// Where callbacks are to be sent.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/callback", self.address)
    }

    /// Where they go on to.
    pub(crate) fn forward_to(&self, daemon: SocketAddr) {
        self.daemon.send_replace(Some(daemon));
    }

    /// Writes down what the sender knows of its messages.
    pub(super) fn meant(&self, records: &[traffic::Record]) {
        for record in records {
            let mut line = line("meant", &record.key);
            line["violating"] = json!(record.violating);
            line["online_only"] = json!(record.online_only);
            // The writer outlives us.
            let _ = self.lines.send(line);
        }
    }

    /// Reads everything back from the disk.
    pub(super) async fn stop(self) -> Result<Vec<Record>> {
        self.accepting.abort();
        // Connections that are still open hold senders, so the writer is told where to end.
        let _ = self.lines.send(Value::Null);
        let ended = tokio::task::spawn_blocking(|| self.writing.join()).await?;
        ended.ok().context("the ledger's writer panicked")??;
        let mut records = Vec::new();
        for line in BufReader::new(File::open(&self.path)?).lines() {
            records.push(record(&serde_json::from_str(&line?)?)?);
        }
        Ok(by_key(records))
    }
}

fn line(event: &str, key: &MessageKey) -> Value {
    json!({"event": event, "group": key.group_id, "topic": key.topic_id, "seq": key.msg_seq})
}

fn record(line: &Value) -> Result<Record> {
    let text = |name: &str| line[name].as_str().unwrap_or_default();
    Ok(Record {
        key: MessageKey {
            group_id: text("group").into(),
            topic_id: text("topic").into(),
            msg_seq: line["seq"].as_u64().context("a line without a sequence")?,
        },
        acknowledged: line["event"] == "acknowledged",
        violating: line["violating"] == true,
        online_only: line["online_only"] == true,
    })
}

/// Writes what waits, then syncs once for all of it.
fn write(mut file: File, lines: &mpsc::Receiver<Value>) -> std::io::Result<()> {
    while let Ok(first) = lines.recv() {
        let mut text = String::new();
        let mut ends = false;
        for line in std::iter::once(first).chain(lines.try_iter()) {
            ends |= line.is_null();
            if !line.is_null() {
                text += &line.to_string();
                text.push('\n');
            }
        }
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        if ends {
            break;
        }
    }
    Ok(())
}

async fn carry(
    mut stream: TcpStream,
    daemon: watch::Receiver<Option<SocketAddr>>,
    lines: mpsc::Sender<Value>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut onward = Line::default();
    while let Some(request) = read_message(&mut stream).await? {
        let key = message(&request);
        let note = |event| {
            if let Some(key) = &key {
                // After the end nobody asks any more.
                let _ = lines.send(line(event, key));
            }
        };
        note("sent");
        let address = (*daemon.borrow()).context("no daemon yet")?;
        let reply = onward.exchange(address, &request).await?;
        let body = reply.bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0);
        let answer: Value = serde_json::from_slice(&reply.bytes[body..]).unwrap_or_default();
        if reply.status == 200 && answer["ErrorCode"] == 0 {
            note("acknowledged");
        }
        stream.write_all(&reply.bytes).await?;
    }
    Ok(())
}

/// Which message a callback is about, where it is about one that was sent.
fn message(request: &[u8]) -> Option<MessageKey> {
    let body = request.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let body: Value = serde_json::from_slice(&request[body..]).ok()?;
    let is_sent = body["CallbackCommand"] == "Group.CallbackAfterSendMsg";
    is_sent.then(|| MessageKey {
        group_id: body["GroupId"].as_str().unwrap_or_default().into(),
        topic_id: body["TopicId"].as_str().unwrap_or_default().into(),
        msg_seq: body["MsgSeq"].as_u64().unwrap_or_default(),
    })
}
