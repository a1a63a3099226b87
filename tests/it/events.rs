//! Events: what happens, told as it happens, and again from where somebody left.

use std::time::Duration;

use quell::store::View;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::support::daemon::{Home, TestApp};

/// A stream of events, read one by one.
struct Stream {
    response: Response,
    read: String,
}

#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Stream {
    async fn open(app: &TestApp, query: &str, last: Option<&str>) -> Self {
        Self::open_with(app, query, last, "").await
    }

    async fn open_with(app: &TestApp, query: &str, last: Option<&str>, cookie: &str) -> Self {
        let client = Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/api/v1/events{query}", app.app().admin_address());
        let mut request = client.get(url).header("cookie", cookie);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, read: String::new() }
    }

    /// The next event; none at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.read = rest;
                let field = |name: &str| {
                    let lines = event.lines();
                    let mut found = lines.filter_map(|line| line.strip_prefix(name));
                    found.next().unwrap_or_default().to_owned()
                };
                let name = field("event: ");
                if name.is_empty() {
                    continue;
                }
                let data = serde_json::from_str(&field("data: ")).unwrap();
                return Some(Event { name, id: field("id: "), data });
            }
            let chunk = tokio::time::timeout(Duration::from_mins(1), self.response.chunk());
            let chunk = chunk.await.expect("an event within a minute").unwrap()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn some(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("more events"));
        }
        events
    }
}

#[tokio::test]
async fn what_happens_is_told_and_told_again_from_where_one_left() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "bad, before anybody listened").await, 200);
    app.drain().await;
    let mut stream = Stream::open(&app, "", None).await;
    for (seq, text) in [(2, "fine"), (3, "odd"), (4, "bad and shade")] {
        assert_eq!(app.callbacks.say("g", seq, text).await, 200);
    }
    app.drain().await;
    assert_eq!(app.post("/api/v1/pause", json!({})).await.0, 200);
    let told = stream.some(4).await;
    let of = |name: &str| told.iter().filter(|event| event.name == name).collect::<Vec<_>>();
    let verdicts = of("verdict");
    assert_eq!(verdicts.len(), 2, "{told:?}");
    assert_eq!(
        (&verdicts[0].data["msg_seq"], &verdicts[0].data["verdict"]),
        (&json!(3), &json!("flag"))
    );
    assert_eq!(verdicts[1].data["rules"], json!(["bait"]));
    assert_eq!(verdicts[1].data["shadow_rules"], json!(["tried-out"]));
    assert_eq!(verdicts[1].data["text"], "bad and shade");
    let recall = &of("recall")[0].data;
    assert_eq!(recall["outcome"], "answered");
    assert_eq!(recall["recalls"][0]["state"], "recalled");
    assert_eq!(recall["recalls"][0]["msg_seq"], 4);
    let operation = &of("operation")[0].data;
    assert_eq!((&operation["act"], &operation["actor"]), (&json!("pause"), &json!("ada")));
    // Another one goes on behind the first verdict, also after a restart.
    let left = verdicts[0].id.clone();
    app.stop().await;
    assert!(stream.next().await.is_none(), "a stop ends the stream");
    let app = home.start(&[]).await;
    let mut again = Stream::open(&app, "?kinds=verdict", Some(&left)).await;
    assert_eq!(again.next().await.unwrap().data["msg_seq"], 4);
    drop(again);
    app.stop().await;
}

#[tokio::test]
async fn a_stream_tells_what_it_is_asked_for() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let query = "?kinds=verdict&verdict=pass&group=b&rule=curious";
    let mut by_rule = Stream::open(&app, query, None).await;
    let mut all = Stream::open(&app, "?kinds=verdict&verdict=pass", Some("0-0-0")).await;
    for (group, seq, text) in [("a", 1, "odd"), ("b", 1, "fine"), ("b", 2, "odd"), ("b", 3, "bad")]
    {
        assert_eq!(app.callbacks.say(group, seq, text).await, 200);
    }
    let first = by_rule.next().await.unwrap().data;
    assert_eq!((&first["group_id"], &first["msg_seq"]), (&json!("b"), &json!(2)));
    let verdicts: Vec<_> =
        all.some(4).await.into_iter().map(|event| event.data["verdict"].clone()).collect();
    assert_eq!(verdicts, ["flag", "pass", "flag", "recall"]);
    assert_eq!(app.column(View::Messages, "msg_seq").await.len(), 4);
    for wrong in ["?kinds=everything", "?verdict=held", "?colour=red"] {
        assert_eq!(app.admin(&format!("/api/v1/events{wrong}")).await.0, 400, "{wrong}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_session() {
    let home = Home::new().await;
    let app = home.start(&["admin.token=operate"]).await;
    let client =
        Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let origin = format!("http://{}", app.app().admin_address());
    let post = async |path: &str, form: &'static str, cookie: &str| {
        let request = client.post(format!("{origin}{path}")).header("origin", &origin);
        let answer = request.header("cookie", cookie).body(form).send().await.unwrap();
        assert_eq!(answer.status(), 303, "{path}");
        answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    let cookie = post("/login", "token=operate&name=ada", "").await;
    let mut stream = Stream::open_with(&app, "?kinds=verdict", None, &cookie).await;
    assert_eq!(app.callbacks.say("g", 1, "odd").await, 200);
    assert_eq!(stream.next().await.unwrap().data["msg_seq"], 1);
    post("/logout", "", &cookie).await;
    // Whether it looked between the two or not: nothing more is told.
    assert_eq!(app.callbacks.say("g", 2, "odd").await, 200);
    assert!(stream.next().await.is_none(), "logging out ends the stream");
    app.stop().await;
}

#[tokio::test]
async fn what_passed_does_not_crowd_out_what_is_asked_for() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "odd").await, 200);
    // Together more than a stream tells of everything at one look.
    let mut talkers = tokio::task::JoinSet::new();
    for talker in 0..8 {
        let callbacks = app.callbacks.clone();
        talkers.spawn(async move {
            for seq in 1..=1_260 {
                assert_eq!(callbacks.say(&format!("h{talker}"), seq, "fine").await, 200);
            }
        });
    }
    talkers.join_all().await;
    assert_eq!(app.callbacks.say("g", 2, "bad").await, 200);
    let mut stream = Stream::open(&app, "?kinds=verdict", Some("0-0-0")).await;
    let told = stream.some(2).await;
    let told: Vec<_> = told.iter().map(|event| (event.name.as_str(), &event.data)).collect();
    assert!(told.iter().all(|(name, _)| *name == "verdict"), "{told:?}");
    assert_eq!([&told[0].1["msg_seq"], &told[1].1["msg_seq"]], [&json!(1), &json!(2)]);
    // Whoever asks for everything is told so much, and how much was left out.
    let mut all = Stream::open(&app, "?kinds=verdict&verdict=pass", Some("0-0-0")).await;
    let told = all.some(10_001).await;
    assert!(told[..10_000].iter().all(|event| event.name == "verdict"));
    assert_eq!(
        (told[10_000].name.as_str(), &told[10_000].data),
        ("lagged", &json!({"verdicts": 82}))
    );
    app.stop().await;
}
