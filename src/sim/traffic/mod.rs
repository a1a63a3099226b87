//! Made-up group chat: messages at a steady rate, each given its sequence by the simulated Chat and
//! then told to the callback URL as Chat would tell it.
//!
//! The loop is open: messages are made when they are due, however slowly the receiver answers, so
//! that a slow receiver shows as waiting messages and late answers, never as a lower rate. One seed,
//! one traffic, but for the times in it.

mod crowd;
mod ledger;
mod phrases;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::crowd::Crowd;
use self::ledger::Slot;
use self::phrases::Phrases;
use super::callbacks::TIMEOUT;
use super::post::{CallbackTarget, Endpoint, Line};
use super::world::NewMessage;
use super::{Shared, Sim, lock};
use crate::chat::wire::AFTER_SEND_MSG;
use crate::model::Timestamp;

pub use ledger::{Ledger, Outcome, Record};

/// The rules that the traffic was made for: what it violates, and nothing that its harmless
/// messages hold.
pub const DEMO_RULES: &str = include_str!("../demo.rules.yaml");

/// How often messages that are due are made.
const TICK: Duration = Duration::from_millis(2);
/// Share of messages that nobody can recall.
const ONLINE_ONLY: f64 = 0.01;
/// Messages that wait for a connection. Beyond, no more are made until there is room.
const MAX_WAITING: usize = 200_000;
/// With resending on, a callback is posted this often at most; the pause between is one time-out.
const MAX_POSTS: u32 = 3;

/// What the traffic is like.
#[derive(Clone, Debug)]
pub struct TrafficOptions {
    /// Messages a second.
    pub rate: f64,
    /// Share of messages that break a rule of the demo.
    pub violating: f64,
    pub seed: u64,
    /// Kept connections, and so callbacks that are on their way at once.
    pub connections: usize,
    /// Whether callbacks that were refused or not answered in time are posted again, as Chat does
    /// with its retry switch on (page `wh-config`).
    pub resend: bool,
}

impl Default for TrafficOptions {
    fn default() -> Self {
        Self { rate: 500.0, violating: 0.03, seed: 1, connections: 128, resend: false }
    }
}

/// How far the traffic has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Messages made, whatever became of them.
    pub sent: u64,
    pub violating: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub unanswered: u64,
    pub never_sent: u64,
}

impl Progress {
    /// Messages that wait for a connection or an answer.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let ended = self.acknowledged + self.refused + self.unanswered + self.never_sent;
        self.sent.saturating_sub(ended)
    }
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    violating: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    unanswered: AtomicU64,
    never_sent: AtomicU64,
}

/// Traffic that runs.
pub struct Traffic {
    road: Arc<Road>,
    stop: CancellationToken,
    maker: JoinHandle<()>,
    carriers: Vec<JoinHandle<()>>,
}

/// What maker and carriers share.
struct Road {
    sim: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    ledger: Ledger,
    counts: Counts,
    waiting: Mutex<VecDeque<Option<Job>>>,
    ready: Semaphore,
    resend: bool,
}

/// A callback to be posted.
struct Job {
    slot: Slot,
    platform: &'static str,
    body: String,
    copies: usize,
}

impl Traffic {
    /// Starts on the present runtime, in groups that the simulation is told to make.
    pub fn start(sim: &Sim, target: &CallbackTarget, options: &TrafficOptions) -> io::Result<Self> {
        let crowd = Crowd::for_rate(options.rate);
        for place in &crowd.places {
            let id = place.group_id.as_str();
            if sim.create_group(id, place.group_type).is_some() && !place.topic_id.is_empty() {
                sim.create_topic(&place.group_id, place.topic_id.as_str());
            }
        }
        let endpoint = Arc::new(Endpoint::new(target, sim.shared.app_id)?);
        let road = Arc::new(Road {
            sim: sim.shared.clone(),
            endpoint: endpoint.clone(),
            ledger: Ledger::new(&crowd.places),
            counts: Counts::default(),
            waiting: Mutex::default(),
            ready: Semaphore::new(0),
            resend: options.resend,
        });
        let carriers = (0..options.connections.max(1))
            .map(|_| tokio::spawn(carry(road.clone(), Line::new(endpoint.clone()))));
        let carriers = carriers.collect();
        let stop = CancellationToken::new();
        let maker = Maker::new(road.clone(), crowd, options);
        let maker = tokio::spawn(make(maker, stop.clone()));
        Ok(Self { road, stop, maker, carriers })
    }

    #[must_use]
    pub fn progress(&self) -> Progress {
        self.road.counts.progress()
    }

    /// Makes no more messages, waits for those under way, and hands over the books.
    pub async fn stop(self) -> (Progress, Vec<Record>) {
        self.stop.cancel();
        let _ = self.maker.await;
        let ends = self.carriers.len();
        lock(&self.road.waiting).extend((0..ends).map(|_| None));
        self.road.ready.add_permits(ends);
        for carrier in self.carriers {
            let _ = carrier.await;
        }
        (self.road.counts.progress(), self.road.ledger.records())
    }
}

impl Counts {
    fn progress(&self) -> Progress {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Progress {
            sent: count(&self.sent),
            violating: count(&self.violating),
            acknowledged: count(&self.acknowledged),
            refused: count(&self.refused),
            unanswered: count(&self.unanswered),
            never_sent: count(&self.never_sent),
        }
    }
}

impl Road {
    fn ended(&self, slot: Slot, outcome: Outcome) {
        self.ledger.ended(slot, outcome);
        let count = match outcome {
            Outcome::Waiting => return,
            Outcome::Acknowledged => &self.counts.acknowledged,
            Outcome::Refused => &self.counts.refused,
            Outcome::Unanswered => &self.counts.unanswered,
            Outcome::NeverSent => &self.counts.never_sent,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes messages when they are due.
struct Maker {
    road: Arc<Road>,
    crowd: Crowd,
    phrases: Phrases,
    rng: StdRng,
    rate: f64,
    violating: f64,
}

impl Maker {
    fn new(road: Arc<Road>, crowd: Crowd, options: &TrafficOptions) -> Self {
        let (rate, violating) = (options.rate, options.violating);
        let rng = StdRng::seed_from_u64(options.seed);
        Self { road, crowd, phrases: Phrases::new(), rng, rate, violating }
    }

    /// One message: said in the simulated Chat, then on its way to the callback URL.
    fn message(&mut self, second: u64, now: Timestamp) -> Option<Job> {
        let at = self.crowd.place(second, &mut self.rng);
        let place = &self.crowd.places[at];
        let violating = self.rng.random::<f64>() < self.violating;
        // Audio-video groups always say 0 (page `after-msg`).
        let online_only =
            place.group_type != "AVChatRoom" && self.rng.random::<f64>() < ONLINE_ONLY;
        let sender = crowd::member(&mut self.rng);
        let new = NewMessage {
            group_id: place.group_id.clone(),
            topic_id: place.topic_id.clone(),
            operator: sender.clone(),
            sender,
            random: self.rng.random(),
            online_only,
            body: self.phrases.body(violating, &mut self.rng).into(),
            cloud_custom_data: String::new(),
        };
        let seq = lock(&self.road.sim.world).append(&new, now).ok()?;
        let slot = Slot { place: at, seq };
        self.road.ledger.sent(slot, violating, online_only);
        self.road.counts.sent.fetch_add(1, Ordering::Relaxed);
        self.road.counts.violating.fetch_add(violating.into(), Ordering::Relaxed);
        let copies = self.road.sim.copies();
        if copies == 0 {
            self.road.ended(slot, Outcome::NeverSent);
            return None;
        }
        let platform = ["Android", "iOS", "Web", "Windows"][self.rng.random_range(0..4)];
        let body = callback(&new, seq, place.group_type, now);
        Some(Job { slot, platform, body, copies })
    }
}

async fn make(mut maker: Maker, stop: CancellationToken) {
    let began = Instant::now();
    let mut made = 0_u64;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let elapsed = began.elapsed();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let due = (elapsed.as_secs_f64() * maker.rate) as u64;
        let room = MAX_WAITING.saturating_sub(lock(&maker.road.waiting).len());
        let now = maker.road.sim.clock.now();
        let mut jobs = Vec::new();
        while made < due && jobs.len() < room {
            jobs.extend(maker.message(elapsed.as_secs(), now));
            made += 1;
        }
        let count = jobs.len();
        lock(&maker.road.waiting).extend(jobs.into_iter().map(Some));
        maker.road.ready.add_permits(count);
    }
}

/// One connection: posts what waits, until told that nothing more comes.
async fn carry(road: Arc<Road>, mut line: Line) {
    while let Ok(permit) = road.ready.acquire().await {
        permit.forget();
        let next = lock(&road.waiting).pop_front();
        let Some(Some(job)) = next else { return };
        let mut outcome = Outcome::Unanswered;
        for _ in 0..job.copies {
            // The books keep the best answer: one acknowledgement is a promise.
            let another = post(&road, &mut line, &job).await;
            if outcome != Outcome::Acknowledged {
                outcome = another;
            }
        }
        road.ended(job.slot, outcome);
    }
}

async fn post(road: &Road, line: &mut Line, job: &Job) -> Outcome {
    let mut outcome = Outcome::Unanswered;
    for posts in 1..=MAX_POSTS {
        let now = road.sim.clock.now();
        let target = road.endpoint.target(AFTER_SEND_MSG, job.platform, now);
        match tokio::time::timeout(TIMEOUT, line.post(&target, job.body.as_bytes())).await {
            Ok(Ok(reply)) if reply.accepted => return Outcome::Acknowledged,
            Ok(Ok(_)) => outcome = Outcome::Refused,
            Ok(Err(_)) => outcome = Outcome::Unanswered,
            Err(_) => {
                *line = Line::new(road.endpoint.clone());
                outcome = Outcome::Unanswered;
            }
        }
        if !road.resend || posts == MAX_POSTS {
            break;
        }
        tokio::time::sleep(TIMEOUT).await;
    }
    outcome
}

/// The body of a message's callback (page `after-msg`). Written by hand, since it is made thousands
/// of times a second: ids here are plain ASCII without quotes, and `MsgBody` is JSON already.
fn callback(new: &NewMessage, seq: u64, group_type: &str, now: Timestamp) -> String {
    let topic = if new.topic_id.is_empty() {
        String::new()
    } else {
        format!(r#","TopicId":"{}""#, new.topic_id)
    };
    format!(
        concat!(
            r#"{{"CallbackCommand":"Group.CallbackAfterSendMsg","GroupId":"{group}","#,
            r#""Type":"{group_type}","From_Account":"{sender}","Operator_Account":"{sender}","#,
            r#""Random":{random},"MsgSeq":{seq},"MsgId":"1441152000-{seq}-{random}","#,
            r#""MsgTime":{seconds},"OnlineOnlyFlag":{online_only},"MsgBody":{body},"#,
            r#""CloudCustomData":"","EventTime":{millis}{topic}}}"#,
        ),
        group = new.group_id,
        group_type = group_type,
        sender = new.sender,
        random = new.random,
        seq = seq,
        seconds = now.secs(),
        online_only = u8::from(new.online_only),
        body = new.body,
        millis = now.millis(),
        topic = topic,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::wire;

    #[test]
    fn callbacks_are_read_as_they_were_meant() {
        let phrases = Phrases::new();
        let mut rng = StdRng::seed_from_u64(3);
        for n in 0..500_u32 {
            let new = NewMessage {
                group_id: "@TGS#_@TGS#cDEMO7".into(),
                topic_id: if n % 2 == 0 { "t".into() } else { "".into() },
                sender: "member1".into(),
                operator: "member1".into(),
                random: n,
                online_only: n % 3 == 0,
                body: phrases.body(n % 5 == 0, &mut rng).into(),
                cloud_custom_data: String::new(),
            };
            let now = Timestamp(1_700_000_000_123);
            let body = callback(&new, u64::from(n), "Community", now);
            let message = wire::parse_message(body.as_bytes(), "iOS", now).unwrap();
            assert_eq!(message.key.msg_seq, u64::from(n));
            assert_eq!(message.key.topic_id, new.topic_id);
            assert_eq!((message.sent_at, message.online_only), (now, new.online_only));
        }
    }
}
