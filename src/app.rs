//! Builds everything from the configuration; owns start and stop.

mod backfiller;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use rand::SeedableRng;
use rand::rngs::StdRng;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backtest::Backtests;
use crate::chat::client::{Client, ClientOptions};
use crate::chat::region;
use crate::chat::verify::{Verifier, VerifierOptions};
use crate::config::{self, CALLS_PER_SECOND_AT_CHAT, Config, Mistake, RecallMode};
use crate::http::listener::{self, Limits, Listener};
use crate::http::tls::{self, Certificate};
use crate::http::{
    self, Access, Admin, ApiLimits, NotReloaded, Operator, Patience, Webhook, telemetry,
};
use crate::intake::{self, Intake};
use crate::model::{Allowance, AllowanceKind, Clock, RuleId, RulesVersion, UserId};
use crate::notify;
use crate::repair::{self, Repair};
use crate::retention::{self, Days};
use crate::rules::{self, CompiledRules};
use crate::store::sqlite::{self, Sqlite};
use crate::store::{self, By, Control, NewAllowance, Outcomes, QUELL, Trail};
use crate::sweep::{Sweeper, Terms};
use crate::worker::{self, Worker};

pub use self::backfiller::Backfiller;

/// Requests under way get so long to finish when stopping.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Between prunings; the first one comes a minute after the start.
const PRUNE: Duration = Duration::from_hours(1);
const FIRST_PRUNE: Duration = Duration::from_mins(1);
/// Between looks at whether everything still runs.
const LOOK_AFTER: Duration = Duration::from_millis(500);
/// Between looks at whether certificates changed.
const LOOK_AT_CERTIFICATES: Duration = Duration::from_mins(1);
/// Between looking for rows to put into the chain; while there are more; after a failure.
const FOLLOW: Duration = Duration::from_secs(1);
const CATCH_UP: Duration = Duration::from_millis(3);
const FOLLOW_AGAIN: Duration = Duration::from_secs(10);
/// Between tidying up the metrics.
const UPKEEP: Duration = Duration::from_secs(5);

/// Tokens with fewer characters are warned of.
const SHORT_TOKEN: usize = 16;

/// Who reloads when a signal asks for it.
const SIGNAL: &str = "signal";

/// A daemon that runs.
pub struct App {
    callbacks: Listener,
    admin: Listener,
    intake: Arc<Intake>,
    worker: Arc<Worker>,
    repair: Option<Arc<Repair>>,
    store: Arc<Sqlite>,
    operator: Arc<Steering>,
    /// Ends answers that have no end of their own.
    stopping: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The rules cannot be loaded: see the mistakes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadRules(pub rules::LoadError);

/// A certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{section}.tls_cert: {why}")]
pub struct BadCertificate {
    section: &'static str,
    why: tls::Error,
}

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

/// Everything that is wrong with the files that a daemon starts with, and what is doubtful about its
/// rules.
#[must_use]
pub fn files(config: &Config) -> (Vec<String>, Vec<String>) {
    let (mut wrong, mut doubtful) = (Vec::new(), Vec::new());
    match rules::load(&config.rules.path) {
        Ok(loaded) => doubtful.extend(loaded.warnings.iter().map(ToString::to_string)),
        Err(error) => wrong.extend(error.mistakes.iter().map(ToString::to_string)),
    }
    let (server, admin) = (&config.server, &config.admin);
    let pairs =
        [("server", &server.tls_cert, &server.tls_key), ("admin", &admin.tls_cert, &admin.tls_key)];
    for (section, cert, key) in pairs {
        // That one is named without the other is told as a mistake of the configuration.
        if !key.as_os_str().is_empty()
            && let Err(error) = certificate(section, cert, key)
        {
            wrong.push(error.to_string());
        }
    }
    (wrong, doubtful)
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
    if (191..=CALLS_PER_SECOND_AT_CHAT).contains(&config.recall.calls_per_second) {
        warnings.push(
            "recall.calls_per_second: above 190, network jitter can make Chat see more than 200 \
             calls in a second"
                .into(),
        );
    }
    for (key, token) in [("token", &config.admin.token), ("read_token", &config.admin.read_token)] {
        let length = token.get().map(|token| token.expose_secret().len());
        if length.is_some_and(|length| length < SHORT_TOKEN) {
            warnings.push(format!(
                "admin.{key} is short enough to be guessed: take 32 random bytes, as of `openssl \
                 rand -hex 32`"
            ));
        }
    }
    let unsigned = config.notify.receivers().any(|to| to.is_unsigned());
    if unsigned {
        warnings.push(
            "notify.secret is not set: alerts go out unsigned, so that a receiver cannot tell who wrote \
             them"
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
        let rules = load_rules(&config.rules.path)?;
        let (server, admin) = (&config.server, &config.admin);
        let callback_certificate = certificate("server", &server.tls_cert, &server.tls_key)?;
        let admin_certificate = certificate("admin", &admin.tls_cert, &admin.tls_key)?;
        let certificates: Vec<_> =
            callback_certificate.iter().chain(&admin_certificate).cloned().collect();
        // Everything that can fail comes before the worker, whose calls cannot be taken back.
        let callbacks = bind("server.listen", config.server.listen)?;
        let admin_socket = bind("admin.listen", config.admin.listen)?;
        let store = Arc::new(open_store(config).await?);
        let client = client(config, Arc::clone(&clock))?;
        let intake = Arc::new(start_intake(config, rules, &store, &clock).await?);
        let worker = Worker::start(
            Arc::clone(&store) as _,
            client,
            Arc::clone(&clock),
            worker_options(config),
            store.paused().await?.is_some(),
            StdRng::from_os_rng(),
        )
        .await?;
        let worker = Arc::new(worker);
        let repair = config
            .history
            .repair
            .then(|| start_repair(config, &store, &intake, &worker, &clock))
            .transpose()?;
        let terms = http::Terms {
            path: config.server.callback_path.clone(),
            max_body_bytes: config.server.max_body_bytes,
            body_timeout: Duration::from_millis(config.server.body_timeout_ms),
            answer_timeout: Duration::from_millis(config.server.answer_timeout_ms),
        };
        let webhook = Arc::new(Webhook::new(Arc::clone(&intake), terms));
        let callbacks = Listener::start(
            callbacks,
            move |request| Arc::clone(&webhook).answer(request),
            limits(&config.server, http::callback_wording, callback_certificate),
        )?;
        let sweeper = Arc::new(Sweeper::new(Arc::clone(&store) as _, Arc::clone(&clock)));
        let operator = Arc::new(Steering {
            store: Arc::clone(&store),
            intake: Arc::clone(&intake),
            worker: Arc::clone(&worker),
            repair: repair.clone(),
            days: days(config),
            rules_path: config.rules.path.clone(),
            enforces: config.recall.mode == RecallMode::Live,
            searches: config.store.search,
            identifier: config.chat.identifier.as_str().into(),
            certificates: certificates.clone(),
            sweeper: Arc::clone(&sweeper),
            sweep_terms: sweep_terms(config),
            clock: Arc::clone(&clock),
        });
        let pruning_clock = Arc::clone(&clock);
        let stopping = CancellationToken::new();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let backtests = Backtests::new(
            Arc::clone(&store) as _,
            Arc::clone(&clock),
            stopping.clone(),
            tasks.clone(),
        );
        let admin = Admin {
            telemetry: telemetry.clone(),
            store: Arc::clone(&store) as _,
            operator: Arc::clone(&operator) as _,
            clock,
            backtests: Arc::new(backtests),
            stopping: stopping.clone(),
            limits: ApiLimits {
                max_body_bytes: config.admin.max_body_bytes,
                answer_timeout: Duration::from_millis(config.admin.answer_timeout_ms),
            },
        };
        let access =
            Access::new(config.admin.token.get().cloned(), config.admin.read_token.get().cloned())
                .over_tls(admin_certificate.is_some());
        let routes = http::admin_routes(admin, access);
        let admin = Listener::start(
            admin_socket,
            http::routed(routes),
            Limits {
                names_peers: true,
                // A stream of events goes on until its reader hangs up.
                sees_to_end: false,
                ..limits(&config.server, http::admin_wording, admin_certificate)
            },
        )?;
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                telemetry.upkeep();
            }
        }));
        tasks.spawn(stop.clone().run_until_cancelled_owned(sweeper.run()));
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(LOOK_AT_CERTIFICATES).await;
                for certificate in &certificates {
                    certificate.refresh();
                }
            }
        }));
        let pruning = prune_for_ever(Arc::clone(&store), Arc::clone(&pruning_clock), days(config));
        tasks.spawn(stop.clone().run_until_cancelled_owned(pruning));
        let notify_clock = Arc::clone(&pruning_clock);
        let following = follow_for_ever(Arc::clone(&store), Arc::clone(&pruning_clock));
        tasks.spawn(stop.clone().run_until_cancelled_owned(following));
        if let Some(options) = notify_options(config) {
            let worker = Arc::clone(&worker);
            let halted = move || {
                let halted = worker.status().halted?;
                Some(notify::Halt { why: halted.why, needs_person: halted.needs_person })
            };
            let telling =
                notify::run(options, Arc::clone(&store) as _, notify_clock, Box::new(halted));
            tasks.spawn(stop.clone().run_until_cancelled_owned(telling));
        }
        tasks.close();
        tracing::info!(
            callbacks = %callbacks.address(),
            admin = %admin.address(),
            version = env!("CARGO_PKG_VERSION"),
            "quell is listening"
        );
        Ok(Self {
            callbacks,
            admin,
            intake,
            worker,
            repair,
            store,
            operator,
            stopping,
            stop,
            tasks,
        })
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

    /// Reads the rules file again, as a signal asks for. A broken one leaves everything as it is, and is
    /// told.
    pub async fn reload(&self) -> Result<RulesVersion, NotReloaded> {
        self.operator.reload(SIGNAL).await
    }

    /// Waits until a part that never ends by itself has ended, which only a bug can bring about.
    /// Nothing here can put it together again; a new start does, and loses nothing.
    pub async fn broken(&self) -> &'static str {
        loop {
            tokio::time::sleep(LOOK_AFTER).await;
            if !self.store.is_alive() {
                return "the writer of the database has ended";
            }
            if !self.worker.is_alive() {
                return "the recall worker has ended";
            }
        }
    }

    /// Waits for a sign of life the way that everything is written. A writer that says that it cannot
    /// write is alive: the disk is full, or another program holds the database, and a new start would
    /// not change that, while this one goes on by itself.
    pub async fn pulse(&self) -> Result<(), &'static str> {
        match self.store.pulse().await {
            Err(store::Error::Closed) => Err("the writer of the database has ended"),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Answers what was accepted, finishes the calls under way, closes the store.
    pub async fn stop(self) {
        tracing::info!("stopping");
        self.callbacks.stop().await;
        if let Some(repair) = &self.repair {
            repair.stop().await;
        }
        self.worker.stop().await;
        self.stopping.cancel();
        self.admin.stop().await;
        self.stop.cancel();
        self.tasks.wait().await;
        self.store.close().await;
        tracing::info!("stopped");
    }
}

fn bind(key: &str, address: SocketAddr) -> Result<TcpListener> {
    listener::bind(address).with_context(|| format!("{key}: {address}"))
}

/// How long the configuration wants what kept.
#[must_use]
pub fn days(config: &Config) -> Days {
    let config::Retention { text_days, matched_text_days, rows_days, .. } = config.retention;
    Days { text: text_days, matched_text: matched_text_days, rows: rows_days }
}

async fn prune_for_ever(store: Arc<Sqlite>, clock: Arc<dyn Clock>, days: Days) {
    tokio::time::sleep(FIRST_PRUNE).await;
    loop {
        let now = clock.now();
        let by = By::new(QUELL, now);
        match retention::prune(store.as_ref(), &by, days.cutoffs(now), |_| ()).await {
            Ok(pruned) if pruned.texts + pruned.rows > 0 => {
                tracing::info!(texts = pruned.texts, rows = pruned.rows, "pruned");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "pruning goes on in an hour"),
        }
        tokio::time::sleep(PRUNE).await;
    }
}

/// Builds what is built behind the writer.
async fn follow_for_ever(store: Arc<Sqlite>, clock: Arc<dyn Clock>) {
    loop {
        let wait = match store.follow(clock.now()).await {
            Ok(true) => CATCH_UP,
            Ok(false) => FOLLOW,
            Err(error) => {
                tracing::warn!(%error, "what is built behind the writer waits");
                FOLLOW_AGAIN
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// What operators steer.
struct Steering {
    store: Arc<Sqlite>,
    intake: Arc<Intake>,
    worker: Arc<Worker>,
    repair: Option<Arc<Repair>>,
    days: Days,
    rules_path: PathBuf,
    enforces: bool,
    searches: bool,
    identifier: UserId,
    certificates: Vec<Arc<Certificate>>,
    sweeper: Arc<Sweeper>,
    sweep_terms: Terms,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Operator for Steering {
    fn missing(&self) -> Option<&'static str> {
        if !self.store.is_healthy() {
            Some("the database cannot be written")
        } else if !self.worker.is_alive() {
            Some("the recall worker has ended: see the log, and restart")
        } else {
            None
        }
    }
    fn pause(&self, paused: bool) {
        self.worker.pause(paused);
        if !paused {
            self.worker.try_now();
        }
    }
    fn status(&self) -> worker::Status {
        self.worker.status()
    }
    async fn reset_rule(&self, actor: &str, rule: &RuleId) -> Result<bool, store::Error> {
        self.intake.reset_rule(actor, rule).await
    }
    fn sweep_terms(&self) -> Terms {
        self.sweep_terms
    }
    fn plans_turned(&self) {
        self.sweeper.plans_turned();
    }
    async fn reload(&self, actor: &str) -> Result<RulesVersion, NotReloaded> {
        // One that is broken is no reason to leave the others, or the rules, as they are.
        let broken = self.certificates.iter().filter_map(|it| it.reload().err());
        let broken: Vec<_> = broken.map(|error| error.to_string()).collect();
        // Large lists take a while to compile; callbacks must not wait for it.
        let path = self.rules_path.clone();
        let loaded = tokio::task::spawn_blocking(move || load_rules(&path)).await;
        let rules = match loaded {
            Ok(Ok(rules)) => rules,
            Ok(Err(BadRules(mistakes))) => {
                tracing::error!(%mistakes, "the rules file is broken; the rules in force stay");
                return Err(NotReloaded::Broken(mistakes.to_string()));
            }
            Err(_) => {
                return Err(NotReloaded::Broken("the rules could not be compiled".into()));
            }
        };
        self.intake.reload(rules).await?;
        // The rules are in force by now, whatever is said of the certificates.
        let version = self.rules_version();
        let detail = serde_json::json!({ "version": version }).to_string();
        self.store.note(&By::new(actor, self.clock.now()), "reload", detail, None).await?;
        if broken.is_empty() { Ok(version) } else { Err(NotReloaded::Broken(broken.join("\n"))) }
    }
    async fn allow(
        &self,
        actor: &str,
        allowance: &NewAllowance,
    ) -> Result<Allowance, store::Error> {
        self.intake.allow(actor, allowance).await
    }
    async fn disallow(
        &self,
        actor: &str,
        kind: AllowanceKind,
        id: i64,
    ) -> Result<bool, store::Error> {
        self.intake.disallow(actor, kind, id).await
    }
    fn days(&self) -> Days {
        self.days
    }
    fn wake_repair(&self) -> bool {
        self.repair.as_ref().map(|repair| repair.wake()).is_some()
    }
    fn rules_version(&self) -> RulesVersion {
        self.intake.rules().version().clone()
    }
    fn rules(&self) -> Arc<CompiledRules> {
        self.intake.rules()
    }
    fn rules_folder(&self) -> PathBuf {
        self.rules_path.parent().unwrap_or_else(|| Path::new("")).to_path_buf()
    }
    fn enforces(&self) -> bool {
        self.enforces
    }
    fn searches(&self) -> bool {
        self.searches
    }
    fn identifier(&self) -> UserId {
        self.identifier.clone()
    }
}

fn certificate(
    section: &'static str,
    certificate: &Path,
    key: &Path,
) -> Result<Option<Arc<Certificate>>, BadCertificate> {
    if certificate.as_os_str().is_empty() {
        return Ok(None);
    }
    let loaded = Certificate::load(certificate, key);
    loaded.map(|loaded| Some(Arc::new(loaded))).map_err(|why| BadCertificate { section, why })
}

fn load_rules(path: &Path) -> Result<CompiledRules, BadRules> {
    let loaded = rules::load(path).map_err(BadRules)?;
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
        log_pages: sqlite::LOG_PAGES,
        search: store.search,
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

/// Who is told what, if anybody is.
fn notify_options(config: &Config) -> Option<notify::Options> {
    let wanted = &config.notify;
    let receivers = wanted.receivers().filter_map(|receiver| {
        Some(notify::Receiver {
            url: receiver.url.get()?.clone(),
            form: receiver.form,
            secret: receiver.secret.get().cloned(),
            telegram_chat: receiver.telegram_chat,
            allow_private: wanted.allow_private,
        })
    });
    let receivers: Vec<_> = receivers.collect();
    if receivers.is_empty() {
        return None;
    }
    Some(notify::Options {
        receivers,
        queue_age: Duration::from_secs(wanted.queue_age_seconds),
        summary_minute: wanted.summary_minute(),
    })
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
        roaming: roaming(config),
    }
}

async fn start_intake(
    config: &Config,
    rules: CompiledRules,
    store: &Arc<Sqlite>,
    clock: &Arc<dyn Clock>,
) -> Result<Intake, store::Error> {
    let options = intake::Options {
        enforce: config.recall.mode == RecallMode::Live,
        identifier: config.chat.identifier.as_str().into(),
        store_text: match config.retention.store_text {
            config::StoreText::All => intake::StoreText::All,
            config::StoreText::Matched => intake::StoreText::Matched,
            config::StoreText::None => intake::StoreText::None,
        },
        guard: intake::Limits {
            trip_share: config.guard.trip_share,
            trip_min_senders: config.guard.trip_min_senders,
            rule_recalls_per_minute: config.guard.rule_recalls_per_minute,
            sender_recalls_per_minute: config.guard.sender_recalls_per_minute,
        },
    };
    let (store, clock) = (Arc::clone(store) as _, Arc::clone(clock));
    Intake::new(verifier(config), rules, store, clock, options).await
}

fn repair_options(config: &Config, scope: repair::Scope) -> repair::Options {
    let history = &config.history;
    repair::Options {
        calls_per_second: history.calls_per_second,
        grace: Duration::from_millis(history.grace_ms),
        probe_after: Duration::from_secs(history.probe_after_seconds),
        probe_active: Duration::from_hours(history.probe_active_hours),
        reread_after: Duration::from_mins(history.reread_after_minutes),
        scope,
    }
}

fn start_repair(
    config: &Config,
    store: &Arc<Sqlite>,
    intake: &Arc<Intake>,
    worker: &Arc<Worker>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Repair>> {
    let options = repair_options(config, repair::Scope::Everything);
    let worker = Arc::clone(worker);
    let recalls_wait = move || {
        let status = worker.status();
        status.waiting > 0 && !status.paused && status.halted.is_none()
    };
    // Connections of its own: a slow history must not stand in the way of a recall.
    let repair = Repair::start(
        Arc::clone(store) as _,
        Arc::clone(intake),
        client(config, Arc::clone(clock))?,
        Arc::clone(clock),
        options,
        Box::new(recalls_wait),
    );
    Ok(Arc::new(repair))
}

/// What a sweep may count on.
#[must_use]
pub fn sweep_terms(config: &Config) -> Terms {
    Terms {
        roaming: roaming(config),
        calls_per_second: config.recall.calls_per_second,
        batch_size: config.recall.batch_size,
    }
}

fn roaming(config: &Config) -> Duration {
    Duration::from_hours(24 * u64::from(config.chat.roaming_days))
}

fn limits(
    server: &config::Server,
    wording: http::Wording,
    certificate: Option<Arc<Certificate>>,
) -> Limits {
    let header = Duration::from_millis(server.header_timeout_ms);
    Limits {
        connections: server.max_connections,
        patience: Patience {
            first_byte: header,
            request: header + Duration::from_millis(server.body_timeout_ms),
            idle: Duration::from_millis(server.idle_timeout_ms),
        },
        stop_timeout: STOP_TIMEOUT,
        wording,
        certificate,
        names_peers: false,
        // What was read is stored, whoever waits for the answer.
        sees_to_end: true,
    }
}
