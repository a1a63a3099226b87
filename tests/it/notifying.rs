//! Alerts, opposite a receiver on this machine.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quell::config::notify::{Form, key};
use quell::model::{SystemClock, Timestamp};
use quell::notify::{Alert, Delivery, Halt, Lookup, Receiver, Unsent};
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

fn to(url: &str, form: Form) -> Receiver {
    Receiver {
        url: url.into(),
        form,
        secret: Some(SECRET.into()),
        telegram_chat: String::new(),
        allow_private: true,
    }
}

fn delivery(receiver: Receiver) -> Delivery {
    quell::chat::client::install_crypto();
    Delivery::new(receiver, Arc::new(SystemClock)).waiting_first(Duration::from_millis(1))
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
    delivery(to(&url, Form::Standard)).deliver(&alert()).await.unwrap();
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
        let receiver = Receiver { allow_private: false, ..to(url, Form::Slack) };
        let refused = delivery(receiver).deliver(&alert()).await;
        assert!(matches!(refused, Err(Unsent::Private { .. })), "{url}: {refused:?}");
    }
    assert!(arrived.try_recv().is_err());
}

/// A resolver that knows these answers, one after the other, for whatever host.
fn resolver(answers: &[&str]) -> (Lookup, Arc<Mutex<VecDeque<SocketAddr>>>) {
    let answers: VecDeque<SocketAddr> =
        answers.iter().map(|address| address.parse().unwrap()).collect();
    let left = Arc::new(Mutex::new(answers));
    let answers = Arc::clone(&left);
    let lookup: Lookup = Arc::new(move |host, _| {
        assert_eq!(host, "receiver.example");
        let answer: Option<SocketAddr> = answers.lock().unwrap().pop_front();
        Box::pin(async move { Ok(answer.into_iter().collect()) })
    });
    (lookup, left)
}

#[tokio::test]
async fn what_is_called_is_the_address_that_was_looked_at() {
    let (url, mut arrived) = receiver(&[]).await;
    let address = url.split('/').nth(2).unwrap().to_owned();
    let port = address.split(':').nth(1).unwrap();
    let url = format!("http://receiver.example:{port}/hook");
    // No resolver but this one knows the name: whoever asked again would not get there.
    let (lookup, left) = resolver(&[&address, "127.0.0.1:1"]);
    let delivery = delivery(to(&url, Form::Slack)).resolving_by(lookup);
    delivery.deliver(&alert()).await.unwrap();
    let (head, _) = arrived.recv().await.unwrap();
    assert_eq!(header(&head, "host"), format!("receiver.example:{port}"));
    assert!(header(&head, "user-agent").starts_with("quell/"), "{head}");
    assert_eq!(left.lock().unwrap().len(), 1, "it was asked more than once");
}

#[tokio::test]
async fn a_name_that_turns_private_is_refused_at_the_next_attempt() {
    // Public at first, where nobody listens to this scheme; then the address of a cloud's secrets.
    let (lookup, left) = resolver(&["[2001:4860:0:ffff::1]:1", "169.254.169.254:443"]);
    let receiver =
        Receiver { allow_private: false, ..to("unknown://receiver.example:1/", Form::Slack) };
    let refused = delivery(receiver).resolving_by(lookup).deliver(&alert()).await;
    assert!(matches!(refused, Err(Unsent::Private { .. })), "{refused:?}");
    assert!(left.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_left_alone() {
    let (url, mut arrived) = receiver(&["410 Gone"]).await;
    let refused = delivery(to(&url, Form::Standard)).deliver(&alert()).await;
    assert!(matches!(refused, Err(Unsent::Refused { .. })), "{refused:?}");
    arrived.recv().await.unwrap();
    assert!(arrived.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_answer_holds_up_no_other() {
    let home = Home::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, mut arrived) = receiver(&[]).await;
    let mut config = std::fs::read_to_string(home.config_path()).unwrap();
    let more = format!(
        "[notify]\nurl = 'http://{}/'\nallow_private = true\n\
         [[notify.also]]\nurl = '{url}'\nform = 'discord'\n",
        silent.local_addr().unwrap()
    );
    config.push_str(&more);
    std::fs::write(home.config_path(), config).unwrap();
    let app = home.start(&[]).await;
    let by = quell::store::By::new("quell", Timestamp(1_764_000_000_000));
    let store = app.app().store();
    for rule in ["bait", "curious"] {
        quell::store::Control::trip(store.as_ref(), &by, &rule.into(), "60 of 100 senders")
            .await
            .unwrap();
    }
    for _ in 0..2 {
        let (_, body) = arrived.recv().await.unwrap();
        assert!(body.contains("60 of 100 senders") && body.contains("allowed_mentions"), "{body}");
    }
    app.stop().await;
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
    let mut config = home.config(&[]);
    config.notify.also = vec![quell::config::notify::Receiver::default(); 2];
    config.notify.also[1].url = "http://plain.example".into();
    let keys: Vec<_> = config.mistakes().into_iter().map(|mistake| mistake.key).collect();
    assert_eq!(keys, ["notify.also[0].url", "notify.also[1].url"]);
}
