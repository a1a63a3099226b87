//! Figures rather than proofs: `cargo test --release --test it figures -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use quell::chat::verify::{Verifier, VerifierOptions, sign};
use quell::chat::wire;
use quell::model::Timestamp;
use quell::sim::traffic::{Traffic, TrafficOptions};
use quell::sim::{CallbackTarget, Sim};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"ActionStatus\":\"OK\",\"ErrorCode\":0,\"ErrorInfo\":\"\"}";

fn each(what: &str, mut run: impl FnMut()) {
    const RUNS: u32 = 200_000;
    let began = Instant::now();
    for _ in 0..RUNS {
        run();
    }
    let nanos = began.elapsed().as_nanos() / u128::from(RUNS);
    eprintln!("{what}: {nanos} ns");
}

#[test]
#[ignore = "prints figures"]
fn reading_a_callback() {
    let now = Timestamp::from_secs(1_764_005_001);
    let sign = sign("xxxxyyyy", "1764005001");
    let query = format!(
        "SdkAppid={}&CallbackCommand=Group.CallbackAfterSendMsg&contenttype=json&ClientIP=203.0.113.7&OptPlatform=Android&Sign={sign}&RequestTime=1764005001",
        support::APP_ID
    );
    let verifier = Verifier::new(VerifierOptions {
        app_id: support::APP_ID,
        tokens: vec!["xxxxyyyy".into()],
        tolerance: Duration::from_mins(1),
    });
    let authentic = verifier.verify(&query, now).unwrap();
    each("verify", || drop(verifier.verify(&query, now).unwrap()));
    for name in ["text", "multi_element", "relay_with_list"] {
        let pretty = std::fs::read(format!("tests/fixtures/callbacks/{name}.json")).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&pretty).unwrap();
        let body = value.to_string();
        each(&format!("parse {name}, {} bytes", body.len()), || {
            drop(wire::parse(&authentic, body.as_bytes(), now).unwrap());
        });
    }
    let broken = br#"{"CallbackCommand":"Group.CallbackAfterSendMsg","GroupId":"g","MsgSeq":1,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"lone \ud800 surrogate"}}]}"#;
    each("parse with mending", || drop(wire::parse(&authentic, broken, now).unwrap()));
}

/// Clock ticks that the process has spent, in hundredths of a second on every Linux there is.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let fields: Vec<f64> =
        after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    fields.iter().sum::<f64>() / 100.0
}

#[tokio::test]
#[ignore = "prints figures"]
async fn traffic_at_5000_a_second() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/callback", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut read = [0; 16 * 1024];
                // One request fits into one read on loopback, and the next comes after the answer.
                while stream.read(&mut read).await.is_ok_and(|n| n > 0) {
                    if stream.write_all(OK.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let sim = Sim::start(support::sim_options()).await.unwrap();
    let target = CallbackTarget { url, token: Some("xxxxyyyy".into()) };
    let options = TrafficOptions { rate: 5000.0, ..TrafficOptions::default() };
    let (began, spent) = (Instant::now(), cpu());
    let traffic = Traffic::start(&sim, &target, &options).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let progress = traffic.progress();
    let seconds = began.elapsed().as_secs_f64();
    let spent = cpu() - spent;
    eprintln!("{progress:?} in {seconds:.2} s, {spent:.2} s of CPU, receiver included");
    traffic.stop().await;
}
