//! No query passes for Chat's that was not signed with the token, and none makes the reader panic.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use quell::chat::verify::{Verifier, VerifierOptions};
use quell::model::Timestamp;

fuzz_target!(|query: &str| {
    let tolerance = Duration::from_mins(1);
    let signed = VerifierOptions {
        app_id: 7,
        tokens: vec!["a token that no fuzzer signs with".into()],
        tolerance,
    };
    let now = Timestamp(1_700_000_000_000);
    assert!(Verifier::new(signed).verify(query, now).is_err());
    let open = VerifierOptions { app_id: 7, tokens: Vec::new(), tolerance };
    if Verifier::new(open).verify(query, now).is_ok() {
        assert!(query.contains('7') || query.contains('%'));
    }
});
