//! Builds everything from the configuration; owns start and stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::chat::client::{Client, ClientOptions};
use crate::chat::region;
use crate::chat::verify::{Verifier, VerifierOptions};
use crate::config::{self, Config, Mistake, RecallMode};
use crate::http::listener::{Limits, Listener};
use crate::http::{self, Admin, Patience, Readiness, Webhook, telemetry};
use crate::intake::{self, Intake};
use crate::model::Clock;
use crate::rules::{self, CompiledRules};
use crate::store::sqlite::{self, Sqlite};
use crate::worker::{self, Worker};

/// Requests under way get so long to finish when stopping.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Between tidying up the metrics.
const UPKEEP: Duration = Duration::from_secs(5);

/// A daemon that runs.
pub struct App {
    callbacks: Listener,
    admin: Listener,
    intake: Arc<Intake>,
    worker: Worker,
    store: Arc<Sqlite>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The rules cannot be loaded: see the mistakes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadRules(pub rules::LoadError);

/// Everything that is wrong with a configuration, what only the protocol knows included.
#[must_use]
pub fn mistakes(config: &Config) -> Vec<Mistake> {
    let mut mistakes = config.mistakes();
    if config.chat.base_url.is_empty() && region::base_url(&config.chat.region).is_none() {
        let known: Vec<_> = region::names().collect();
        mistakes.push(Mistake {
            key: "chat.region".into(),
            problem: format!(
                "{:?} is no region; known are {}",
                config.chat.region,
                known.join(", ")
            ),
            place: String::new(),
        });
    }
    mistakes
}

/// What is allowed and worth a second look.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let url = &config.chat.base_url;
    let host = url.split("://").nth(1).and_then(|rest| rest.split(['/', ':']).next());
    if let Some(host) = host
        && !region::known_hosts().any(|known| known == host)
    {
        warnings.push(format!(
            "chat.base_url: {host} is none of the provider's hosts; the credential is sent there"
        ));
    }
    if config.recall.calls_per_second > 190 {
        warnings.push(
            "recall.calls_per_second: above 190, network jitter can make Chat see more than 200 \
             calls in a second"
                .into(),
        );
    }
    if config.chat.callback_token.is_empty() {
        warnings.push(
            "chat.callback_token is not set: whoever reaches the callback listener can have any \
             message deleted"
                .into(),
        );
    }
    warnings
}

impl App {
    /// Opens the store, loads the rules, starts the worker, and only then listens.
    pub async fn start(config: &Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let telemetry = telemetry();
        let rules = load_rules(config)?;
        let store = Arc::new(open_store(config).await?);
        let client = client(config, Arc::clone(&clock))?;
        let intake = Intake::new(
            verifier(config),
            rules,
            Arc::clone(&store) as _,
            Arc::clone(&clock),
            intake::Options {
                enforce: config.recall.mode == RecallMode::Live,
                identifier: config.chat.identifier.as_str().into(),
            },
        )
        .await?;
        let intake = Arc::new(intake);
        let worker = Worker::start(
            Arc::clone(&store) as _,
            client,
            clock,
            worker_options(config),
            false,
            StdRng::from_os_rng(),
        )
        .await?;
        let webhook = Webhook {
            intake: Arc::clone(&intake),
            max_body_bytes: config.server.max_body_bytes,
            body_timeout: Duration::from_millis(config.server.body_timeout_ms),
            answer_timeout: Duration::from_millis(config.server.answer_timeout_ms),
        };
        let routes = http::callback_routes(&config.server.callback_path, webhook);
        let callbacks = Listener::start(config.server.listen, routes, limits(&config.server))
            .await
            .with_context(|| format!("server.listen: {}", config.server.listen))?;
        let admin = Admin {
            telemetry: telemetry.clone(),
            audit: Arc::clone(&store) as _,
            readiness: Arc::new(StoreReadiness(Arc::clone(&store))),
        };
        let admin =
            Listener::start(config.admin.listen, http::admin_routes(admin), limits(&config.server))
                .await
                .with_context(|| format!("admin.listen: {}", config.admin.listen))?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                telemetry.upkeep();
            }
        }));
        tasks.close();
        tracing::info!(
            callbacks = %callbacks.address(),
            admin = %admin.address(),
            version = env!("CARGO_PKG_VERSION"),
            "quell is listening"
        );
        Ok(Self { callbacks, admin, intake, worker, store, stop, tasks })
    }

    /// Where callbacks are taken in.
    #[must_use]
    pub fn callback_address(&self) -> SocketAddr {
        self.callbacks.address()
    }

    /// Where probes, metrics and operators are served.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    #[must_use]
    pub fn store(&self) -> &Arc<Sqlite> {
        &self.store
    }

    #[must_use]
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    #[must_use]
    pub fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    /// Answers what was accepted, finishes the calls under way, closes the store.
    pub async fn stop(self) {
        tracing::info!("stopping");
        self.callbacks.stop().await;
        self.worker.stop().await;
        self.admin.stop().await;
        self.stop.cancel();
        self.tasks.wait().await;
        self.store.close().await;
        tracing::info!("stopped");
    }
}

struct StoreReadiness(Arc<Sqlite>);

impl Readiness for StoreReadiness {
    fn missing(&self) -> Option<&'static str> {
        (!self.0.is_healthy()).then_some("the database cannot be written")
    }
}

fn load_rules(config: &Config) -> Result<CompiledRules> {
    let loaded = rules::load(&config.rules.path).map_err(BadRules)?;
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "rules");
    }
    Ok(loaded.rules)
}

/// The store that the configuration names.
pub async fn open_store(config: &Config) -> Result<Sqlite, crate::store::Error> {
    sqlite::open(&store_options(config)).await
}

/// How the configuration wants its database opened.
#[must_use]
pub fn store_options(config: &Config) -> sqlite::Options {
    let store = &config.store;
    sqlite::Options {
        path: store.sqlite_path().unwrap_or_else(|| "quell.db".as_ref()).to_path_buf(),
        synchronous: match store.synchronous {
            config::Synchronous::Full => sqlite::Synchronous::Full,
            config::Synchronous::Normal => sqlite::Synchronous::Normal,
        },
        queue: store.queue_messages,
        batch: store.batch_messages,
        readers: store.readers,
        quarantine_rows: store.quarantine_rows,
        migrate: store.migrate,
    }
}

fn client(config: &Config, clock: Arc<dyn Clock>) -> Result<Client> {
    let chat = &config.chat;
    let base_url = match region::base_url(&chat.region) {
        Some(region) if chat.base_url.is_empty() => region,
        _ => &chat.base_url,
    };
    let key = chat.secret_key.get().context("chat.secret_key is missing")?.clone();
    let options = ClientOptions {
        timeout: Duration::from_millis(config.recall.timeout_ms),
        ..ClientOptions::new(base_url, chat.sdk_app_id, &chat.identifier, key)
    };
    Ok(Client::new(options, clock)?)
}

fn verifier(config: &Config) -> Verifier {
    Verifier::new(VerifierOptions {
        app_id: config.chat.sdk_app_id,
        tokens: config.chat.callback_token.iter().cloned().collect(),
        tolerance: Duration::from_secs(config.chat.callback_tolerance_seconds),
    })
}

fn worker_options(config: &Config) -> worker::Options {
    worker::Options {
        calls_per_second: config.recall.calls_per_second,
        batch_size: config.recall.batch_size,
        max_in_flight: config.recall.max_in_flight,
        max_attempts: config.recall.max_attempts,
        send_reason: config.recall.send_reason,
        roaming: Duration::from_hours(24 * u64::from(config.chat.roaming_days)),
    }
}

fn limits(server: &config::Server) -> Limits {
    let header = Duration::from_millis(server.header_timeout_ms);
    Limits {
        connections: server.max_connections,
        patience: Patience {
            first_byte: header,
            request: header + Duration::from_millis(server.body_timeout_ms),
            idle: Duration::from_millis(server.idle_timeout_ms),
        },
        stop_timeout: STOP_TIMEOUT,
    }
}
