//! What comes from outside and is read: callbacks and their queries, the configuration. No input makes
//! a reader panic or lets through what it must not. `fuzz/` gives the same entry points to a fuzzer.

use std::time::Duration;

use proptest::prelude::*;
use quell::chat::verify::{Verifier, VerifierOptions, sign};
use quell::chat::wire::{self, AFTER_SEND_MSG, Event};
use quell::config::{self, Overrides};
use quell::model::Timestamp;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn verifier(tokens: &[&str]) -> Verifier {
    Verifier::new(VerifierOptions {
        app_id: 7,
        tokens: tokens.iter().map(|token| (*token).into()).collect(),
        tolerance: Duration::from_mins(1),
    })
}

fn parse(command: &str, body: &[u8]) -> Result<Event, wire::Unreadable> {
    let query = format!("SdkAppid=7&CallbackCommand={command}");
    wire::parse(&verifier(&[]).verify(&query, NOW).unwrap(), body, NOW)
}

/// A callback of a message with anything in the places that a sender fills.
fn body(text: &str, sender: &str, data: &str, seq: u64) -> serde_json::Value {
    serde_json::json!({
        "CallbackCommand": AFTER_SEND_MSG,
        "GroupId": "@TGS#1",
        "Type": "Public",
        "From_Account": sender,
        "MsgSeq": seq,
        "MsgTime": 1_700_000_000,
        "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }],
        "CloudCustomData": data,
    })
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(junk in prop::collection::vec(any::<u8>(), 0..200)) {
        for command in ["", AFTER_SEND_MSG, "Group.CallbackAfterRecallMsg", "State.StateChange"] {
            let _ = parse(command, &junk);
        }
    }

    #[test]
    fn a_message_is_read_whatever_its_sender_wrote(
        text in any::<String>(), sender in "\\PC{1,30}", data in any::<String>(), seq in 1..u64::from(u32::MAX),
    ) {
        let event = parse(AFTER_SEND_MSG, body(&text, &sender, &data, seq).to_string().as_bytes());
        let Ok(Event::Message(message)) = event else { panic!("{event:?}") };
        prop_assert_eq!(message.sender.as_str(), sender);
        prop_assert_eq!(message.key.msg_seq, seq);
        prop_assert!(message.text.as_str().starts_with(&text));
    }

    #[test]
    fn a_body_cut_or_changed_anywhere_is_read_or_refused(
        text in any::<String>(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let whole = body(&text, "u", "{}", 5).to_string().into_bytes();
        let at = at.index(whole.len());
        let _ = parse(AFTER_SEND_MSG, &whole[..at]);
        let mut changed = whole;
        changed[at] = byte;
        let _ = parse(AFTER_SEND_MSG, &changed);
    }

    #[test]
    fn no_query_passes_without_its_signature(
        junk in any::<String>(), time in any::<u32>(), guess in "[0-9a-f]{0,64}",
    ) {
        let verifier = verifier(&["the token"]);
        prop_assert!(verifier.verify(&junk, NOW).is_err());
        let query = format!("SdkAppid=7&RequestTime={time}&Sign={guess}&x={junk}");
        prop_assert!(verifier.verify(&query, NOW).is_err());
    }

    #[test]
    fn a_signature_holds_for_its_minute_and_no_longer(away in -200i64..200) {
        let time = (1_700_000_000 + away).to_string();
        let sign = sign("the token", &time);
        let query = format!("SdkAppid=7&RequestTime={time}&Sign={sign}");
        let passes = verifier(&["another", "the token"]).verify(&query, NOW).is_ok();
        prop_assert_eq!(passes, away.abs() <= 60);
    }

    #[test]
    fn any_configuration_is_read_or_refused(
        lines in prop::collection::vec(prop::sample::select(vec![
            "[server]", "[chat]", "[recall]", "[guard]", "[nothing]", "listen = \"127.0.0.1:1\"", "listen = 1",
            "sdk_app_id = 1400000000", "sdk_app_id = -1", "calls_per_second = 1e9", "secret_key = [1]",
            "callback_token = [\"a\", \"b\"]", "trip_share = nan", "[[chat]]", "a.b.c = 1", "mode = \"live\"", "\u{0}", "= 5",
        ]), 0..10),
        junk in any::<String>(),
    ) {
        for text in [lines.join("\n"), junk] {
            match config::load_str("some.toml", &text, &Overrides::default()) {
                Ok(loaded) => drop(loaded.config.mistakes()),
                Err(error) => {
                    prop_assert!(error.mistakes.iter().all(|mistake| !mistake.to_string().is_empty()));
                    drop(error.rest.map(|rest| rest.config.mistakes()));
                }
            }
        }
    }
}
