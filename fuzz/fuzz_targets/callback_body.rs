//! Any body of an authentic callback is read or refused, whatever its command; what was read is the
//! same when it is read again.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use quell::chat::verify::{Verifier, VerifierOptions};
use quell::chat::wire;
use quell::model::Timestamp;

const COMMANDS: [&str; 6] = [
    "",
    "Group.CallbackAfterSendMsg",
    "Group.CallbackAfterRecallMsg",
    "Group.CallbackAfterGroupDestroyed",
    "Group.CallbackAfterTopicDestroyed",
    "State.StateChange",
];

fuzz_target!(|body: &[u8]| {
    let options = VerifierOptions { app_id: 7, tokens: Vec::new(), tolerance: Duration::ZERO };
    let verifier = Verifier::new(options);
    let now = Timestamp(1_700_000_000_000);
    for command in COMMANDS {
        let query = format!("SdkAppid=7&CallbackCommand={command}");
        let authentic = verifier.verify(&query, now).expect("a query that is good");
        let once = wire::parse(&authentic, body, now);
        assert_eq!(format!("{once:?}"), format!("{:?}", wire::parse(&authentic, body, now)));
    }
});
