//! The simulation's own switches over HTTP, for people and scripts: `/sim/...`.

use std::sync::atomic::Ordering;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::faults::Faults;
use super::world::NewMessage;
use super::{RECALL, Shared, commands, lock, max_in_one_second};
use crate::chat::error;

type Answer = (StatusCode, String);

pub(super) fn answer(shared: &Shared, method: &Method, path: &str, body: &[u8]) -> Answer {
    match (method, path) {
        (&Method::GET, "/sim/faults") => json_of(&lock(&shared.dice).faults),
        (&Method::PUT, "/sim/faults") => set_faults(shared, body),
        (&Method::GET, "/sim/log") => json_of(&lock(&shared.log).arrivals().collect::<Vec<_>>()),
        (&Method::GET, "/sim/summary") => json_of(&summary(shared)),
        (&Method::GET, "/sim/recalled") => json_of(&recalled(shared)),
        (&Method::POST, "/sim/send") => send(shared, body),
        (_, "/sim/faults" | "/sim/log" | "/sim/summary" | "/sim/recalled" | "/sim/send") => {
            wrong(StatusCode::METHOD_NOT_ALLOWED, "another method belongs here")
        }
        _ => wrong(
            StatusCode::NOT_FOUND,
            "there are /sim/faults, /sim/log, /sim/summary, /sim/recalled and /sim/send",
        ),
    }
}

fn json_of(value: &impl serde::Serialize) -> Answer {
    serde_json::to_string(value).map_or_else(
        |error| wrong(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        |body| (StatusCode::OK, body + "\n"),
    )
}

fn wrong(status: StatusCode, why: &str) -> Answer {
    (status, json!({"error": why}).to_string() + "\n")
}

/// The whole set is replaced: what is not named is off.
fn set_faults(shared: &Shared, body: &[u8]) -> Answer {
    let faults = match serde_json::from_slice::<Faults>(body) {
        Ok(faults) => faults,
        Err(error) => return wrong(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if let Err(why) = faults.check() {
        return wrong(StatusCode::BAD_REQUEST, &why);
    }
    let answer = json_of(&faults);
    lock(&shared.dice).faults = faults;
    answer
}

fn summary(shared: &Shared) -> Value {
    let (calls, fullest) = {
        let log = lock(&shared.log);
        let recalls = log.arrivals().filter(|call| call.command == RECALL).count();
        (recalls, max_in_one_second(log.arrivals(), RECALL))
    };
    let (messages, recalled) = {
        let world = lock(&shared.world);
        (world.messages().count(), world.recalled().len())
    };
    let callbacks = shared.callbacks.get().map(|callbacks| {
        let counts = callbacks.counts();
        let count = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        json!({"accepted": count(&counts.accepted), "failed": count(&counts.failed)})
    });
    json!({"messages": messages, "recalled": recalled, "recall_calls": calls,
        "max_recall_calls_in_one_second": fullest, "callbacks": callbacks})
}

fn recalled(shared: &Shared) -> Vec<Value> {
    let world = lock(&shared.world);
    let recalls = world.recalled().iter().map(|recall| {
        json!({"group_id": recall.key.group_id, "topic_id": recall.key.topic_id,
            "msg_seq": recall.key.msg_seq, "at": recall.at})
    });
    recalls.collect()
}

/// What a member sends: text, or elements of any kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    group: String,
    #[serde(default)]
    topic: String,
    #[serde(default = "anybody")]
    from: String,
    #[serde(default)]
    text: Option<String>,
    /// `MsgBody`, in place of `text`.
    #[serde(default)]
    body: Option<Vec<Value>>,
    #[serde(default)]
    online_only: bool,
}

fn anybody() -> String {
    "ann".to_owned()
}

fn send(shared: &Shared, body: &[u8]) -> Answer {
    let said = match serde_json::from_slice::<Said>(body) {
        Ok(said) => said,
        Err(error) => return wrong(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let body = match (said.body, said.text) {
        (Some(body), None) => json!(body),
        (None, Some(text)) => json!([{"MsgType": "TIMTextElem", "MsgContent": {"Text": text}}]),
        _ => return wrong(StatusCode::BAD_REQUEST, "give either text or body"),
    };
    let random = u32::try_from(lock(&shared.dice).below(u32::MAX as usize)).unwrap_or_default();
    let new = NewMessage {
        group_id: said.group.into(),
        topic_id: said.topic.into(),
        operator: said.from.as_str().into(),
        sender: said.from.into(),
        random,
        online_only: said.online_only,
        body: body.to_string().into(),
        cloud_custom_data: String::new(),
    };
    match commands::deliver(shared, &new, "Android", true, shared.clock.now()) {
        Ok(seq) => (StatusCode::OK, json!({"msg_seq": seq}).to_string() + "\n"),
        Err(code) => wrong(StatusCode::CONFLICT, &format!("code {code}: {}", error::meaning(code))),
    }
}
