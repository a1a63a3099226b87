//! Accepting connections, with limits that `axum::serve` does not have: patience that ends, a cap on
//! connections, and a stop that lets requests under way finish.
//!
//! HTTP/1.1 only: it is what Chat speaks (page `wh-overview`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::timed::{Patience, Timed};

/// After a failure to accept, such as too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Limits of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    pub connections: usize,
    pub patience: Patience,
    /// Requests under way get so long to finish once the listener stops.
    pub stop_timeout: Duration,
}

/// Binds an address.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// A listener that accepts.
pub struct Listener {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
    stop_timeout: Duration,
}

impl Listener {
    /// Serves routes on a socket that is bound.
    pub fn start(listener: TcpListener, routes: Router, limits: Limits) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let stop_timeout = limits.stop_timeout;
        tasks.spawn(accept(listener, routes, limits, stop.clone(), tasks.clone()));
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
        self.stop.cancel();
        if tokio::time::timeout(self.stop_timeout, self.tasks.wait()).await.is_err() {
            tracing::warn!("connections were cut off while stopping");
        }
    }
}

async fn accept(
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let connections = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = accept_one(&listener, &connections) => accepted,
        };
        match accepted {
            Ok((stream, room)) => {
                let served = serve(stream, routes.clone(), limits.patience, stop.clone());
                tasks.spawn(async move {
                    served.await;
                    drop(room);
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Waits for room first: who has no room waits in the system's queue.
async fn accept_one(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let room = Arc::clone(connections).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, room))
}

async fn serve(stream: TcpStream, routes: Router, patience: Patience, stop: CancellationToken) {
    // Answers are small and single: waiting to fill a segment would only delay them.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        // Patience is the stream's; see there why not hyper's.
        .header_read_timeout(None)
        .serve_connection(
            TokioIo::new(Timed::new(stream, patience)),
            TowerToHyperService::new(routes),
        );
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients go away as they like.
        tracing::debug!(error = %error, "a connection broke");
    }
}
