//! The dashboard over plain HTTP: who gets in, what every answer says to browsers, what forms do.
//! What it looks like and how it moves is `tests/browser`.

use quell::model::{Clock, SystemClock};
use quell::store::View;
use reqwest::header::{ACCEPT_LANGUAGE, COOKIE, HeaderMap, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::json;

use crate::support::daemon::{Home, TestApp, message};

const TOKENS: [&str; 2] = ["admin.token=operate", "admin.read_token=look"];

/// A browser without scripts.
struct Browser {
    http: Client,
    url: String,
    cookie: Option<String>,
}

impl Browser {
    fn of(app: &TestApp) -> Self {
        quell::chat::client::install_crypto();
        let http = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        let url = format!("http://{}", app.app().admin_address());
        Self { http, url, cookie: None }
    }

    async fn logged_in(app: &TestApp, token: &str, name: &str) -> Self {
        let mut browser = Self::of(app);
        let form = format!("token={token}&name={name}");
        let answer = browser.post("/login", &form).await;
        assert_eq!((answer.status().as_u16(), location(&answer)), (303, "/".to_owned()));
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        browser.cookie = Some(cookie.split(';').next().unwrap().to_owned());
        browser
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Response {
        let request = match &self.cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        };
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    /// Sends a form as a page of the dashboard does.
    async fn post(&self, path: &str, form: &str) -> Response {
        self.post_from(&self.url.clone(), path, form).await
    }

    async fn post_from(&self, origin: &str, path: &str, form: &str) -> Response {
        let kind = "application/x-www-form-urlencoded";
        let request = self.http.post(format!("{}{path}", self.url)).header(ORIGIN, origin);
        self.send(request.header("content-type", kind).body(form.to_owned())).await
    }
}

fn location(answer: &Response) -> String {
    answer.headers().get(LOCATION).map_or("", |to| to.to_str().unwrap()).to_owned()
}

#[tokio::test]
async fn logging_in_takes_a_token_and_gives_its_role() {
    let home = Home::new().await;
    let app = home.start(&TOKENS).await;
    let nobody = Browser::of(&app);
    for (path, to) in
        [("/", "/login"), ("/queue?after=3", "/login?next=%2Fqueue%3Fafter%3D3"), ("/bench", "")]
    {
        let answer = nobody.get(path).await;
        assert_eq!(answer.status(), 303, "{path}");
        assert!(location(&answer).starts_with(to), "{path}");
    }
    assert_eq!(nobody.get("/parts/state").await.status(), 401);
    assert_eq!(nobody.post("/act/pause", "").await.status(), 401);
    let wrong = nobody.post("/login", "token=guess&name=x").await;
    assert_eq!(wrong.status(), 401);
    assert!(wrong.text().await.unwrap().contains("No such token"));
    let reader = Browser::logged_in(&app, "look", "rea").await;
    let page = reader.page("/").await;
    assert!(page.contains("read only") && !page.contains("/act/"), "{page}");
    assert_eq!(reader.post("/act/pause", "").await.status(), 403);
    assert_eq!(reader.post("/bench/trial", "rules=x").await.status(), 403);
    assert_eq!(reader.post("/bench", "text=bad+news").await.status(), 200, "that only reads");
    let ada = Browser::logged_in(&app, "operate", "ada").await;
    assert!(ada.page("/").await.contains("/act/pause"));
    let paused = ada.post("/act/pause", "back=/").await;
    assert_eq!((paused.status().as_u16(), location(&paused)), (303, "/?done=paused".into()));
    assert!(ada.page("/?done=paused").await.contains("Recalls are paused."));
    assert_eq!(app.column(View::Operations, "actor").await, ["ada"]);
    // A page of elsewhere has the cookie sent, but not its own origin changed.
    for path in ["/act/resume", "/api/v1/resume"] {
        for origin in ["https://evil.example", "http://127.0.0.1:3000"] {
            assert_eq!(ada.post_from(origin, path, "").await.status(), 403, "{origin} {path}");
        }
        // Neither does a browser that says nothing about the page count as one of ours.
        let silent = ada.http.post(format!("{}{path}", ada.url));
        assert_eq!(ada.send(silent).await.status(), 403, "{path}");
    }
    assert_eq!(ada.post_from("https://evil.example", "/logout", "").await.status(), 403);
    assert_eq!(reader.post("/logout", "").await.status(), 303);
    assert_eq!(reader.get("/").await.status(), 303, "logged out");
    assert_eq!(ada.get("/").await.status(), 200);
    app.stop().await;
}

#[tokio::test]
async fn guessing_tokens_locks_nobody_out() {
    let home = Home::new().await;
    let app = home.start(&TOKENS).await;
    let browser = Browser::of(&app);
    let (http, url) = (browser.http.clone(), browser.url.clone());
    let from = async move |address: &str, token: &str| {
        let form = format!("token={token}");
        let request = http.post(format!("{url}/login")).header(ORIGIN, &url).body(form);
        request.header("x-forwarded-for", address).send().await.unwrap().status().as_u16()
    };
    for _ in 0..5 {
        assert_eq!(from("203.0.113.7", "guess").await, 401);
    }
    // From here on whoever guesses there waits; whoever knows does not have to.
    let waiting = tokio::spawn(async move { from("203.0.113.7", "guess").await });
    let request = browser.http.post(format!("{}/login", browser.url)).header(ORIGIN, &browser.url);
    let right = request.header("x-forwarded-for", "203.0.113.7").body("token=operate").send();
    assert_eq!(right.await.unwrap().status().as_u16(), 303);
    assert_eq!(waiting.await.unwrap(), 401);
    app.stop().await;
}

#[tokio::test]
async fn acts_are_open_to_operators_who_ask_from_a_page_of_ours() {
    let home = Home::new().await;
    let app = home.start(&TOKENS).await;
    let (reader, operator) = (
        Browser::logged_in(&app, "look", "rea").await,
        Browser::logged_in(&app, "operate", "ada").await,
    );
    let acts = [
        "pause", "resume", "reset", "hold", "release", "cancel", "retry", "recall", "sweep",
        "right", "wrong", "exempt", "allow", "disallow", "apply", "end-plan",
    ];
    let mut paths: Vec<_> = acts.iter().map(|act| format!("/act/{act}")).collect();
    paths.extend(["/bench/trial".to_owned(), "/bench/trial/end".to_owned()]);
    for path in &paths {
        assert_eq!(reader.post(path, "").await.status(), 403, "{path}");
        let silent = operator.http.post(format!("{}{path}", operator.url));
        assert_eq!(operator.send(silent).await.status(), 403, "{path}");
        for origin in ["https://evil.example", "null"] {
            assert_eq!(operator.post_from(origin, path, "").await.status(), 403, "{path}");
        }
    }
    assert!(app.column(View::Operations, "act").await.is_empty());
    for path in &paths {
        let status = operator.post(path, "").await.status().as_u16();
        assert!(status != 401 && status != 403 && status < 500, "{path}: {status}");
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_let_through_is_listed_added_and_taken_back() {
    let home = Home::new().await;
    let app = home.start(&TOKENS).await;
    let ada = Browser::logged_in(&app, "operate", "ada").await;
    assert!(ada.page("/lists/allowances").await.contains("Nothing is let through"));
    let act = async |act: &str, form: &str| {
        let answer = ada.post(&format!("/act/{act}"), form).await;
        (answer.status().as_u16(), location(&answer))
    };
    let back = "back=/lists/allowances";
    let went = act("exempt", &format!("sender=m%3Cb%3Eallory&note=a+friend&{back}")).await;
    assert_eq!(went, (303, "/lists/allowances?done=exempted".into()));
    assert_eq!(act("allow", &format!("phrase=not+bad&rule=bait&{back}")).await.0, 303);
    let long = "x".repeat(2_001);
    assert_eq!(act("allow", &format!("phrase=fine&note={long}&{back}")).await.0, 422);
    let page = ada.page("/lists/allowances").await;
    let place = |what: &str| page.find(what).unwrap_or_else(|| panic!("no {what} in {page}"));
    assert!(place("not bad") < place("m&lt;b&gt;allory"), "the latest first: {page}");
    assert!(page.contains("a friend") && page.contains("every rule") && page.contains(">bait<"));
    let reader = Browser::logged_in(&app, "look", "rea").await.page("/lists/allowances").await;
    assert!(reader.contains("not bad") && !reader.contains("/act/"), "{reader}");
    assert_eq!(app.callbacks.say("g", 1, "not bad").await, 200);
    let id = page.split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let went = act("disallow", &format!("kind=phrase&id={id}&{back}")).await;
    assert_eq!(went, (303, "/lists/allowances?done=disallowed".into()));
    assert_eq!(act("disallow", &format!("kind=phrase&id={id}&{back}")).await.0, 409);
    assert_eq!(act("disallow", &format!("kind=rule&id={id}&{back}")).await.0, 404);
    assert!(!ada.page("/lists/allowances").await.contains("not bad"));
    assert_eq!(app.callbacks.say("g", 2, "not bad").await, 200);
    assert_eq!(app.column(View::Messages, "verdict").await, ["recall", "pass"]);
    app.stop().await;
}

#[tokio::test]
async fn texts_are_searched_where_they_are_in_an_index() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    for (seq, text) in [(1, "加微信领红包"), (2, "how odd"), (3, "good morning")] {
        assert_eq!(app.callbacks.say("g", seq, text).await, 200);
    }
    let browser = Browser::of(&app);
    let page = browser.page("/lists/messages?text=odd").await;
    assert!(page.contains("store.search = true") && !page.contains("name=\"text\""), "{page}");
    app.stop().await;
    let app = home.start(&["store.search=true"]).await;
    let browser = Browser::of(&app);
    // The index is begun behind the writer.
    while browser.get("/lists/messages?text=odd").await.status() == 422 {
        tokio::task::yield_now().await;
    }
    let rows = async |query: &str| {
        let page = browser.page(&format!("/lists/messages?{query}")).await;
        page.matches("<tr><td>").count()
    };
    for (query, found) in [
        ("text=%E5%BE%AE%E4%BF%A1%E9%A2%86", 1),
        ("text=O", 2),
        ("text=ood+mor&sender=mallory", 1),
        ("text=nowhere", 0),
        ("text=+", 3),
    ] {
        assert_eq!(rows(query).await, found, "{query}");
    }
    let page = browser.page("/lists/messages?text=odd").await;
    assert!(page.contains("name=\"text\" value=\"odd\"") && !page.contains("store.search"));
    let csv = browser.get("/lists/messages.csv?text=odd").await.text().await.unwrap();
    assert!(csv.lines().count() == 2 && csv.contains("how odd"), "{csv}");
    assert_eq!(location(&browser.get("/search?q=morning").await), "/lists/messages?text=morning");
    assert!(!browser.page("/lists/recalls").await.contains("name=\"text\""));
    app.stop().await;
}

#[tokio::test]
async fn without_a_token_this_machine_is_let_in_and_nobody_else() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let here = Browser::of(&app);
    assert_eq!(here.get("/").await.status(), 200);
    assert_eq!(location(&here.get("/login").await), "/");
    let foreign = here.http.get(format!("{}/", here.url)).header("host", "rebound.example:80");
    assert_eq!(here.send(foreign).await.status(), 403);
    let other_port = "http://127.0.0.1:3000";
    for origin in ["https://evil.example", other_port, "http://localhost:3000", "null"] {
        for path in ["/act/pause", "/api/v1/pause", "/bench"] {
            assert_eq!(here.post_from(origin, path, "").await.status(), 403, "{origin} {path}");
        }
    }
    assert!(app.column(View::Operations, "act").await.is_empty());
    assert_eq!(
        here.post("/act/pause", "back=//evil.example").await.headers()[LOCATION],
        "/?done=paused"
    );
    app.stop().await;
}

/// Whether an element has an attribute such as `onclick`.
fn has_handler(page: &str) -> bool {
    let tags = page.split('<').skip(1).filter_map(|rest| rest.split('>').next());
    tags.flat_map(str::split_whitespace).any(|part| part.starts_with("on") && part.contains("=\""))
}

#[tokio::test]
async fn every_answer_tells_browsers_to_load_and_run_nothing_else() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "bad <b>news</b>").await, 200);
    let browser = Browser::of(&app);
    let page = browser.page("/").await;
    let script = page.split("src=\"/assets/app.").nth(1).unwrap().split('"').next().unwrap();
    let asset = format!("/assets/app.{script}");
    for path in ["/", "/queue", "/bench", "/lists/recalls", "/messages/1", "/messages/2", &asset] {
        let answer = browser.get(path).await;
        let headers: &HeaderMap = answer.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        for part in ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "same-origin", "{path}");
        let kept = headers["cache-control"].to_str().unwrap();
        assert_eq!(kept.contains("immutable"), path == asset, "{path}: {kept}");
        if path != asset {
            let page = answer.text().await.unwrap();
            assert!(!page.contains(" style=") && !page.contains("<style"), "{path}");
            assert!(!page.contains("://") && !has_handler(&page), "{path} loads or runs\n{page}");
        }
    }
    assert_eq!(browser.get("/assets/app.js").await.status(), 404, "no digest, no file");
    app.stop().await;
}

#[tokio::test]
async fn pages_speak_the_readers_language_and_remember_a_choice() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let mut browser = Browser::of(&app);
    let chinese = browser.http.get(format!("{}/", browser.url)).header(ACCEPT_LANGUAGE, "zh-CN");
    let page = browser.send(chinese).await.text().await.unwrap();
    assert!(page.contains("lang=\"zh-CN\"") && page.contains("概览"), "{page}");
    assert!(browser.page("/").await.contains("lang=\"en\""));
    let chosen = browser.post("/preferences", "language=zh&back=/queue").await;
    assert_eq!(location(&chosen), "/queue");
    let cookie = chosen.headers()[SET_COOKIE].to_str().unwrap();
    browser.cookie = Some(cookie.split(';').next().unwrap().to_owned());
    assert!(browser.page("/").await.contains("lang=\"zh-CN\""));
    app.stop().await;
}

#[tokio::test]
async fn buttons_do_what_the_api_does() {
    let home = Home::new().await;
    let app = home.start(&["guard.rule_recalls_per_minute=1"]).await;
    for seq in 1..=3 {
        assert_eq!(app.callbacks.say("g", seq, "bad").await, 200);
    }
    assert_eq!(app.callbacks.say("g", 4, "fine").await, 200);
    app.drain().await;
    let browser = Browser::of(&app);
    let queue = browser.page("/queue").await;
    assert_eq!(queue.matches("class=\"item\"").count(), 2);
    let jobs: Vec<&str> =
        queue.split("data-job=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let act = async |act: &str, form: String| {
        let answer = browser.post(&format!("/act/{act}"), &form).await;
        (answer.status().as_u16(), location(&answer))
    };
    let went = act("release", format!("job={}&back=/queue", jobs[0])).await;
    assert_eq!(went, (303, "/queue?done=released".into()));
    let went = act("cancel", format!("job={}&back=/queue", jobs[1])).await;
    assert_eq!(went, (303, "/queue?done=cancelled".into()));
    let again = act("release", format!("job={}&back=/queue", jobs[1])).await;
    assert_eq!(again.0, 409, "somebody was faster");
    assert_eq!(act("release", "back=/".into()).await.0, 404, "of no job at all");
    assert_eq!(act("explode", "back=/".into()).await.0, 404);
    assert_eq!(act("release", "job=x".into()).await.0, 422);
    let went = act("recall", "message=4&back=/messages/4".into()).await;
    assert_eq!(went, (303, "/messages/4?done=recalling".into()));
    while home.sim.recalled().len() < 3 {
        tokio::task::yield_now().await;
    }
    app.drain().await;
    let recalled: Vec<u64> = home.sim.recalled().iter().map(|key| key.msg_seq).collect();
    assert_eq!(recalled, [1, 2, 4]);
    assert_eq!(act("recall", "message=4&back=/".into()).await.0, 409, "already gone");
    assert_eq!(act("wrong", "message=1&rule=bait&back=/messages/1".into()).await.0, 303);
    assert_eq!(act("right", "message=2&rule=bait&back=/messages/2".into()).await.0, 303);
    assert!(browser.page("/messages/2").await.contains("Right <span class=\"faint\">"));
    assert_eq!(act("wrong", "message=1&rule=other&back=/messages/1".into()).await.0, 422);
    let page = browser.page("/messages/1").await;
    assert!(
        page.contains("False alarm <span class=\"faint\"><bdi class=\"said\">dashboard"),
        "{page}"
    );
    assert!(browser.page("/lists/reviews").await.contains("false alarm"));
    assert!(browser.page("/parts/figures").await.contains("50 % <span class=\"faint\">/ 2</span>"));
    assert_eq!(act("exempt", "sender=mallory&rule=none&back=/".into()).await.0, 422);
    assert_eq!(act("allow", "phrase=+&rule=bait&back=/".into()).await.0, 422);
    let went = act("allow", "phrase=not+bad&rule=bait&back=/messages/1".into()).await;
    assert_eq!(went, (303, "/messages/1?done=allowed".into()));
    assert_eq!(app.callbacks.say("g", 5, "not bad").await, 200);
    let went = act("exempt", "sender=mallory&rule=bait&back=/messages/1".into()).await;
    assert_eq!(went, (303, "/messages/1?done=exempted".into()));
    assert_eq!(app.callbacks.say("g", 6, "bad").await, 200);
    assert_eq!(app.column(View::Messages, "verdict").await[..2], ["pass", "pass"]);
    let went = act("sweep", "message=1".into()).await;
    let plan = browser.page(&went.1).await;
    assert!(went.1.starts_with("/plans/") && plan.contains("already recalled"), "{plan}");
    let csv = browser.get("/lists/recalls.csv").await;
    assert_eq!(csv.headers()["content-type"], "text/csv; charset=utf-8");
    assert_eq!(csv.text().await.unwrap().lines().count(), 1 + 4);
    for path in ["/lists/nonsense", "/messages/99", "/messages/x", "/plans/99"] {
        assert_eq!(browser.get(path).await.status(), 404, "{path}");
    }
    assert_eq!(location(&browser.get("/search?q=g/4").await), "/messages/4");
    assert_eq!(location(&browser.get("/search?q=mallory").await), "/lists/messages?sender=mallory");
    assert!(browser.page("/search?q=nobody").await.contains("Nothing is kept"));
    app.stop().await;
}

#[tokio::test]
async fn a_recall_from_the_page_never_reaches_a_group_that_came_under_the_same_id() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let said = "every day three hundred for liking videos, write to our teacher anna now";
    assert_eq!(app.callbacks.say("g", 1, said).await, 200);
    let browser = Browser::of(&app);
    assert!(browser.page("/messages/1").await.contains("/act/recall"));
    let gone_at = SystemClock.now().millis() + 1;
    let destroyed = json!({
        "CallbackCommand": "Group.CallbackAfterGroupDestroyed", "GroupId": "g", "Type": "Public",
        "EventTime": gone_at,
    });
    assert_eq!(app.callbacks.send(&destroyed).await, 200);
    let mut again = message("g", 1, "welcome to the new group");
    again["EventTime"] = json!(gone_at + 1000);
    assert_eq!(app.callbacks.send(&again).await, 200);
    let page = browser.page("/messages/1").await;
    assert!(!page.contains("/act/recall") && page.contains("(destroyed since"), "{page}");
    assert!(browser.page("/messages/2").await.contains("/act/recall"));
    // A page that was open meanwhile still has its buttons.
    let answer = browser.post("/act/recall", "message=1&back=/messages/1").await;
    assert_eq!(answer.status(), 409);
    assert!(answer.text().await.unwrap().contains("group destroyed"));
    let plan = location(&browser.post("/act/sweep", "message=1").await);
    let plan = browser.page(&plan).await;
    assert!(plan.contains("group destroyed") && plan.contains("teacher anna"), "{plan}");
    assert!(!plan.contains("welcome") && !plan.contains("/act/apply"), "{plan}");
    assert_eq!(browser.post("/act/recall", "group=g&seq=1").await.status(), 404);
    assert_eq!(browser.post("/act/sweep", "group=g&seq=1").await.status(), 404);
    app.drain().await;
    assert_eq!(home.recall_calls(), 0);
    assert!(app.column(View::Recalls, "state").await.is_empty());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_is_tried_in_the_background_and_one_at_a_time() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    for seq in 1..=5 {
        assert_eq!(app.callbacks.say("g", seq, "quite a shade").await, 200);
    }
    let browser = Browser::of(&app);
    assert!(browser.page("/bench").await.contains("id: tried-out"), "the rules in force");
    let broken = browser.post("/bench/trial", "rules=version%3A+1%0Arules%3A+x").await;
    assert_eq!(broken.status(), 422);
    assert!(broken.text().await.unwrap().contains("candidate.yaml:2:"));
    let outside = "rules=version%3A+1%0Alists%3A%0A++l%3A+%7B+file%3A+%2Fetc%2Fpasswd+%7D%0A\
                   rules%3A%0A++-+id%3A+a%0A++++when%3A+%7B+keyword%3A+%7B+list%3A+l+%7D+%7D";
    let outside = browser.post("/bench/trial", outside).await.text().await.unwrap();
    assert!(outside.contains("must lie beside"), "{outside}");
    let candidate = "rules=version%3A+1%0Arules%3A%0A++-+id%3A+new%0A++++when%3A+%7B+keyword\
                     %3A+%7B+words%3A+%5Bshade%5D+%7D+%7D%0A&minutes=60";
    let went = browser.post("/bench/trial", candidate).await;
    assert_eq!(location(&went), "/bench#trial");
    loop {
        let part = browser.page("/bench/trial").await;
        if part.contains("every 1s") {
            tokio::task::yield_now().await;
            continue;
        }
        assert!(part.contains("<th scope=\"row\"><bdi class=\"said\">new</bdi>"), "{part}");
        assert!(part.contains(">5</dd>") && part.contains("Would be recalled"), "{part}");
        break;
    }
    let explained = browser.post("/bench", "text=such+BAD+news").await.text().await.unwrap();
    assert!(explained.contains("<mark title=\"bait\">BAD</mark>"), "{explained}");
    assert!(explained.contains("<span class=\"chip\">case</span>"), "{explained}");
    app.stop().await;
}
