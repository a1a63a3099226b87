//! What was sent and what became of it, one byte a message: the sender's side of the books, for
//! comparing with what the store holds and what Chat was asked to do.

use std::sync::Mutex;

use super::super::lock;
use super::crowd::Place;
use crate::model::{GroupId, MessageKey, MsgSeq, TopicId};

/// How a message's callback ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// On its way.
    Waiting,
    /// Answered 200 with `ErrorCode` 0: it must be in the store.
    Acknowledged,
    /// Answered otherwise: it may be in the store.
    Refused,
    /// No answer in time, or a broken connection: it may be in the store.
    Unanswered,
    /// A fault kept the callback back.
    NeverSent,
}

/// A message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: MessageKey,
    pub outcome: Outcome,
    /// It was made to break a rule of the demo: it must be recalled, unless it is online-only.
    pub violating: bool,
    /// Nobody can recall it.
    pub online_only: bool,
}

/// Bits 0 to 2 hold the outcome.
const OUTCOMES: [Outcome; 5] = [
    Outcome::Waiting,
    Outcome::Acknowledged,
    Outcome::Refused,
    Outcome::Unanswered,
    Outcome::NeverSent,
];
const VIOLATING: u8 = 8;
const ONLINE_ONLY: u8 = 16;
const SENT: u8 = 32;

/// Where a message stands in the ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) place: usize,
    pub(super) seq: MsgSeq,
}

/// Every message of a run.
#[derive(Debug)]
pub struct Ledger {
    talks: Mutex<Vec<Talk>>,
}

#[derive(Debug)]
struct Talk {
    group_id: GroupId,
    topic_id: TopicId,
    /// By sequence.
    marks: Vec<u8>,
}

impl Ledger {
    pub(super) fn new(places: &[Place]) -> Self {
        let talk = |place: &Place| Talk {
            group_id: place.group_id.clone(),
            topic_id: place.topic_id.clone(),
            marks: Vec::new(),
        };
        Self { talks: Mutex::new(places.iter().map(talk).collect()) }
    }

    pub(super) fn sent(&self, slot: Slot, violating: bool, online_only: bool) {
        let at = usize::try_from(slot.seq).unwrap_or_default();
        let marks = &mut lock(&self.talks)[slot.place].marks;
        if marks.len() <= at {
            marks.resize(at + 1, 0);
        }
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        marks[at] = SENT | flag(violating, VIOLATING) | flag(online_only, ONLINE_ONLY);
    }

    pub(super) fn ended(&self, slot: Slot, outcome: Outcome) {
        let code = OUTCOMES.iter().position(|known| *known == outcome).unwrap_or_default();
        let at = usize::try_from(slot.seq).unwrap_or_default();
        let mark = &mut lock(&self.talks)[slot.place].marks[at];
        *mark = *mark & !7 | u8::try_from(code).unwrap_or_default();
    }

    /// Calls back with every message, by group and sequence.
    pub fn for_each(&self, mut look: impl FnMut(Record)) {
        for talk in lock(&self.talks).iter() {
            for (seq, mark) in talk.marks.iter().enumerate().filter(|(_, mark)| **mark & SENT != 0)
            {
                look(Record {
                    key: MessageKey {
                        group_id: talk.group_id.clone(),
                        topic_id: talk.topic_id.clone(),
                        msg_seq: seq as MsgSeq,
                    },
                    outcome: OUTCOMES[usize::from(mark & 7)],
                    violating: mark & VIOLATING != 0,
                    online_only: mark & ONLINE_ONLY != 0,
                });
            }
        }
    }

    /// Every message, by group and sequence.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        self.for_each(|record| records.push(record));
        records
    }
}
