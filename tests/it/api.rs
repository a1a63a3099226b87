//! The API as it is described: `/openapi.json` says what there is, and these tests hold quell to it.

use std::path::Path;

use quell::http;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::support::daemon::{Home, TestApp};

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
        .replace("{plan}", "1")
        .replace("{backfill}", "1")
        .replace("{message}", "1")
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
}

#[test]
fn the_committed_description_is_the_code_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/openapi.json");
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(document() == committed, "run `quell openapi > config/openapi.json`");
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
    let acts = app.column(quell::store::View::Operations, "act").await;
    assert!(acts.iter().any(|act| act == "pause"), "the operator did nothing: {acts:?}");
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
