//! The API as it is described: `/openapi.json` says what there is, and these tests hold quell to it.

use std::path::Path;

use quell::http;
use quell::model::{AllowanceKind, Clock, SystemClock};
use quell::sim::Faults;
use quell::store::{Allowances, Backfills, By, Control, NewAllowance, View};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::support::daemon::{self, Home, TestApp};

/// An operation of the description.
struct Operation {
    method: Method,
    path: String,
    /// `read` or `operate`; none where everybody may use it.
    role: Option<String>,
    described: Value,
}

fn document() -> Value {
    serde_json::to_value(http::openapi()).unwrap()
}

/// Every operation that is described.
fn operations() -> Vec<Operation> {
    let document = document();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, described) in item.as_object().unwrap() {
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                role: described["security"][0]["token"][0].as_str().map(str::to_owned),
                described: described.clone(),
            });
        }
    }
    assert!(operations.len() > 25, "the description was not found");
    operations
}

/// A path with something in place of its parameters.
fn filled(path: &str) -> String {
    path.replace("{change}", "hold")
        .replace("{id}", "1")
        .replace("{plan}", "1")
        .replace("{backfill}", "1")
        .replace("{message}", "1")
        .replace("{backtest}", "1")
}

/// Talks to the admin listener.
struct Api {
    base: String,
    http: Client,
}

impl Api {
    fn of(app: &TestApp) -> Self {
        let http = Client::builder().no_proxy().build().unwrap();
        Self { base: format!("http://{}", app.app().admin_address()), http }
    }

    async fn ask(&self, method: &Method, path: &str, token: &str, body: Option<Value>) -> Response {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    /// Starts a backtest, once no other one runs.
    async fn backtest(&self, token: &str, rules: &str) -> Value {
        loop {
            let body = Some(json!({ "rules": rules }));
            let begun = self.ask(&Method::POST, "/api/v1/backtests", token, body).await;
            if begun.status() != 409 {
                assert_eq!(begun.status(), 200);
                return begun.json().await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    }
}

/// A rules file that somebody might want to try.
const CANDIDATE: &str = "version: 1\nrules:\n  - id: fine\n    when: { keyword: fine }\n";

#[test]
fn the_committed_description_is_the_code_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/openapi.json");
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(document() == committed, "run `quell openapi > config/openapi.json`");
}

#[test]
fn every_name_in_the_description_is_explained_there() {
    let document = document();
    let text = document.to_string();
    for reference in text.split(r##""$ref":"#"##).skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
    }
}

/// What an act is called with so that it does something, beside what stands in the path. Whoever adds
/// a route adds a line here.
fn working(path: &str) -> Option<Value> {
    Some(match path {
        "/-/reload"
        | "/api/v1/pause"
        | "/api/v1/resume"
        | "/api/v1/prune"
        | "/api/v1/plans/{plan}/apply"
        | "/api/v1/plans/{plan}/cancel"
        | "/api/v1/backfills/{backfill}/cancel"
        | "/api/v1/backtests/{backtest}"
        | "/api/v1/exemptions/{id}"
        | "/api/v1/allow-phrases/{id}" => return None,
        "/api/v1/exemptions" => json!({ "sender": "ann" }),
        "/api/v1/allow-phrases" => json!({ "phrase": "not bad" }),
        "/api/v1/backtests" => json!({ "rules": CANDIDATE }),
        "/api/v1/guard/reset" => json!({ "rule": "bait" }),
        "/api/v1/jobs/{change}" => json!({ "all": true }),
        "/api/v1/plans" => json!({ "group": "g", "seq": "2" }),
        "/api/v1/backfills" => json!({ "group": "g", "from": 1, "to": 5 }),
        "/api/v1/erase" => json!({ "sender": "somebody" }),
        "/api/v1/reviews" => json!({ "group": "g", "seq": 1, "verdict": "right" }),
        other => panic!("say how {other} is called so that it does something"),
    })
}

#[tokio::test]
async fn every_act_leaves_a_row_and_no_look_does() {
    let home = Home::new().await;
    let app = home.start(&["admin.token=all", "admin.read_token=reader"]).await;
    let api = Api::of(&app);
    for (seq, text) in [(1, "bad"), (2, "fine")] {
        assert_eq!(app.callbacks.say("g", seq, text).await, 200);
    }
    app.drain().await;
    // What is read from history never comes, so that there is a backfill to cancel.
    home.sim.set_faults(Faults { error_code: Some(10_002), ..Faults::default() });
    let (store, by) = (app.app().store(), By::new("ada", SystemClock.now()));
    store.trip(&by, &"bait".into(), "for the test").await.unwrap();
    let rows = async || app.rows(View::Operations).await.rows.len();
    for operation in operations() {
        let Operation { method, path, role, .. } = &operation;
        let (token, acts) = match role.as_deref() {
            Some("operate") => ("all", true),
            _ => ("reader", false),
        };
        if path == "/api/v1/events" {
            continue;
        }
        let mut filled = path.replace("{change}", "hold").replace("{message}", "1");
        if acts && path.contains("{plan}") {
            let asked = Some(json!({ "group": "g", "seq": "2" }));
            let plan = api.ask(&Method::POST, "/api/v1/plans", token, asked).await;
            let plan: Value = plan.json().await.unwrap();
            filled = filled.replace("{plan}", &plan["plan_id"].to_string());
        }
        if acts && path.contains("{backfill}") {
            let id = store.start_backfill(&by, &"g".into(), &"".into(), 1, 5).await.unwrap();
            filled = filled.replace("{backfill}", &id.to_string());
        }
        if acts && path.contains("{backtest}") {
            let begun = api.backtest(token, CANDIDATE).await;
            filled = filled.replace("{backtest}", &begun["backtest_id"].to_string());
        }
        if acts && path.contains("{id}") {
            let kind = if path.contains("exemptions") {
                AllowanceKind::Sender
            } else {
                AllowanceKind::Phrase
            };
            let allowance =
                NewAllowance { kind, value: "x".into(), rule: None, note: String::new() };
            let made = store.allow(&by, &allowance).await.unwrap();
            filled = filled.replace("{id}", &made.id.to_string());
        }
        let filled = ["{plan}", "{backfill}", "{backtest}"]
            .iter()
            .fold(filled, |filled, parameter| filled.replace(parameter, "1"));
        let before = rows().await;
        let body = if acts {
            working(path)
        } else {
            operation.described["requestBody"]["content"]["application/json"]
                .get("example")
                .cloned()
        };
        let response = api.ask(method, &filled, token, body).await;
        let (status, said) = (response.status(), response.text().await.unwrap());
        let after = rows().await;
        if acts {
            assert!(status.is_success(), "{method} {filled}: {status} {said}");
            assert!(after > before, "{method} {filled} left no row");
        } else {
            assert!(status.as_u16() < 500, "{method} {filled}: {status} {said}");
            assert_eq!(after, before, "{method} {filled} left a row");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_asked_for_twice_under_a_key_is_done_once() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    assert_eq!(app.callbacks.say("g", 1, "fine").await, 200);
    let api = Api::of(&app);
    let plan = async |key: &str, seq: &str, base: &str| {
        let request = api.http.post(format!("{base}/api/v1/plans")).header("idempotency-key", key);
        let response = request.json(&json!({ "group": "g", "seq": seq })).send().await.unwrap();
        let replayed = response.headers().contains_key("idempotency-replayed");
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        (response.status().as_u16(), replayed, kind, response.text().await.unwrap())
    };
    let first = plan("k1", "1", &api.base).await;
    assert_eq!((first.0, first.1), (200, false), "{first:?}");
    let second = plan("k1", "1", &api.base).await;
    assert_eq!((second.0, second.1), (200, true));
    assert_eq!((&second.2, &second.3), (&first.2, &first.3));
    assert_eq!(plan("k1", "1-2", &api.base).await.0, 422, "another request under the same key");
    assert!(!plan("k2", "1", &api.base).await.1);
    // A refusal is an answer, too.
    let refused = plan("k3", "none", &api.base).await;
    assert_eq!((refused.0, refused.1), (422, false));
    let again = plan("k3", "none", &api.base).await;
    assert_eq!((again.0, again.1, &again.2, &again.3), (422, true, &refused.2, &refused.3));
    for bad in ["", "a b", &"x".repeat(256)] {
        assert_eq!(plan(bad, "1", &api.base).await.0, 400, "{bad:?}");
    }
    assert_eq!(app.column(View::Plans, "plan_id").await, ["2", "1"]);
    app.stop().await;
    // It is remembered over a restart, and forgotten with what a person wrote.
    let app = home.start(&[]).await;
    let base = format!("http://{}", app.app().admin_address());
    assert_eq!(plan("k1", "1", &base).await.3, first.3);
    assert_eq!(app.post("/api/v1/erase", json!({ "sender": "mallory" })).await.0, 200);
    assert!(!plan("k1", "1", &base).await.1);
    app.stop().await;
}

#[tokio::test]
async fn the_rules_in_force_are_shown_and_asked() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let api = Api::of(&app);
    let shown = api.ask(&Method::GET, "/api/v1/rules", "", None).await;
    let tag = shown.headers()["etag"].clone();
    let rules: Value = shown.json().await.unwrap();
    assert_eq!(tag.to_str().unwrap(), format!("{:?}", rules["version"].as_str().unwrap()));
    assert_eq!(
        (&rules["rules"][0]["id"], &rules["rules"][0]["tripped"]),
        (&json!("bait"), &json!(false))
    );
    assert_eq!(rules["rules"][2]["mode"], "shadow");
    let known = api.http.get(format!("{}/api/v1/rules", api.base)).header("if-none-match", &tag);
    assert_eq!(known.send().await.unwrap().status().as_u16(), 304);
    let explain = async |body: Value| app.post("/api/v1/rules/explain", body).await;
    let (code, said) = explain(json!({ "text": "b.a.d" })).await;
    assert_eq!((code, &said["verdict"]), (200, &json!("recall")), "{said}");
    assert_eq!(said["rules"][0]["hits"][0]["text"], "b.a.d");
    assert_eq!(said["rules"].as_array().unwrap().len(), 3);
    let callback = crate::support::daemon::message("g", 1, "odd");
    let (code, said) = explain(json!({ "callback": callback, "platform": "Web" })).await;
    assert_eq!((code, &said["verdict"]), (200, &json!("flag")), "{said}");
    assert_eq!(said["rules"].as_array().unwrap().len(), 1);
    for wrong in
        [json!({}), json!({ "text": "a", "callback": {} }), json!({ "callback": { "x": 1 } })]
    {
        assert_eq!(explain(wrong.clone()).await.0, 422, "{wrong}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_rules_file_is_checked_as_the_command_does() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let api = Api::of(&app);
    let check = async |yaml: &str, kind: &str| {
        let request = api.http.post(format!("{}/api/v1/rules/check", api.base));
        let request = request.header("content-type", kind).body(yaml.to_owned());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.unwrap())
    };
    let broken = "version: 1\nrules:\n  - id: Bad Id\n    mode: lve\n    when: { keyword: x }\n";
    let doubtful = "version: 1\nrules:\n  - id: bait\n    when: { keyword: [bad] }\n    \
                    scope: { types: [Nonsense] }\n    examples: { hit: [good] }\n";
    for (yaml, fine, levels, exit) in [
        (broken, false, &["error", "error"][..], 78),
        (doubtful, false, &["warning", "example"], 1),
        (CANDIDATE, true, &[], 0),
    ] {
        let (status, checked) = check(yaml, "application/yaml").await;
        assert_eq!((status, &checked["fine"]), (200, &json!(fine)), "{checked}");
        let findings = checked["findings"].as_array().unwrap();
        let found: Vec<_> = findings.iter().map(|finding| &finding["level"]).collect();
        assert_eq!(found, levels, "{checked}");
        assert_eq!(checked["rules_version"].is_string(), exit != 78);
        std::fs::write(home.path("candidate.yaml"), yaml).unwrap();
        let args = ["rules", "check", "candidate.yaml", "--format", "json"];
        let (code, said, _) = daemon::quell(&args, home.folder.path()).await;
        assert_eq!(code, Some(exit));
        assert_eq!(checked["findings"], serde_json::from_str::<Value>(&said).unwrap());
    }
    // The configuration, with its secrets, lies in the same folder.
    let outside = |list: &str| {
        format!(
            "version: 1\nlists: {{ l: {{ file: {list} }} }}\n\
             rules: [{{ id: a, when: {{ keyword: {{ list: l }} }} }}]\n"
        )
    };
    for (list, why) in [("/etc/passwd", "must lie beside"), ("quell.toml", "must end in .txt")] {
        let (status, checked) = check(&outside(list), "text/plain; charset=utf-8").await;
        assert_eq!((status, checked["findings"].as_array().unwrap().len()), (200, 1), "{checked}");
        assert!(checked["findings"][0]["message"].as_str().unwrap().contains(why), "{checked}");
    }
    assert_eq!(check(CANDIDATE, "application/json").await.0, 415);
    app.stop().await;
}

#[tokio::test]
async fn every_route_is_open_to_its_role_alone() {
    let home = Home::new().await;
    let app = home.start(&["admin.token=all", "admin.read_token=reader"]).await;
    let api = Api::of(&app);
    for operation in operations() {
        let Operation { method, path, role, described } = &operation;
        let body = described.get("requestBody").map(|_| json!({}));
        for token in ["", "wrong", "reader", "all"] {
            let response = api.ask(method, &filled(path), token, body.clone()).await;
            let status = response.status().as_u16();
            let refused = match (role.as_deref(), token) {
                (None, _) | (Some("read"), "reader" | "all") | (_, "all") => None,
                (_, "" | "wrong") => Some(401),
                _ => Some(403),
            };
            let shown = format!("{method} {path} with {token:?}: {status}");
            match refused {
                Some(expected) => assert_eq!(status, expected, "{shown}"),
                None => assert!(status != 401 && status != 403 && status < 500, "{shown}"),
            }
            assert!(described["responses"].get(status.to_string()).is_some(), "{shown}");
        }
    }
    let acts = app.column(View::Operations, "act").await;
    assert!(acts.iter().any(|act| act == "pause"), "the operator did nothing: {acts:?}");
    app.stop().await;
}

#[tokio::test]
async fn a_session_may_what_its_role_may_from_pages_of_its_own_alone() {
    let home = Home::new().await;
    let app = home.start(&["admin.token=all", "admin.read_token=reader"]).await;
    let api = Api::of(&app);
    let log_in = async |token: &str| {
        let http = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let request = http.build().unwrap().post(format!("{}/login", api.base));
        let request = request.header("origin", &api.base).body(format!("token={token}"));
        let cookie = request.send().await.unwrap().headers()["set-cookie"].clone();
        cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    let (reader, operator) = (log_in("reader").await, log_in("all").await);
    let foreign = ["https://evil.example", "http://127.0.0.1:1", "null"];
    for operation in operations() {
        let Operation { method, path, role, described } = &operation;
        let url = format!("{}{}", api.base, filled(path));
        let ask = async |cookie: &str, origin: Option<&str>| {
            let mut request = api.http.request(method.clone(), &url).header("cookie", cookie);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            if described.get("requestBody").is_some() {
                request = request.json(&json!({}));
            }
            let status = request.send().await.unwrap().status().as_u16();
            assert!(described["responses"].get(status.to_string()).is_some(), "{path}: {status}");
            status
        };
        let (reads, acts) = (role.as_deref() == Some("read"), role.as_deref() == Some("operate"));
        for (cookie, may_act) in [(&reader, false), (&operator, true)] {
            let own = ask(cookie, Some(&api.base)).await;
            assert_eq!(own == 403, acts && !may_act, "{method} {path} from a page of ours: {own}");
            assert!(own != 401 && own < 500, "{method} {path} from a page of ours: {own}");
            // Browsers say where an act comes from; what does not is none of our pages.
            let silent = ask(cookie, None).await;
            assert_eq!(silent == 403, acts, "{method} {path} from nowhere: {silent}");
            for origin in foreign {
                let elsewhere = ask(cookie, Some(origin)).await;
                assert_eq!(elsewhere == 403, reads || acts, "{method} {path} from {origin}");
            }
        }
        if reads || acts {
            assert_eq!(ask("quell_session=guessed", Some(&api.base)).await, 401, "{path}");
        }
    }
    let actors = app.column(View::Operations, "actor").await;
    assert!(actors.iter().any(|actor| actor == "dashboard"), "{actors:?}");
    app.stop().await;
}

#[tokio::test]
async fn whatever_goes_wrong_is_a_problem_with_its_reason() {
    let home = Home::new().await;
    let app = home.start(&["admin.max_body_bytes=2000"]).await;
    let api = Api::of(&app);
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let large = json!({ "group": "x".repeat(3000) });
    for (method, path, body, status, why) in [
        (&get, "/nowhere", None, 404, "nothing is here"),
        (&get, "/api/v1/nowhere", None, 404, "nothing is here"),
        (&put, "/api/v1/status", None, 405, "see the Allow header"),
        (&get, "/api/v1/pause", None, 405, "see the Allow header"),
        (&get, "/api/v1/messages?limit=many", None, 400, "the query does not fit"),
        (&get, "/api/v1/messages?limit=0", None, 400, "limit lies between"),
        (&get, "/api/v1/messages?colour=red", None, 400, "unknown field `colour`"),
        (&get, "/api/v1/recalls?state=hel", None, 400, "is one of pending, leased, retry, held"),
        (&get, "/api/v1/hits?state=recall", None, 400, "is one of live, shadow"),
        (&get, "/api/v1/reviews/waiting?state=pass", None, 422, "flag, recall or held"),
        (&get, "/api/v1/calls?rule=bait", None, 422, "cannot be filtered by rule"),
        (&get, "/api/v1/plans/one", None, 404, "nothing is here"),
        (&get, "/api/v1/plans/7", None, 404, "there is no plan 7"),
        (&post, "/api/v1/jobs/hold", None, 415, "application/json"),
        (&post, "/api/v1/jobs/hold", Some(json!([])), 422, "an object is wanted"),
        (&post, "/api/v1/jobs/hold", Some(json!({"grp": "a"})), 422, "unknown field `grp`"),
        (&post, "/api/v1/jobs/hold", Some(large), 413, "too large"),
    ] {
        let response = api.ask(method, path, "", body).await;
        let shown = format!("{method} {path}");
        assert_eq!(response.status().as_u16(), status, "{shown}");
        let headers = response.headers().clone();
        assert_eq!(headers["content-type"], "application/problem+json", "{shown}");
        assert_eq!(headers.contains_key("allow"), status == 405, "{shown}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["status"], status, "{shown}");
        assert_eq!(problem["type"], "about:blank", "{shown}");
        assert!(problem["title"].is_string(), "{shown}");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{shown}: {problem}");
    }
    let broken = api.http.post(format!("{}/api/v1/jobs/hold", api.base));
    let broken = broken.header("content-type", "application/json").body("{").send().await.unwrap();
    assert_eq!(broken.status().as_u16(), 400);
    app.stop().await;
}
