//! What it costs to verify a callback's query, to read its body, and to take it in up to the store's
//! queue; with the allocations of each: `cargo bench --bench callbacks`.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use futures_util::FutureExt;
use quell::chat::verify::{Authentic, Verifier, VerifierOptions, sign};
use quell::chat::wire;
use quell::intake::{Intake, Limits, Options, Refused, StoreText};
use quell::model::{ManualClock, Timestamp};
use quell::rules;
use quell::store::{Error, sqlite};

const APP_ID: u64 = 1_400_000_001;
const NOW: Timestamp = Timestamp(1_764_005_001_000);

/// The allocator of the binary, counted.
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler<mimalloc::MiMalloc> =
    divan::AllocProfiler::new(mimalloc::MiMalloc);

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

fn authentic(query: &str) -> Authentic<'_> {
    verifier().verify(query, NOW).expect("the query is signed")
}

/// A fixture, as Chat writes it: without spaces, its fields in an order of their own.
fn body(name: &str) -> String {
    let path = format!("tests/fixtures/callbacks/{name}.json");
    let pretty = std::fs::read_to_string(path).expect("a callback body");
    pretty.lines().map(|line| line.trim().replacen("\": ", "\":", 1)).collect()
}

/// With one rule, and a store that answers at once: it is closed.
async fn intake(folder: &Path) -> Intake {
    let rules = "version: 1\nrules:\n  - id: bait\n    when: {keyword: {words: [bait]}}\n";
    let rules = rules::load_str("rules.yaml", rules, folder).expect("a rules file").rules;
    let store = sqlite::open(&sqlite::Options::at(&folder.join("quell.db"))).await;
    let store = Arc::new(store.expect("a new database"));
    let options = Options {
        enforce: true,
        identifier: "administrator".into(),
        store_text: StoreText::All,
        guard: Limits {
            trip_share: 0.5,
            trip_min_senders: 50,
            rule_recalls_per_minute: 0,
            sender_recalls_per_minute: 0,
        },
    };
    let clock = Arc::new(ManualClock::at(NOW));
    let intake = Intake::new(verifier(), rules, Arc::clone(&store) as _, clock, options).await;
    store.close().await;
    intake.expect("the database can be read")
}

/// From the query to the store, and the answer.
#[divan::bench]
fn take(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let intake = runtime.block_on(intake(folder.path()));
    let (query, body) = (query(), body("text"));
    bencher.bench(|| {
        let authentic = intake.verify(black_box(&query)).expect("the query is signed");
        let taken = intake.take(&authentic, black_box(body.as_bytes())).now_or_never();
        assert!(matches!(taken, Some(Err(Refused::Store(Error::Closed)))));
    });
}

#[divan::bench]
fn verify(bencher: Bencher<'_, '_>) {
    let (verifier, query) = (verifier(), query());
    bencher.bench(|| verifier.verify(black_box(&query), NOW));
}

#[divan::bench(args = ["text", "multi_element", "relay_with_list"])]
fn read(bencher: Bencher<'_, '_>, name: &str) {
    let (body, query) = (body(name), query());
    let authentic = authentic(&query);
    bencher.bench(|| wire::parse(&authentic, black_box(body.as_bytes()), NOW));
}

/// A body that strict reading refuses: a lone surrogate.
#[divan::bench]
fn read_what_needs_mending(bencher: Bencher<'_, '_>) {
    let body = br#"{"CallbackCommand":"Group.CallbackAfterSendMsg","GroupId":"g","MsgSeq":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"lone \ud800 surrogate"}}]}"#;
    let query = query();
    let authentic = authentic(&query);
    bencher.bench(|| wire::parse(&authentic, black_box(body), NOW));
}
