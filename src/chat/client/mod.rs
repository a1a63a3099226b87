//! The REST client: one attempt a call, and a result that tells apart what must be told apart.
//!
//! A call was either answered, certainly never sent, or its effect is unclear. Nothing is retried
//! here, since every attempt counts against Chat's limit and only the caller's limiter may spend it:
//! reqwest's own retries and redirects are off. `hyper-util` keeps one repetition that cannot be
//! switched off through reqwest: a request handed to a kept connection that turns out to be closed
//! moves to another one. It does so only while not a byte of the request was written, so Chat
//! never sees two; `tests/it/chat_client.rs` counts.
//!
//! Proxies from the environment are not used: the credential travels in the URL, and a proxy that
//! repeats or answers by itself would break the count of calls. URLs are never logged and never part
//! of an error.

mod connecting;
mod history;
mod recall;

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::connecting::Connecting;
use super::error::Class;
use super::usersig::UserSig;
use super::wire::Integer;
use crate::model::{AppId, Clock};

pub use history::{Entry, EntryKind, Finished, MAX_HISTORY, Page};
pub use recall::{MAX_SEQS, RecallItem, Recalled};

/// Chat gives its own backend 3 s (page `rest-intro`), so a shorter time-out would give up on calls
/// that succeed.
const LONGEST_ANSWER: Duration = Duration::from_secs(3);

/// Kept connections. 200 calls a second that take 300 ms each need 60.
const MAX_IDLE_CONNECTIONS: usize = 64;

/// `ErrorInfo` goes to tables and logs; more of it than this helps nobody.
const MAX_ERROR_INFO_BYTES: usize = 300;

/// Where and as whom to call.
#[derive(Debug)]
pub struct ClientOptions {
    /// Scheme, host, port and any path before `/v4`.
    pub base_url: String,
    pub app_id: AppId,
    /// An administrator account of the application.
    pub identifier: String,
    pub secret_key: SecretString,
    /// For a call as a whole, connecting included. Less than 3 s gives up on calls that succeed.
    pub timeout: Duration,
    /// For connecting, TLS included. Shorter than `timeout`, so that a host that is down is known
    /// not to have been reached.
    pub connect_timeout: Duration,
    /// How much of an answer is read. 20 messages of 12 KB fill a history page (page `limits`).
    pub max_answer_bytes: usize,
    /// How long a `UserSig` is good for.
    pub user_sig_life: Duration,
}

impl ClientOptions {
    /// With the time-outs and sizes that fit the provider.
    #[must_use]
    pub fn new(base_url: &str, app_id: AppId, identifier: &str, secret_key: SecretString) -> Self {
        Self {
            base_url: base_url.to_owned(),
            app_id,
            identifier: identifier.to_owned(),
            secret_key,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            max_answer_bytes: 1 << 20,
            user_sig_life: Duration::from_hours(24),
        }
    }
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not a base URL of the form https://host[:port][/path]: {0}")]
    BaseUrl(String),
    #[error("no HTTP client: {0}")]
    Http(String),
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum CallResult<T> {
    /// Chat answered; whether with success stands in the answer.
    Answered(Answer<T>),
    /// No byte of the request left: no effect, and Chat did not count it.
    NotSent { why: String },
    /// The request may have had its effect, or may have it still.
    Unclear { why: Unclear, http_status: Option<u16> },
}

/// Why nothing is known about a call's effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unclear {
    TimedOut,
    /// The connection broke, with what was said about it.
    Disconnected(String),
    /// Chat answers 200 whatever happens, so another status is a gateway's word.
    HttpStatus,
    /// Not the JSON that an answer is.
    BadBody,
    AnswerTooLarge,
}

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out"),
            Self::Disconnected(why) => write!(f, "connection broke: {why}"),
            Self::HttpStatus => f.write_str("answered with another status than 200"),
            Self::BadBody => f.write_str("answered with something else than JSON"),
            Self::AnswerTooLarge => f.write_str("the answer was too large"),
        }
    }
}

/// What Chat answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    pub http_status: u16,
    /// 0 is success, though `ActionStatus` may say otherwise: see [`Answer::class`].
    pub error_code: i64,
    pub error_info: String,
    /// Worth logging: the provider's support asks for it. Empty where Chat sent none.
    pub request_id: String,
    /// `ActionStatus` was `FAIL`.
    pub failed: bool,
    pub value: T,
}

impl<T> Answer<T> {
    /// What the answer asks for, taken as a whole. `FAIL` with code 0 is a failure too.
    #[must_use]
    pub fn class(&self) -> Class {
        match Class::of_call(self.error_code) {
            Class::Done if self.failed => Class::Unknown,
            class => class,
        }
    }
}

/// Calls Chat's REST API as one administrator account. Cheap to share, not to clone.
pub struct Client {
    http: reqwest::Client,
    connecting: Connecting,
    base_url: Url,
    app_id: AppId,
    user_sig: UserSig,
    max_answer_bytes: usize,
    /// Drives the `random` of each call.
    calls: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// Connects to nothing yet.
    pub fn new(options: ClientOptions, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let base_url = base_url(&options.base_url)?;
        if options.timeout <= LONGEST_ANSWER {
            tracing::warn!(
                timeout_ms = u64::try_from(options.timeout.as_millis()).unwrap_or(u64::MAX),
                "time-out of calls is no longer than the 3 s that Chat may take"
            );
        }
        let connecting = Connecting::new();
        Ok(Self {
            http: http_client(&options, base_url.scheme() == "https", connecting.clone())?,
            connecting,
            app_id: options.app_id,
            user_sig: UserSig::new(
                options.app_id,
                &options.identifier,
                options.secret_key,
                options.user_sig_life,
            ),
            base_url,
            max_answer_bytes: options.max_answer_bytes,
            calls: AtomicU64::new(u64::try_from(clock.now().millis()).unwrap_or_default()),
            clock,
        })
    }

    /// Makes the next call use a new `UserSig`, after Chat refused the present one.
    pub fn renew_user_sig(&self) {
        self.user_sig.renew();
    }

    /// Waits until at most so many connections are being made. A call that has to wait for its
    /// connection leaves later than its caller believes.
    pub async fn connected(&self, most_connecting: usize) {
        self.connecting.at_most(most_connecting).await;
    }

    /// The account that calls are made as. Its own recalls and messages come back as callbacks.
    #[must_use]
    pub fn identifier(&self) -> &str {
        self.user_sig.identifier()
    }

    /// One POST to a command of `group_open_http_svc`.
    async fn call<T: DeserializeOwned>(&self, command: &str, body: Vec<u8>) -> CallResult<T> {
        let sent = self
            .http
            .post(self.url(command))
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(body)
            .send()
            .await;
        let response = match sent {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => {
                return CallResult::NotSent { why: without_url(error) };
            }
            Err(error) => return CallResult::Unclear { why: broke(error), http_status: None },
        };
        let status = response.status();
        let unclear = |why| CallResult::Unclear { why, http_status: Some(status.as_u16()) };
        if status != StatusCode::OK {
            return unclear(Unclear::HttpStatus);
        }
        match read_body(response, self.max_answer_bytes).await {
            Ok(body) => answer(&body).map_or(unclear(Unclear::BadBody), CallResult::Answered),
            Err(why) => unclear(why),
        }
    }

    fn url(&self, command: &str) -> Url {
        let mut url = self.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["v4", "group_open_http_svc", command]);
        }
        url.query_pairs_mut()
            .append_pair("sdkappid", &self.app_id.to_string())
            .append_pair("identifier", self.user_sig.identifier())
            .append_pair("usersig", self.user_sig.current(self.clock.now()).expose_secret())
            .append_pair("random", &self.random().to_string())
            .append_pair("contenttype", "json");
        url
    }

    /// A fresh 32-bit number for each call (page `rest-intro`). It guards nothing, so a counter
    /// spread over the range (by the finisher of splitmix64) does.
    fn random(&self) -> u32 {
        let mut z = self.calls.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or_default()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base_url = self.base_url.as_str();
        f.debug_struct("Client").field("base_url", &base_url).finish_non_exhaustive()
    }
}

/// Chooses ring as the process's TLS cryptography. May be called often; the first call counts.
/// Whatever opens TLS connections must have it called before.
pub fn install_crypto() {
    // An error says that one is chosen already, which is all that is asked for.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn base_url(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    url.ok_or_else(|| Error::BaseUrl(text.to_owned()))
}

fn http_client(
    options: &ClientOptions,
    tls: bool,
    connecting: Connecting,
) -> Result<reqwest::Client, Error> {
    install_crypto();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("quell/", env!("CARGO_PKG_VERSION")))
        .timeout(options.timeout)
        .connect_timeout(options.connect_timeout)
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
        .http1_only()
        .tcp_nodelay(true)
        .no_proxy()
        .connector_layer(connecting)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never());
    if !tls {
        // Plain HTTP needs no certificates, which a small image may not have.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| Error::Http(without_url(error)))
}

fn broke(error: reqwest::Error) -> Unclear {
    if error.is_timeout() { Unclear::TimedOut } else { Unclear::Disconnected(without_url(error)) }
}

/// An error and its causes, less the URL, since that holds the credential.
fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

async fn read_body(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, Unclear> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broke)? {
        if body.len() + chunk.len() > limit {
            return Err(Unclear::AnswerTooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The part that every answer has (page `rest-intro`). `ErrorInfo` and `RequestId` may be missing.
#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(rename = "ActionStatus", default)]
    action_status: String,
    #[serde(rename = "ErrorCode")]
    error_code: Integer,
    #[serde(rename = "ErrorInfo", default)]
    error_info: Option<String>,
    #[serde(rename = "RequestId", default)]
    request_id: Option<String>,
    #[serde(flatten)]
    value: T,
}

fn answer<T: DeserializeOwned>(body: &[u8]) -> Option<Answer<T>> {
    let envelope: Envelope<T> = serde_json::from_slice(body).ok()?;
    let mut error_info = envelope.error_info.unwrap_or_default();
    error_info.truncate(error_info.floor_char_boundary(MAX_ERROR_INFO_BYTES));
    Some(Answer {
        http_status: StatusCode::OK.as_u16(),
        error_code: envelope.error_code.0?,
        error_info,
        request_id: envelope.request_id.unwrap_or_default(),
        failed: envelope.action_status == "FAIL",
        value: envelope.value,
    })
}

impl<T> CallResult<T> {
    /// The same result with the answer's value made into another.
    fn map<U>(self, make: impl FnOnce(T) -> U) -> CallResult<U> {
        match self {
            Self::Answered(answer) => CallResult::Answered(Answer {
                http_status: answer.http_status,
                error_code: answer.error_code,
                error_info: answer.error_info,
                request_id: answer.request_id,
                failed: answer.failed,
                value: make(answer.value),
            }),
            Self::NotSent { why } => CallResult::NotSent { why },
            Self::Unclear { why, http_status } => CallResult::Unclear { why, http_status },
        }
    }
}
