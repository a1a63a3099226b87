//! Accepting connections, with limits that `axum::serve` does not have: patience that ends, a cap on
//! connections, and a stop that lets requests under way finish.
//!
//! HTTP/1.1 only: it is what Chat speaks (page `wh-overview`). Nothing is read after a request without
//! a length of its own: what follows it on the same connection may be the rest of it in a proxy's
//! eyes, or the other way round.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::guesses::Peer;
use super::timed::{Patience, Timed};
use super::tls::Certificate;
use super::worded::{Worded, Wording};

/// After a failure to accept, such as too many open files ...
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// ... which may last, and must not fill the log.
const TELL_AGAIN: Duration = Duration::from_secs(10);
/// Longest head, in bytes, and what a connection that sends one can make us hold.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Connections that may wait to be accepted. The system drops one more than that, and its client tries
/// again only a second later. Linux allows as many as `net.core.somaxconn` says: 4096, before 5.4 128.
const BACKLOG: u32 = 4096;

/// Limits of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    pub connections: usize,
    pub patience: Patience,
    /// Requests under way get so long to finish once the listener stops.
    pub stop_timeout: Duration,
    /// How a request that is none is refused.
    pub wording: Wording,
    /// Without one, plain HTTP is spoken.
    pub certificate: Option<Arc<Certificate>>,
    /// Whether handlers are told who is at the other end of the connection.
    pub names_peers: bool,
    /// Whether a request is seen to its end though its client hung up. Such clients are noticed only when
    /// they are written to, so answering has to end by itself; but nothing is read, nor memory held to read
    /// into, while a request is answered.
    pub sees_to_end: bool,
}

/// Binds an address, with room for many who connect at once.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // What is left of an earlier process's connections keeps nobody from starting again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A listener that accepts.
pub struct Listener {
    address: SocketAddr,
    stop: Stop,
    tasks: TaskTracker,
    stop_timeout: Duration,
}

impl Listener {
    /// Answers what is asked for on a socket that is bound.
    pub fn start<A, F, B>(listener: TcpListener, answer: A, limits: Limits) -> io::Result<Self>
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let (stop, tasks) = (Stop::default(), TaskTracker::new());
        let stop_timeout = limits.stop_timeout;
        tasks.spawn(accept(listener, answer, limits, stop.clone(), tasks.clone()));
        tasks.close();
        Ok(Self { address, stop, tasks, stop_timeout })
    }

    /// Where it listens; tells the port where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more and waits for requests under way.
    pub async fn stop(&self) {
        self.stop.say();
        if tokio::time::timeout(self.stop_timeout, self.tasks.wait()).await.is_err() {
            tracing::warn!("connections were cut off while stopping");
        }
    }
}

/// Says that it is time to stop.
#[derive(Clone, Default)]
struct Stop {
    said: Arc<AtomicBool>,
    token: CancellationToken,
}

impl Stop {
    fn say(&self) {
        self.said.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Waits for it among other things that are polled often. The token takes two locks that all
    /// connections share whenever it is polled, so it is left alone while it would say nothing new.
    async fn heard(&self) {
        let mut cancelled = std::pin::pin!(self.token.cancelled());
        let mut woken: Option<Waker> = None;
        std::future::poll_fn(move |cx| {
            let waits = woken.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if waits && !self.said.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            woken = Some(cx.waker().clone());
            cancelled.as_mut().poll(cx)
        })
        .await;
    }
}

async fn accept<A, F, B>(
    listener: TcpListener,
    answer: A,
    limits: Limits,
    stop: Stop,
    tasks: TaskTracker,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let connections = Arc::new(Semaphore::new(limits.connections));
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.token.cancelled() => return,
            accepted = accept_one(&listener, &connections) => accepted,
        };
        match accepted {
            Ok((stream, peer, room)) => {
                // Answers are small and single: waiting to fill a segment would only delay them.
                let _ = stream.set_nodelay(true);
                let peer = limits.names_peers.then(|| Peer(peer.ip()));
                let served = meet(stream, peer, answer.clone(), limits.clone(), stop.clone());
                tasks.spawn(async move {
                    served.await;
                    drop(room);
                });
            }
            Err(error) => {
                if told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
                    told = Some(Instant::now());
                    tracing::warn!(error = %error, "a connection could not be accepted");
                }
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Waits for room first: who has no room waits in the system's queue.
async fn accept_one(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let room = Arc::clone(connections).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, room))
}

/// Greets a connection as its listener does, then serves it.
async fn meet<A, F, B>(stream: TcpStream, peer: Option<Peer>, answer: A, limits: Limits, stop: Stop)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let Limits { patience, wording, certificate, sees_to_end, .. } = limits;
    let mut http = http1::Builder::new();
    // Patience is the stream's; see there why not hyper's.
    http.header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        // Answers are small: to copy a body behind its head costs less than to hand over two pieces.
        .writev(false)
        .half_close(sees_to_end);
    let Some(certificate) = certificate else {
        let stream = Worded::new(Timed::new(stream, patience), wording);
        return serve(&http, stream, peer, answer, stop).await;
    };
    // Until the first request there is no other patience.
    let greeting = certificate.acceptor().accept(stream);
    let greeting = tokio::time::timeout(patience.first_byte, greeting);
    match stop.token.run_until_cancelled(greeting).await {
        None => {}
        Some(Ok(Ok(stream))) => {
            let stream = Worded::new(Timed::new(stream, patience), wording);
            serve(&http, stream, peer, answer, stop).await;
        }
        Some(broken) => {
            metrics::counter!("quell_tls_failures_total").increment(1);
            let error = broken.map_or_else(|late| late.to_string(), |done| why(done.err()));
            tracing::debug!(error, "a TLS connection did not come about");
        }
    }
}

fn why(error: Option<io::Error>) -> String {
    error.map(|error| error.to_string()).unwrap_or_default()
}

async fn serve<S, A, F, B>(
    http: &http1::Builder,
    stream: S,
    peer: Option<Peer>,
    answer: A,
    stop: Stop,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let answering = service_fn(|mut request: Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        answer(request).map(move |mut response| {
            if chunked {
                // A length beside it, which another reader may believe, was dropped before it got here.
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        })
    });
    let connection = http.serve_connection(TokioIo::new(stream), answering);
    tokio::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop.heard() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients go away as they like.
        tracing::debug!(error = %error, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use hyper::body::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    /// What a client gets that sends a request and hangs up before it is answered.
    async fn hung_up(sees_to_end: bool) -> String {
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let answer = {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            move |_| {
                let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
                async move {
                    begun.notify_one();
                    go.notified().await;
                    Response::new(Empty::<Bytes>::new())
                }
            }
        };
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = Listener::start(
            socket,
            answer,
            Limits {
                connections: 10,
                patience: Patience { first_byte: LONG, request: LONG, idle: LONG },
                stop_timeout: LONG,
                wording: |_, why| ("text/plain", why.to_owned()),
                certificate: None,
                names_peers: false,
                sees_to_end,
            },
        )
        .unwrap();
        let mut client = TcpStream::connect(listener.address()).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        begun.notified().await;
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        if sees_to_end {
            go.notify_one();
        }
        client.read_to_string(&mut answer).await.unwrap();
        listener.stop().await;
        answer
    }

    #[tokio::test]
    async fn a_request_is_seen_to_its_end_though_its_client_hung_up() {
        assert!(hung_up(true).await.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(hung_up(false).await, "");
    }

    #[tokio::test]
    async fn many_may_connect_at_once() {
        // What a listener that is left to the standard library has room for.
        const USUAL: usize = 128;
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
        let allowed = allowed.trim().parse().unwrap_or(USUAL);
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        for number in 1..=allowed.min(2 * USUAL) {
            // Nobody accepts: without room this would never come about.
            let connected = TcpStream::connect(address);
            let connected = tokio::time::timeout(Duration::from_secs(20), connected).await;
            waiting.push(connected.unwrap_or_else(|_| panic!("{number} is too many")).unwrap());
        }
    }
}
