//! What quell is measured against: the server that somebody writes who only wants the callback read.
//! It parses the body into types, looks at nothing and keeps nothing.

use std::io::Write;

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;

/// The fields of a message callback (page `after-msg`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "reading them is the work that is measured")]
struct Callback {
    #[serde(rename = "CallbackCommand")]
    command: String,
    group_id: String,
    #[serde(rename = "Type")]
    group_type: String,
    #[serde(rename = "From_Account")]
    sender: String,
    #[serde(rename = "Operator_Account")]
    operator: String,
    random: u64,
    msg_seq: u64,
    msg_time: u64,
    online_only_flag: u8,
    msg_body: Vec<Element>,
    cloud_custom_data: String,
    event_time: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "reading them is the work that is measured")]
struct Element {
    msg_type: String,
    msg_content: serde_json::Value,
}

const OK: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#;

async fn callback(body: Bytes) -> Response {
    match serde_json::from_slice::<Callback>(&body) {
        Ok(_) => ([(header::CONTENT_TYPE, "application/json")], OK).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Serves on a free port until it is killed; says where in its first line.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        writeln!(std::io::stdout(), "{address}").expect("somebody who reads it");
        let routes = Router::new().route("/callback", post(callback));
        axum::serve(listener, routes).await.expect("a server");
    });
}
