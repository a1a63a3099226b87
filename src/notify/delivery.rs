//! Sending alerts: one after the other, again and again until the receiver takes it.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url, redirect};
use secrecy::ExposeSecret;
use tokio::sync::mpsc;

use super::address::is_public;
use super::forms;
use super::{Alert, Receiver};
use crate::model::Clock;

/// Attempts for one alert: with the waits between them, about an hour.
const ATTEMPTS: u32 = 12;
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_mins(10);
const TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read.
const MOST_ANSWER: usize = 16 * 1024;

/// Finds the addresses of a host.
pub type Lookup =
    Arc<dyn Fn(String, u16) -> BoxFuture<std::io::Result<Vec<SocketAddr>>> + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Sends alerts to one receiver.
pub struct Delivery {
    receiver: Receiver,
    clock: Arc<dyn Clock>,
    lookup: Lookup,
    /// Before the second attempt; doubled before each further one.
    first_wait: Duration,
}

/// Why an alert did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum Unsent {
    #[error("notify.url is no URL with a host")]
    NoUrl,
    #[error("{host} cannot be resolved: {why}")]
    Unresolved { host: String, why: String },
    #[error("{host} is {address}, which is no public address; notify.allow_private allows it")]
    Private { host: String, address: IpAddr },
    #[error("the receiver cannot be reached: {0}")]
    Unreachable(String),
    #[error("the receiver answered {words}")]
    Refused { words: String, again: Again },
}

/// What a refusal says of another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    Never,
    Later,
    After(Duration),
}

impl Unsent {
    /// Whether trying again may help.
    fn may_pass(&self) -> bool {
        match self {
            Self::Unresolved { .. } | Self::Unreachable(_) => true,
            Self::Refused { again, .. } => *again != Again::Never,
            Self::NoUrl | Self::Private { .. } => false,
        }
    }

    /// How long the receiver wants to be left alone, if it said so.
    fn pause(&self) -> Option<Duration> {
        match self {
            Self::Refused { again: Again::After(pause), .. } => Some(*pause),
            _ => None,
        }
    }
}

impl Delivery {
    #[must_use]
    pub fn new(receiver: Receiver, clock: Arc<dyn Clock>) -> Self {
        let lookup: Lookup = Arc::new(|host, port| {
            Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
        });
        Self { receiver, clock, lookup, first_wait: FIRST_WAIT }
    }

    /// With other answers than those of the system's resolver, for tests.
    #[must_use]
    pub fn resolving_by(self, lookup: Lookup) -> Self {
        Self { lookup, ..self }
    }

    /// With another first wait, for tests.
    #[must_use]
    pub fn waiting_first(self, first_wait: Duration) -> Self {
        Self { first_wait, ..self }
    }

    pub(super) async fn run(&self, mut alerts: mpsc::Receiver<Alert>) {
        while let Some(alert) = alerts.recv().await {
            match self.deliver(&alert).await {
                Ok(()) => tracing::info!(alert = alert.kind(), "told"),
                Err(error) => tracing::error!(alert = alert.kind(), %error, "nobody was told"),
            }
        }
    }

    /// Sends an alert until it arrives, or there is no use in trying.
    pub async fn deliver(&self, alert: &Alert) -> Result<(), Unsent> {
        let mut wait = self.first_wait;
        for attempt in 1.. {
            let error = match self.send(alert).await {
                Ok(()) => break,
                Err(error) => error,
            };
            if attempt == ATTEMPTS || !error.may_pass() {
                metrics::counter!("quell_notifications_total", "result" => "failed").increment(1);
                return Err(error);
            }
            tracing::warn!(alert = alert.kind(), attempt, %error, "telling again later");
            let asked = error.pause().unwrap_or_default().min(LONGEST_WAIT);
            tokio::time::sleep(wait.max(asked)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        metrics::counter!("quell_notifications_total", "result" => "sent").increment(1);
        Ok(())
    }

    /// One attempt.
    async fn send(&self, alert: &Alert) -> Result<(), Unsent> {
        let url = self.receiver.url.expose_secret();
        let mut url = Url::parse(url).map_err(|_| Unsent::NoUrl)?;
        let (host, addresses) = self.resolve(&url).await?;
        let request = forms::request(&self.receiver, alert, self.clock.now());
        if !request.query.is_empty() {
            let query = match url.query() {
                Some(own) => format!("{own}&{}", request.query),
                None => request.query,
            };
            url.set_query(Some(&query));
        }
        // Made for this attempt alone: the addresses that were looked at are the ones that are called, and
        // no answer can send us elsewhere.
        let client = Client::builder()
            .timeout(TIMEOUT)
            .user_agent(concat!("quell/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .resolve_to_addrs(&host, &addresses)
            .build()
            .map_err(|error| Unsent::Unreachable(plain(&error)))?;
        let mut sending = client.post(url).header("content-type", "application/json");
        for (name, value) in request.headers {
            sending = sending.header(name, value);
        }
        let answer = sending
            .body(request.body)
            .send()
            .await
            .map_err(|error| Unsent::Unreachable(plain(&error)))?;
        self.judge(answer).await
    }

    /// The addresses of the URL's host, all of them allowed.
    async fn resolve(&self, url: &Url) -> Result<(String, Vec<SocketAddr>), Unsent> {
        let host = url.host_str().ok_or(Unsent::NoUrl)?.to_owned();
        let port = url.port_or_known_default().ok_or(Unsent::NoUrl)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = (self.lookup)(bare.to_owned(), port).await;
        let addresses = addresses
            .map_err(|error| Unsent::Unresolved { host: host.clone(), why: error.to_string() })?;
        let private = addresses.iter().find(|address| !is_public(address.ip()));
        match private {
            Some(address) if !self.receiver.allow_private => {
                Err(Unsent::Private { host, address: address.ip() })
            }
            _ => Ok((host, addresses)),
        }
    }

    async fn judge(&self, mut answer: reqwest::Response) -> Result<(), Unsent> {
        let status = answer.status();
        let again = again(status, answer.headers());
        let mut body = Vec::new();
        while let Ok(Some(part)) = answer.chunk().await {
            body.extend_from_slice(&part);
            if body.len() > MOST_ANSWER {
                break;
            }
        }
        if !status.is_success() {
            return Err(Unsent::Refused { words: status_words(status), again });
        }
        match forms::refused(self.receiver.form, &String::from_utf8_lossy(&body)) {
            Some(words) => Err(Unsent::Refused { words, again: Again::Later }),
            None => Ok(()),
        }
    }
}

/// After Standard Webhooks, 410 asks to be left alone for good. Others may be mended meanwhile, even 404.
fn again(status: StatusCode, headers: &HeaderMap) -> Again {
    if status == StatusCode::GONE {
        return Again::Never;
    }
    let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    asked.map_or(Again::Later, |seconds| Again::After(Duration::from_secs(seconds)))
}

fn status_words(status: StatusCode) -> String {
    if status.is_redirection() {
        format!("{status}: redirects are not followed")
    } else {
        status.to_string()
    }
}

/// The error without the URL, which holds a secret in most chat tools, and with its causes.
fn plain(error: &reqwest::Error) -> String {
    let mut words = if error.is_timeout() { "timed out" } else { "failed" }.to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
