//! Connections: accepted, served, broken where a fault wants it so.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::rest::{Call, Reaction};
use super::{Shared, control, rest};

/// Requests hold 12 KB of message at most (page `limits`).
const MAX_BODY_BYTES: usize = 1 << 20;

/// The connection is to break: hyper closes it on any error of the service.
#[derive(Debug, thiserror::Error)]
#[error("the connection was broken on purpose")]
struct Broken;

type Answer = Response<Full<Bytes>>;

/// Accepts connections until told to stop.
pub(super) async fn listen(
    listener: TcpListener,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (shared, stop) = (shared.clone(), stop.clone());
                    tasks.spawn(async move {
                        stop.run_until_cancelled(serve(stream, shared)).await;
                    });
                }
                // Out of descriptors, say: the next one may fare better.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let _: Option<Infallible> = stop.run_until_cancelled(accepting).await;
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { answer(&shared, request).await }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new());
    // Callers come and go as they please; how they end is their affair.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Answer, Broken> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
        return Ok(response(StatusCode::PAYLOAD_TOO_LARGE, String::new(), false));
    };
    let (path, body) = (head.uri.path(), body.to_bytes());
    if path.starts_with("/sim/") {
        let (status, body) = control::answer(shared, &head.method, path, &body);
        return Ok(response(status, body, true));
    }
    if !path.contains("/v4/") {
        return Ok(response(StatusCode::NOT_FOUND, String::new(), false));
    }
    let query = head.uri.query().unwrap_or_default();
    let call = Call { path, query, is_post: head.method == Method::POST, body: &body };
    match rest::react(shared, call).await {
        Reaction::Answer { status, body, is_json } => Ok(response(status, body, is_json)),
        Reaction::Break => Err(Broken),
        Reaction::Hang => std::future::pending().await,
    }
}

fn response(status: StatusCode, body: String, is_json: bool) -> Answer {
    let kind = if is_json { "application/json" } else { "text/html" };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
