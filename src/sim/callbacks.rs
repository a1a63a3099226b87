//! The callbacks that the simulated Chat sends by itself: about messages sent over REST, recalls,
//! groups and topics destroyed. In order of their making, a few at a time, so in no promised order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::post::{Endpoint, Line};
use crate::model::{Clock, Timestamp};

/// Chat gives up after this long (page `wh-overview`).
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);

/// Callbacks that wait. Beyond, they are lost, as they are at Chat when nobody answers.
const QUEUE: usize = 100_000;

/// Connections that are kept.
const LINES: usize = 4;

/// How many callbacks went out and came back.
#[derive(Debug, Default)]
pub struct CallbackCounts {
    pub accepted: AtomicU64,
    /// Another status than 200, another code than 0, no answer, or no room to wait.
    pub failed: AtomicU64,
}

struct Callback {
    command: &'static str,
    platform: &'static str,
    body: String,
}

/// The queue in front of the connections.
#[derive(Debug, Clone)]
pub(super) struct Callbacks {
    queue: mpsc::Sender<Callback>,
    counts: Arc<CallbackCounts>,
}

impl Callbacks {
    /// Starts the tasks that send.
    pub(super) fn start(
        endpoint: &Arc<Endpoint>,
        clock: &Arc<dyn Clock>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        let counts = Arc::new(CallbackCounts::default());
        for _ in 0..LINES {
            let sending = send_all(
                Line::new(endpoint.clone()),
                endpoint.clone(),
                waiting.clone(),
                clock.clone(),
                counts.clone(),
            );
            let stop = stop.clone();
            tasks.spawn(async move { stop.run_until_cancelled(sending).await });
        }
        Self { queue, counts }
    }

    /// Has a callback sent as soon as a connection is free.
    pub(super) fn send(&self, command: &'static str, platform: &'static str, body: &Value) {
        let callback = Callback { command, platform, body: body.to_string() };
        if self.queue.try_send(callback).is_err() {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn counts(&self) -> &Arc<CallbackCounts> {
        &self.counts
    }
}

async fn send_all(
    mut line: Line,
    endpoint: Arc<Endpoint>,
    waiting: Arc<Mutex<mpsc::Receiver<Callback>>>,
    clock: Arc<dyn Clock>,
    counts: Arc<CallbackCounts>,
) {
    loop {
        let next = waiting.lock().await.recv().await;
        let Some(callback) = next else { return };
        let now: Timestamp = clock.now();
        let target = endpoint.target(callback.command, callback.platform, now);
        let posted = line.post(&target, callback.body.as_bytes());
        let accepted = match tokio::time::timeout(TIMEOUT, posted).await {
            Ok(Ok(reply)) => reply.accepted,
            Ok(Err(error)) => {
                tracing::debug!(%error, "callback failed");
                false
            }
            Err(_) => {
                line = Line::new(endpoint.clone());
                false
            }
        };
        let count = if accepted { &counts.accepted } else { &counts.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
