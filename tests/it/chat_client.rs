//! What the REST client makes of servers that misbehave on the wire. Each server here is a bare
//! socket, so that it counts what really arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quell::chat::client::{CallResult, Client, ClientOptions, Unclear};
use quell::chat::error::Class;
use quell::model::SystemClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"RequestId":"r","RecallRetList":[{"MsgSeq":1,"RetCode":0}]}"#;

fn client(base_url: &str) -> Client {
    let mut options = ClientOptions::new(base_url, 1_400_000_001, "administrator", "key".into());
    options.max_answer_bytes = 4096;
    Client::new(options, Arc::new(SystemClock)).unwrap()
}

/// What a server does about the n-th request of all, counted from 1.
#[derive(Clone, Copy)]
enum Then {
    Answer,
    AnswerAndClose,
    Close,
    Hang,
    Raw(&'static str),
}

struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
    last: Arc<std::sync::Mutex<String>>,
}

async fn server(then: fn(usize) -> Then) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let last = Arc::new(std::sync::Mutex::new(String::new()));
    let (counter, seen) = (requests.clone(), last.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, counter.clone(), seen.clone(), then));
        }
    });
    Server { url, requests, last }
}

async fn serve(
    mut stream: TcpStream,
    requests: Arc<AtomicUsize>,
    last: Arc<std::sync::Mutex<String>>,
    then: fn(usize) -> Then,
) {
    while let Some(request) = read_request(&mut stream).await {
        *last.lock().unwrap() = request;
        let then = then(requests.fetch_add(1, Ordering::SeqCst) + 1);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{ANSWER}", ANSWER.len());
        match then {
            Then::Answer => stream.write_all(answer.as_bytes()).await.unwrap(),
            Then::AnswerAndClose => return stream.write_all(answer.as_bytes()).await.unwrap(),
            Then::Close => return,
            Then::Hang => std::future::pending().await,
            Then::Raw(raw) => return stream.write_all(raw.as_bytes()).await.unwrap(),
        }
    }
}

/// Head and body of one request; `None` when the connection ends.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    loop {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&read).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
        if body.len() >= length {
            return Some(String::from_utf8_lossy(&read).into_owned());
        }
    }
}

async fn recall(client: &Client) -> CallResult<quell::chat::client::Recalled> {
    client.recall(&"g".into(), &"".into(), &[1], None).await
}

#[tokio::test]
async fn a_call_is_one_request_even_when_kept_connections_are_closed() {
    // Says nothing of closing, then closes: the next call may meet a connection that is just gone.
    let server = server(|_| Then::AnswerAndClose).await;
    let client = client(&server.url);
    let mut clear = 0;
    for calls in 1..=200 {
        let called = recall(&client).await;
        clear += usize::from(matches!(called, CallResult::Answered(_)));
        // A request written into a closing connection may be lost; it is never sent again.
        assert!(server.requests.load(Ordering::SeqCst) <= calls);
    }
    assert!(server.requests.load(Ordering::SeqCst) >= clear);
}

#[tokio::test]
async fn a_request_that_arrived_and_broke_is_unclear_and_not_repeated() {
    let server = server(|nth| if nth % 2 == 1 { Then::Answer } else { Then::Close }).await;
    let client = client(&server.url);
    for round in 1..=50 {
        assert!(matches!(recall(&client).await, CallResult::Answered(_)));
        let broken = recall(&client).await;
        assert!(
            matches!(
                &broken,
                CallResult::Unclear { why: Unclear::Disconnected(_), http_status: None }
            ),
            "{broken:?}"
        );
        assert_eq!(server.requests.load(Ordering::SeqCst), round * 2);
    }
}

#[tokio::test]
async fn a_refused_connection_is_known_not_to_be_sent() {
    // An address of its own: nobody else is given the port that is let go of.
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let CallResult::NotSent { why } = recall(&client(&url)).await else { panic!("was sent") };
    assert!(why.contains("onnect") && !why.contains("usersig"), "{why}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_known_not_to_be_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let called = recall(&client(&url)).await;
    assert!(matches!(called, CallResult::NotSent { .. }), "{called:?}");
}

#[tokio::test]
async fn no_answer_in_time_is_unclear() {
    let server = server(|_| Then::Hang).await;
    let mut options = ClientOptions::new(&server.url, 1, "a", "key".into());
    options.timeout = Duration::from_secs(1);
    let client = Client::new(options, Arc::new(SystemClock)).unwrap();
    let called = recall(&client).await;
    assert_eq!(called, CallResult::Unclear { why: Unclear::TimedOut, http_status: None });
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn answers_that_are_none_are_unclear() {
    const HTML: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\n\r\n<html>";
    const MOVED: &str = "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
    const NO_JSON: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>";
    const NO_CODE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 21\r\n\r\n{\"ActionStatus\":\"OK\"}";
    const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\n{\"ActionStatus\":\"OK\"}";
    const HUGE: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n";
    let then = |nth| {
        let huge = || Box::leak(format!("{HUGE}{}", " ".repeat(0xffff)).into_boxed_str());
        match nth {
            1 => Then::Raw(HTML),
            2 => Then::Raw(MOVED),
            3 => Then::Raw(NO_JSON),
            4 => Then::Raw(NO_CODE),
            5 => Then::Raw(HALF),
            _ => Then::Raw(huge()),
        }
    };
    let server = server(then).await;
    let client = client(&server.url);
    let expected = [
        (Unclear::HttpStatus, 502),
        (Unclear::HttpStatus, 302),
        (Unclear::BadBody, 200),
        (Unclear::BadBody, 200),
        (Unclear::Disconnected(String::new()), 200),
        (Unclear::AnswerTooLarge, 200),
    ];
    for (nth, (why, status)) in expected.into_iter().enumerate() {
        let CallResult::Unclear { why: found, http_status } = recall(&client).await else {
            panic!("{why} was taken for an answer")
        };
        let broke = |why: &Unclear| matches!(why, Unclear::Disconnected(_));
        assert!(found == why || (broke(&found) && broke(&why)), "{found:?} for {why:?}");
        assert_eq!(http_status, Some(status));
        assert_eq!(server.requests.load(Ordering::SeqCst), nth + 1, "no redirect is followed");
    }
}

#[tokio::test]
async fn a_call_looks_as_the_provider_wants_it() {
    let server = server(|_| Then::Answer).await;
    let client = client(&format!("{}/prefix/", server.url));
    let reason = "理由".repeat(40);
    let (group, topic) = ("a \"group\"%".into(), "t".into());
    let called = client.recall(&group, &topic, &[1, 2], Some(&reason)).await;
    let CallResult::Answered(answer) = called else { panic!("{called:?}") };
    assert_eq!((answer.class(), answer.request_id.as_str()), (Class::Done, "r"));
    let codes: Vec<_> = answer.value.items.iter().map(|item| item.ret_code).collect();
    assert_eq!(codes, [Some(0), None]);

    let request = server.last.lock().unwrap().clone();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let line = head.lines().next().unwrap();
    let start = "POST /prefix/v4/group_open_http_svc/group_msg_recall?sdkappid=1400000001&identifier=administrator&usersig=";
    assert!(line.starts_with(start) && line.ends_with("&contenttype=json HTTP/1.1"), "{line}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["GroupId"], "a \"group\"%");
    assert_eq!(body["MsgSeqList"], serde_json::json!([{"MsgSeq": 1}, {"MsgSeq": 2}]));
    assert_eq!(body["Reason"].as_str().map(str::len), Some(99), "cut between characters");
}

#[tokio::test]
async fn too_many_messages_never_leave() {
    let server = server(|_| Then::Answer).await;
    let client = client(&server.url);
    for count in [0, 11] {
        let seqs: Vec<u64> = (0..count).collect();
        let called = client.recall(&"g".into(), &"".into(), &seqs, None).await;
        assert!(matches!(called, CallResult::NotSent { .. }));
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[test]
fn base_urls_are_checked_at_once() {
    let refused =
        ["", "console.tim.qq.com", "ftp://h", "http://h?x=1", "http://u:p@h", "http://h#f"];
    for url in refused {
        let options = ClientOptions::new(url, 1, "a", "key".into());
        assert!(Client::new(options, Arc::new(SystemClock)).is_err(), "{url}");
    }
}
