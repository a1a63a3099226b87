//! Whatever anybody sends, the answer is the one that the catalogue states, nothing changes beyond
//! what it states, and the next valid callback is served.
//!
//! `tests/cases/bad_inputs.json` holds a case a line. Every case goes over a socket of its own:
//!
//! | key | is |
//! | --- | --- |
//! | `line` | method and target; `POST /callback?<<query>>` where it is missing |
//! | `headers` | lines added to `Host`, `Content-Length` and `Connection: close` |
//! | `body` | the body; a violating message where it is missing |
//! | `with` | fields of that message as raw JSON, or null to leave one out |
//! | `raw` | pieces sent instead of all that |
//! | `again` | sent again and again after it, until the other side has enough |
//! | `pause_ms` | between pieces; the daemon of these cases has little patience |
//! | `ends` | true: our side says after the last piece that nothing more will come |
//! | `status` | what is answered: one status, or a list for several requests or none |
//! | `leaves` | what changes: `nothing` (else), `message`, `conflict`, `quarantine` |
//!
//! Within texts: `<<query>>` (signed now), `<<time-75>>`, `<<sign-75>>`, `<<sign by other>>`,
//! `<<message>>`, `<<length of message>>`, `<<seq>>`, `<<a x 70000>>`, `<<bytes ff 00>>`.

use std::collections::BTreeMap;
use std::time::Duration;

use quell::chat::verify::sign;
use quell::model::{Clock, SystemClock};
use quell::store::View;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::APP_ID;
use crate::support::daemon::{Callbacks, Home, TOKEN, TestApp};

const SEND: &str = "Group.CallbackAfterSendMsg";
/// A connection that is still open by then is a finding.
const OPEN_TOO_LONG: Duration = Duration::from_secs(10);
/// Stands in place of an end.
const STILL_OPEN: &str = "HTTP/1.1 000 still open\r\n\r\n";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    line: Option<String>,
    #[serde(default)]
    headers: Vec<String>,
    body: Option<String>,
    #[serde(default)]
    with: BTreeMap<String, Option<String>>,
    raw: Option<Vec<String>>,
    again: Option<String>,
    pause_ms: Option<u64>,
    #[serde(default)]
    ends: bool,
    status: Value,
    #[serde(default)]
    leaves: Leaves,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Leaves {
    #[default]
    Nothing,
    Message,
    Conflict,
    Quarantine,
}

/// How many rows there are of what can change.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Counts {
    messages: usize,
    conflicts: usize,
    quarantined: usize,
    recalls: usize,
}

impl Counts {
    async fn of(app: &TestApp) -> Self {
        Self {
            messages: app.rows(View::Messages).await.rows.len(),
            conflicts: app.rows(View::Conflicts).await.rows.len(),
            quarantined: app.rows(View::Quarantine).await.rows.len(),
            recalls: app.rows(View::Recalls).await.rows.len(),
        }
    }
    /// The messages of the catalogue break a rule wherever their text can be read, so whether one was
    /// taken in shows in the recalls, too.
    fn after(self, leaves: Leaves) -> Self {
        let mut after = self;
        match leaves {
            Leaves::Nothing => {}
            Leaves::Message => after.messages += 1,
            Leaves::Conflict => after.conflicts += 1,
            Leaves::Quarantine => after.quarantined += 1,
        }
        after
    }
}

fn catalogue() -> Vec<Case> {
    let text = include_str!("../cases/bad_inputs.json");
    let cases: Vec<Case> = text
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| {
            let line = line.trim_end_matches(',');
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        })
        .collect();
    assert!(cases.len() >= 150, "only {} cases", cases.len());
    let mut names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "two cases have the same name");
    cases
}

/// The text of a message that a rule recalls, its fields as raw JSON.
fn message(seq: usize, with: &BTreeMap<String, Option<String>>) -> String {
    let now = SystemClock.now();
    let mut fields: Vec<(String, String)> = [
        ("CallbackCommand", format!("{SEND:?}")),
        ("GroupId", "\"bad-inputs\"".into()),
        ("Type", "\"Public\"".into()),
        ("From_Account", "\"mallory\"".into()),
        ("MsgSeq", seq.to_string()),
        ("MsgTime", now.secs().to_string()),
        ("EventTime", now.millis().to_string()),
        ("OnlineOnlyFlag", "0".into()),
        ("MsgBody", json!([{"MsgType": "TIMTextElem", "MsgContent": {"Text": "bad"}}]).to_string()),
        ("CloudCustomData", "\"\"".into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for (name, value) in with {
        fields.retain(|(known, _)| known != name);
        fields.extend(value.as_ref().map(|value| (name.clone(), value.clone())));
    }
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// What stands for the words between `<<` and `>>` in one case.
struct Words<'a> {
    /// One second for all of a case, since a signature holds for its time alone.
    now: i64,
    message: &'a [u8],
    seq: usize,
}

impl Words<'_> {
    fn filled(&self, template: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("<<") {
            let (word, after) = after.split_once(">>").unwrap();
            out.extend_from_slice(before.as_bytes());
            out.extend(self.word(word));
            rest = after;
        }
        out.extend_from_slice(rest.as_bytes());
        out
    }
    fn word(&self, word: &str) -> Vec<u8> {
        if let Some((text, times)) = word.split_once(" x ") {
            return text.repeat(times.parse().unwrap()).into();
        }
        if let Some(hex) = word.strip_prefix("bytes ") {
            return hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        }
        if let Some(token) = word.strip_prefix("sign by ") {
            return sign(token.trim_matches('"'), &self.time("")).into();
        }
        match word {
            "query" => Callbacks::query(SEND).into(),
            "message" => self.message.to_vec(),
            "length of message" => self.message.len().to_string().into(),
            "seq" => self.seq.to_string().into(),
            "token" => TOKEN.into(),
            "app" => APP_ID.to_string().into(),
            _ => match word.split_at(4) {
                ("time", offset) => self.time(offset).into(),
                ("sign", offset) => sign(TOKEN, &self.time(offset)).into(),
                ("SIGN", offset) => sign(TOKEN, &self.time(offset)).to_uppercase().into(),
                _ => panic!("<<{word}>> means nothing"),
            },
        }
    }
    fn time(&self, offset: &str) -> String {
        let offset: i64 = if offset.is_empty() { 0 } else { offset.parse().unwrap() };
        (self.now + offset).to_string()
    }
}

/// What a case sends, piece by piece, and then again and again.
fn pieces(case: &Case, seq: usize) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
    let now = SystemClock.now().secs();
    let message = Words { now, message: b"", seq }.filled(&message(seq, &case.with));
    let words = Words { now, message: &message, seq };
    let fill = |template: &str| words.filled(template);
    let again = case.again.as_deref().map(fill);
    if let Some(raw) = &case.raw {
        return (raw.iter().map(|piece| fill(piece)).collect(), again);
    }
    let body = case.body.as_deref().map_or_else(|| message.clone(), fill);
    let mut sent = fill(case.line.as_deref().unwrap_or("POST /callback?<<query>>"));
    sent.extend_from_slice(b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    let told = |header: &String| header.to_ascii_lowercase().starts_with("content-length");
    if !case.headers.iter().any(told) {
        sent.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    for header in &case.headers {
        sent.extend(fill(header));
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b"\r\n");
    sent.extend(body);
    (vec![sent], again)
}

/// Sends a case and answers everything that came back until the connection ended.
async fn exchange(case: &Case, app: &TestApp, seq: usize) -> Vec<u8> {
    let (pieces, again) = pieces(case, seq);
    let stream = TcpStream::connect(app.app().callback_address()).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let pause = Duration::from_millis(case.pause_ms.unwrap_or_default());
    let ends = case.ends;
    let writing = tokio::spawn(async move {
        for piece in pieces {
            if to.write_all(&piece).await.is_err() {
                return None;
            }
            tokio::time::sleep(pause).await;
        }
        while let Some(again) = &again {
            if to.write_all(again).await.is_err() {
                return None;
            }
            tokio::time::sleep(pause).await;
        }
        // Without this, its end is told to the daemon by dropping it.
        (!ends).then_some(to)
    });
    let mut answer = Vec::new();
    // Being cut off in the middle of sending is as good an end as any.
    let read = tokio::time::timeout(OPEN_TOO_LONG, from.read_to_end(&mut answer)).await;
    writing.abort();
    if read.is_err() {
        answer.extend_from_slice(STILL_OPEN.as_bytes());
    }
    answer
}

/// The answers in a stream of bytes: status and body.
fn answers(mut bytes: &[u8], head_only: bool) -> Vec<(u16, String)> {
    let mut found = Vec::new();
    while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let body = &bytes[end + 4..];
        let body = if head_only { &body[..0] } else { &body[..length.min(body.len())] };
        found.push((status.unwrap_or(0), String::from_utf8_lossy(body).into_owned()));
        bytes = &bytes[end + 4 + body.len()..];
    }
    found
}

/// What is wrong with an answer's body, if anything.
fn misshapen(status: u16, body: &str, head_only: bool) -> bool {
    if head_only || status == 100 {
        return !body.is_empty();
    }
    let Ok(body) = serde_json::from_str::<Value>(body) else { return true };
    let fine = status == 200;
    let info = body["ErrorInfo"].as_str().unwrap_or("?");
    (body["ActionStatus"] == "OK") != fine
        || (body["ErrorCode"] == 0) != fine
        || info.is_empty() != fine
        || info.len() > 100
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bad_input_does_harm() {
    let home = Home::new().await;
    let patient = home.start(&[]).await;
    let other_home = Home::new().await;
    let hasty = ["server.header_timeout_ms=1000", "server.body_timeout_ms=300"];
    let hasty = other_home.start(&hasty).await;
    let mut wrong = Vec::new();
    for (at, case) in catalogue().iter().enumerate() {
        // Sequence 0 is for nobody; the probes count in a group of their own.
        let (app, seq) = (if case.pause_ms.is_some() { &hasty } else { &patient }, at + 1);
        let before = Counts::of(app).await;
        let sent = exchange(case, app, seq).await;
        let head_only = case.line.as_deref().is_some_and(|line| line.starts_with("HEAD"));
        let got = answers(&sent, head_only);
        let statuses: Vec<_> = got.iter().map(|(status, _)| *status).collect();
        let expected = match &case.status {
            Value::Array(several) => several.clone(),
            one => vec![one.clone()],
        };
        let after = Counts::of(app).await;
        let stated = Counts { recalls: after.recalls, ..before.after(case.leaves) };
        let more_recalls = after.recalls - before.recalls;
        if json!(statuses) != json!(expected)
            || after != stated
            || more_recalls > usize::from(matches!(case.leaves, Leaves::Message | Leaves::Conflict))
            || got.iter().any(|(status, body)| misshapen(*status, body, head_only))
        {
            wrong.push(format!("{}: {got:?}, {before:?} -> {after:?}", case.name));
        }
        let probe = app.callbacks.say("probes", seq as u64, "fine").await;
        assert_eq!(probe, 200, "{}: the next callback was not served", case.name);
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    for app in [patient, hasty] {
        app.drain().await;
        app.stop().await;
    }
}

/// Connections of which half a request came, as many as the limit on open files lets this process
/// hold at both ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_half_open_connections_keep_nobody_out() {
    let home = Home::new().await;
    let app = home.start(&["server.max_connections=1000000"]).await;
    let address = app.app().callback_address();
    let many = half_open_that_fit();
    assert!(many >= 100, "the limit on open files is too low to try anything");
    let mut held = Vec::with_capacity(many);
    for n in 0..many {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Nothing, half a head, half a body: each keeps the daemon waiting at another place.
        let half = match n % 3 {
            0 => String::new(),
            1 => "POST /callback?SdkAppid=1 HTTP/1.1\r\nHost:".to_owned(),
            _ => format!(
                "POST /callback?{} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{",
                Callbacks::query(SEND)
            ),
        };
        stream.write_all(half.as_bytes()).await.unwrap();
        held.push(stream);
        if n % 100 == 0 {
            assert_eq!(app.callbacks.say("probes", n as u64 + 1, "fine").await, 200);
        }
    }
    assert_eq!(app.callbacks.say("probes", many as u64 + 1, "fine").await, 200);
    drop(held);
    app.stop().await;
}

/// More connections than files may be open, as a process with a low limit on these has it.
#[tokio::test]
async fn a_daemon_out_of_file_descriptors_goes_on_once_it_has_some() {
    let home = Home::new().await;
    let daemon = home.spawn_by("ulimit -n 100; exec $0", &["history.repair=false"]).await;
    assert_eq!(daemon.callbacks.say("g", 1, "fine").await, 200);
    let address = daemon.callbacks.address();
    let mut held = Vec::new();
    for _ in 0..150 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"POST /callback HTTP/1.1\r\nHost:").await.unwrap();
        held.push(stream);
    }
    // The connection that is kept since the first callback is served as before.
    assert_eq!(daemon.callbacks.say("g", 2, "fine").await, 200);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count();
    while open() < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(daemon.callbacks.say("g", 3, "fine").await, 200);
    drop(held);
    let fresh = Callbacks::to(&format!("http://{address}"));
    assert_eq!(fresh.say("g", 4, "fine").await, 200);
    let (code, log) = daemon.terminate().await;
    assert_eq!(code, Some(0));
    let told = log.matches("a connection could not be accepted").count();
    assert!(told <= 3, "{told} lines of the same");
}

/// Half of what may be opened, less what everything else in this process needs.
fn half_open_that_fit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let open = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    (open.unwrap_or(1024).saturating_sub(700) / 2).min(5_000)
}
