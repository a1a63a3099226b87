//! Telling a person what needs one: a webhook, or a message in the usual chat tools.
//!
//! Alerts hold no message text, and no ids of people. Each is sent until its receiver takes it, or for
//! about an hour; its id stays the same meanwhile, so that a receiver can tell a repetition. A receiver
//! that does not answer holds up no other.
//!
//! Nothing of this is stored. What still waits when quell stops is lost: tripped rules, halted calls and an
//! old queue are told again after the next start, as long as they last; gaps that were given up in the last
//! ten minutes, and the summary of a day that ended while quell was down, are not.

mod address;
mod alert;
mod delivery;
mod forms;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use metrics::describe_counter;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::notify::Form;
use crate::model::Clock;
use crate::store::Store;

pub use alert::{Alert, Halt};
pub use delivery::{Delivery, Lookup, Unsent};

/// Alerts that may wait for one receiver; further ones are dropped, which is logged and counted.
const WAITING: usize = 64;

/// Where alerts go, and what is worth one.
#[derive(Clone, Debug)]
pub struct Options {
    pub receivers: Vec<Receiver>,
    /// The oldest waiting recall may be so old.
    pub queue_age: Duration,
    /// When a day is summed up, in minutes after midnight, UTC.
    pub summary_minute: Option<u32>,
}

/// Who is told.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub url: SecretString,
    pub form: Form,
    pub secret: Option<SecretString>,
    pub telegram_chat: String,
    /// Whether the receiver may be on this machine or in this network.
    pub allow_private: bool,
}

/// Watches and tells, for as long as it is polled. `halted` says why calls stand still, if they do.
pub async fn run(
    options: Options,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    halted: Box<dyn Fn() -> Option<Halt> + Send + Sync>,
) {
    describe();
    let mut deliveries = JoinSet::new();
    let mut all = Vec::new();
    for receiver in options.receivers {
        let (alerts, waiting) = mpsc::channel(WAITING);
        let delivery = Delivery::new(receiver, Arc::clone(&clock));
        deliveries.spawn(async move { delivery.run(waiting).await });
        all.push(alerts);
    }
    let watch = watch::Watch::new(store, clock, halted, options.queue_age, options.summary_minute);
    watch.run(all).await;
}

fn describe() {
    describe_counter!("quell_notifications_total", "Alerts, by what became of them");
    for result in ["sent", "failed", "dropped"] {
        metrics::counter!("quell_notifications_total", "result" => result).absolute(0);
    }
}
