//! What is read from callback bodies, and what is not.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::chat::verify::{Verifier, VerifierOptions};
use crate::model::Source;

const RECEIVED: Timestamp = Timestamp(1_764_005_030_000);

fn authentic(command: &str) -> Authentic<'static> {
    let options =
        VerifierOptions { app_id: 1, tokens: vec![], tolerance: std::time::Duration::ZERO };
    let query = format!("SdkAppid=1&CallbackCommand={command}&OptPlatform=Android");
    let query = String::leak(query);
    Verifier::new(options).verify(query, RECEIVED).unwrap()
}

fn message(body: &[u8]) -> Message {
    parse_message(body, "iOS", RECEIVED).unwrap()
}

fn with_text(raw: &[u8]) -> Vec<u8> {
    let mut body =
        br#"{"CallbackCommand":"Group.CallbackAfterSendMsg","GroupId":"g","MsgSeq":1,"#.to_vec();
    body.extend(br#""MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":""#);
    body.extend(raw);
    body.extend(br#""}}]}"#);
    body
}

fn text_of(message: &Message) -> &str {
    message.elements[0].content["Text"].as_str().unwrap()
}

#[test]
fn every_fixture_is_understood() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/callbacks");
    let (mut messages, mut others) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let body = std::fs::read(&path).unwrap();
        let value: Value = serde_json::from_slice(&body).unwrap();
        let command = value["CallbackCommand"].as_str().unwrap_or("ContentCallback.ResultNotify");
        match parse(&authentic(command), &body, RECEIVED).unwrap() {
            Event::Message(message) => {
                assert_eq!(value["MsgSeq"].as_u64(), Some(message.key.msg_seq), "{path:?}");
                assert_eq!(message.elements.len(), value["MsgBody"].as_array().unwrap().len());
                assert_eq!(
                    (message.platform.as_str(), message.source),
                    ("Android", Source::Callback)
                );
                let again = lenient::fields(value).unwrap().into_message("Android", RECEIVED);
                assert_eq!(again.unwrap(), *message, "read leniently: {path:?}");
                messages += 1;
            }
            _ => others += 1,
        }
    }
    assert_eq!((messages, others), (22, 9));
}

#[test]
fn the_other_events_say_what_they_say() {
    let read = |name: &str, command: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/callbacks");
        let body = std::fs::read(format!("{folder}/other_{name}.json")).unwrap();
        parse(&authentic(command), &body, RECEIVED).unwrap()
    };
    let community = "@TGS#_@TGS#cHARBOR62CQ";
    let topic = "@TGS#_@TGS#cHARBOR62CQ@TOPIC#_tides";
    assert_eq!(
        read("after_recall", AFTER_RECALL_MSG),
        Event::Recalled {
            group_id: community.into(),
            topic_id: topic.into(),
            operator: "administrator".into(),
            seqs: vec![5011],
            at: Timestamp(1_764_005_090_000),
        }
    );
    assert_eq!(
        read("group_destroyed", AFTER_GROUP_DESTROYED),
        Event::GroupDestroyed {
            group_id: "@TGS#2QBRICKSX".into(),
            at: Timestamp(1_764_005_300_000)
        }
    );
    assert_eq!(
        read("topic_destroyed", AFTER_TOPIC_DESTROYED),
        Event::TopicsDestroyed {
            group_id: community.into(),
            topic_ids: vec![topic.into()],
            at: Timestamp(1_764_005_500_000),
        }
    );
    assert_eq!(
        read("request_over_limit", REQUEST_OVER_LIMIT),
        Event::OverLimit {
            service: "group_open_http_svc".into(),
            command: "group_msg_recall".into(),
            requests: 171,
            limit: 200,
        }
    );
}

#[test]
fn the_query_names_the_command() {
    let body = with_text(b"x");
    let check = |command: &str, body: &[u8]| parse(&authentic(command), body, RECEIVED);
    assert_eq!(check("Group.CallbackBeforeSendMsg", &body), Err(Unreadable::OtherCommand));
    assert_eq!(check(AFTER_RECALL_MSG, &body), Err(Unreadable::OtherCommand));
    assert!(matches!(check("", &body), Ok(Event::Message(_))), "not forgotten");
    for odd in [&b""[..], b"\xff", b"[]", b"{}", b"null", b"{\"a\":1}"] {
        assert_eq!(check("", odd), Ok(Event::Other { command: String::new() }));
        assert_eq!(check("X.Y", odd), Ok(Event::Other { command: "X.Y".into() }));
        assert!(check(AFTER_SEND_MSG, odd).is_err() && check(AFTER_RECALL_MSG, odd).is_err());
    }
}

#[test]
fn event_time_counts_only_near_msg_time() {
    let sent_at = |times: Value| {
        let mut body = json!({"CallbackCommand": AFTER_SEND_MSG, "GroupId": "g", "MsgSeq": 1});
        body.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
        message(body.to_string().as_bytes()).sent_at.0
    };
    assert_eq!(sent_at(json!({"MsgTime": 100, "EventTime": 100_231})), 100_231);
    assert_eq!(sent_at(json!({"MsgTime": "100", "EventTime": "160000"})), 160_000);
    assert_eq!(sent_at(json!({"MsgTime": 100, "EventTime": 160_001})), 100_000);
    assert_eq!(sent_at(json!({"MsgTime": 100, "EventTime": "soon"})), 100_000);
    assert_eq!(sent_at(json!({"MsgTime": 100, "EventTime": i64::MIN})), 100_000);
    assert_eq!(sent_at(json!({"EventTime": 160_001})), RECEIVED.0);
}

#[test]
fn a_sequence_must_fit_32_bits() {
    let seq = |seq: Value| {
        let body = json!({"CallbackCommand": AFTER_SEND_MSG, "GroupId": "g", "MsgSeq": seq});
        parse_message(body.to_string().as_bytes(), "", RECEIVED).map(|m| m.key.msg_seq)
    };
    assert_eq!(seq(json!(0)), Ok(0));
    assert_eq!(seq(json!("4294967295")), Ok(MAX_MSG_SEQ));
    assert_eq!(seq(json!(7.0)), Ok(7));
    for out in [json!(4_294_967_296_u64), json!(-1), json!("4294967296")] {
        assert_eq!(seq(out), Err(Unreadable::Range("MsgSeq")));
    }
    for none in [json!(null), json!(1.5), json!("x"), json!({}), json!(u64::MAX), json!(true)] {
        assert_eq!(seq(none), Err(Unreadable::Field("MsgSeq")));
    }
}

#[test]
fn flags_are_read_in_both_spellings() {
    let read = |flag: Value, odd: Value| {
        let body = json!({
            "CallbackCommand": AFTER_SEND_MSG, "GroupId": "g", "MsgSeq": 1, "OnlineOnlyFlag": flag,
            "GroupAtInfo": [{"GroupAtAllFlag": flag}], "Type": odd,
        });
        let message = message(body.to_string().as_bytes());
        (message.online_only, message.mentions.everyone)
    };
    // The second spelling of Type makes the lenient reading take over.
    for odd in [json!("Public"), json!(7)] {
        for yes in [json!(1), json!("1"), json!(true)] {
            assert_eq!(read(yes.clone(), odd.clone()), (true, true), "{yes} {odd}");
        }
        for no in [json!(0), json!(-1), json!("yes"), json!(false), json!(null)] {
            assert_eq!(read(no.clone(), odd.clone()), (false, false), "{no} {odd}");
        }
    }
}

#[test]
fn nobody_gets_past_by_breaking_the_encoding() {
    let table: [(&[u8], &str); 12] = [
        (b"bad \xff\xfe word", "bad \u{fffd}\u{fffd} word"),
        (br"bad \ud800 word", "bad \u{fffd} word"),
        (br"bad \udc00\ud800 word", "bad \u{fffd}\u{fffd} word"),
        (br"bad \ud800\u0041 word", "bad \u{fffd}A word"),
        (br"\ud83d\ude00 bad", "\u{1f600} bad"),
        (br"\ud83d\ude00 \ud83d bad", "\u{1f600} \u{fffd} bad"),
        (b"bad \0 word", "bad \0 word"),
        (b"bad\x01\n\x1f\x7f word", "bad\u{1}\n\u{1f}\u{7f} word"),
        (br"bad \x word \u12", r"bad \x word \u12"),
        (br"bad \u0000 word", "bad \0 word"),
        (b"\xf0\x9f bad", "\u{fffd} bad"),
        ("加\u{200b}微信".as_bytes(), "加\u{200b}微信"),
    ];
    for (raw, expected) in table {
        assert_eq!(text_of(&message(&with_text(raw))), expected, "{raw:?}");
    }
    let mut marked = b"\xef\xbb\xbf".to_vec();
    marked.extend(with_text(b"bad"));
    assert_eq!(text_of(&message(&marked)), "bad");
}

#[test]
fn nobody_gets_past_by_odd_numbers_shapes_or_depth() {
    let head = r#"{"CallbackCommand":"Group.CallbackAfterSendMsg","GroupId":"g","MsgSeq":1,"#;
    let spam = r#"{"MsgType":"TIMTextElem","MsgContent":{"Text":"spam"}}"#;
    let deep = format!("{}{}", "[{\"MsgBody\":".repeat(5000), "}]".repeat(5000));
    let relay = format!(r#"{{"MsgType":"TIMRelayElem","MsgContent":{{"MsgList":{deep}}}}}"#);
    // The innermost value is missing above, which the cut must not mind.
    for other in [
        r#"{"MsgType":"TIMLocationElem","MsgContent":{"Latitude":1e999,"Longitude":-1e999}}"#,
        r#"{"MsgType":7,"MsgContent":"text"}"#,
        r#"{"MsgType":"X"}"#,
        r#"{"MsgType":"X","MsgType":"Y","MsgContent":{},"MsgContent":{}}"#,
        r#""bare""#,
        "null",
        &relay,
    ] {
        let body = format!(r#"{head}"MsgBody":[{spam},{other}]}}"#);
        let message = message(body.as_bytes());
        assert_eq!((text_of(&message), message.elements.len()), ("spam", 2), "{other:.60}");
    }
    let single = format!(r#"{head}"MsgBody":{spam},"CloudCustomData":null,"From_Account":12}}"#);
    let message = message(single.as_bytes());
    assert_eq!((text_of(&message), message.sender.as_str()), ("spam", "12"));
}

#[test]
fn what_stays_unreadable_says_why_and_never_what() {
    let canary = "canary-text";
    let table = [
        (String::new(), "not JSON: line 1 column 0"),
        (format!(r#"{{"MsgBody":"{canary}"#), "not JSON: line 1 column 23"),
        (format!(r#"["{canary}"]"#), "not a JSON object"),
        (
            format!(r#"{{"CallbackCommand":"{canary}"}}"#),
            "CallbackCommand of the body is not that of the query",
        ),
        (format!(r#"{{"GroupId":"{canary}"}}"#), "CallbackCommand is missing or of another type"),
        (r#"{"GroupId":"a","GroupId":"b"}"#.to_owned(), "a field stands twice"),
        (
            r#"{"CallbackCommand":"Group.CallbackAfterSendMsg","MsgSeq":1}"#.to_owned(),
            "GroupId is missing or of another type",
        ),
    ];
    for (body, expected) in table {
        let error = parse_message(body.as_bytes(), "", RECEIVED).unwrap_err();
        assert_eq!(error.to_string(), expected, "{body}");
    }
}

#[test]
fn the_digest_is_over_the_content_and_nothing_else() {
    let one = r#"{"CallbackCommand":"Group.CallbackAfterSendMsg","GroupId":"g","MsgSeq":1,"From_Account":"a",
        "MsgTime":5,"MsgBody":[{"MsgType":"T","MsgContent":{"x":1,"y":"\u4f60"}}],"EventTime":1,"Random":1}"#;
    let same = r#"{"MsgBody":[{"MsgContent":{"y":"你","x":1},"MsgType":"T","More":1}],"MsgTime":"5","From_Account":"a",
        "GroupId":"g","MsgSeq":1,"CallbackCommand":"Group.CallbackAfterSendMsg","CloudCustomData":"","Random":2}"#;
    let hash = |body: &str| message(body.as_bytes()).content_hash;
    assert_eq!(hash(one), hash(same));
    for (from, to) in
        [("\"a\"", "\"b\""), ("\"MsgTime\":5", "\"MsgTime\":6"), ("\"x\":1", "\"x\":2")]
    {
        assert_ne!(hash(one), hash(&one.replace(from, to)));
    }
    assert_ne!(hash(one), hash(&one.replace("\"Random\":1", "\"CloudCustomData\":\"x\"")));
}

proptest! {
    #[test]
    fn any_text_comes_out_as_it_went_in(text: String) {
        let escaped = json!(text).to_string();
        let body = with_text(&escaped.as_bytes()[1..escaped.len() - 1]);
        let strict = message(&body);
        prop_assert_eq!(text_of(&strict), text.as_str());
        let mended = lenient::fields(mend::read(&body).unwrap()).unwrap();
        prop_assert_eq!(mended.into_message("iOS", RECEIVED).unwrap(), strict);
    }

    #[test]
    fn any_bytes_within_a_string_are_readable(mut raw: Vec<u8>) {
        // A quote, or a backslash before the closing one, would end another string than meant.
        raw.retain(|byte| *byte != b'"' && *byte != b'\\');
        prop_assert!(parse_message(&with_text(&raw), "", RECEIVED).is_ok());
    }

    #[test]
    fn no_bytes_make_it_panic(body: Vec<u8>, inside: Vec<u8>) {
        for command in ["", AFTER_SEND_MSG, AFTER_RECALL_MSG, REQUEST_OVER_LIMIT] {
            let _ = parse(&authentic(command), &body, RECEIVED);
            let _ = parse(&authentic(command), &with_text(&inside), RECEIVED);
        }
    }

    #[test]
    fn the_body_of_any_json_is_read_or_refused(nested in json_value()) {
        let body = json!({
            "CallbackCommand": AFTER_SEND_MSG, "GroupId": "g", "MsgSeq": 1, "MsgBody": nested,
        });
        prop_assert!(parse_message(body.to_string().as_bytes(), "", RECEIVED).is_ok());
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let name =
            prop_oneof![Just("MsgType".to_owned()), Just("MsgContent".to_owned()), any::<String>()];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
