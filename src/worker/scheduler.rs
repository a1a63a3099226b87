//! Which batch goes next.
//!
//! All calls cost the same, so the harm done by waiting is smallest when the batch that weighs most
//! leaves first. A batch is up to ten waiting messages of one group and topic; its weight is the sum
//! over its messages, more for graver ones. Nothing lingers for company: a batch takes what waits,
//! and under load batches fill by themselves. So that light work never starves, every tenth batch
//! goes to whatever has waited longest, once that is longer than [`PATIENCE`]. Sweeps go behind live
//! traffic, and have no part in that tenth while anything live can go.
//!
//! Pure: no clock, no I/O. Each step costs the logarithm of what waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{JobId, MsgSeq, Severity, Timestamp};
use crate::store::{Conversation, ConversationId, QueuedJob};

/// Beyond this the longest waiting get every tenth batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// No job is ever put off for so long: what is due later than that was put off before the clock was
/// set back, and waits no longer.
const CLOCK_WAS_SET: Duration = Duration::from_mins(10);
/// One batch in so many goes to the longest waiting.
const SHARE_OF_THE_OLDEST: u32 = 10;

/// What a message of a severity weighs: a critical one as much as eight light ones.
#[must_use]
pub fn weight(severity: Severity) -> u64 {
    1 << severity as u64
}

/// Messages of one group and topic that fit one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub conversation: Arc<Conversation>,
    pub jobs: Vec<QueuedJob>,
}

/// Group and topic, live traffic apart from sweeps.
type LaneKey = (ConversationId, bool);

/// The picture of what waits.
#[derive(Debug)]
pub struct Scheduler {
    batch_size: usize,
    /// Jobs that may go now: live ones first, then those of sweeps, the oldest first in each, since ids
    /// grow with time.
    ready: BTreeMap<(bool, JobId), Ready>,
    lanes: HashMap<LaneKey, Lane>,
    /// Lanes by what their next batch weighs: live ones first, then the heaviest.
    order: BTreeSet<Place>,
    /// Jobs that may go later.
    delayed: BTreeSet<(Timestamp, JobId)>,
    parked: HashMap<JobId, QueuedJob>,
    /// Jobs that must be called for one by one, to tell which one spoils a batch.
    alone: BTreeSet<JobId>,
    batches: u32,
}

/// Where a lane stands: sweeps last, then by weight, then first come first served.
type Place = (bool, Reverse<u64>, JobId, LaneKey);

#[derive(Debug)]
struct Ready {
    lane: LaneKey,
    msg_seq: MsgSeq,
    severity: Severity,
    sent_at: Timestamp,
    due_at: Timestamp,
}

#[derive(Debug)]
struct Lane {
    conversation: Arc<Conversation>,
    /// Gravest first, then oldest. Entries of jobs that left otherwise are dropped as they come up.
    waiting: BinaryHeap<(Severity, Reverse<JobId>)>,
    /// How many wait of each severity.
    counts: [u32; Severity::ALL.len()],
    place: Option<Place>,
}

impl Scheduler {
    /// With at most so many messages a batch.
    #[must_use]
    pub fn new(batch_size: usize) -> Self {
        Self {
            batch_size: batch_size.max(1),
            ready: BTreeMap::new(),
            lanes: HashMap::new(),
            order: BTreeSet::new(),
            delayed: BTreeSet::new(),
            parked: HashMap::new(),
            alone: BTreeSet::new(),
            batches: 0,
        }
    }

    /// Takes in a job. One that is known already stays as it is.
    pub fn push(&mut self, job: QueuedJob, now: Timestamp) {
        if self.is_ready(job.job_id) || self.parked.contains_key(&job.job_id) {
            return;
        }
        if is_to_wait(job.due_at, now) {
            self.delayed.insert((job.due_at, job.job_id));
            self.parked.insert(job.job_id, job);
        } else {
            self.make_ready(job);
        }
    }

    /// Takes in a job that has to be called for alone.
    pub fn push_alone(&mut self, job: QueuedJob, now: Timestamp) {
        self.alone.insert(job.job_id);
        self.push(job, now);
    }

    /// Forgets a job.
    pub fn withdraw(&mut self, job_id: JobId) {
        self.alone.remove(&job_id);
        if let Some(job) = self.parked.remove(&job_id) {
            self.delayed.remove(&(job.due_at, job_id));
        } else if let Some(ready) = self.remove_ready(job_id) {
            self.change_lane(ready.lane, |lane| lane.counts[ready.severity as usize] -= 1);
        }
    }

    /// The batch that should leave now. Its jobs are forgotten: whoever takes it reports back by
    /// pushing what has to be tried again.
    pub fn next(&mut self, now: Timestamp) -> Option<Batch> {
        self.promote(now);
        self.batches = self.batches.wrapping_add(1);
        let oldest = self.ready.first_key_value();
        let starving = oldest.filter(|(_, job)| now.since(job.due_at) > PATIENCE);
        let (lane, first) = match starving {
            Some((&(_, job_id), job)) if self.batches.is_multiple_of(SHARE_OF_THE_OLDEST) => {
                (job.lane, Some(job_id))
            }
            _ => (self.order.first()?.3, None),
        };
        Some(self.take(lane, first))
    }

    /// When the next delayed job may go.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.delayed.first().map(|(due_at, _)| *due_at)
    }

    /// How many jobs wait, delayed ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ready.len() + self.parked.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a job may go now.
    #[must_use]
    pub fn has_ready(&self, now: Timestamp) -> bool {
        let ends = [self.delayed.first(), self.delayed.last()];
        !self.ready.is_empty()
            || ends.into_iter().flatten().any(|(due_at, _)| !is_to_wait(*due_at, now))
    }

    fn is_ready(&self, job_id: JobId) -> bool {
        [false, true].iter().any(|background| self.ready.contains_key(&(*background, job_id)))
    }

    fn remove_ready(&mut self, job_id: JobId) -> Option<Ready> {
        self.ready.remove(&(false, job_id)).or_else(|| self.ready.remove(&(true, job_id)))
    }

    fn promote(&mut self, now: Timestamp) {
        let next = |delayed: &BTreeSet<(Timestamp, JobId)>| {
            let ends = [delayed.first().copied(), delayed.last().copied()];
            ends.into_iter().flatten().find(|(due_at, _)| !is_to_wait(*due_at, now))
        };
        while let Some((due_at, job_id)) = next(&self.delayed) {
            self.delayed.remove(&(due_at, job_id));
            if let Some(job) = self.parked.remove(&job_id) {
                self.make_ready(job);
            }
        }
    }

    fn make_ready(&mut self, job: QueuedJob) {
        let key = (job.conversation.conversation_id, job.background);
        let ready = Ready {
            lane: key,
            msg_seq: job.msg_seq,
            severity: job.severity,
            sent_at: job.sent_at,
            due_at: job.due_at,
        };
        self.ready.insert((job.background, job.job_id), ready);
        let conversation = job.conversation;
        self.lanes.entry(key).or_insert_with(|| Lane::new(conversation));
        self.change_lane(key, |lane| {
            lane.waiting.push((job.severity, Reverse(job.job_id)));
            lane.counts[job.severity as usize] += 1;
        });
    }

    /// Changes a lane and puts it where it belongs then; an empty one is dropped.
    fn change_lane(&mut self, key: LaneKey, change: impl FnOnce(&mut Lane)) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        change(lane);
        if let Some(place) = lane.place.take() {
            self.order.remove(&place);
        }
        while let Some((_, Reverse(job_id))) = lane.waiting.peek()
            && !self.ready.contains_key(&(key.1, *job_id))
        {
            lane.waiting.pop();
        }
        let Some(&(_, Reverse(first))) = lane.waiting.peek() else {
            self.lanes.remove(&key);
            return;
        };
        let place = (key.1, Reverse(lane.weight(self.batch_size)), first, key);
        lane.place = Some(place);
        self.order.insert(place);
    }

    /// Takes a batch from a lane, the given job first.
    fn take(&mut self, key: LaneKey, first: Option<JobId>) -> Batch {
        let mut jobs = Vec::with_capacity(self.batch_size);
        let mut size = self.batch_size;
        let mut passed_over = Vec::new();
        let conversation = Arc::clone(&self.lanes[&key].conversation);
        if let Some(job_id) = first {
            if self.alone.remove(&job_id) {
                size = 1;
            }
            jobs.extend(self.leave(job_id, &conversation));
        }
        while jobs.len() < size {
            let Some(lane) = self.lanes.get_mut(&key) else { break };
            let Some((severity, Reverse(job_id))) = lane.waiting.pop() else { break };
            if self.alone.contains(&job_id) {
                if !jobs.is_empty() {
                    passed_over.push((severity, Reverse(job_id)));
                    continue;
                }
                self.alone.remove(&job_id);
                size = 1;
            }
            jobs.extend(self.leave(job_id, &conversation));
        }
        self.change_lane(key, |lane| lane.waiting.extend(passed_over));
        Batch { conversation, jobs }
    }

    /// A job leaves the picture, if it is still in it.
    fn leave(&mut self, job_id: JobId, conversation: &Arc<Conversation>) -> Option<QueuedJob> {
        let ready = self.remove_ready(job_id)?;
        if let Some(lane) = self.lanes.get_mut(&ready.lane) {
            lane.counts[ready.severity as usize] -= 1;
        }
        Some(QueuedJob {
            job_id,
            conversation: Arc::clone(conversation),
            msg_seq: ready.msg_seq,
            severity: ready.severity,
            background: ready.lane.1,
            sent_at: ready.sent_at,
            due_at: ready.due_at,
        })
    }
}

impl Lane {
    fn new(conversation: Arc<Conversation>) -> Self {
        Self { conversation, waiting: BinaryHeap::new(), counts: [0; 4], place: None }
    }

    /// What the gravest messages that fit one batch weigh together.
    fn weight(&self, batch_size: usize) -> u64 {
        let mut room = u32::try_from(batch_size).unwrap_or(u32::MAX);
        let mut sum = 0;
        for severity in Severity::ALL.iter().rev() {
            let taken = self.counts[*severity as usize].min(room);
            sum += u64::from(taken) * weight(*severity);
            room -= taken;
        }
        sum
    }
}

/// Whether a job that is due then has to wait yet.
fn is_to_wait(due_at: Timestamp, now: Timestamp) -> bool {
    due_at > now && due_at <= now.after(CLOCK_WAS_SET)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::GroupType;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn job(job_id: JobId, group: i64, severity: Severity) -> QueuedJob {
        QueuedJob {
            job_id,
            conversation: Arc::new(Conversation {
                conversation_id: group,
                group_id: format!("g{group}").into(),
                topic_id: "".into(),
                group_type: GroupType("Public".into()),
            }),
            msg_seq: u64::try_from(job_id).unwrap(),
            severity,
            background: false,
            sent_at: NOW,
            due_at: NOW,
        }
    }

    fn ids(batch: Option<Batch>) -> Vec<JobId> {
        batch.map_or_else(Vec::new, |batch| batch.jobs.iter().map(|job| job.job_id).collect())
    }

    #[test]
    fn one_message_leaves_at_once() {
        let mut scheduler = Scheduler::new(10);
        scheduler.push(job(1, 1, Severity::Low), NOW);
        assert_eq!(ids(scheduler.next(NOW)), [1]);
        assert!(ids(scheduler.next(NOW)).is_empty());
        assert!(scheduler.is_empty() && scheduler.lanes.is_empty());
    }

    #[test]
    fn a_batch_holds_one_conversation_and_at_most_ten() {
        let mut scheduler = Scheduler::new(10);
        for n in 1..=23 {
            scheduler.push(job(n, n % 2, Severity::Medium), NOW);
        }
        assert_eq!(ids(scheduler.next(NOW)).len(), 10);
        assert_eq!(ids(scheduler.next(NOW)).len(), 10);
        assert_eq!(ids(scheduler.next(NOW)), [21, 23]);
        assert_eq!(ids(scheduler.next(NOW)), [22]);
    }

    #[test]
    fn the_heaviest_batch_goes_first_and_the_gravest_message_within_it() {
        let mut scheduler = Scheduler::new(10);
        scheduler.push(job(1, 1, Severity::Low), NOW);
        scheduler.push(job(2, 2, Severity::Critical), NOW);
        for n in 3..=13 {
            scheduler.push(job(n, 3, Severity::Low), NOW);
        }
        scheduler.push(job(14, 3, Severity::High), NOW);
        assert_eq!(ids(scheduler.next(NOW)), [14, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(ids(scheduler.next(NOW)), [2]);
        assert_eq!(ids(scheduler.next(NOW)), [12, 13]);
        assert_eq!(ids(scheduler.next(NOW)), [1]);
    }

    #[test]
    fn light_work_does_not_starve() {
        let mut scheduler = Scheduler::new(10);
        scheduler.push(job(1, 1, Severity::Low), NOW);
        let later = NOW.after(PATIENCE * 2);
        let mut rounds = 0;
        for n in 0.. {
            for k in 0..10 {
                let heavy =
                    QueuedJob { due_at: later, ..job(2 + n * 10 + k, 2, Severity::Critical) };
                scheduler.push(heavy, later);
            }
            rounds += 1;
            if ids(scheduler.next(later)).contains(&1) {
                break;
            }
        }
        assert!(rounds <= SHARE_OF_THE_OLDEST, "waited {rounds} rounds");
    }

    #[test]
    fn sweeps_go_behind_live_traffic() {
        let mut scheduler = Scheduler::new(10);
        for n in 1..=10 {
            let sweep = QueuedJob { background: true, ..job(n, 1, Severity::Critical) };
            scheduler.push(sweep, NOW);
        }
        scheduler.push(job(11, 1, Severity::Low), NOW);
        assert_eq!(ids(scheduler.next(NOW)), [11]);
        assert_eq!(ids(scheduler.next(NOW)).len(), 10);
    }

    #[test]
    fn an_old_sweep_takes_nothing_from_light_live_work() {
        let mut scheduler = Scheduler::new(10);
        let later = NOW.after(PATIENCE * 2);
        for n in 1..=1_000 {
            let sweep = QueuedJob { background: true, ..job(n, 3, Severity::Medium) };
            scheduler.push(sweep, NOW);
        }
        scheduler.push(job(1_001, 1, Severity::Low), NOW);
        let mut rounds = 0;
        for n in 0.. {
            for k in 0..10 {
                let heavy = job(2_000 + n * 10 + k, 2, Severity::Critical);
                scheduler.push(QueuedJob { due_at: later, ..heavy }, later);
            }
            rounds += 1;
            let batch = scheduler.next(later).unwrap();
            assert!(batch.jobs.iter().all(|job| !job.background));
            if batch.jobs[0].job_id == 1_001 {
                break;
            }
        }
        assert!(rounds <= SHARE_OF_THE_OLDEST, "waited {rounds} rounds");
    }

    #[test]
    fn a_delayed_job_waits_for_its_time() {
        let mut scheduler = Scheduler::new(10);
        let due_at = NOW.after(Duration::from_secs(1));
        scheduler.push(QueuedJob { due_at, ..job(1, 1, Severity::Low) }, NOW);
        assert_eq!((scheduler.next_due(), scheduler.has_ready(NOW)), (Some(due_at), false));
        assert!(ids(scheduler.next(NOW)).is_empty());
        assert_eq!(ids(scheduler.next(due_at)), [1]);
    }

    #[test]
    fn a_clock_set_back_holds_no_job_up() {
        let mut scheduler = Scheduler::new(10);
        let due_at = NOW.after(Duration::from_secs(1));
        for n in 1..=2 {
            scheduler.push(QueuedJob { due_at, ..job(n, 1, Severity::Low) }, NOW);
        }
        let an_hour_earlier = NOW.before(Duration::from_hours(1));
        scheduler.push(QueuedJob { due_at: NOW, ..job(3, 1, Severity::Low) }, an_hour_earlier);
        assert!(scheduler.has_ready(an_hour_earlier));
        assert_eq!(ids(scheduler.next(an_hour_earlier)), [1, 2, 3]);
    }

    #[test]
    fn what_spoiled_a_batch_goes_alone() {
        let mut scheduler = Scheduler::new(10);
        for n in 1..=3 {
            scheduler.push_alone(job(n, 1, Severity::Low), NOW);
        }
        scheduler.push(job(4, 1, Severity::High), NOW);
        let batches: Vec<_> = (0..4).map(|_| ids(scheduler.next(NOW))).collect();
        assert_eq!(batches, [vec![4], vec![1], vec![2], vec![3]]);
        assert!(scheduler.is_empty());
    }

    #[test]
    fn a_withdrawn_job_never_leaves() {
        let mut scheduler = Scheduler::new(10);
        for n in 1..=3 {
            scheduler.push(job(n, 1, Severity::Low), NOW);
        }
        scheduler.withdraw(1);
        scheduler.withdraw(99);
        assert_eq!(ids(scheduler.next(NOW)), [2, 3]);
        scheduler.push(job(4, 1, Severity::Low), NOW);
        scheduler.withdraw(4);
        assert!(scheduler.is_empty() && scheduler.order.is_empty() && scheduler.lanes.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push { group: i64, severity: usize, delay: u64, background: bool, alone: bool },
        Withdraw(JobId),
        Next,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..6_i64, 0..4_usize, 0..3_u64, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
                |(group, severity, delay, background, alone)| Step::Push {
                    group, severity, delay, background, alone
                }
            ),
            1 => (1..60_i64).prop_map(Step::Withdraw),
            4 => Just(Step::Next),
            1 => (0..8_u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Every job leaves exactly once or is withdrawn; a batch keeps the limits of a call.
        #[test]
        fn every_job_leaves_once(steps in prop::collection::vec(step(), 1..200), size in 1..=10_usize) {
            let mut scheduler = Scheduler::new(size);
            let mut now = NOW;
            let mut expected: BTreeMap<JobId, QueuedJob> = BTreeMap::new();
            let mut next_id = 0;
            let left = |batch: Option<Batch>, expected: &mut BTreeMap<JobId, QueuedJob>, now: Timestamp| {
                let Some(batch) = batch else { return Ok(false) };
                prop_assert!((1..=size).contains(&batch.jobs.len()));
                for job in &batch.jobs {
                    let known = expected.remove(&job.job_id);
                    prop_assert_eq!(known.as_ref(), Some(job));
                    prop_assert!(job.due_at <= now);
                    prop_assert_eq!(&job.conversation, &batch.conversation);
                    prop_assert_eq!(job.background, batch.jobs[0].background);
                }
                Ok(true)
            };
            for step in steps {
                match step {
                    Step::Push { group, severity, delay, background, alone } => {
                        next_id += 1;
                        let due_at = now.after(Duration::from_secs(delay));
                        let severity = Severity::ALL[severity];
                        let job = QueuedJob { background, due_at, ..job(next_id, group, severity) };
                        expected.insert(next_id, job.clone());
                        if alone { scheduler.push_alone(job, now) } else { scheduler.push(job, now) }
                    }
                    Step::Withdraw(id) => {
                        expected.remove(&id);
                        scheduler.withdraw(id);
                    }
                    Step::Next => {
                        let batch = scheduler.next(now);
                        prop_assert_eq!(
                            batch.is_none(),
                            !expected.values().any(|job| job.due_at <= now)
                        );
                        left(batch, &mut expected, now)?;
                    }
                    Step::Wait(seconds) => now = now.after(Duration::from_secs(seconds)),
                }
                prop_assert_eq!(scheduler.len(), expected.len());
            }
            now = now.after(Duration::from_mins(1));
            while left(scheduler.next(now), &mut expected, now)? {}
            prop_assert!(expected.is_empty(), "{expected:?}");
            prop_assert!(scheduler.lanes.is_empty() && scheduler.order.is_empty());
        }
    }
}
