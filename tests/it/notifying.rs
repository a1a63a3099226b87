//! Alerts, opposite a receiver on this machine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use quell::config::notify::{Form, key};
use quell::model::{SystemClock, Timestamp};
use quell::notify::{Alert, Delivery, Halt, Options, Unsent};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::daemon::Home;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A request as it arrived: its head in lower case, and its body.
type Arrived = (String, String);

/// A receiver that gives these answers, one after the other, the last one for ever.
async fn receiver(answers: &'static [&'static str]) -> (String, mpsc::UnboundedReceiver<Arrived>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?token=of-the-url", listener.local_addr().unwrap());
    let (sender, arrived) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut answers = VecDeque::from(answers.to_vec());
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = Vec::new();
            let request = loop {
                stream.read_buf(&mut read).await.unwrap();
                let text = String::from_utf8_lossy(&read).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let head = head.to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1).unwrap();
                if body.len() >= length.lines().next().unwrap().parse().unwrap() {
                    break (head, body.to_owned());
                }
            };
            let answer = answers.pop_front().unwrap_or("200 OK");
            let head =
                format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            stream.write_all(head.as_bytes()).await.unwrap();
            let _ = sender.send(request);
        }
    });
    (url, arrived)
}

fn options(url: &str, form: Form) -> Options {
    Options {
        url: url.into(),
        form,
        secret: Some(SECRET.into()),
        telegram_chat: String::new(),
        allow_private: true,
        queue_age: Duration::from_mins(1),
        summary_minute: None,
    }
}

fn delivery(options: &Options) -> Delivery {
    quell::chat::client::install_crypto();
    Delivery::new(options, Arc::new(SystemClock)).waiting_first(Duration::from_millis(1))
}

fn alert() -> Alert {
    let halt = Halt { why: "60026: wrong region".into(), needs_person: true };
    Alert::CallsHalted { halt, at: Timestamp(1_764_000_000_000) }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {head}"))
}

#[tokio::test]
async fn an_alert_is_repeated_until_it_is_taken_and_keeps_its_id() {
    let (url, mut arrived) = receiver(&[
        "503 Service Unavailable",
        "302 Found\r\nLocation: http://127.0.0.1:1/",
        "200 OK",
    ])
    .await;
    delivery(&options(&url, Form::Standard)).deliver(&alert()).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let (head, body) = arrived.recv().await.unwrap();
        assert!(head.starts_with("post /hook?token=of-the-url "), "{head}");
        ids.push(header(&head, "webhook-id").to_owned());
        assert!(header(&head, "webhook-signature").starts_with("v1,"), "{head}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["type"], "credential.refused");
        assert_eq!(body["data"], json!({"why": "60026: wrong region", "needs_person": true}));
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(arrived.try_recv().is_err(), "it was taken at the third attempt");
    assert_eq!(key(SECRET).unwrap().len(), 24);
}

#[tokio::test]
async fn private_addresses_are_refused_by_whatever_name() {
    let (url, mut arrived) = receiver(&[]).await;
    let named = url.replace("127.0.0.1", "localhost");
    for url in [url.as_str(), named.as_str(), "https://[::1]:9/", "https://169.254.169.254/latest"]
    {
        let options = Options { allow_private: false, ..options(url, Form::Slack) };
        let refused = delivery(&options).deliver(&alert()).await;
        assert!(matches!(refused, Err(Unsent::Private { .. })), "{url}: {refused:?}");
    }
    assert!(arrived.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tripped_rule_is_told_without_what_anybody_wrote() {
    let home = Home::new().await;
    let (url, mut arrived) = receiver(&[]).await;
    let url = format!("notify.url={url}");
    let set = [url.as_str(), "notify.allow_private=true", "notify.form=slack"];
    let app = home.start(&set).await;
    let store = app.app().store();
    let by = quell::store::By::new("quell", Timestamp(1_764_000_000_000));
    quell::store::Control::trip(store.as_ref(), &by, &"bait".into(), "60 of 100 senders")
        .await
        .unwrap();
    let (_, body) = arrived.recv().await.unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(text.contains("rule bait tripped: 60 of 100 senders"), "{text}");
    app.stop().await;
}

#[tokio::test]
async fn a_receiver_that_cannot_be_meant_is_a_mistake() {
    let home = Home::new().await;
    let keys = |set: &[&str]| -> Vec<String> {
        home.config(set).mistakes().into_iter().map(|mistake| mistake.key).collect()
    };
    assert_eq!(keys(&["notify.url=http://plain.example"]), ["notify.url"]);
    assert_eq!(keys(&["notify.url=http://plain.example", "notify.allow_private=true"]), [""; 0]);
    assert_eq!(keys(&["notify.secret=short"]), ["notify.secret"]);
    assert_eq!(
        keys(&["notify.form=telegram", "notify.url=https://x.example"]),
        ["notify.telegram_chat"]
    );
    assert_eq!(keys(&["notify.summary_at=25:00"]), ["notify.summary_at"]);
}
