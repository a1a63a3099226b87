//! The load: message callbacks over kept connections, each a message of its own.
//!
//! Either closed (every connection sends its next callback when the last one was answered, which
//! finds out how much a server can take) or at a rate (callbacks leave when it is their time, and
//! waiting for a free connection counts as the server's delay).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quell::chat::verify::sign;
use quell::model::{Clock, SystemClock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What is sent, and how.
#[derive(Clone)]
pub(crate) struct Load {
    pub address: SocketAddr,
    pub app_id: u64,
    pub token: &'static str,
    pub texts: Arc<Vec<String>>,
    pub connections: usize,
    pub groups: usize,
    pub senders: u32,
    /// Callbacks a second; as fast as they are answered where nothing is said.
    pub rate: Option<f64>,
    pub seconds: f64,
    /// Seconds before those that are counted, in which connections are opened and groups become known.
    pub warm_up: f64,
    /// Stands in the ids of groups, so that two runs never repeat a message.
    pub run: String,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Answers {
    pub ok: u64,
    pub refused: u64,
    pub failed: u64,
    pub seconds: f64,
    /// Of each answer, in order of size.
    micros: Vec<u32>,
}

impl Answers {
    pub(crate) fn per_second(&self) -> f64 {
        self.ok as f64 / self.seconds
    }
    /// Milliseconds within which a share of all callbacks was answered.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let place = (self.micros.len() as f64 * share) as usize;
        let micros = self.micros.get(place.min(self.micros.len().saturating_sub(1)));
        f64::from(micros.copied().unwrap_or(0)) / 1000.0
    }
}

/// A load that is being sent.
pub(crate) struct UnderWay {
    connections: Vec<JoinHandle<Answers>>,
    /// From when on it counts.
    counts: Instant,
}

/// Begins to send the load. Answers once it is warm.
pub(crate) async fn begin(load: &Load) -> UnderWay {
    let began = Instant::now();
    let connections = (0..load.connections)
        .map(|place| tokio::spawn(Connection::new(load.clone(), place, began).run()))
        .collect();
    let counts = began + Duration::from_secs_f64(load.warm_up);
    tokio::time::sleep_until(counts).await;
    UnderWay { connections, counts }
}

/// What came of it, once all is sent.
pub(crate) async fn end(under_way: UnderWay) -> Answers {
    let UnderWay { connections, counts } = under_way;
    let mut all = Answers::default();
    for connection in connections {
        let part = connection.await.expect("a connection that ends");
        all.ok += part.ok;
        all.refused += part.refused;
        all.failed += part.failed;
        all.micros.extend(part.micros);
    }
    all.seconds = counts.elapsed().as_secs_f64();
    all.micros.sort_unstable();
    all
}

struct Connection {
    load: Load,
    place: usize,
    began: Instant,
    rng: StdRng,
    /// Sequences of this connection's groups.
    seqs: Vec<u32>,
    next_text: usize,
    head: (i64, String),
    request: Vec<u8>,
    answers: Answers,
}

impl Connection {
    fn new(load: Load, place: usize, began: Instant) -> Self {
        let mut rng = StdRng::seed_from_u64(place as u64);
        let next_text = rng.random_range(0..load.texts.len());
        // Each connection has groups of its own, so that sequences need no agreement.
        let groups = load.groups.div_ceil(load.connections);
        Self {
            seqs: vec![0; groups],
            place,
            began,
            rng,
            next_text,
            head: (0, String::new()),
            request: Vec::with_capacity(2048),
            answers: Answers::default(),
            load,
        }
    }

    async fn run(mut self) -> Answers {
        let mut stream = None;
        let mut buffer = Vec::with_capacity(1024);
        let counts = self.began + Duration::from_secs_f64(self.load.warm_up);
        let end = counts + Duration::from_secs_f64(self.load.seconds);
        for turn in 0_u64.. {
            let due = match self.load.rate {
                Some(rate) => {
                    let place = turn as f64 * self.load.connections as f64 + self.place as f64;
                    let due = self.began + Duration::from_secs_f64(place / rate);
                    if due >= end {
                        break;
                    }
                    tokio::time::sleep_until(due).await;
                    due
                }
                None => Instant::now(),
            };
            if Instant::now() >= end {
                break;
            }
            self.write_request();
            match exchange(&mut stream, self.load.address, &self.request, &mut buffer).await {
                Ok(200) if due < counts => {}
                Ok(200) => {
                    self.answers.ok += 1;
                    let micros = due.elapsed().as_micros();
                    self.answers.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
                }
                Ok(_) => self.answers.refused += 1,
                Err(_) => {
                    self.answers.failed += 1;
                    stream = None;
                }
            }
        }
        self.answers
    }

    /// Half of the messages go to a twentieth of the groups, as in real chats.
    fn group(&mut self) -> usize {
        let group = self.rng.random_range(0..self.seqs.len());
        if self.rng.random() { group % (self.seqs.len() / 20).max(1) } else { group }
    }

    fn write_request(&mut self) {
        use std::io::Write;
        let now = SystemClock.now();
        let (secs, millis) = (now.secs(), now.millis());
        if self.head.0 != secs {
            let time = secs.to_string();
            let sign = sign(self.load.token, &time);
            let head = format!(
                "POST /callback?SdkAppid={}&CallbackCommand=Group.CallbackAfterSendMsg\
                 &contenttype=json&ClientIP=127.0.0.1&OptPlatform=Android&Sign={sign}\
                 &RequestTime={time} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
                 Content-Length: ",
                self.load.app_id, self.load.address
            );
            self.head = (secs, head);
        }
        let group = self.group();
        self.seqs[group] += 1;
        let (seq, user, random) = (
            self.seqs[group],
            self.rng.random_range(0..self.load.senders),
            self.rng.random::<u32>(),
        );
        self.next_text = (self.next_text + 1) % self.load.texts.len();
        let text = &self.load.texts[self.next_text];
        let body = format!(
            "{{\"CallbackCommand\":\"Group.CallbackAfterSendMsg\",\"GroupId\":\"@TGS#{}C{}G{group}\",\
             \"Type\":\"Public\",\"From_Account\":\"user_{user}\",\"Operator_Account\":\"user_{user}\",\
             \"Random\":{random},\"MsgSeq\":{seq},\"MsgTime\":{secs},\"OnlineOnlyFlag\":0,\
             \"MsgBody\":[{{\"MsgType\":\"TIMTextElem\",\"MsgContent\":{{\"Text\":\"{text}\"}}}}],\
             \"CloudCustomData\":\"{{\\\"client\\\":\\\"android\\\",\\\"v\\\":\\\"3.14.{}\\\"}}\",\
             \"EventTime\":{millis}}}",
            self.load.run,
            self.place,
            user % 10
        );
        self.request.clear();
        self.request.extend_from_slice(self.head.1.as_bytes());
        write!(self.request, "{}\r\n\r\n{body}", body.len()).expect("memory takes it");
    }
}

/// Sends a request and reads its answer's status.
async fn exchange(
    stream: &mut Option<TcpStream>,
    address: SocketAddr,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> io::Result<u16> {
    if stream.is_none() {
        let fresh = TcpStream::connect(address).await?;
        fresh.set_nodelay(true)?;
        *stream = Some(fresh);
    }
    let stream = stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
    stream.write_all(request).await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(status) = whole(buffer) {
            return Ok(status);
        }
    }
}

/// The status of an answer that is there as a whole.
fn whole(buffer: &[u8]) -> Option<u16> {
    let head_end = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&buffer[..head_end]).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    if buffer.len() < head_end + length.unwrap_or(0) {
        return None;
    }
    head.get(9..12)?.parse().ok()
}
