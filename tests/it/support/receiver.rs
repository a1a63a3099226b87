//! A callback receiver that does nothing but verify, read and answer.

use std::time::Duration;

use quell::chat::verify::{Verifier, VerifierOptions};
use quell::chat::wire::{self, Event};
use quell::model::{Clock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::APP_ID;

const OK: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#;

/// A callback receiver that verifies and reads, answers with success, and hands the events on.
pub(crate) async fn receiver() -> (String, mpsc::UnboundedReceiver<Event>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/callback", listener.local_addr().unwrap());
    let (events, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(receive(stream, events.clone()));
        }
    });
    (url, received)
}

async fn receive(mut stream: TcpStream, events: mpsc::UnboundedSender<Event>) {
    let tolerance = Duration::from_mins(1);
    let tokens = vec!["xxxxyyyy".into()];
    let verifier = Verifier::new(VerifierOptions { app_id: APP_ID, tokens, tolerance });
    let mut read = Vec::new();
    while stream.read_buf(&mut read).await.is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap();
        if body.len() < length.parse().unwrap() {
            continue;
        }
        let target = head.split(' ').nth(1).unwrap();
        let (path, query) = target.split_once('?').unwrap();
        assert_eq!(path, "/callback");
        let now = SystemClock.now();
        let authentic = verifier.verify(query, now).unwrap();
        events.send(wire::parse(&authentic, body.as_bytes(), now).unwrap()).unwrap();
        read.clear();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{OK}", OK.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}
