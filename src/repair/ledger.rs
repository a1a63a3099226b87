//! Which sequences are missing.
//!
//! Sequences of a conversation are dense at Chat, so what is missing between two that came was either
//! lost on the way or never made a callback. Callbacks overtake each other, so a hole counts only
//! once it has lasted; until then it is kept here, afterwards in the store. The memory of a
//! conversation without fresh holes is twelve bytes.
//!
//! Exact after a restart: the checkpoint lies before the message that revealed the oldest hole kept
//! here, so what is read back from there on finds the same holes again.
//!
//! Pure: no clock, no I/O.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::{MsgSeq, Source, Timestamp};
use crate::store::{ConversationId, NewGap, NotedGaps, Reached, Seen};

/// Holes kept in memory at most. When there are more, all are noted at once, however fresh.
const MAX_HOLES: usize = 50_000;

/// A sequence that lies farther above the newest one that Chat has was never given to a message: what
/// is said while Chat answers is much less, and online-only messages are not kept by Chat either.
const FAR: u32 = 10_000;

/// How far each conversation has come, and its fresh holes.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By the number of the conversation: the store counts them from 1.
    conversations: Vec<Reach>,
    holes: HashMap<u32, Vec<Hole>>,
    hole_count: usize,
    firsts: Vec<(ConversationId, MsgSeq)>,
    late: Vec<(ConversationId, MsgSeq)>,
    /// Conversations that came to life since they were last asked for.
    woken: Vec<ConversationId>,
    /// The latest message taken in.
    through: i64,
}

/// `MsgSeq` has 32 bits (page `after-msg`); what claims to be larger is not followed.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    high: u32,
    /// When its latest message came, in seconds; 0 for a conversation never seen.
    seen_at: u32,
    has_history: bool,
    /// Whether gaps of it were noted, so that late messages matter.
    has_gaps: bool,
    life: Life,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    /// Whoever asks quiet conversations wants to be told when something is said.
    #[default]
    Asleep,
    /// That was told.
    Awake,
    /// The group or topic is no more. What comes late is still accounted for.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    from: u32,
    to: u32,
    since: Timestamp,
    /// The message that revealed it.
    by: i64,
}

impl Ledger {
    /// Takes in how far a conversation had come at the checkpoint.
    pub fn load(&mut self, reached: &Reached) {
        let Some(at) = index(reached.conversation_id) else { return };
        if reached.high == 0 {
            return;
        }
        let reach = self.reach(at);
        *reach = Reach {
            high: clip(reached.high),
            seen_at: seconds(reached.received_at),
            has_history: reached.has_history && !reached.has_ended,
            has_gaps: reached.has_gaps,
            life: if reached.has_ended { Life::Ended } else { Life::Asleep },
        };
    }

    /// Starts behind the checkpoint.
    pub fn starts_after(&mut self, checkpoint: i64) {
        self.through = self.through.max(checkpoint);
    }

    /// Takes in a message that was recorded. Taking it in again changes nothing.
    pub fn observe(&mut self, seen: &Seen) {
        self.through = self.through.max(seen.message_id);
        let (Some(at), Ok(seq)) = (index(seen.conversation_id), u32::try_from(seen.msg_seq)) else {
            return;
        };
        let reach = self.reach(at);
        let (high, known) = (reach.high, reach.seen_at > 0);
        reach.high = high.max(seq);
        reach.seen_at = reach.seen_at.max(seconds(seen.received_at));
        reach.has_history = seen.has_history && reach.life != Life::Ended;
        if reach.has_history && reach.life == Life::Asleep {
            reach.life = Life::Awake;
            self.woken.push(seen.conversation_id);
        }
        let reach = self.conversations[at];
        if !known {
            if seq > 1 && seen.source == Source::Callback && reach.has_history {
                self.firsts.push((seen.conversation_id, seen.msg_seq));
            }
        } else if seq > high + 1 {
            self.open(at, high + 1, seq - 1, seen.received_at, seen.message_id);
        } else if seq <= high {
            let late = reach.has_gaps && seen.source == Source::Callback;
            if !self.fill(at, seq, seq) && late {
                self.late.push((seen.conversation_id, seen.msg_seq));
            }
        }
    }

    /// Takes in that a stretch is accounted for, whatever it holds. What lies between it and what was
    /// known so far is missing for certain, so it does not have to last.
    pub fn cover(&mut self, conversation: ConversationId, from: MsgSeq, to: MsgSeq) {
        let (Some(at), Ok(from), Ok(to)) =
            (index(conversation), u32::try_from(from), u32::try_from(to))
        else {
            return;
        };
        let by = self.through;
        let reach = self.reach(at);
        let (high, known) = (reach.high, reach.seen_at > 0);
        reach.high = high.max(to);
        reach.seen_at = reach.seen_at.max(1);
        // A callback may still come for what was found missing there.
        reach.has_gaps = true;
        if known && from > high.saturating_add(1) {
            self.open(at, high + 1, from - 1, Timestamp::default(), by);
        }
        self.fill(at, from, to);
    }

    /// Takes in the newest sequence that Chat has. A callback that told of one far above it was no
    /// guide to what is missing: from here on the account goes by Chat again.
    pub fn newest(&mut self, conversation: ConversationId, newest: MsgSeq) {
        let Some(at) = index(conversation) else { return };
        let newest = clip(newest);
        let reach = self.reach(at);
        if reach.seen_at > 0 && reach.high > newest.saturating_add(FAR) {
            reach.high = newest;
        }
    }

    /// Conversations in which something was said since they were last let sleep.
    pub fn woken(&mut self) -> Vec<ConversationId> {
        std::mem::take(&mut self.woken)
    }

    /// Wants to be told when something is said in a conversation again.
    pub fn let_sleep(&mut self, conversation: ConversationId) {
        if let Some(at) = index(conversation) {
            self.reach(at).become_unless_ended(Life::Asleep);
        }
    }

    /// Need not be told when something is said in a conversation.
    pub fn keep_awake(&mut self, conversation: ConversationId) {
        if let Some(at) = index(conversation) {
            self.reach(at).become_unless_ended(Life::Awake);
        }
    }

    /// Conversations known so far, those without a message left out.
    pub fn conversations(&self) -> impl Iterator<Item = ConversationId> {
        let is_alive = |reach: &Reach| reach.seen_at > 0 && reach.life != Life::Ended;
        let alive = self.conversations.iter().enumerate().filter(move |(_, it)| is_alive(it));
        alive.map(|(at, _)| number(at).into())
    }

    /// Takes in that a conversation is no more. Its holes need not last any longer: nobody will ever
    /// tell of them.
    pub fn end(&mut self, conversation: ConversationId) {
        let Some(at) = index(conversation) else { return };
        let reach = self.reach(at);
        (reach.life, reach.has_history) = (Life::Ended, false);
        for hole in self.holes.get_mut(&number(at)).into_iter().flatten() {
            hole.since = Timestamp::default();
        }
    }

    /// What has to be noted by now: holes that have lasted, first sequences, late messages, and up to
    /// where all of it is complete.
    pub fn due(&mut self, now: Timestamp, grace: Duration) -> NotedGaps {
        let before = now.before(grace);
        let all = self.hole_count > MAX_HOLES;
        let mut gaps = Vec::new();
        let mut oldest = i64::MAX;
        let (conversations, count) = (&mut self.conversations, &mut self.hole_count);
        self.holes.retain(|&conversation, holes| {
            holes.retain(|hole| {
                // What was revealed in the future was revealed before the clock was set back.
                let due = all || hole.since <= before || hole.since > now;
                if due {
                    let reach = &mut conversations[conversation as usize];
                    reach.has_gaps = true;
                    *count -= 1;
                    gaps.push(NewGap {
                        conversation_id: conversation.into(),
                        from_seq: hole.from.into(),
                        to_seq: hole.to.into(),
                        repairable: reach.has_history,
                    });
                } else {
                    oldest = oldest.min(hole.by);
                }
                !due
            });
            !holes.is_empty()
        });
        gaps.sort_by_key(|gap| (gap.conversation_id, gap.from_seq));
        NotedGaps {
            gaps,
            firsts: std::mem::take(&mut self.firsts),
            late: std::mem::take(&mut self.late),
            checkpoint: self.through.min(oldest.saturating_sub(1)),
            at: now,
        }
    }

    /// Takes back what could not be noted.
    pub fn put_back(&mut self, noted: NotedGaps) {
        for gap in noted.gaps {
            let Some(at) = index(gap.conversation_id) else { continue };
            let by = noted.checkpoint + 1;
            self.open(at, clip(gap.from_seq), clip(gap.to_seq), Timestamp::default(), by);
        }
        self.firsts.extend(noted.firsts);
        self.late.extend(noted.late);
    }

    /// When the latest message of a conversation came; `None` where there was none, and where it is
    /// no more.
    #[must_use]
    pub fn seen_at(&self, conversation: ConversationId) -> Option<Timestamp> {
        let reach = self.conversations.get(index(conversation)?)?;
        let alive = reach.seen_at > 0 && reach.life != Life::Ended;
        alive.then(|| Timestamp(i64::from(reach.seen_at) * 1000))
    }

    /// Whether Chat keeps a history of a conversation.
    #[must_use]
    pub fn has_history(&self, conversation: ConversationId) -> bool {
        let reach = index(conversation).and_then(|at| self.conversations.get(at));
        reach.is_some_and(|reach| reach.has_history)
    }

    /// Holes that have not lasted yet.
    #[must_use]
    pub fn fresh_holes(&self) -> usize {
        self.hole_count
    }

    fn reach(&mut self, at: usize) -> &mut Reach {
        if at >= self.conversations.len() {
            self.conversations.resize(at + 1, Reach::default());
        }
        &mut self.conversations[at]
    }

    fn open(&mut self, at: usize, from: u32, to: u32, since: Timestamp, by: i64) {
        self.holes.entry(number(at)).or_default().push(Hole { from, to, since, by });
        self.hole_count += 1;
    }

    /// Takes a stretch out of the fresh holes. Answers whether anything of it was missing.
    fn fill(&mut self, at: usize, from: u32, to: u32) -> bool {
        let Some(holes) = self.holes.get_mut(&number(at)) else { return false };
        let before = holes.len();
        let mut filled = false;
        let mut left = Vec::with_capacity(before);
        for hole in holes.drain(..) {
            if hole.to < from || hole.from > to {
                left.push(hole);
                continue;
            }
            filled = true;
            if hole.from < from {
                left.push(Hole { to: from - 1, ..hole });
            }
            if hole.to > to {
                left.push(Hole { from: to + 1, ..hole });
            }
        }
        self.hole_count = self.hole_count + left.len() - before;
        if left.is_empty() {
            self.holes.remove(&number(at));
        } else {
            *holes = left;
        }
        filled
    }
}

impl Reach {
    fn become_unless_ended(&mut self, life: Life) {
        if self.life != Life::Ended {
            self.life = life;
        }
    }
}

fn index(conversation: ConversationId) -> Option<usize> {
    u32::try_from(conversation).ok().map(|number| number as usize)
}

/// The number of a conversation, by its place: places come from numbers of 32 bits.
fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn clip(seq: MsgSeq) -> u32 {
    u32::try_from(seq).unwrap_or(u32::MAX)
}

fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.secs()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const GRACE: Duration = Duration::from_secs(2);
    const START: Timestamp = Timestamp(1_764_000_000_000);

    fn seen(conversation_id: ConversationId, msg_seq: MsgSeq, message_id: i64) -> Seen {
        Seen {
            conversation_id,
            msg_seq,
            message_id,
            received_at: START,
            source: Source::Callback,
            has_history: true,
        }
    }

    fn runs(noted: &NotedGaps) -> Vec<(MsgSeq, MsgSeq)> {
        noted.gaps.iter().map(|gap| (gap.from_seq, gap.to_seq)).collect()
    }

    #[test]
    fn a_hole_counts_once_it_has_lasted() {
        let mut ledger = Ledger::default();
        for (id, seq) in [(1, 1), (2, 2), (3, 6), (4, 4)] {
            ledger.observe(&seen(1, seq, id));
        }
        let early = ledger.due(START.after(Duration::from_secs(1)), GRACE);
        assert_eq!((runs(&early), early.checkpoint), (vec![], 2));
        let due = ledger.due(START.after(GRACE), GRACE);
        assert_eq!((runs(&due), due.checkpoint), (vec![(3, 3), (5, 5)], 4));
        ledger.observe(&seen(1, 5, 5));
        assert_eq!(ledger.due(START.after(GRACE), GRACE).late, [(1, 5)]);
    }

    #[test]
    fn what_history_shows_does_not_have_to_last() {
        let mut ledger = Ledger::default();
        ledger.observe(&seen(1, 10, 1));
        assert_eq!(ledger.due(START, GRACE).firsts, [(1, 10)]);
        ledger.cover(1, 31, 50);
        assert_eq!(runs(&ledger.due(START, GRACE)), [(11, 30)]);
        ledger.observe(&seen(1, 51, 2));
        assert_eq!(ledger.fresh_holes(), 0);
    }

    #[test]
    fn the_end_of_a_conversation_leaves_no_hole_unnoted() {
        let mut ledger = Ledger::default();
        ledger.observe(&seen(1, 1, 1));
        ledger.observe(&seen(1, 5, 2));
        ledger.end(1);
        assert_eq!((ledger.seen_at(1), ledger.conversations().count()), (None, 0));
        ledger.observe(&seen(1, 7, 3));
        let due = ledger.due(START, GRACE);
        assert_eq!((runs(&due), due.gaps[0].repairable), (vec![(2, 4)], false));
        let later = ledger.due(START.after(GRACE), GRACE);
        assert_eq!((runs(&later), later.firsts.len()), (vec![(6, 6)], 0));
        // One that ended before anything of it was seen here.
        ledger.end(2);
        ledger.observe(&seen(2, 9, 4));
        assert!(ledger.due(START, GRACE).firsts.is_empty());
        assert!(!ledger.woken().contains(&2));
    }

    #[test]
    fn a_clock_set_back_holds_nothing_up() {
        let mut ledger = Ledger::default();
        ledger.observe(&seen(1, 1, 1));
        ledger.observe(&seen(1, 5, 2));
        let an_hour_earlier = START.before(Duration::from_hours(1));
        assert_eq!(runs(&ledger.due(an_hour_earlier, GRACE)), [(2, 4)]);
    }

    #[test]
    fn chat_knows_better_what_its_newest_sequence_is() {
        let mut ledger = Ledger::default();
        ledger.observe(&seen(1, 10, 1));
        ledger.observe(&seen(1, 4_000_000_000, 2));
        let _ = ledger.due(START.after(GRACE), GRACE);
        ledger.newest(1, 10);
        ledger.observe(&seen(1, 13, 3));
        assert_eq!(runs(&ledger.due(START.after(GRACE), GRACE)), [(11, 12)]);
        // A little ahead is what was said meanwhile.
        ledger.newest(1, 9);
        ledger.observe(&seen(1, 14, 4));
        assert_eq!(ledger.fresh_holes(), 0);
    }

    #[test]
    fn what_could_not_be_noted_comes_again() {
        let mut ledger = Ledger::default();
        ledger.observe(&seen(1, 1, 1));
        ledger.observe(&seen(1, 5, 2));
        let noted = ledger.due(START.after(GRACE), GRACE);
        ledger.put_back(noted.clone());
        ledger.observe(&seen(1, 3, 3));
        let again = ledger.due(START.after(GRACE), GRACE);
        assert_eq!(runs(&again), [(2, 2), (4, 4)]);
    }

    #[test]
    fn a_sequence_out_of_this_world_costs_no_memory() {
        let mut ledger = Ledger::default();
        ledger.observe(&seen(1, 1, 1));
        ledger.observe(&seen(1, u64::from(u32::MAX), 2));
        ledger.observe(&seen(1, u64::MAX, 3));
        let due = ledger.due(START.after(GRACE), GRACE);
        assert_eq!(runs(&due), [(2, u64::from(u32::MAX) - 1)]);
    }

    #[test]
    fn a_quiet_conversation_is_small() {
        assert!(size_of::<Reach>() <= 12);
    }

    proptest! {
        /// Whatever comes in whatever order, with restarts in between, in the end exactly what is
        /// missing has been noted.
        #[test]
        fn exactly_what_is_missing_is_noted(
            order in Just((1..=60_u64).collect::<Vec<_>>()).prop_shuffle(),
            missing in proptest::collection::btree_set(2..=60_u64, 0..30),
            restarts in proptest::collection::btree_set(0..60_usize, 0..5),
        ) {
            let arriving: Vec<MsgSeq> =
                order.into_iter().filter(|seq| !missing.contains(seq)).collect();
            let mut ledger = Ledger::default();
            // The store: messages by id, open gaps, and the checkpoint.
            let mut messages: BTreeMap<i64, MsgSeq> = BTreeMap::new();
            let mut open: BTreeSet<MsgSeq> = BTreeSet::new();
            let mut firsts: BTreeSet<MsgSeq> = BTreeSet::new();
            let mut checkpoint = 0;
            for (at, seq) in arriving.iter().enumerate() {
                let id = i64::try_from(at).unwrap() + 1;
                messages.insert(id, *seq);
                ledger.observe(&seen(1, *seq, id));
                if at % 3 == 0 {
                    let grace = if at % 2 == 0 { GRACE } else { Duration::ZERO };
                    let noted = ledger.due(START, grace);
                    note(&noted, &mut open, &mut firsts);
                    checkpoint = noted.checkpoint;
                }
                if restarts.contains(&at) {
                    ledger = Ledger::default();
                    let high = messages.range(..=checkpoint).map(|(_, seq)| *seq).max();
                    ledger.load(&Reached {
                        conversation_id: 1,
                        high: high.unwrap_or(0),
                        received_at: START,
                        has_history: true,
                        has_ended: false,
                        has_gaps: !open.is_empty(),
                        noted: Vec::new(),
                    });
                    ledger.starts_after(checkpoint);
                    for (id, seq) in messages.range(checkpoint + 1..) {
                        ledger.observe(&seen(1, *seq, *id));
                    }
                }
            }
            note(&ledger.due(START.after(GRACE), GRACE), &mut open, &mut firsts);
            let low = firsts.iter().copied().min().unwrap_or(1);
            let high = arriving.iter().copied().max().unwrap_or(0);
            let expected: BTreeSet<MsgSeq> =
                (low..=high).filter(|seq| missing.contains(seq)).collect();
            let noted: BTreeSet<MsgSeq> = open.range(low..).copied().collect();
            prop_assert_eq!(noted, expected);
        }
    }

    fn note(noted: &NotedGaps, open: &mut BTreeSet<MsgSeq>, firsts: &mut BTreeSet<MsgSeq>) {
        open.extend(noted.gaps.iter().flat_map(|gap| gap.from_seq..=gap.to_seq));
        firsts.extend(noted.firsts.iter().map(|(_, seq)| *seq));
        for (_, seq) in &noted.late {
            open.remove(seq);
        }
    }
}
