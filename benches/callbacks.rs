//! What it costs to verify a callback's query and to read its body: `cargo bench --bench callbacks`.

use std::hint::black_box;
use std::time::Duration;

use divan::Bencher;
use quell::chat::verify::{Authentic, Verifier, VerifierOptions, sign};
use quell::chat::wire;
use quell::model::Timestamp;

const APP_ID: u64 = 1_400_000_001;
const NOW: Timestamp = Timestamp(1_764_005_001_000);

fn main() {
    divan::main();
}

fn verifier() -> Verifier {
    Verifier::new(VerifierOptions {
        app_id: APP_ID,
        tokens: vec!["a-callback-token".into()],
        tolerance: Duration::from_mins(1),
    })
}

fn query() -> String {
    let time = NOW.secs().to_string();
    let sign = sign("a-callback-token", &time);
    format!(
        "SdkAppid={APP_ID}&CallbackCommand=Group.CallbackAfterSendMsg&contenttype=json\
         &ClientIP=203.0.113.7&OptPlatform=Android&Sign={sign}&RequestTime={time}"
    )
}

fn authentic() -> Authentic {
    verifier().verify(&query(), NOW).expect("the query is signed")
}

#[divan::bench]
fn verify(bencher: Bencher<'_, '_>) {
    let (verifier, query) = (verifier(), query());
    bencher.bench(|| verifier.verify(black_box(&query), NOW));
}

#[divan::bench(args = ["text", "multi_element", "relay_with_list"])]
fn read(bencher: Bencher<'_, '_>, name: &str) {
    let path = format!("tests/fixtures/callbacks/{name}.json");
    let pretty = std::fs::read(path).expect("a callback body");
    let body: serde_json::Value = serde_json::from_slice(&pretty).expect("JSON");
    let (body, authentic) = (body.to_string(), authentic());
    bencher.bench(|| wire::parse(&authentic, black_box(body.as_bytes()), NOW));
}

/// A body that strict reading refuses: a lone surrogate.
#[divan::bench]
fn read_what_needs_mending(bencher: Bencher<'_, '_>) {
    let body = br#"{"CallbackCommand":"Group.CallbackAfterSendMsg","GroupId":"g","MsgSeq":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"lone \ud800 surrogate"}}]}"#;
    let authentic = authentic();
    bencher.bench(|| wire::parse(&authentic, black_box(body), NOW));
}
