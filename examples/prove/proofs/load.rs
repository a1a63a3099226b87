//! Callbacks in numbers: at a pace that does not care how fast they are answered, or as fast as they
//! are. What was acknowledged is kept, to be compared with what is stored.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use quell::chat::verify::sign;
use quell::model::{Clock, SystemClock};
use quell::store::View;
use tokio::task::JoinSet;

use super::bed::{APP_ID, Bed, CALLBACK_TOKEN, Line};
use super::history::{key, pages};

/// Chat waits for an answer so long.
const CHAT_WAITS: Duration = Duration::from_secs(2);

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub connections: usize,
    /// Callbacks a second over all connections, or as fast as they are answered.
    pub rate: Option<f64>,
    pub lasts: Duration,
    /// Sequences of each group begin above this.
    pub after: u64,
    /// Whom callbacks are from and in which groups: everyone anew, or each connection's own.
    pub distinct: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Came {
    /// Group and sequence of what was acknowledged in time.
    pub acknowledged: Vec<(u32, u32)>,
    pub refused: usize,
    /// Answered after Chat would have given up, broken, or never sent because those before took up
    /// the connection.
    pub too_late: usize,
    pub took: Duration,
    /// Time to the answer of what was acknowledged, in microseconds, sorted.
    pub micros: Vec<u32>,
}

impl Came {
    /// Acknowledged a second.
    pub(crate) fn goodput(&self) -> f64 {
        count(self.acknowledged.len()) / self.took.as_secs_f64().max(0.001)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count for people")]
pub(crate) fn count(n: usize) -> f64 {
    n as f64
}

/// Sends a load and waits for its end.
pub(crate) async fn send(to: SocketAddr, load: Load) -> Result<Came> {
    let began = Instant::now();
    let numbers = Arc::new(AtomicU64::new(load.after));
    let mut connections = JoinSet::new();
    for connection in 0..load.connections {
        connections.spawn(one(to, load, connection, began, Arc::clone(&numbers)));
    }
    let mut all = Came::default();
    while let Some(came) = connections.join_next().await {
        let came = came?;
        all.acknowledged.extend(came.acknowledged);
        all.micros.extend(came.micros);
        all.refused += came.refused;
        all.too_late += came.too_late;
    }
    all.took = began.elapsed();
    all.micros.sort_unstable();
    Ok(all)
}

async fn one(
    to: SocketAddr,
    load: Load,
    connection: usize,
    began: Instant,
    numbers: Arc<AtomicU64>,
) -> Came {
    let mut came = Came::default();
    let mut line = Line::default();
    let step = load.rate.map(|rate| Duration::from_secs_f64(count(load.connections) / rate));
    // Not all at the same moment.
    let offset = step.map(|step| step.mul_f64(count(connection) / count(load.connections)));
    let mut due = began + offset.unwrap_or_default();
    let mut seq = load.after;
    while due < began + load.lasts {
        if step.is_some() {
            tokio::time::sleep_until(due.into()).await;
            if due.elapsed() > CHAT_WAITS {
                came.too_late += 1;
                due += step.unwrap_or_default();
                continue;
            }
        }
        let (group, sender, number) = if load.distinct {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            (number % 100_000, number, number / 100_000 + 1)
        } else {
            seq += 1;
            (connection as u64, connection as u64, seq)
        };
        let sent = Instant::now();
        let request = callback(group, sender, number);
        let answer = tokio::time::timeout(CHAT_WAITS, line.exchange(to, &request)).await;
        match answer.map(|answer| answer.map(|reply| reply.status)) {
            Ok(Ok(200)) => {
                came.acknowledged.push((small(group), small(number)));
                came.micros.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Ok(Ok(_)) => came.refused += 1,
            _ => {
                came.too_late += 1;
                line = Line::default();
            }
        }
        due = step.map_or_else(Instant::now, |step| due + step);
    }
    came
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn callback(group: u64, sender: u64, seq: u64) -> Vec<u8> {
    let now = SystemClock.now();
    let (seconds, millis) = (now.secs(), now.millis());
    let body = format!(
        "{{\"CallbackCommand\":\"Group.CallbackAfterSendMsg\",\"GroupId\":\"load{group}\",\
         \"Type\":\"Public\",\"From_Account\":\"user{sender}\",\"Operator_Account\":\"user{sender}\",\
         \"Random\":7,\"MsgSeq\":{seq},\"MsgTime\":{seconds},\"OnlineOnlyFlag\":0,\
         \"MsgBody\":[{{\"MsgType\":\"TIMTextElem\",\"MsgContent\":{{\"Text\":\
         \"see you at seven in front of the station, {sender}\"}}}}],\
         \"CloudCustomData\":\"\",\"EventTime\":{millis}}}"
    );
    let signature = sign(CALLBACK_TOKEN, &seconds.to_string());
    format!(
        "POST /callback?SdkAppid={APP_ID}&CallbackCommand=Group.CallbackAfterSendMsg\
         &contenttype=json&ClientIP=203.0.113.7&OptPlatform=Android&Sign={signature}\
         &RequestTime={seconds} HTTP/1.1\r\nHost: quell\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// How much of what was acknowledged is not stored. The daemon must have ended.
pub(crate) async fn missing(bed: &Bed, acknowledged: &[(u32, u32)]) -> Result<usize> {
    let store = bed.store().await?;
    let mut stored: HashSet<(u32, u32)> = HashSet::with_capacity(acknowledged.len());
    pages(store.as_ref(), View::Messages, |page, row| {
        let key = key(page, row);
        let group = key.group_id.as_str().trim_start_matches("load").parse().unwrap_or(u32::MAX);
        stored.insert((group, small(key.msg_seq)));
    })
    .await
    .context("what is stored cannot be read")?;
    store.close().await;
    Ok(acknowledged.iter().filter(|key| !stored.contains(key)).count())
}
