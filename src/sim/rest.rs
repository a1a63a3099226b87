//! The REST API's front: credentials, limits, faults and the shape of answers. What a command does
//! is in `commands`.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use hyper::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::commands::{self, Refused};
use super::faults::Fault;
use super::log::{Answered, Arrival};
use super::world::Code;
use super::{Shared, lock};
use crate::chat::error;
use crate::chat::usersig::Claims;
use crate::model::{MsgSeq, Timestamp};

const SERVICE: &str = "group_open_http_svc";

/// A call as it arrived.
pub(super) struct Call<'a> {
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) is_post: bool,
    pub(super) body: &'a [u8],
}

/// What goes back to the caller.
#[derive(Debug)]
pub(super) enum Reaction {
    Answer {
        status: StatusCode,
        body: String,
        is_json: bool,
    },
    /// The connection breaks without a word.
    Break,
    /// Nothing, for as long as the caller waits.
    Hang,
}

/// The calls of the last second, for each command.
#[derive(Debug, Default)]
pub(super) struct Limits(HashMap<String, VecDeque<Duration>>);

impl Limits {
    /// Lets a call through, or not, and tells how many the last second has let through.
    fn admit(&mut self, command: &str, at: Duration, limit: u32) -> (bool, usize) {
        let calls = self.0.entry(command.to_owned()).or_default();
        while calls.front().is_some_and(|first| at.saturating_sub(*first) >= Duration::from_secs(1))
        {
            calls.pop_front();
        }
        let admitted = calls.len() < limit as usize;
        if admitted {
            calls.push_back(at);
        }
        (admitted, calls.len())
    }
}

/// Answers a call of the REST API.
pub(super) async fn react(shared: &Shared, call: Call<'_>) -> Reaction {
    let now = shared.clock.now();
    let (service, command) = service_and_command(call.path);
    let body = serde_json::from_slice::<Value>(call.body).unwrap_or_default();
    let (limit, fault, delay_ms) = {
        let mut dice = lock(&shared.dice);
        (dice.faults.calls_per_second, dice.fault(), dice.delay_ms())
    };
    let (arrived, admitted, in_second) = {
        // The time is taken under the lock, so that calls are counted in the order of their times.
        let mut limits = lock(&shared.limits);
        let at = shared.started.elapsed();
        let (admitted, in_second) = limits.admit(command, at, limit);
        let arrived = lock(&shared.log).arrived(arrival(command, &body, at, now));
        (arrived, admitted, in_second)
    };
    commands::alarm(shared, command, in_second, limit, now);

    let refused = |code| Err(Refused::from(code));
    let before = |fault| matches!(fault, Fault::BadGateway | Fault::ResetBefore);
    let done = match fault {
        Some(fault) if before(fault) => refused(0),
        Some(Fault::ErrorCode) => refused(lock(&shared.dice).faults.error_code.unwrap_or_default()),
        Some(Fault::InternalError) => refused(10_002),
        Some(Fault::TooFrequent) => refused(60_007),
        _ if !admitted => refused(60_007),
        _ => match authorised(shared, &call, service, now) {
            Ok(()) if serde_json::from_slice::<Value>(call.body).is_err() => refused(60_003),
            Ok(()) => commands::run(shared, command, &body, now),
            Err(code) => refused(code),
        },
    };
    if delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
    let (reaction, answered) = reaction(fault, done);
    let mut log = lock(&shared.log);
    if let Some(arrival) = log.at_mut(arrived) {
        arrival.fault = fault;
        arrival.answer = answered;
    }
    reaction
}

fn reaction(fault: Option<Fault>, done: Result<Value, Refused>) -> (Reaction, Option<Answered>) {
    match fault {
        Some(Fault::BadGateway) => {
            let html = "<html><head><title>502 Bad Gateway</title></head></html>".to_owned();
            let status = StatusCode::BAD_GATEWAY;
            let answered = Answered { http_status: 502, error_code: 0, ret_codes: Vec::new() };
            (Reaction::Answer { status, body: html, is_json: false }, Some(answered))
        }
        Some(Fault::ResetBefore | Fault::ResetAfter) => (Reaction::Break, None),
        Some(Fault::Hang) => (Reaction::Hang, None),
        _ => {
            let answer = envelope(done);
            let answered = Answered {
                http_status: 200,
                error_code: answer["ErrorCode"].as_i64().unwrap_or_default(),
                ret_codes: ret_codes(&answer),
            };
            let body = answer.to_string();
            (Reaction::Answer { status: StatusCode::OK, body, is_json: true }, Some(answered))
        }
    }
}

/// The fields that every answer has, before those of the command (page `rest-intro`).
fn envelope(done: Result<Value, Refused>) -> Value {
    let (status, code, info, value) = match done {
        Ok(value) => ("OK", 0, String::new(), value),
        Err(Refused { code, info }) => ("FAIL", code, info, Value::Null),
    };
    let mut answer = json!({"ActionStatus": status, "ErrorCode": code, "ErrorInfo": info});
    if let (Some(answer), Value::Object(fields)) = (answer.as_object_mut(), value) {
        answer.extend(fields);
    }
    answer
}

fn ret_codes(answer: &Value) -> Vec<(MsgSeq, Code)> {
    let list = answer["RecallRetList"].as_array().map(Vec::as_slice).unwrap_or_default();
    let item = |item: &Value| Some((item["MsgSeq"].as_u64()?, item["RetCode"].as_i64()?));
    list.iter().filter_map(item).collect()
}

fn arrival(command: &str, body: &Value, at: Duration, wall: Timestamp) -> Arrival {
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let seqs = body["MsgSeqList"].as_array().map(Vec::as_slice).unwrap_or_default();
    Arrival {
        at,
        wall,
        command: command.to_owned(),
        group_id: text("GroupId").into(),
        topic_id: text("TopicId").into(),
        seqs: seqs.iter().filter_map(|item| item["MsgSeq"].as_u64()).collect(),
        answer: None,
        fault: None,
    }
}

/// `/v4/SERVICE/COMMAND`, whatever stands before.
fn service_and_command(path: &str) -> (&str, &str) {
    let rest = path.rsplit_once("/v4/").map_or("", |(_, rest)| rest);
    rest.split_once('/').unwrap_or((rest, ""))
}

/// Whether the query's credentials are those of the administrator. Codes from page `errors`.
fn authorised(shared: &Shared, call: &Call<'_>, service: &str, now: Timestamp) -> Result<(), Code> {
    if !call.is_post {
        return Err(60_002);
    }
    if service != SERVICE {
        return Err(60_009);
    }
    let parameter = |name: &str| {
        let mut pairs = call.query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(key, _)| *key == name).map(|(_, value)| value);
        found.map(|value| percent_decode_str(value).decode_utf8_lossy().into_owned())
    };
    let app_id = parameter("sdkappid").filter(|id| !id.is_empty()).ok_or(60_012)?;
    if app_id != shared.app_id.to_string() {
        return Err(70_020);
    }
    if parameter("contenttype").is_some_and(|kind| !kind.eq_ignore_ascii_case("json")) {
        return Err(60_025);
    }
    let identifier = parameter("identifier").filter(|id| !id.is_empty()).ok_or(60_004)?;
    let user_sig = parameter("usersig").filter(|sig| !sig.is_empty()).ok_or(70_002)?;
    let claims = Claims::decode(&user_sig).map_err(|_| 70_003)?;
    if claims.identifier != identifier {
        return Err(70_013);
    }
    if claims.app_id != shared.app_id {
        return Err(70_014);
    }
    if !claims.is_signed_with(&shared.secret_key) {
        return Err(70_009);
    }
    if claims.is_expired(now) {
        return Err(70_001);
    }
    if identifier != shared.identifier {
        return Err(60_010);
    }
    Ok(())
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self { code, info: error::meaning(code).to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_lets_more_through_than_the_limit() {
        let mut limits = Limits::default();
        let mut admitted = Vec::new();
        for ms in (0..3000).step_by(3) {
            let at = Duration::from_millis(ms);
            if limits.admit("x", at, 200).0 {
                admitted.push(at);
            }
            assert!(limits.admit("y", at, 400).0, "commands count for themselves");
        }
        for start in &admitted {
            let second = *start..*start + Duration::from_secs(1);
            assert!(admitted.iter().filter(|at| second.contains(*at)).count() <= 200);
        }
        assert_eq!(admitted.len(), 600, "and none less");
    }

    #[test]
    fn the_path_may_have_a_prefix() {
        let path = "/prefix/v4/group_open_http_svc/group_msg_recall";
        assert_eq!(service_and_command(path), ("group_open_http_svc", "group_msg_recall"));
        assert_eq!(service_and_command("/v4/x"), ("x", ""));
        assert_eq!(service_and_command("/"), ("", ""));
    }
}
