//! The simulated Chat answers as the provider does, and the client reads it right.

use std::sync::Arc;
use std::time::Duration;

use quell::chat::client::{CallResult, Client, ClientOptions, EntryKind, Finished};
use quell::chat::error::Class;
use quell::chat::usersig::Claims;
use quell::model::{ManualClock, Timestamp};
use quell::sim::{NewMessage, Sim, SimOptions};
use serde_json::{Value, json};

use crate::support::{self, ADMIN, APP_ID, KEY, codes, recall, text};

/// One POST as a script would make it.
async fn post(sim: &Sim, path_and_query: &str, body: &str) -> (u16, Value) {
    let (status, body) = raw(sim, "POST", path_and_query, body).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

async fn raw(sim: &Sim, method: &str, path_and_query: &str, body: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(sim.addr()).await.unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path_and_query} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn user_sig(app_id: u64, identifier: &str, key: &str, life: u64, time: i64) -> String {
    let life = Duration::from_secs(life);
    let now = Timestamp::from_secs(time);
    Claims::signed(app_id, identifier, &key.into(), now, life).encoded()
}

fn url(command: &str) -> String {
    let sig = user_sig(APP_ID, ADMIN, KEY, 86_400 * 365 * 50, 1_700_000_000).replace('*', "%2A");
    format!(
        "/v4/group_open_http_svc/{command}?sdkappid={APP_ID}&identifier={ADMIN}&usersig={sig}&random=1&contenttype=json"
    )
}

#[tokio::test]
async fn a_recall_answers_for_each_message() {
    let sim = support::sim().await;
    let client = support::client(&sim);
    for n in 1..=3 {
        sim.send(&text("g", n, "hello")).unwrap();
    }
    sim.send(&NewMessage { online_only: true, ..text("g", 4, "typing") }).unwrap();
    assert_eq!(codes(&recall(&client, "g", &[1]).await), (0, vec![Some(0)]));
    let again = recall(&client, "g", &[1, 3, 4, 99]).await;
    assert_eq!(codes(&again), (0, vec![Some(10_030), Some(0), Some(10_032), Some(10_030)]));
    let recalled: Vec<_> = sim.recalled().iter().map(ToString::to_string).collect();
    assert_eq!(recalled, ["g/1", "g/3"]);
    assert_eq!(codes(&recall(&client, "elsewhere", &[1]).await), (10_010, vec![None]));
    sim.shutdown().await;
}

#[tokio::test]
async fn topics_have_sequences_of_their_own() {
    let sim = support::sim().await;
    let client = support::client(&sim);
    let in_topic = NewMessage { topic_id: "c@TOPIC#_t".into(), ..text("c", 1, "in the topic") };
    assert_eq!((sim.send(&text("c", 1, "outside")), sim.send(&in_topic)), (Some(1), Some(1)));
    let called = client.recall(&"c".into(), &"c@TOPIC#_t".into(), &[1], None).await;
    assert_eq!(codes(&called), (0, vec![Some(0)]));
    let recalled: Vec<_> = sim.recalled().iter().map(ToString::to_string).collect();
    assert_eq!(recalled, ["c/c@TOPIC#_t/1"]);
    let called = client.recall(&"c".into(), &"c@TOPIC#_none".into(), &[1], None).await;
    assert_eq!(codes(&called).0, 110_013);
}

#[tokio::test]
async fn a_lenient_simulation_takes_what_it_never_saw_to_exist() {
    let sim = Sim::start(SimOptions::new(APP_ID, ADMIN, KEY.into())).await.unwrap();
    let client = support::client(&sim);
    assert_eq!(codes(&recall(&client, "@TGS#made-up", &[5]).await), (0, vec![Some(0)]));
    assert_eq!(codes(&recall(&client, "@TGS#made-up", &[5]).await), (0, vec![Some(10_030)]));
    assert_eq!(codes(&recall(&client, "not ascii: ü", &[5]).await).0, 10_015);
}

#[tokio::test]
async fn an_audio_video_group_forgets_after_an_hour() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_700_000_000)));
    let options = SimOptions { clock: clock.clone(), ..support::sim_options() };
    let sim = Sim::start(options).await.unwrap();
    support::populate(&sim);
    let options = ClientOptions::new(&sim.url(), APP_ID, ADMIN, KEY.into());
    let client = Client::new(options, clock.clone()).unwrap();
    for n in 1..=2 {
        sim.send(&text("av", n, "hello stream")).unwrap();
        sim.send(&text("g", n, "hello group")).unwrap();
    }
    clock.advance(Duration::from_hours(1));
    assert_eq!(codes(&recall(&client, "av", &[1]).await), (0, vec![Some(0)]));
    clock.advance(Duration::from_secs(1));
    assert_eq!(codes(&recall(&client, "av", &[2]).await), (0, vec![Some(10_031)]));
    assert_eq!(codes(&recall(&client, "g", &[1]).await), (0, vec![Some(0)]));
    clock.advance(Duration::from_hours(24 * 7));
    assert_eq!(codes(&recall(&client, "g", &[2]).await), (0, vec![Some(10_030)]));
}

#[tokio::test]
async fn bad_requests_are_refused_as_a_whole() {
    let sim = support::sim().await;
    let eleven: Vec<_> = (1..=11).map(|seq| json!({"MsgSeq": seq})).collect();
    let table = [
        ("", 60_003),
        ("{", 60_003),
        ("{}", 10_004),
        (r#"{"GroupId":"g"}"#, 10_004),
        (r#"{"GroupId":"g","MsgSeqList":[]}"#, 10_004),
        (r#"{"GroupId":"g","MsgSeqList":[1]}"#, 10_004),
        (r#"{"GroupId":"g","MsgSeqList":[{"MsgSeq":"1"}]}"#, 10_004),
        (r#"{"GroupId":"g","MsgSeqList":[{"MsgSeq":4294967296}]}"#, 10_004),
        (r#"{"GroupId":"g","MsgSeqList":[{"MsgSeq":1},{"MsgSeq":1}]}"#, 10_004),
        (&json!({"GroupId": "g", "MsgSeqList": eleven}).to_string(), 10_004),
        (
            &json!({"GroupId": "g", "MsgSeqList": [{"MsgSeq": 1}], "Reason": "x".repeat(101)})
                .to_string(),
            10_004,
        ),
        (r#"{"GroupId":"none","MsgSeqList":[{"MsgSeq":1}]}"#, 10_010),
        (r#"{"GroupId":"g","MsgSeqList":[{"MsgSeq":1}]}"#, 0),
    ];
    for (body, code) in table {
        let (status, answer) = post(&sim, &url("group_msg_recall"), body).await;
        assert_eq!((status, &answer["ErrorCode"]), (200, &json!(code)), "{body}");
        let action_status = if code == 0 { "OK" } else { "FAIL" };
        assert_eq!(answer["ActionStatus"], action_status);
        assert!(answer["ErrorInfo"].is_string());
    }
    assert_eq!(post(&sim, &url("no_such_command"), "{}").await.1["ErrorCode"], 10_003);
    let other_service = url("x").replace("group_open_http_svc", "openim");
    assert_eq!(post(&sim, &other_service, "{}").await.1["ErrorCode"], 60_009);
    let (status, answer) = raw(&sim, "GET", &url("group_msg_recall"), "").await;
    assert!(status == 200 && answer.contains("60002"), "{answer}");
}

#[tokio::test]
async fn credentials_are_checked_as_the_provider_does() {
    let sim = support::sim().await;
    let now = 1_700_000_000;
    let life = 86_400 * 365 * 50;
    let sig = |app_id, identifier, key| user_sig(app_id, identifier, key, life, now);
    let good = sig(APP_ID, ADMIN, KEY);
    let app_id = APP_ID.to_string();
    let table = [
        (app_id.as_str(), ADMIN, good.clone(), 0),
        ("", ADMIN, good.clone(), 60_012),
        ("1", ADMIN, good.clone(), 70_020),
        (&app_id, ADMIN, String::new(), 70_002),
        (&app_id, ADMIN, "nonsense".to_owned(), 70_003),
        (&app_id, "somebody", good.clone(), 70_013),
        (&app_id, ADMIN, sig(1, ADMIN, KEY), 70_014),
        (&app_id, ADMIN, sig(APP_ID, ADMIN, "another key"), 70_009),
        (&app_id, ADMIN, user_sig(APP_ID, ADMIN, KEY, 60, now), 70_001),
        (&app_id, "somebody", sig(APP_ID, "somebody", KEY), 60_010),
    ];
    for (app_id, identifier, sig, code) in table {
        let url = format!(
            "/v4/group_open_http_svc/get_group_info?sdkappid={app_id}&identifier={identifier}&usersig={sig}&random=9&contenttype=json"
        );
        let (_, answer) = post(&sim, &url, r#"{"GroupIdList":["g"]}"#).await;
        assert_eq!(answer["ErrorCode"], code, "{app_id} {identifier}");
    }
}

#[tokio::test]
async fn history_is_paged_from_the_newest_down() {
    let sim = support::sim().await;
    let client = support::client(&sim);
    for n in 1..=23 {
        sim.send(&text("g", n, &format!("message {n}"))).unwrap();
    }
    sim.send_tip(&"g".into(), &"".into()).unwrap();
    sim.send(&NewMessage { online_only: true, ..text("g", 25, "typing") }).unwrap();
    recall(&client, "g", &[23]).await;

    let page = async |from| match client.history(&"g".into(), &"".into(), from, 50).await {
        CallResult::Answered(answer) => answer.value,
        other => panic!("{other:?}"),
    };
    let first = page(None).await;
    assert_eq!((first.entries.len(), first.finished), (20, Finished::All));
    let kinds: Vec<_> =
        first.entries[..3].iter().map(|entry| (entry.msg_seq, &entry.kind)).collect();
    assert_eq!(
        kinds,
        [(25, &EntryKind::Hole), (24, &EntryKind::System), (23, &EntryKind::Recalled)]
    );
    let EntryKind::Message(message) = &first.entries[3].kind else { panic!("no message") };
    assert_eq!((message.text.as_str(), message.sender.as_str()), ("message 22", "ann"));
    let second = page(first.next_from()).await;
    let seqs: Vec<_> = second.entries.iter().map(|entry| entry.msg_seq).collect();
    assert_eq!((seqs, second.finished), (vec![5, 4, 3, 2, 1], Finished::All));
    assert_eq!(second.next_from(), None);

    let CallResult::Answered(answer) = client.history(&"av".into(), &"".into(), None, 20).await
    else {
        panic!("no answer")
    };
    assert_eq!((answer.error_code, answer.class()), (10_044, Class::Refused));
}

#[tokio::test]
async fn a_message_has_the_same_digest_from_callback_and_history() {
    let sim = support::sim().await;
    let message = text("g", 1, "你好 \u{1f600}");
    sim.send(&message).unwrap();
    let CallResult::Answered(answer) =
        support::client(&sim).history(&"g".into(), &"".into(), None, 1).await
    else {
        panic!("no answer")
    };
    let EntryKind::Message(pulled) = &answer.value.entries[0].kind else { panic!("no message") };
    let body = json!({"CallbackCommand": "Group.CallbackAfterSendMsg", "GroupId": "g", "MsgSeq": 1,
        "From_Account": "ann", "MsgTime": pulled.sent_at.secs(), "CloudCustomData": "",
        "MsgBody": serde_json::from_str::<Value>(&message.body).unwrap()});
    let called = quell::chat::wire::parse_message(body.to_string().as_bytes(), "", Timestamp(0));
    assert_eq!(called.unwrap().content_hash, pulled.content_hash);
}

#[tokio::test]
async fn no_more_than_200_calls_of_a_command_pass_in_a_second() {
    let sim = support::sim().await;
    let client = Arc::new(support::client(&sim));
    let mut calls = tokio::task::JoinSet::new();
    for seq in 1..=400 {
        let client = client.clone();
        calls.spawn(async move { codes(&recall(&client, "g", &[seq]).await).0 });
    }
    let codes = calls.join_all().await;
    assert!(codes.iter().all(|code| matches!(code, 0 | 60_007)));
    let log = sim.log();
    assert_eq!(log.len(), 400);
    let admitted = log.iter().filter(|call| call.answer.as_ref().unwrap().error_code == 0).cloned();
    let admitted: Vec<_> = admitted.collect();
    assert!(quell::sim::max_in_one_second(&admitted, "group_msg_recall") <= 200);
    assert!(admitted.len() >= 200, "and no fewer than the first 200");
    assert!(sim.max_calls_in_one_second() >= 200, "the log counts what was refused as well");
}

#[tokio::test]
async fn the_other_commands_do_what_they_say() {
    let sim = support::sim().await;
    let call = async |command: &str, body: Value| {
        let (status, answer) = post(&sim, &url(command), &body.to_string()).await;
        assert_eq!(status, 200);
        answer
    };
    let made = call("create_group", json!({"Type": "Community", "Name": "n"})).await;
    let group = made["GroupId"].as_str().unwrap().to_owned();
    assert!(group.starts_with("@TGS#_@TGS#c"));
    let topic = call("create_topic", json!({"GroupId": group, "TopicName": "t"})).await;
    let topic = topic["TopicId"].as_str().unwrap().to_owned();
    assert!(topic.contains("@TOPIC#_"));

    let elements = json!([{"MsgType": "TIMTextElem", "MsgContent": {"Text": "notice"}}]);
    let message = json!({"GroupId": group, "TopicId": topic, "Random": 7, "From_Account": "bob",
        "MsgBody": elements});
    let sent = call("send_group_msg", message.clone()).await;
    assert_eq!((&sent["ErrorCode"], &sent["MsgSeq"]), (&json!(0), &json!(1)));
    assert_eq!(call("send_group_msg", message.clone()).await["MsgSeq"], 1, "the same once more");

    let mute =
        json!({"GroupId": group, "TopicId": topic, "Members_Account": ["bob"], "MuteTime": 60});
    assert_eq!(call("forbid_send_msg", mute).await["ErrorCode"], 0);
    let muted = call("get_group_muted_account", json!({"GroupId": group, "TopicId": topic})).await;
    assert_eq!(muted["MutedAccountList"][0]["Member_Account"], "bob");
    let mut another = message.clone();
    another["Random"] = json!(8);
    assert_eq!(call("send_group_msg", another.clone()).await["ErrorCode"], 10_017);
    let unmute =
        json!({"GroupId": group, "TopicId": topic, "Members_Account": ["bob"], "ShutUpTime": 0});
    assert_eq!(call("forbid_send_msg", unmute).await["ErrorCode"], 0);
    assert_eq!(call("send_group_msg", another).await["MsgSeq"], 2);

    let by_sender = json!({"GroupId": group, "TopicId": topic, "Sender_Account": "bob"});
    assert_eq!(call("delete_group_msg_by_sender", by_sender).await["ErrorCode"], 0);
    let history =
        json!({"GroupId": group, "TopicId": topic, "ReqMsgNumber": 20, "WithRecalledMsg": 1});
    let history = call("group_msg_get_simple", history).await;
    assert!(history["RspMsgList"].as_array().unwrap().iter().all(|m| m["IsPlaceMsg"] == 2));

    let kicked = json!({"GroupId": group, "MemberToDel_Account": ["bob"]});
    assert_eq!(call("delete_group_member", kicked).await["ErrorCode"], 0);
    let kicked = json!({"GroupId": "av", "MemberToDel_Account": ["bob"]});
    assert_eq!(call("delete_group_member", kicked).await["ErrorCode"], 10_004);
    let notice = json!({"GroupId": group, "Content": "be nice"});
    assert_eq!(call("send_group_system_notification", notice).await["ErrorCode"], 0);
    let info = call("get_group_info", json!({"GroupIdList": [group, "none"]})).await;
    assert_eq!(info["GroupInfo"][0]["NextMsgSeq"], 2);
    assert_eq!(info["GroupInfo"][1]["ErrorCode"], 10_010);
    let topics = json!({"GroupId": group, "TopicIdList": [topic]});
    assert_eq!(call("destroy_topic", topics).await["ErrorCode"], 0);
    assert_eq!(call("destroy_group", json!({"GroupId": group})).await["ErrorCode"], 0);
    assert_eq!(call("destroy_group", json!({"GroupId": group})).await["ErrorCode"], 10_010);
}

#[tokio::test]
async fn an_expired_credential_is_told_and_a_new_one_works() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_700_000_000)));
    let sim =
        Sim::start(SimOptions { clock: clock.clone(), ..support::sim_options() }).await.unwrap();
    support::populate(&sim);
    // The client's clock stands still, so that it does not see its credential age.
    let still = Arc::new(ManualClock::at(Timestamp::from_secs(1_700_000_000)));
    let options = ClientOptions::new(&sim.url(), APP_ID, ADMIN, KEY.into());
    let client = Client::new(options, still.clone()).unwrap();
    assert_eq!(codes(&recall(&client, "g", &[1]).await).0, 0);
    clock.advance(Duration::from_hours(25));
    let CallResult::Answered(answer) = recall(&client, "g", &[1]).await else {
        panic!("no answer")
    };
    assert_eq!((answer.error_code, answer.class()), (70_001, Class::Credential));
    still.set(Timestamp::from_secs(1_700_000_000).after(Duration::from_hours(1)));
    assert_eq!(codes(&recall(&client, "g", &[1]).await).0, 70_001, "the old one is still kept");
    still.set(Timestamp::from_secs(1_700_000_000).after(Duration::from_hours(2)));
    client.renew_user_sig();
    assert_eq!(codes(&recall(&client, "g", &[1]).await).0, 0);
}
