//! Callbacks as Chat posts them: signed queries over kept HTTP/1.1 connections.
//!
//! Written on bare sockets because the load generator shares the machine with what it loads, and
//! because what it needs of HTTP is this little.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::Uri;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::chat::verify;
use crate::model::{AppId, Timestamp};

/// An answer's head and body are small; more is not read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Where callbacks go.
#[derive(Clone, Debug)]
pub struct CallbackTarget {
    /// `http://` only: the simulation stands beside what it calls.
    pub url: String,
    /// Signs the callbacks, where given.
    pub token: Option<SecretString>,
}

/// A callback URL taken apart, and the signature of the present second.
#[derive(Debug)]
pub(super) struct Endpoint {
    host: String,
    path: String,
    app_id: AppId,
    token: Option<SecretString>,
    signed: Mutex<(i64, String)>,
}

impl Endpoint {
    pub(super) fn new(target: &CallbackTarget, app_id: AppId) -> io::Result<Self> {
        let wrong = || {
            let why =
                format!("not a callback URL of the form http://host[:port]/path: {}", target.url);
            io::Error::new(io::ErrorKind::InvalidInput, why)
        };
        let uri: Uri = target.url.parse().map_err(|_| wrong())?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("http") && uri.query().is_none());
        let host = format!("{}:{}", host.ok_or_else(wrong)?, uri.port_u16().unwrap_or(80));
        let (path, token) = (uri.path().to_owned(), target.token.clone());
        Ok(Self { host, path, app_id, token, signed: Mutex::new((i64::MIN, String::new())) })
    }

    /// Path and query of a callback (page `wh-overview`).
    pub(super) fn target(&self, command: &str, platform: &str, now: Timestamp) -> String {
        let signature = self.signature(now.secs());
        format!(
            "{}?SdkAppid={}&CallbackCommand={command}&contenttype=json&ClientIP=203.0.113.7&OptPlatform={platform}{signature}",
            self.path, self.app_id,
        )
    }

    fn signature(&self, seconds: i64) -> String {
        let Some(token) = &self.token else { return String::new() };
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        if signed.0 != seconds {
            let sign = verify::sign(token.expose_secret(), &seconds.to_string());
            *signed = (seconds, format!("&Sign={sign}&RequestTime={seconds}"));
        }
        signed.1.clone()
    }
}

/// What a callback was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// 200 with `ErrorCode` 0.
    pub(super) accepted: bool,
}

/// One kept connection.
#[derive(Debug)]
pub(super) struct Line {
    endpoint: Arc<Endpoint>,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Line {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, stream: None, buffer: Vec::with_capacity(2048) }
    }

    /// Posts a callback and waits for the answer. A kept connection that turns out to be closed is
    /// replaced, and the callback sent again there.
    pub(super) async fn post(&mut self, target: &str, body: &[u8]) -> io::Result<Reply> {
        if let Some(stream) = self.stream.take() {
            match self.exchange(stream, target, body).await {
                Err(error) if is_closed(&error) => {}
                done => return done,
            }
        }
        let stream = TcpStream::connect(&self.endpoint.host).await?;
        stream.set_nodelay(true)?;
        self.exchange(stream, target, body).await
    }

    async fn exchange(
        &mut self,
        mut stream: TcpStream,
        target: &str,
        body: &[u8],
    ) -> io::Result<Reply> {
        self.buffer.clear();
        let head = [
            "POST ",
            target,
            " HTTP/1.1\r\nHost: ",
            &self.endpoint.host,
            "\r\nContent-Length: ",
            &body.len().to_string(),
            "\r\n\r\n",
        ];
        for part in head {
            self.buffer.extend_from_slice(part.as_bytes());
        }
        self.buffer.extend_from_slice(body);
        stream.write_all(&self.buffer).await?;
        self.buffer.clear();
        loop {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                let kind = if self.buffer.is_empty() {
                    io::ErrorKind::ConnectionReset
                } else {
                    io::ErrorKind::UnexpectedEof
                };
                return Err(kind.into());
            }
            if let Some((reply, keep)) = read_reply(&self.buffer)? {
                if keep {
                    self.stream = Some(stream);
                }
                return Ok(reply);
            }
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// The reply, once all of it is there, and whether the connection may be kept.
fn read_reply(read: &[u8]) -> io::Result<Option<(Reply, bool)>> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    if read.len() > MAX_ANSWER_BYTES {
        return Err(bad());
    }
    let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&read[..end]).map_err(|_| bad())?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .next()
    };
    // Bodies of unknown length do not come from a receiver that answers a few fixed bytes.
    let length: usize = header("content-length").and_then(|n| n.parse().ok()).ok_or_else(bad)?;
    let Some(body) = read.get(end + 4..end + 4 + length) else { return Ok(None) };
    let keep = !header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Some((Reply { status, accepted: status == 200 && is_success(body) }, keep)))
}

fn is_success(body: &[u8]) -> bool {
    // What is sent in nearly every case need not be parsed thousands of times a second.
    body == br#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#
        || serde_json::from_slice::<serde_json::Value>(body)
            .is_ok_and(|answer| answer["ErrorCode"] == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, token: Option<&str>) -> io::Result<Endpoint> {
        let target = CallbackTarget { url: url.into(), token: token.map(SecretString::from) };
        Endpoint::new(&target, 1_400_000_001)
    }

    #[test]
    fn a_target_is_signed_for_its_second() {
        let endpoint = endpoint("http://127.0.0.1:8080/callback", Some("xxxxyyyy")).unwrap();
        let target = endpoint.target("X.Y", "iOS", Timestamp::from_secs(1_669_872_112));
        assert!(
            target.starts_with("/callback?SdkAppid=1400000001&CallbackCommand=X.Y&"),
            "{target}"
        );
        let sign = "17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061";
        assert!(target.ends_with(&format!("&Sign={sign}&RequestTime=1669872112")), "{target}");
        assert_ne!(target, endpoint.target("X.Y", "iOS", Timestamp::from_secs(1_669_872_113)));
    }

    #[test]
    fn only_plain_http_urls_are_taken() {
        assert_eq!(endpoint("http://localhost/c", None).unwrap().host, "localhost:80");
        for url in ["https://h/c", "localhost:1", "/c", "http://h/c?x=1", ""] {
            assert!(endpoint(url, None).is_err(), "{url}");
        }
    }

    #[test]
    fn a_reply_is_read_when_all_of_it_is_there() {
        let answer = br#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
        let reply = [head.as_bytes(), answer].concat();
        for cut in 0..reply.len() {
            assert!(read_reply(&reply[..cut]).unwrap().is_none());
        }
        let accepted = Reply { status: 200, accepted: true };
        assert_eq!(read_reply(&reply).unwrap(), Some((accepted, true)));
        let busy =
            b"HTTP/1.1 503 x\r\ncontent-length: 15\r\nconnection: close\r\n\r\n{\"ErrorCode\":1}";
        let refused = Reply { status: 503, accepted: false };
        assert_eq!(read_reply(busy).unwrap(), Some((refused, false)));
        assert!(read_reply(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
