//! Telling a person what needs one: a webhook, or a message in the usual chat tools.
//!
//! Alerts hold no message text, and no ids of people. Each is sent until its receiver takes it, or for
//! about an hour; its id stays the same meanwhile, so that a receiver can tell a repetition. What still
//! waits when quell stops is lost: whatever still holds is told again after the next start.

mod address;
mod alert;
mod delivery;
mod forms;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::mpsc;

use crate::config::notify::Form;
use crate::model::Clock;
use crate::store::Store;

pub use alert::{Alert, Halt};
pub use delivery::{Delivery, Unsent};

/// Alerts that may wait; further ones are dropped, and that is logged.
const WAITING: usize = 64;

/// Where alerts go, and what is worth one.
#[derive(Clone, Debug)]
pub struct Options {
    pub url: SecretString,
    pub form: Form,
    pub secret: Option<SecretString>,
    pub telegram_chat: String,
    /// Whether the receiver may be on this machine or in this network.
    pub allow_private: bool,
    /// The oldest waiting recall may be so old.
    pub queue_age: Duration,
    /// When a day is summed up, in minutes after midnight, UTC.
    pub summary_minute: Option<u32>,
}

/// Watches and tells, for as long as it is polled. `halted` says why calls stand still, if they do.
pub async fn run(
    options: Options,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    halted: Box<dyn Fn() -> Option<Halt> + Send + Sync>,
) {
    let (alerts, waiting) = mpsc::channel(WAITING);
    let delivery = Delivery::new(&options, Arc::clone(&clock));
    let watch = watch::Watch::new(store, clock, halted, options.queue_age, options.summary_minute);
    tokio::join!(watch.run(alerts), delivery.run(waiting));
}
