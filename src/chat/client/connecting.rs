//! How many connections are being made right now.
//!
//! A call whose connection is still being made has not left, though its permit is spent. If many
//! such calls piled up, all of them would reach Chat at once when connecting works again, together
//! with fresh ones. Whoever paces calls asks here first.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::watch;
use tower::{Layer, Service};

/// A count shared by all connections of a client.
#[derive(Clone)]
pub(super) struct Connecting(Arc<watch::Sender<usize>>);

impl Connecting {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Waits until at most so many connections are being made.
    pub(super) async fn at_most(&self, most: usize) {
        // The sender is ours, so the channel is open.
        let _ = self.0.subscribe().wait_for(|count| *count <= most).await;
    }

    fn enter(&self) -> Entered {
        self.0.send_modify(|count| *count += 1);
        Entered(self.clone())
    }
}

/// A connection in the making; dropped, it is made or given up.
struct Entered(Connecting);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

impl<S> Layer<S> for Connecting {
    type Service = Counted<S>;
    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, connecting: self.clone() }
    }
}

/// A connector whose work is counted.
#[derive(Clone)]
pub(super) struct Counted<S> {
    inner: S,
    connecting: Connecting,
}

impl<S, R> Service<R> for Counted<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }
    fn call(&mut self, target: R) -> Self::Future {
        let entered = self.connecting.enter();
        let connected = self.inner.call(target);
        Box::pin(async move {
            let outcome = connected.await;
            drop(entered);
            outcome
        })
    }
}
