//! A simulated Chat: its REST API with the real limits and answers, and the callbacks that it would
//! send. For tests, for `quell demo`, and for users who have no account.
//!
//! It is strict where the provider is: credentials, 1 to 10 different messages a recall, 200 calls
//! of a command in any second, HTTP 200 with the code in the body. Where the provider's behaviour is
//! not documented, it does the less convenient thing. Faults can be switched on while it runs, and
//! its log of arrivals is a witness that does not ask the caller.
//!
//! | path | does |
//! | --- | --- |
//! | `/v4/group_open_http_svc/*` | the REST API |
//! | `GET`, `PUT /sim/faults` | [`Faults`] as JSON |
//! | `GET /sim/log` | every call that arrived |
//! | `GET /sim/summary` | counts, and the fullest second of recalls |
//! | `GET /sim/recalled` | what was recalled |
//! | `POST /sim/send` | a member sends a message, callback included |

mod callbacks;
mod commands;
mod control;
mod faults;
mod log;
mod post;
mod rest;
mod server;
pub mod traffic;
mod world;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::callbacks::Callbacks;
use self::faults::Dice;
use self::log::Log;
use self::post::Endpoint;
use self::rest::Limits;
use self::world::World;
use crate::model::{AppId, Clock, GroupId, MessageKey, MsgSeq, SystemClock, Timestamp, TopicId};

pub use callbacks::CallbackCounts;
pub use faults::{Fault, Faults};
pub use log::{Answered, Arrival, max_in_one_second};
pub use post::CallbackTarget;
pub use world::{Kept, NewMessage, Recall, Stored};

/// The command whose rate is watched.
const RECALL: &str = "group_msg_recall";

/// What a simulation is like.
pub struct SimOptions {
    /// Port 0 takes any free one.
    pub listen: SocketAddr,
    pub app_id: AppId,
    /// The one administrator account that calls are accepted from.
    pub identifier: String,
    pub secret_key: SecretString,
    /// Where callbacks go; without it, none are sent.
    pub callback: Option<CallbackTarget>,
    /// Whether groups and messages that the simulation never saw are taken to exist. Handy for
    /// callbacks made by hand; the provider would answer 10010 and 10030.
    pub unknown_exist: bool,
    /// Seeds the dice that decide about faults.
    pub seed: u64,
    /// How long messages can be recalled and pulled: 7 days in the smaller plans (page `limits`).
    pub roaming: Duration,
    /// Messages kept. The oldest make room.
    pub max_messages: usize,
    /// Calls kept in the log. The oldest make room.
    pub max_log: usize,
    pub clock: Arc<dyn Clock>,
}

impl SimOptions {
    /// On a free loopback port, lenient about what it never saw, without callbacks.
    #[must_use]
    pub fn new(app_id: AppId, identifier: &str, secret_key: SecretString) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            app_id,
            identifier: identifier.to_owned(),
            secret_key,
            callback: None,
            unknown_exist: true,
            seed: 1,
            roaming: Duration::from_hours(7 * 24),
            max_messages: 1_000_000,
            max_log: 1_000_000,
            clock: Arc::new(SystemClock),
        }
    }
}

/// What all connections share. Locks are held for moments only, never across an await.
pub(crate) struct Shared {
    app_id: AppId,
    identifier: String,
    secret_key: SecretString,
    clock: Arc<dyn Clock>,
    started: Instant,
    world: Mutex<World>,
    dice: Mutex<Dice>,
    log: Mutex<Log>,
    limits: Mutex<Limits>,
    last_alarm: Mutex<Option<Timestamp>>,
    callbacks: OnceLock<Callbacks>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Sends a callback about something that an administrator did.
    fn announce(
        &self,
        command: &'static str,
        group: &GroupId,
        topic: &TopicId,
        fields: Value,
        now: Timestamp,
    ) {
        self.announce_on("RESTAPI", command, group, topic, fields, now);
    }

    fn announce_on(
        &self,
        platform: &'static str,
        command: &'static str,
        group: &GroupId,
        topic: &TopicId,
        fields: Value,
        now: Timestamp,
    ) {
        let Some(callbacks) = self.callbacks.get() else { return };
        let mut body = json!({"CallbackCommand": command, "GroupId": group,
            "EventTime": now.millis()});
        if let Some(group_type) = lock(&self.world).type_of(group) {
            body["Type"] = json!(group_type);
        }
        if !topic.is_empty() {
            body["TopicId"] = json!(topic);
        }
        if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
            body.extend(fields);
        }
        for _ in 0..self.copies() {
            callbacks.send(command, platform, &body);
        }
    }

    /// How often a callback is sent: once, but for faults.
    fn copies(&self) -> usize {
        let mut dice = lock(&self.dice);
        let (dropped, repeated) = (dice.faults.dropped_callbacks, dice.faults.repeated_callbacks);
        if dice.happens(dropped) { 0 } else { 1 + usize::from(dice.happens(repeated)) }
    }
}

/// A running simulation. Dropping it stops it at once; [`Sim::shutdown`] waits for the end.
pub struct Sim {
    shared: Arc<Shared>,
    addr: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Sim {
    /// Listens and answers from now on.
    pub async fn start(options: SimOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let addr = listener.local_addr()?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let world = World::new(options.unknown_exist, options.roaming, options.max_messages);
        let shared = Arc::new(Shared {
            app_id: options.app_id,
            identifier: options.identifier,
            secret_key: options.secret_key,
            clock: options.clock,
            started: Instant::now(),
            world: Mutex::new(world),
            dice: Mutex::new(Dice::new(options.seed)),
            log: Mutex::new(Log::new(options.max_log)),
            limits: Mutex::default(),
            last_alarm: Mutex::default(),
            callbacks: OnceLock::new(),
        });
        let sim = Self { shared, addr, tasks, stop };
        if let Some(target) = &options.callback {
            sim.call_back(target)?;
        }
        let (shared, tasks, stop) = (sim.shared.clone(), sim.tasks.clone(), sim.stop.clone());
        sim.tasks.spawn(server::listen(listener, shared, tasks, stop));
        Ok(sim)
    }

    /// Sends callbacks from now on, where none were sent before: for who is called back at an
    /// address that is known only later. Callbacks that have a target keep it.
    pub fn call_back(&self, target: &CallbackTarget) -> io::Result<()> {
        let endpoint = Arc::new(Endpoint::new(target, self.shared.app_id)?);
        self.shared.callbacks.get_or_init(|| {
            Callbacks::start(&endpoint, &self.shared.clock, &self.tasks, &self.stop)
        });
        Ok(())
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL that a client is pointed at.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    #[must_use]
    pub fn app_id(&self) -> AppId {
        self.shared.app_id
    }

    #[must_use]
    pub fn faults(&self) -> Faults {
        lock(&self.shared.dice).faults.clone()
    }

    /// Switches faults on or off. Calls that are under way keep theirs.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.shared.dice).faults = faults;
    }

    /// Makes a group. `None` where the id is taken or no id.
    pub fn create_group(&self, id: &str, group_type: &str) -> Option<GroupId> {
        let id = GroupId::from(id);
        lock(&self.shared.world).adopt_group(&id, group_type).is_ok().then_some(id)
    }

    /// Makes a topic of a community.
    pub fn create_topic(&self, group: &GroupId, topic: &str) -> Option<TopicId> {
        lock(&self.shared.world).create_topic(group, Some(topic)).ok()
    }

    /// Destroys a group, without a callback.
    pub fn destroy_group(&self, group: &GroupId) {
        let _ = lock(&self.shared.world).destroy_group(group);
    }

    /// A member sends a message: it gets its sequence, and the callback is sent. `None` where Chat
    /// would not take it.
    pub fn send(&self, message: &NewMessage) -> Option<MsgSeq> {
        let now = self.shared.clock.now();
        commands::deliver(&self.shared, message, "Android", true, now).ok()
    }

    /// A tip such as "Ann joined": it takes a sequence and makes no callback.
    pub fn send_tip(&self, group: &GroupId, topic: &TopicId) -> Option<MsgSeq> {
        let now = self.shared.clock.now();
        lock(&self.shared.world).append_tip(group, topic, r#"{"OpType":1}"#, now).ok()
    }

    /// A member takes a message back. Without a callback: those can get lost, too.
    pub fn take_back(&self, group: &GroupId, seq: MsgSeq) {
        lock(&self.shared.world).take_back(group, seq);
    }

    /// A member edits a message. No callback is known to tell of it.
    pub fn edit(&self, group: &GroupId, seq: MsgSeq, text: &str) {
        let body = json!([{"MsgType": "TIMTextElem", "MsgContent": {"Text": text}}]);
        lock(&self.shared.world).edit(group, seq, &body.to_string());
    }

    /// Every REST call that arrived, oldest first.
    #[must_use]
    pub fn log(&self) -> Vec<Arrival> {
        lock(&self.shared.log).arrivals().cloned().collect()
    }

    /// The most recall calls that arrived within any one second.
    #[must_use]
    pub fn max_calls_in_one_second(&self) -> usize {
        max_in_one_second(lock(&self.shared.log).arrivals(), RECALL)
    }

    /// The messages that were recalled.
    #[must_use]
    pub fn recalled(&self) -> BTreeSet<MessageKey> {
        self.recalls().into_iter().map(|recall| recall.key).collect()
    }

    /// Every recall that took effect, in order.
    #[must_use]
    pub fn recalls(&self) -> Vec<Recall> {
        lock(&self.shared.world).recalled().to_vec()
    }

    /// Every message that is kept, in no order.
    #[must_use]
    pub fn messages(&self) -> Vec<(MessageKey, Stored)> {
        let world = lock(&self.shared.world);
        world.messages().map(|(key, stored)| (key, stored.clone())).collect()
    }

    /// What became of the callbacks that the simulation sent by itself.
    #[must_use]
    pub fn callbacks(&self) -> Option<Arc<CallbackCounts>> {
        self.shared.callbacks.get().map(|callbacks| callbacks.counts().clone())
    }

    /// Stops and waits until nothing of it runs.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
