//! The commands of `group_open_http_svc` that quell and its users meet. One function a command:
//! body in, the answer's own fields out.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::world::{Code, Kept, NewMessage, Stored};
use super::{Shared, lock};
use crate::chat::client::{MAX_HISTORY, MAX_SEQS};
use crate::chat::wire::{
    AFTER_GROUP_DESTROYED, AFTER_RECALL_MSG, AFTER_SEND_MSG, AFTER_TOPIC_DESTROYED, MAX_MSG_SEQ,
    REQUEST_OVER_LIMIT,
};
use crate::model::{GroupId, MsgSeq, Timestamp, TopicId, UserId};

/// `Reason` of a recall; from the provider's SDKs.
const MAX_REASON_BYTES: usize = 100;
/// Accounts of one mute or notification (pages `mute`, `sysnotice`).
const MAX_ACCOUNTS: usize = 500;
/// Accounts of one removal (page `del`).
const MAX_REMOVED: usize = 100;
/// The alarm comes once a minute at most, so that a burst does not become a burst of alarms.
const ALARM_EVERY: Duration = Duration::from_mins(1);

/// A call that failed as a whole.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: Code,
    pub(super) info: String,
}

/// Runs a command of an administrator whose credentials were found good.
pub(super) fn run(
    shared: &Shared,
    command: &str,
    body: &Value,
    now: Timestamp,
) -> Result<Value, Refused> {
    let done = match command {
        "group_msg_recall" => recall(shared, body, now),
        "group_msg_get_simple" => history(shared, body, now),
        "send_group_msg" => send(shared, body, now),
        "send_group_system_notification" => notify(shared, body, now),
        "forbid_send_msg" => mute(shared, body, now),
        "get_group_muted_account" => muted(shared, body, now),
        "delete_group_member" => remove_members(shared, body, now),
        "delete_group_msg_by_sender" => recall_by_sender(shared, body),
        "get_group_info" => group_info(shared, body),
        "create_group" => create_group(shared, body),
        "destroy_group" => destroy_group(shared, body, now),
        "create_topic" => create_topic(shared, body),
        "destroy_topic" => destroy_topics(shared, body, now),
        _ => Err(10_003),
    };
    done.map_err(Refused::from)
}

/// The warning that Chat sends when four fifths of a limit are used (page `overlimit`).
pub(super) fn alarm(shared: &Shared, command: &str, calls: usize, limit: u32, now: Timestamp) {
    let Some(callbacks) = shared.callbacks.get() else { return };
    let mut last = lock(&shared.last_alarm);
    let quiet = last.is_some_and(|last| now.since(last) < ALARM_EVERY);
    if calls * 5 > limit as usize * 4 && !quiet {
        *last = Some(now);
        let body = json!({"CallbackCommand": REQUEST_OVER_LIMIT,
            "ServiceName": "group_open_http_svc", "Command": command,
            "Request": calls, "Limit": limit});
        callbacks.send(REQUEST_OVER_LIMIT, "RESTAPI", &body);
    }
}

fn recall(shared: &Shared, body: &Value, now: Timestamp) -> Result<Value, Code> {
    let (group, topic) = conversation(body)?;
    let seqs = recall_seqs(body)?;
    if !matches!(&body["Reason"], Value::Null | Value::String(_))
        || body["Reason"].as_str().is_some_and(|reason| reason.len() > MAX_REASON_BYTES)
    {
        return Err(10_004);
    }
    let forced = lock(&shared.dice).faults.ret_code;
    let results = match forced {
        Some(code) => seqs.iter().map(|seq| (*seq, code)).collect(),
        None => lock(&shared.world).recall(&group, &topic, &seqs, now)?,
    };
    let done: Vec<_> = results.iter().filter(|(_, code)| *code == 0).map(|(seq, _)| *seq).collect();
    if !done.is_empty() {
        announce_recall(shared, &group, &topic, &done, now);
    }
    let mut list: Vec<_> =
        results.iter().map(|(seq, code)| json!({"MsgSeq": seq, "RetCode": code})).collect();
    let mut dice = lock(&shared.dice);
    let (missing, shuffled) = (dice.faults.missing_item, dice.faults.shuffled);
    if dice.happens(missing) {
        let left_out = dice.below(list.len());
        list.remove(left_out);
    }
    if dice.happens(shuffled) {
        dice.shuffle(&mut list);
    }
    Ok(json!({"RecallRetList": list}))
}

/// 1 to 10 different sequences; anything else is a bad parameter.
fn recall_seqs(body: &Value) -> Result<Vec<MsgSeq>, Code> {
    let list = body["MsgSeqList"].as_array().ok_or(10_004)?;
    let seqs = list.iter().map(|item| item["MsgSeq"].as_u64().filter(|seq| *seq <= MAX_MSG_SEQ));
    let seqs: Vec<_> = seqs.collect::<Option<_>>().ok_or(10_004)?;
    let mut distinct = seqs.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if seqs.is_empty() || seqs.len() > MAX_SEQS || distinct.len() < seqs.len() {
        return Err(10_004);
    }
    Ok(seqs)
}

fn announce_recall(
    shared: &Shared,
    group: &GroupId,
    topic: &TopicId,
    seqs: &[MsgSeq],
    now: Timestamp,
) {
    let seqs: Vec<_> = seqs.iter().map(|seq| json!({"MsgSeq": seq})).collect();
    let fields = json!({"Operator_Account": shared.identifier, "MsgSeqList": seqs});
    shared.announce(AFTER_RECALL_MSG, group, topic, fields, now);
}

fn history(shared: &Shared, body: &Value, now: Timestamp) -> Result<Value, Code> {
    let (group, topic) = conversation(body)?;
    let asked = body["ReqMsgNumber"].as_u64().filter(|count| *count > 0).ok_or(10_004)?;
    let count = usize::try_from(asked.min(MAX_HISTORY.into())).unwrap_or_default();
    let with_recalled = body["WithRecalledMsg"] == 1;
    let from = body["ReqMsgSeq"].as_u64();
    let (entries, more) = lock(&shared.world).history(&group, &topic, from, count, now)?;
    // It is about what was asked for, not about what lies below (page `history`).
    let more = more && asked > u64::from(MAX_HISTORY);
    let all_expired = more && entries.iter().all(|(_, stored)| stored.state == Kept::Hole);
    let list = entries.iter().map(|(seq, stored)| entry(*seq, stored, with_recalled));
    let list: Vec<_> = list.collect();
    let finished = if all_expired { 2 } else { i32::from(!more) };
    Ok(json!({"GroupId": group, "IsFinished": finished, "RspMsgList": list}))
}

/// An entry as history shows it. Without `WithRecalledMsg` a recalled message looks like a hole.
fn entry(seq: MsgSeq, stored: &Stored, with_recalled: bool) -> Value {
    let place = match stored.state {
        Kept::Visible | Kept::System => 0,
        Kept::Recalled if with_recalled => 2,
        Kept::Recalled | Kept::Hole => 1,
    };
    let body = if place == 1 { json!([]) } else { parsed(&stored.body) };
    let mut entry = json!({"From_Account": stored.sender, "IsPlaceMsg": place, "MsgBody": body,
        "MsgPriority": 2, "MsgRandom": stored.random, "MsgSeq": seq,
        "MsgTimeStamp": stored.sent_at.secs()});
    if stored.state == Kept::System {
        entry["IsSystemMsg"] = json!(1);
    }
    if place != 1 && !stored.cloud_custom_data.is_empty() {
        entry["CloudCustomData"] = json!(stored.cloud_custom_data);
    }
    entry
}

fn send(shared: &Shared, body: &Value, now: Timestamp) -> Result<Value, Code> {
    let (group_id, topic_id) = conversation(body)?;
    let elements = body["MsgBody"].as_array().filter(|elements| !elements.is_empty());
    let elements = elements.ok_or(10_004)?;
    let is_element =
        |element: &Value| element["MsgType"].is_string() && element["MsgContent"].is_object();
    let random = body["Random"].as_u64().and_then(|random| u32::try_from(random).ok());
    if !elements.iter().all(is_element) {
        return Err(10_004);
    }
    let new = NewMessage {
        group_id,
        topic_id,
        sender: body["From_Account"].as_str().unwrap_or(&shared.identifier).into(),
        operator: shared.identifier.as_str().into(),
        random: random.ok_or(10_004)?,
        online_only: body["OnlineOnlyFlag"].as_u64().is_some_and(|flag| flag > 0),
        body: body["MsgBody"].to_string().into(),
        cloud_custom_data: body["CloudCustomData"].as_str().unwrap_or_default().to_owned(),
    };
    let silent = body["ForbidCallbackControl"].as_array().map(Vec::as_slice).unwrap_or_default();
    let announced = !silent.iter().any(|what| what == "ForbidAfterSendMsgCallback");
    let seq = deliver(shared, &new, "RESTAPI", announced, now)?;
    Ok(json!({"MsgTime": now.secs(), "MsgSeq": seq}))
}

/// Keeps a message and tells the callback URL about it.
pub(super) fn deliver(
    shared: &Shared,
    new: &NewMessage,
    platform: &'static str,
    announced: bool,
    now: Timestamp,
) -> Result<MsgSeq, Code> {
    let (seq, is_new) = lock(&shared.world).send(new, now)?;
    if is_new && announced && shared.callbacks.get().is_some() {
        let fields = json!({"From_Account": new.sender, "Operator_Account": new.operator,
            "Random": new.random, "MsgSeq": seq, "MsgTime": now.secs(),
            "OnlineOnlyFlag": u8::from(new.online_only), "MsgBody": parsed(&new.body),
            "CloudCustomData": new.cloud_custom_data});
        shared.announce_on(platform, AFTER_SEND_MSG, &new.group_id, &new.topic_id, fields, now);
    }
    Ok(seq)
}

fn notify(shared: &Shared, body: &Value, now: Timestamp) -> Result<Value, Code> {
    let (group, topic) = conversation(body)?;
    let content = body["Content"].as_str().ok_or(10_004)?;
    if accounts(body, "ToMembers_Account")?.len() > MAX_ACCOUNTS {
        return Err(10_005);
    }
    let tip = json!({"Content": content, "Operator_Account": shared.identifier});
    lock(&shared.world).append_tip(&group, &topic, &tip.to_string(), now)?;
    Ok(json!({}))
}

/// `MuteTime`, or `ShutUpTime` as older editions and some SDKs call it.
fn mute(shared: &Shared, body: &Value, now: Timestamp) -> Result<Value, Code> {
    let (group, topic) = conversation(body)?;
    let seconds = body["MuteTime"].as_u64().or(body["ShutUpTime"].as_u64()).ok_or(10_004)?;
    let accounts = accounts(body, "Members_Account")?;
    if accounts.is_empty() || accounts.len() > MAX_ACCOUNTS {
        return Err(10_004);
    }
    let mut world = lock(&shared.world);
    let group = world.group(&group)?;
    if matches!(group.kind.as_str(), "Private" | "Work") {
        return Err(10_007);
    }
    for account in accounts {
        let key = (topic.clone(), account);
        if seconds == 0 {
            group.muted.remove(&key);
        } else {
            group.muted.insert(key, now.after(Duration::from_secs(seconds)));
        }
    }
    Ok(json!({}))
}

fn muted(shared: &Shared, body: &Value, now: Timestamp) -> Result<Value, Code> {
    let (group, topic) = conversation(body)?;
    let mut world = lock(&shared.world);
    let muted = &world.group(&group)?.muted;
    let still = muted.iter().filter(|((of, _), until)| *of == topic && **until > now);
    let list = still.map(
        |((_, account), until)| json!({"Member_Account": account, "MutedUntil": until.secs()}),
    );
    let list: Vec<_> = list.collect();
    Ok(json!({"GroupId": group, "MutedAccountList": list}))
}

fn remove_members(shared: &Shared, body: &Value, now: Timestamp) -> Result<Value, Code> {
    let (group_id, _) = conversation(body)?;
    let accounts = accounts(body, "MemberToDel_Account")?;
    if accounts.is_empty() || accounts.len() > MAX_REMOVED {
        return Err(10_004);
    }
    {
        let mut world = lock(&shared.world);
        let group = world.group(&group_id)?;
        if group.is_av_chat_room() {
            return Err(10_004);
        }
        group.members.retain(|member| !accounts.contains(member));
    }
    let list: Vec<_> = accounts.iter().map(|account| json!({"Member_Account": account})).collect();
    let fields = json!({"ExitType": "Kicked", "Operator_Account": shared.identifier,
        "ExitMemberList": list});
    let topic = TopicId::default();
    shared.announce("Group.CallbackAfterMemberExit", &group_id, &topic, fields, now);
    Ok(json!({}))
}

fn recall_by_sender(shared: &Shared, body: &Value) -> Result<Value, Code> {
    let (group, topic) = conversation(body)?;
    let sender = body["Sender_Account"].as_str().ok_or(10_004)?;
    lock(&shared.world).recall_by_sender(&group, &topic, &sender.into())?;
    Ok(json!({}))
}

fn group_info(shared: &Shared, body: &Value) -> Result<Value, Code> {
    let ids = body["GroupIdList"].as_array().ok_or(10_004)?;
    let mut world = lock(&shared.world);
    let one = |id: &Value| {
        let id = id.as_str().unwrap_or_default();
        match world.group(&id.into()) {
            Ok(group) => json!({"GroupId": id, "ErrorCode": 0, "ErrorInfo": "",
                "Type": group.kind, "Name": group.name, "Owner_Account": group.owner,
                "NextMsgSeq": group.next_seq()}),
            Err(code) => json!({"GroupId": id, "ErrorCode": code,
                "ErrorInfo": crate::chat::error::meaning(code)}),
        }
    };
    let list: Vec<_> = ids.iter().map(one).collect();
    Ok(json!({"GroupInfo": list}))
}

fn create_group(shared: &Shared, body: &Value) -> Result<Value, Code> {
    let text = |name: &str| body[name].as_str();
    let group_type = text("Type").ok_or(10_004)?;
    let owner = text("Owner_Account").unwrap_or_default();
    let name = text("Name").ok_or(10_004)?;
    let id = lock(&shared.world).create_group(text("GroupId"), group_type, owner, name)?;
    Ok(json!({"GroupId": id}))
}

fn destroy_group(shared: &Shared, body: &Value, now: Timestamp) -> Result<Value, Code> {
    let (id, _) = conversation(body)?;
    let group = lock(&shared.world).destroy_group(&id)?;
    let members: Vec<_> =
        group.members.iter().map(|member| json!({"Member_Account": member})).collect();
    let fields = json!({"Type": group.kind, "Owner_Account": group.owner,
        "Name": group.name, "MemberList": members});
    shared.announce(AFTER_GROUP_DESTROYED, &id, &TopicId::default(), fields, now);
    Ok(json!({}))
}

fn create_topic(shared: &Shared, body: &Value) -> Result<Value, Code> {
    let (group, _) = conversation(body)?;
    let topic = lock(&shared.world).create_topic(&group, body["TopicId"].as_str())?;
    Ok(json!({"TopicId": topic}))
}

fn destroy_topics(shared: &Shared, body: &Value, now: Timestamp) -> Result<Value, Code> {
    let (group, _) = conversation(body)?;
    let topics = body["TopicIdList"].as_array().ok_or(10_004)?;
    let topics: Vec<_> = topics.iter().filter_map(Value::as_str).map(TopicId::from).collect();
    lock(&shared.world).destroy_topics(&group, &topics)?;
    let list: Vec<_> = topics
        .iter()
        .map(|topic| json!({"TopicId": topic, "ErrorCode": 0, "ErrorInfo": ""}))
        .collect();
    let fields = json!({"TopicIdList": topics});
    shared.announce(AFTER_TOPIC_DESTROYED, &group, &TopicId::default(), fields, now);
    Ok(json!({"DestroyTopicItem": list}))
}

/// The group and topic of a request.
fn conversation(body: &Value) -> Result<(GroupId, TopicId), Code> {
    let group = body["GroupId"].as_str().filter(|id| !id.is_empty()).ok_or(10_004)?;
    let topic = match &body["TopicId"] {
        Value::Null => "",
        Value::String(topic) => topic,
        _ => return Err(10_004),
    };
    Ok((group.into(), topic.into()))
}

fn accounts(body: &Value, name: &str) -> Result<Vec<UserId>, Code> {
    let list = match &body[name] {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list,
        _ => return Err(10_004),
    };
    list.iter().map(|account| account.as_str().map(UserId::from).ok_or(10_012)).collect()
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|_| Value::Object(Map::new()))
}
