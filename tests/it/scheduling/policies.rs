//! Ours, and the two that it is compared with.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use quell::model::{GroupType, Timestamp};
use quell::store::{Conversation, QueuedJob};
use quell::worker::scheduler::Scheduler;

use super::BATCH;
use super::traces::Arrival;

/// Decides which messages, by their places in the trace, leave with the next call.
pub(super) trait Policy {
    fn arrive(&mut self, place: usize, arrival: &Arrival);
    /// The messages of the call that leaves now; none if it should not leave yet.
    fn next(&mut self, now: Duration) -> Vec<usize>;
    /// When to ask again although nothing arrives.
    fn wake(&self) -> Option<Duration>;
}

/// The scheduler under test.
pub(super) struct Ours {
    scheduler: Scheduler,
    conversations: HashMap<u32, Arc<Conversation>>,
}

impl Ours {
    pub(super) fn new() -> Self {
        Self { scheduler: Scheduler::new(BATCH), conversations: HashMap::new() }
    }
}

fn timestamp(at: Duration) -> Timestamp {
    Timestamp(1_700_000_000_000).after(at)
}

impl Policy for Ours {
    fn arrive(&mut self, place: usize, arrival: &Arrival) {
        let conversation = self.conversations.entry(arrival.group).or_insert_with(|| {
            Arc::new(Conversation {
                conversation_id: arrival.group.into(),
                group_id: format!("g{}", arrival.group).into(),
                topic_id: "".into(),
                group_type: GroupType("Public".into()),
            })
        });
        let at = timestamp(arrival.at);
        let job = QueuedJob {
            job_id: i64::try_from(place).unwrap(),
            conversation: Arc::clone(conversation),
            msg_seq: place as u64,
            severity: arrival.severity,
            background: false,
            sent_at: at,
            due_at: at,
        };
        self.scheduler.push(job, at);
    }
    fn next(&mut self, now: Duration) -> Vec<usize> {
        let batch = self.scheduler.next(timestamp(now));
        let jobs = batch.map(|batch| batch.jobs).unwrap_or_default();
        jobs.iter().map(|job| usize::try_from(job.job_id).unwrap()).collect()
    }
    fn wake(&self) -> Option<Duration> {
        assert!(self.scheduler.is_empty(), "it never keeps a free call waiting");
        None
    }
}

/// Who came first goes first, and takes along what waits in its group.
#[derive(Default)]
pub(super) struct FirstCome {
    lanes: HashMap<u32, VecDeque<usize>>,
    /// The oldest message of each group.
    oldest: BTreeSet<(usize, u32)>,
}

impl Policy for FirstCome {
    fn arrive(&mut self, place: usize, arrival: &Arrival) {
        let lane = self.lanes.entry(arrival.group).or_default();
        if lane.is_empty() {
            self.oldest.insert((place, arrival.group));
        }
        lane.push_back(place);
    }
    fn next(&mut self, _now: Duration) -> Vec<usize> {
        let Some((_, group)) = self.oldest.pop_first() else { return Vec::new() };
        let lane = self.lanes.get_mut(&group).unwrap();
        let batch = lane.drain(..lane.len().min(BATCH)).collect();
        if let Some(first) = lane.front() {
            self.oldest.insert((*first, group));
        }
        batch
    }
    fn wake(&self) -> Option<Duration> {
        None
    }
}

/// A batch leaves when it is full or its first message waited for so long, in the order in which
/// batches became ready.
pub(super) struct Linger {
    wait: Duration,
    lanes: BTreeMap<u32, VecDeque<(usize, Duration)>>,
    /// When the first message of each group that is not ready has waited long enough.
    deadlines: BinaryHeap<Reverse<(Duration, usize, u32)>>,
    ready: VecDeque<u32>,
    is_ready: BTreeSet<u32>,
}

impl Linger {
    pub(super) fn new(wait: Duration) -> Self {
        Self {
            wait,
            lanes: BTreeMap::new(),
            deadlines: BinaryHeap::new(),
            ready: VecDeque::new(),
            is_ready: BTreeSet::new(),
        }
    }
    fn becomes_ready(&mut self, group: u32) {
        if self.is_ready.insert(group) {
            self.ready.push_back(group);
        }
    }
    /// The deadline of a group that is not ready; stale ones are passed over.
    fn is_current(&self, place: usize, group: u32) -> bool {
        let first = self.lanes.get(&group).and_then(VecDeque::front);
        !self.is_ready.contains(&group) && first.is_some_and(|(first, _)| *first == place)
    }
    fn settle(&mut self, group: u32) {
        let Some(lane) = self.lanes.get(&group) else { return };
        if lane.len() >= BATCH {
            self.becomes_ready(group);
        } else if let Some((first, at)) = lane.front() {
            self.deadlines.push(Reverse((*at + self.wait, *first, group)));
        }
    }
}

impl Policy for Linger {
    fn arrive(&mut self, place: usize, arrival: &Arrival) {
        // Whoever waited long enough before this one came is ready before it.
        self.ripen(arrival.at);
        let lane = self.lanes.entry(arrival.group).or_default();
        lane.push_back((place, arrival.at));
        if lane.len() == 1 || lane.len() == BATCH {
            self.settle(arrival.group);
        }
    }
    fn next(&mut self, now: Duration) -> Vec<usize> {
        self.ripen(now);
        let Some(group) = self.ready.pop_front() else { return Vec::new() };
        self.is_ready.remove(&group);
        let lane = self.lanes.get_mut(&group).unwrap();
        let batch = lane.drain(..lane.len().min(BATCH)).map(|(place, _)| place).collect();
        self.settle(group);
        batch
    }
    fn wake(&self) -> Option<Duration> {
        let mut deadlines: Vec<_> = self.deadlines.iter().collect();
        deadlines.sort_by(|a, b| b.cmp(a));
        let current =
            deadlines.iter().find(|Reverse((_, place, group))| self.is_current(*place, *group));
        current.map(|Reverse((at, ..))| *at)
    }
}

impl Linger {
    fn ripen(&mut self, now: Duration) {
        while let Some(&Reverse((at, place, group))) = self.deadlines.peek()
            && at <= now
        {
            self.deadlines.pop();
            if self.is_current(place, group) {
                self.becomes_ready(group);
            }
        }
    }
}
