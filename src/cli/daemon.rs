//! Reaching what a command is about: the admin API where a daemon holds the database, else the
//! database itself, under its lock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::settings::Settings;
use crate::app;
use crate::config::Config;
use crate::model::{
    AllowanceKind, Clock, MessageKey, RuleId, RulesVersion, SystemClock, Timestamp,
};
use crate::retention::{self, Days};
use crate::store::sqlite::Sqlite;
use crate::store::{
    Allowances, Audit, By, Control, Error, Filter, JobChange, JobFilter, NewAllowance, PlanId,
    Plans, Pruned, Review, Reviews, View,
};
use crate::sweep::{self, Asked, Terms};

/// Calls to a daemon on this machine are quick, or something is wrong.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Erasing and pruning go through everything that is kept.
const LONG: Duration = Duration::from_hours(6);

/// What every command that changes something takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Reach {
    #[command(flatten)]
    pub settings: Settings,
    /// Who does this, for the record [default: the user's name]
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
}

/// What a command acts on.
pub enum Target {
    Daemon(Box<Daemon>),
    Database(Box<Database>),
}

/// A running daemon.
pub struct Daemon {
    base: String,
    token: Option<SecretString>,
    actor: String,
    http: reqwest::Client,
}

/// A database that no daemon holds.
pub struct Database {
    store: Sqlite,
    actor: String,
    terms: Terms,
    /// The rules file of the configuration.
    rules: PathBuf,
}

/// A review as a command says it.
pub struct Reviewed {
    pub which: Which,
    pub rule: Option<String>,
    pub right: bool,
    pub note: String,
}

/// Messages by their numbers, or one by its sequence.
pub enum Which {
    Numbers(Vec<i64>),
    Key { group: String, topic: String, seq: u64 },
}

impl Reach {
    /// Who acts, for the record.
    pub fn actor(&self) -> String {
        let user = || std::env::var("USER").ok().filter(|name| !name.is_empty());
        self.actor.clone().or_else(user).unwrap_or_else(|| "cli".to_owned())
    }

    /// Finds out what there is.
    pub async fn target(&self, config: &Config) -> Result<Target> {
        let actor = self.actor();
        let options = app::store_options(config);
        options.check_there()?;
        match crate::store::sqlite::open(&options).await {
            Ok(store) => {
                let (terms, rules) = (app::sweep_terms(config), config.rules.path.clone());
                Ok(Target::Database(Box::new(Database { store, actor, terms, rules })))
            }
            Err(Error::Locked { .. }) => {
                let (base, http) = admin(config, TIMEOUT)?;
                let token = config.admin.token.get().cloned();
                Ok(Target::Daemon(Box::new(Daemon { base, token, actor, http })))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The version of the rules that a daemon would start with; empty where it could not.
fn rules_version(path: &Path) -> RulesVersion {
    crate::rules::load(path).map(|loaded| loaded.rules.version().clone()).unwrap_or_default()
}

/// How the admin listener of a configuration is reached from here, and by what.
///
/// On this machine a certificate says nothing that the address does not: it is made out to a public
/// name, and what it carries never leaves.
pub fn admin(config: &Config, timeout: Duration) -> Result<(String, reqwest::Client)> {
    crate::chat::client::install_crypto();
    let address = reachable(config.admin.listen);
    let scheme = if config.admin.tls_cert.as_os_str().is_empty() { "http" } else { "https" };
    let http = reqwest::Client::builder()
        .timeout(timeout)
        .no_proxy()
        .tls_danger_accept_invalid_certs(address.ip().is_loopback())
        .build()
        .context("no HTTP client")?;
    Ok((format!("{scheme}://{address}"), http))
}

/// Where a listener is reached from this machine.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let here: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(here);
    }
    address
}

impl Target {
    pub async fn set_paused(&self, paused: bool) -> Result<()> {
        match self {
            Self::Daemon(daemon) => {
                let path = if paused { "pause" } else { "resume" };
                daemon.post(&format!("/api/v1/{path}"), &json!({})).await.map(drop)
            }
            Self::Database(database) => Ok(database.store.set_paused(&self.by(), paused).await?),
        }
    }

    /// Changes jobs. Answers how many were changed.
    pub async fn change_jobs(&self, change: JobChange, which: &JobFilter) -> Result<u64> {
        match self {
            Self::Daemon(daemon) => {
                let JobFilter { jobs, group, topic, sender, rule } = which;
                let all = *which == JobFilter::default();
                let body = json!({
                    "jobs": jobs, "group": group, "topic": topic, "sender": sender, "rule": rule,
                    "all": all,
                });
                let said = daemon.post(&format!("/api/v1/jobs/{}", change.as_str()), &body).await?;
                Ok(said["changed"].as_u64().unwrap_or(0))
            }
            Self::Database(database) => {
                Ok(database.store.change_jobs(&self.by(), change, which).await?)
            }
        }
    }

    pub async fn reset_rule(&self, rule: &str) -> Result<bool> {
        match self {
            Self::Daemon(daemon) => {
                let said = daemon.post("/api/v1/guard/reset", &json!({ "rule": rule })).await?;
                Ok(said["reset"] == true)
            }
            Self::Database(database) => {
                Ok(database.store.untrip(&self.by(), &RuleId::from(rule)).await?)
            }
        }
    }

    /// One page of a view, as objects.
    pub async fn page(&self, view: View, filter: &Filter) -> Result<(Vec<Value>, Option<i64>)> {
        match self {
            Self::Daemon(daemon) => {
                let said = daemon.get(&format!("/api/v1/{}", view.word()), &query(filter)).await?;
                let rows = said["rows"].as_array().cloned().unwrap_or_default();
                Ok((rows, said["next"].as_i64()))
            }
            Self::Database(database) => {
                let page = database.store.page(view, filter).await?;
                Ok((page.objects(), page.next))
            }
        }
    }

    /// Takes away what a sender wrote; answers what came of it, as an object.
    pub async fn erase(&self, sender: &str, progress: impl FnMut(u64)) -> Result<Value> {
        match self {
            Self::Daemon(daemon) => {
                daemon.post_for_long("/api/v1/erase", &json!({ "sender": sender })).await
            }
            Self::Database(database) => {
                let sender = sender.into();
                let erased =
                    retention::erase(&database.store, &self.by(), &sender, progress).await?;
                Ok(json!({
                    "messages": erased.messages,
                    "quarantined": erased.quarantined,
                    "scrubbed": erased.scrubbed,
                }))
            }
        }
    }

    /// Takes away what is too old; answers how much, as an object.
    pub async fn prune(&self, days: Days, progress: impl FnMut(Pruned)) -> Result<Value> {
        match self {
            Self::Daemon(daemon) => daemon.post_for_long("/api/v1/prune", &json!({})).await,
            Self::Database(database) => {
                let by = self.by();
                let before = days.cutoffs(by.at);
                let pruned = retention::prune(&database.store, &by, before, progress).await?;
                Ok(json!({ "texts": pruned.texts, "rows": pruned.rows }))
            }
        }
    }

    /// Rules that fell to shadow, as objects.
    pub async fn tripped(&self) -> Result<Vec<Value>> {
        match self {
            Self::Daemon(daemon) => {
                let said = daemon.get("/api/v1/status", &[]).await?;
                Ok(said["tripped"].as_array().cloned().unwrap_or_default())
            }
            Self::Database(database) => {
                let tripped = database.store.tripped().await?.into_iter();
                Ok(tripped.map(|t| json!({"rule": t.rule, "at": t.at, "why": t.why})).collect())
            }
        }
    }

    /// Makes a plan.
    pub async fn make_plan(&self, asked: &Asked) -> Result<Value> {
        match self {
            Self::Daemon(daemon) => {
                daemon.post("/api/v1/plans", &serde_json::to_value(asked)?).await
            }
            Self::Database(database) => {
                let Database { store, terms, rules, .. } = database.as_ref();
                let version = rules_version(rules);
                let plan = sweep::make(store, &self.by(), asked, terms, version).await?;
                self.plan(plan).await
            }
        }
    }

    /// A plan as it stands.
    pub async fn plan(&self, plan: PlanId) -> Result<Value> {
        match self {
            Self::Daemon(daemon) => daemon.get(&format!("/api/v1/plans/{plan}"), &[]).await,
            Self::Database(database) => {
                let shown = sweep::show(&database.store, plan, &database.terms).await?;
                Ok(serde_json::to_value(
                    shown.with_context(|| format!("there is no plan {plan}"))?,
                )?)
            }
        }
    }

    /// Applies a plan. Without a daemon its jobs wait for the next one.
    pub async fn apply_plan(&self, plan: PlanId) -> Result<Value> {
        match self {
            Self::Daemon(daemon) => {
                daemon.post(&format!("/api/v1/plans/{plan}/apply"), &json!({})).await
            }
            Self::Database(database) => {
                database.store.apply(&self.by(), plan).await?;
                sweep::finish(&database.store, plan, &SystemClock).await?;
                self.plan(plan).await
            }
        }
    }

    /// Cancels a plan.
    pub async fn cancel_plan(&self, plan: PlanId) -> Result<Value> {
        match self {
            Self::Daemon(daemon) => {
                daemon.post(&format!("/api/v1/plans/{plan}/cancel"), &json!({})).await
            }
            Self::Database(database) => {
                database.store.cancel(&self.by(), plan).await?;
                sweep::finish(&database.store, plan, &SystemClock).await?;
                self.plan(plan).await
            }
        }
    }

    /// One page of what waits to be reviewed, as objects.
    pub async fn to_review(&self, filter: &Filter) -> Result<(Vec<Value>, Option<i64>)> {
        match self {
            Self::Daemon(daemon) => {
                let said = daemon.get("/api/v1/reviews/waiting", &query(filter)).await?;
                let rows = said["rows"].as_array().cloned().unwrap_or_default();
                Ok((rows, said["next"].as_i64()))
            }
            Self::Database(database) => {
                let page = database.store.to_review(filter).await?;
                Ok((page.objects(), page.next))
            }
        }
    }

    /// Keeps a review. Answers how many messages it is about.
    pub async fn review(&self, reviewed: &Reviewed) -> Result<u64> {
        let Reviewed { which, rule, right, note } = reviewed;
        match self {
            Self::Daemon(daemon) => {
                let mut body = match which {
                    Which::Numbers(numbers) => json!({ "messages": numbers }),
                    Which::Key { group, topic, seq } => {
                        json!({ "group": group, "topic": topic, "seq": seq })
                    }
                };
                body["rule"] = json!(rule);
                body["verdict"] = json!(if *right { "right" } else { "wrong" });
                body["note"] = json!(note);
                let said = daemon.post("/api/v1/reviews", &body).await?;
                Ok(said["reviewed"].as_u64().unwrap_or(0))
            }
            Self::Database(database) => {
                let messages = match which {
                    Which::Numbers(numbers) => numbers.clone(),
                    Which::Key { group, topic, seq } => {
                        let key = MessageKey {
                            group_id: group.as_str().into(),
                            topic_id: topic.as_str().into(),
                            msg_seq: *seq,
                        };
                        let found = database.store.message_id(&key).await?;
                        vec![found.with_context(|| format!("{key} was never recorded"))?]
                    }
                };
                let count = messages.len() as u64;
                let rule = rule.as_deref().map(RuleId::from);
                let review = Review { messages, rule, right: *right, note: note.clone() };
                database.store.review(&self.by(), &review).await?;
                Ok(count)
            }
        }
    }

    /// How often each rule was right, as objects.
    pub async fn precision(&self) -> Result<Vec<Value>> {
        match self {
            Self::Daemon(daemon) => {
                let said = daemon.get("/api/v1/reviews/precision", &[]).await?;
                Ok(said["rows"].as_array().cloned().unwrap_or_default())
            }
            Self::Database(database) => {
                let said = database.store.precision().await?.into_iter();
                let object = |said: crate::store::Precision| {
                    json!({
                        "rule": said.rule, "right": said.right, "wrong": said.wrong,
                        "precision": said.share(),
                    })
                };
                Ok(said.map(object).collect())
            }
        }
    }

    /// What is let through beside the rules file, as objects.
    pub async fn allowances(&self) -> Result<Vec<Value>> {
        match self {
            Self::Daemon(daemon) => {
                let mut all = Vec::new();
                for path in ["/api/v1/exemptions", "/api/v1/allow-phrases"] {
                    let said = daemon.get(path, &[]).await?;
                    all.extend(said["rows"].as_array().cloned().unwrap_or_default());
                }
                Ok(all)
            }
            Self::Database(database) => {
                let all = database.store.allowances().await?;
                Ok(all.iter().map(|known| json!(known)).collect())
            }
        }
    }

    /// Lets a sender or a phrase through. Answers its id.
    pub async fn allow(&self, allowance: &NewAllowance) -> Result<i64> {
        let NewAllowance { kind, value, rule, note } = allowance;
        if value.is_empty() {
            let said = format!("an empty {kind} would be let through everywhere");
            return Err(super::Usage(said).into());
        }
        match self {
            Self::Daemon(daemon) => {
                let body = json!({ kind.as_str(): value, "rule": rule, "note": note });
                let said = daemon.post(allowance_path(*kind), &body).await?;
                Ok(said["id"].as_i64().unwrap_or(0))
            }
            Self::Database(database) => {
                let known = crate::rules::load(&database.rules).ok();
                let known = known.map(|loaded| loaded.rules.summaries());
                if let (Some(rule), Some(known)) = (rule, &known)
                    && !known.iter().any(|known| known.id == *rule)
                {
                    bail!("there is no rule {rule} in {}", database.rules.display());
                }
                Ok(database.store.allow(&self.by(), allowance).await?.id)
            }
        }
    }

    /// No longer lets it through. Answers whether it did.
    pub async fn disallow(&self, kind: AllowanceKind, id: i64) -> Result<bool> {
        match self {
            Self::Daemon(daemon) => daemon.delete(&format!("{}/{id}", allowance_path(kind))).await,
            Self::Database(database) => Ok(database.store.disallow(&self.by(), kind, id).await?),
        }
    }

    /// Ends what was opened.
    pub async fn close(self) {
        if let Self::Database(database) = self {
            database.store.close().await;
        }
    }

    fn by(&self) -> By {
        let actor = match self {
            Self::Daemon(daemon) => &daemon.actor,
            Self::Database(database) => &database.actor,
        };
        By::new(actor, SystemClock.now())
    }
}

impl Daemon {
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value> {
        self.send(self.http.get(format!("{}{path}", self.base)).query(query)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(self.http.post(format!("{}{path}", self.base)).json(body)).await
    }

    /// Answers whether there was anything to delete.
    async fn delete(&self, path: &str) -> Result<bool> {
        let request = self.signed(self.http.delete(format!("{}{path}", self.base)));
        let response = request.send().await.with_context(|| self.silent())?;
        if response.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(false);
        }
        said(response).await.map(|_| true)
    }

    /// For work that takes as long as there is data.
    async fn post_for_long(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        self.send(request.timeout(LONG)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let response = self.signed(request).send().await;
        said(response.with_context(|| self.silent())?).await
    }

    fn signed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let request = request.header("x-quell-actor", &self.actor);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    fn silent(&self) -> String {
        format!("a daemon holds the database, but none answers at {}", self.base)
    }
}

/// What a daemon said, or why it did not do what it was asked to.
async fn said(response: reqwest::Response) -> Result<Value> {
    let status = response.status();
    let said: Value = response.json().await.unwrap_or_default();
    if !status.is_success() {
        bail!("the daemon answered {status}: {}", said["detail"].as_str().unwrap_or(""));
    }
    Ok(said)
}

fn allowance_path(kind: AllowanceKind) -> &'static str {
    match kind {
        AllowanceKind::Sender => "/api/v1/exemptions",
        AllowanceKind::Phrase => "/api/v1/allow-phrases",
    }
}

/// A filter as the query of a list.
fn query(filter: &Filter) -> Vec<(&'static str, String)> {
    let mut query = vec![("limit", filter.limit.to_string())];
    let texts = [
        ("group", &filter.group),
        ("topic", &filter.topic),
        ("sender", &filter.sender),
        ("rule", &filter.rule),
        ("state", &filter.state),
        ("text", &filter.text),
    ];
    for (name, value) in texts {
        query.extend(value.iter().map(|value| (name, value.clone())));
    }
    let numbers = [
        ("since", filter.since.map(Timestamp::millis)),
        ("until", filter.until.map(Timestamp::millis)),
        ("cursor", filter.cursor),
    ];
    query.extend(numbers.into_iter().filter_map(|(name, value)| Some((name, value?.to_string()))));
    query
}
