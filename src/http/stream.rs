//! Answers without an end: server-sent events, and files that are read page by page. What both send
//! waits for its reader, ends with the session of whoever asked, and ends when the daemon stops.
//!
//! A stream of events follows the store, not the callbacks: it tells what was committed and costs a
//! callback nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::sync::{Semaphore, mpsc};

use super::access::Access;
use super::admin::Admin;
use super::problem::Problem;
use crate::store::Error;

/// Between looks into the store.
const TICK: Duration = Duration::from_millis(500);
/// Ticks between signs of life, by which a client that went away is noticed.
const SIGN_OF_LIFE: u32 = 30;
/// Pieces that wait for a slow reader.
const WAITING: usize = 4;

/// Streams that may run at a time: each costs the store a few short reads a tick.
#[derive(Clone)]
pub(super) struct Streams(Arc<Semaphore>);

impl Streams {
    pub(super) fn room_for(streams: usize) -> Self {
        Self(Arc::new(Semaphore::new(streams)))
    }
}

/// The client went away, its session ended, the daemon stops, or the store cannot be read. The client
/// comes again, and says where it was.
pub(super) struct Over;

impl From<Error> for Over {
    fn from(_: Error) -> Self {
        Self
    }
}

/// The way to a client.
pub(super) struct Out {
    admin: Admin,
    access: Access,
    /// Of the request, so that a stream ends with the session.
    headers: HeaderMap,
    pieces: mpsc::Sender<io::Result<Bytes>>,
}

impl Out {
    /// A way, and the body that comes out at its end.
    pub(super) fn new(admin: &Admin, access: &Access, headers: HeaderMap) -> (Self, Body) {
        let (pieces, read) = mpsc::channel(WAITING);
        let (admin, access) = (admin.clone(), access.clone());
        (Self { admin, access, headers, pieces }, Body::new(Pieces(read)))
    }

    /// Waits for a slow reader. Answers whether there was anything to send.
    pub(super) async fn send(&self, piece: impl Into<Bytes>) -> Result<bool, Over> {
        let piece = piece.into();
        if piece.is_empty() {
            return Ok(false);
        }
        // Nothing may be left to read for whoever has logged out.
        self.access.caller(&self.headers).map_err(|_| Over)?;
        let sent = self.admin.stopping.run_until_cancelled(self.pieces.send(Ok(piece))).await;
        sent.ok_or(Over)?.map_err(|_| Over)?;
        Ok(true)
    }

    /// Breaks off, so that the client sees that something is missing.
    pub(super) async fn fail(self, error: &Error) {
        tracing::error!(%error, "an answer broke off");
        let _ = self.pieces.send(Err(io::Error::other("the answer broke off"))).await;
    }
}

/// Somebody who tells what is new.
pub(super) trait Teller: Send + 'static {
    /// Tells everything since the last look. Answers whether there was anything.
    fn look(&mut self, out: &Out) -> impl Future<Output = Result<bool, Over>> + Send;
}

/// A stream of what somebody tells, look by look, until it is over.
pub(super) fn events(out: (Out, Body), streams: &Streams, mut teller: impl Teller) -> Response {
    let Ok(room) = Arc::clone(&streams.0).try_acquire_owned() else {
        let why = "too many streams of events are open";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    let (out, body) = out;
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut silent = 0;
        loop {
            tokio::select! {
                () = out.pieces.closed() => break,
                () = out.admin.stopping.cancelled() => break,
                _ = ticks.tick() => {}
            }
            if out.access.caller(&out.headers).is_err() {
                break;
            }
            let Ok(told) = teller.look(&out).await else { break };
            silent = if told { 0 } else { silent + 1 };
            if silent > 0 && silent % SIGN_OF_LIFE == 0 && out.send(":\n\n").await.is_err() {
                break;
            }
        }
        drop(room);
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (kind, body).into_response()
}

/// What is sent, as a body.
struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
