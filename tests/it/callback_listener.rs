//! What the callback listener answers, case by case.

use std::time::Duration;

use quell::chat::verify::sign;
use quell::model::{Clock, SystemClock};
use quell::store::View;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::APP_ID;
use crate::support::daemon::{Callbacks, Home, TOKEN, message};

const SEND: &str = "Group.CallbackAfterSendMsg";

fn ok() -> Value {
    json!({"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": ""})
}

fn assert_fail(answer: &Value) {
    assert_eq!(answer["ActionStatus"], "FAIL");
    assert_ne!(answer["ErrorCode"], 0);
    assert!(answer["ErrorInfo"].as_str().is_some_and(|info| !info.is_empty()), "{answer}");
}

#[tokio::test]
async fn every_known_body_is_taken_in() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let mut messages = 0;
    for entry in std::fs::read_dir("tests/fixtures/callbacks").unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let body: Value = serde_json::from_str(&text).unwrap();
        let command = body["CallbackCommand"].as_str().unwrap_or("ContentCallback.ResultNotify");
        let (status, answer) = app.callbacks.send_raw(&Callbacks::query(command), text).await;
        assert_eq!((status, answer), (200, ok()), "{}", path.display());
        messages += usize::from(command == SEND);
    }
    let stored = app.rows(View::Messages).await;
    assert_eq!(stored.rows.len(), messages);
    let texts = app.column(View::Messages, "text").await.join("\n");
    for part in [
        "Good morning everyone",
        "north gate of the flower market",
        "Lunch on Friday?",
        "price list (autumn).pdf",
        "quoted text sits outside MsgBody",
        "the van is booked",
        "omar: first line",
        "pack2/wink",
        "tail",
        "Lena started a poll",
    ] {
        assert!(texts.contains(part), "{part} is missing");
    }
    app.stop().await;
}

#[tokio::test]
async fn only_chat_is_listened_to() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let now = SystemClock.now().secs();
    let signed = |time: i64| format!("Sign={}&RequestTime={time}", sign(TOKEN, &time.to_string()));
    let base = format!("SdkAppid={APP_ID}&CallbackCommand={SEND}");
    let refused = [
        String::new(),
        base.clone(),
        format!("SdkAppid=1400000002&CallbackCommand={SEND}&{}", signed(now)),
        format!("CallbackCommand={SEND}&{}", signed(now)),
        format!("{base}&{}", signed(now - 75)),
        format!("{base}&{}", signed(now + 75)),
        format!("{base}&RequestTime={now}"),
        format!("{base}&Sign={}", sign(TOKEN, &now.to_string())),
        format!("{base}&RequestTime={now}&Sign={}", sign("wrong", &now.to_string())),
        format!("{base}&RequestTime={now}&Sign="),
        format!("{base}&{}&SdkAppid={APP_ID}", signed(now)),
        format!("{base}&{}&RequestTime={now}", signed(now)),
        format!("{base}&RequestTime={now}x&Sign={}", sign(TOKEN, &format!("{now}x"))),
    ];
    for query in refused {
        let body = message("g", 1, "bad").to_string();
        let (status, answer) = app.callbacks.send_raw(&query, body).await;
        assert_eq!(status, 403, "{query}");
        assert_fail(&answer);
    }
    let upper = sign(TOKEN, &now.to_string()).to_uppercase();
    let accepted = format!("{base}&RequestTime={now}&Sign={upper}&RequestId=7");
    let body = message("g", 2, "fine").to_string();
    assert_eq!(app.callbacks.send_raw(&accepted, body).await.0, 200);
    assert_eq!(app.column(View::Messages, "msg_seq").await, ["2"]);
    assert!(app.column(View::Recalls, "state").await.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_message_is_answered_too() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let plain = Callbacks::query("X").replace("CallbackCommand=X&", "");
    for (query, body) in [
        (Callbacks::query("Group.CallbackAfterNewMemberJoin"), "{}"),
        (Callbacks::query("Some.FutureCommand"), "not json at all"),
        (Callbacks::query("C2C.CallbackAfterSendMsg"), ""),
        (plain, "{}"),
    ] {
        assert_eq!(app.callbacks.send_raw(&query, body).await, (200, ok()), "{query}");
    }
    assert!(app.rows(View::Messages).await.rows.is_empty());
    app.stop().await;
}

#[tokio::test]
async fn an_unreadable_body_goes_to_quarantine() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let mut no_group = message("g", 1, "bad");
    no_group.as_object_mut().unwrap().remove("GroupId");
    let mut other = message("g", 1, "bad");
    other["CallbackCommand"] = json!("Group.CallbackBeforeSendMsg");
    let mut huge_seq = message("g", 1, "bad");
    huge_seq["MsgSeq"] = json!(4_294_967_296_u64);
    for body in
        ["{\"GroupId\":".to_owned(), no_group.to_string(), other.to_string(), huge_seq.to_string()]
    {
        let (status, answer) = app.callbacks.send_raw(&Callbacks::query(SEND), body).await;
        assert_eq!(status, 400);
        assert_fail(&answer);
    }
    let kept = app.column(View::Quarantine, "body").await;
    assert_eq!(kept.len(), 4);
    assert_eq!(kept[3], "{\"GroupId\":");
    app.stop().await;
}

#[tokio::test]
async fn size_method_and_path_are_checked() {
    let home = Home::new().await;
    let app = home.start(&["server.max_body_bytes=4096"]).await;
    let long = message("g", 1, &"x".repeat(5000)).to_string();
    let query = Callbacks::query(SEND);
    let (status, answer) = app.callbacks.send_raw(&query, long.clone()).await;
    assert_eq!(status, 413);
    assert_fail(&answer);
    // The same in pieces, without its length told beforehand.
    let address = app.app().callback_address();
    let raw = |head: String, body: String| async move {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let _ = stream.write_all(body.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let head = |method: &str, path: &str, rest: &str| {
        format!("{method} {path}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{rest}\r\n")
    };
    let chunked = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    let answer = raw(head("POST", "/callback", "Transfer-Encoding: chunked\r\n"), chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let answer = raw(head("GET", "/callback", ""), String::new()).await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("FAIL"), "{answer}");
    let answer = raw(head("POST", "/", "Content-Length: 0\r\n"), String::new()).await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("FAIL"), "{answer}");
    app.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_room() {
    let home = Home::new().await;
    let app = home.start(&["server.max_connections=2"]).await;
    let request = || {
        let query = Callbacks::query("X");
        format!("POST /callback?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}")
    };
    let connect = async || {
        let address = app.app().callback_address();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request().as_bytes()).await.unwrap();
        stream
    };
    let answered = async |stream: &mut tokio::net::TcpStream| {
        let mut answer = vec![0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200 OK");
        let mut rest = vec![0; 1024];
        assert!(stream.read(&mut rest).await.unwrap() > 0);
    };
    let (mut first, mut second) = (connect().await, connect().await);
    answered(&mut first).await;
    answered(&mut second).await;
    // The system takes this one; nobody reads from it.
    let mut third = connect().await;
    for kept in [&mut first, &mut second] {
        kept.write_all(request().as_bytes()).await.unwrap();
        answered(kept).await;
    }
    assert!(third.try_read(&mut [0; 1]).is_err(), "there were more than two");
    drop(first);
    answered(&mut third).await;
    app.stop().await;
}

#[tokio::test]
async fn slow_clients_are_cut_off_and_idle_ones_are_not() {
    let home = Home::new().await;
    let set = ["server.header_timeout_ms=600", "server.body_timeout_ms=100"];
    let app = home.start(&set).await;
    let connect = || tokio::net::TcpStream::connect(app.app().callback_address());
    let ends = |mut stream: tokio::net::TcpStream| async move {
        let mut rest = Vec::new();
        let read =
            tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "the connection stayed open");
        String::from_utf8_lossy(&rest).into_owned()
    };
    assert_eq!(ends(connect().await.unwrap()).await, "", "no byte ever came");
    let mut half = connect().await.unwrap();
    half.write_all(b"POST /callback HTTP/1.1\r\nHost:").await.unwrap();
    ends(half).await;
    let mut body = connect().await.unwrap();
    let query = Callbacks::query(SEND);
    let head =
        format!("POST /callback?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{");
    body.write_all(head.as_bytes()).await.unwrap();
    assert!(ends(body).await.starts_with("HTTP/1.1 408"));
    // An answered connection may idle for longer than a request may take.
    let mut kept = connect().await.unwrap();
    let request = format!(
        "POST /callback?{} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}",
        Callbacks::query("X")
    );
    for _ in 0..2 {
        kept.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 15];
        kept.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200 OK");
        let mut rest = [0; 1024];
        let idle = tokio::time::timeout(Duration::from_millis(1200), async {
            while kept.read(&mut rest).await.unwrap() > 0 {}
        });
        assert!(idle.await.is_err(), "the connection was closed while idle");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_slow_body_behind_a_slow_head_is_told_why() {
    let home = Home::new().await;
    let app = home.start(&["server.header_timeout_ms=1000", "server.body_timeout_ms=2500"]).await;
    let mut stream = tokio::net::TcpStream::connect(app.app().callback_address()).await.unwrap();
    let line = format!("POST /callback?{} HTTP/1.1\r\n", Callbacks::query(SEND));
    stream.write_all(line.as_bytes()).await.unwrap();
    // The body still has its time when that of both together is over.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    stream.write_all(b"Host: x\r\nContent-Length: 100\r\n\r\n{").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    app.stop().await;
}
