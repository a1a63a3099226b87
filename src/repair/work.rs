//! What to pull next.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::probes::Probe;
use super::reread::Rereading;
use super::{Scope, Shared, lock};
use crate::chat::client::MAX_HISTORY;
use crate::model::MsgSeq;
use crate::store::{Backfill, ConversationId, Error, OpenGap};

/// Open gaps read at once.
const GAPS: usize = 256;
/// Pages of one gap that wait at once; the rest of it comes up again.
const PAGES_A_GAP: u64 = 64;
/// The store is asked no more often than this.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Backfills that are read at once, a page each in turn.
const BACKFILLS: usize = 8;

/// A page of history.
const PAGE: MsgSeq = MAX_HISTORY as MsgSeq;

/// One call's worth of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Gap(Stretch),
    Probe(Probe),
    Backfill(Backfill),
    Reread(Stretch),
}

/// Sequences of a conversation, at most a page of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stretch {
    pub conversation: ConversationId,
    pub from: MsgSeq,
    pub to: MsgSeq,
    /// Down to there, nothing of it is known either: a page may tell of all that.
    pub missing_from: MsgSeq,
    /// Attempts that failed.
    pub attempts: u32,
}

/// What is being pulled: nothing is pulled twice at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Busy {
    Gap(ConversationId, MsgSeq),
    Backfill(i64),
}

impl Work {
    pub(super) fn busy(&self) -> Option<Busy> {
        match self {
            Self::Gap(stretch) => Some(Busy::Gap(stretch.conversation, stretch.to)),
            Self::Backfill(backfill) => Some(Busy::Backfill(backfill.backfill_id)),
            Self::Probe(_) | Self::Reread(_) => None,
        }
    }
}

/// Picks what to pull next.
pub(super) struct Picker {
    gaps: VecDeque<Stretch>,
    backfills: VecDeque<Backfill>,
    rereading: Rereading,
    looked_at: Option<Instant>,
}

impl Picker {
    pub(super) fn new() -> Self {
        Self {
            gaps: VecDeque::new(),
            backfills: VecDeque::new(),
            rereading: Rereading::default(),
            looked_at: None,
        }
    }

    /// The next piece of work: gaps are known to be missing, so they come first.
    pub(super) async fn next(
        &mut self,
        shared: &Shared,
        busy: &HashSet<Busy>,
    ) -> Result<Option<Work>, Error> {
        let everything = shared.options.scope == Scope::Everything;
        if self.gaps.is_empty() && self.may_look() {
            self.looked_at = Some(Instant::now());
            let now = shared.clock.now();
            if everything {
                self.gaps = pages(shared.store.open_gaps(now, GAPS).await?);
            }
            self.gaps.retain(|page| !busy.contains(&Busy::Gap(page.conversation, page.to)));
            self.backfills = shared.store.running_backfills(now, BACKFILLS).await?.into();
            let reading =
                |backfill: &Backfill| busy.contains(&Busy::Backfill(backfill.backfill_id));
            self.backfills.retain(|backfill| !reading(backfill));
        }
        if let Some(page) = self.gaps.pop_front() {
            return Ok(Some(Work::Gap(page)));
        }
        if let Some(probe) = next_probe(shared) {
            return Ok(Some(Work::Probe(probe)));
        }
        if let Some(backfill) = self.backfills.pop_front() {
            return Ok(Some(Work::Backfill(backfill)));
        }
        if !everything {
            return Ok(None);
        }
        Ok(self.rereading.next(shared).await?.map(Work::Reread))
    }

    /// How long there is surely nothing new.
    pub(super) fn rest(&self) -> Duration {
        let since = self.looked_at.map_or(LOOK_AGAIN, |at| at.elapsed());
        LOOK_AGAIN.saturating_sub(since).max(Duration::from_millis(1))
    }

    fn may_look(&self) -> bool {
        self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_AGAIN)
    }
}

fn next_probe(shared: &Shared) -> Option<Probe> {
    let ledger = lock(&shared.ledger);
    lock(&shared.probes).next(shared.clock.now(), |conversation| ledger.seen_at(conversation))
}

/// Cuts gaps into pages, from the top down: small gaps close to each other share one.
fn pages(gaps: Vec<OpenGap>) -> VecDeque<Stretch> {
    let mut order = Vec::new();
    let mut by_conversation: HashMap<ConversationId, Vec<OpenGap>> = HashMap::new();
    for gap in gaps {
        let of_this = by_conversation.entry(gap.conversation_id).or_default();
        if of_this.is_empty() {
            order.push(gap.conversation_id);
        }
        of_this.push(gap);
    }
    let mut pages = VecDeque::new();
    for conversation in order {
        let mut gaps = by_conversation.remove(&conversation).unwrap_or_default();
        gaps.sort_by_key(|gap| std::cmp::Reverse(gap.to_seq));
        let mut page: Option<Stretch> = None;
        for gap in gaps {
            let mut to = gap.to_seq;
            if let Some(open) = &mut page
                && open.to - gap.from_seq < PAGE
            {
                open.from = open.from.min(gap.from_seq);
                open.missing_from = open.from;
                open.attempts = open.attempts.max(gap.attempts);
                continue;
            } else if let Some(open) = &mut page
                && open.to - to < PAGE
            {
                // Its upper part still fits.
                open.from = open.to + 1 - PAGE;
                open.missing_from = gap.from_seq;
                to = open.from - 1;
            }
            pages.extend(page.take());
            for _ in 0..PAGES_A_GAP {
                pages.extend(page.take());
                let from = gap.from_seq.max((to + 1).saturating_sub(PAGE));
                let missing_from = gap.from_seq;
                page =
                    Some(Stretch { conversation, from, to, missing_from, attempts: gap.attempts });
                if from == gap.from_seq {
                    break;
                }
                to = from - 1;
            }
        }
        pages.extend(page);
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn gap(conversation_id: ConversationId, from_seq: MsgSeq, to_seq: MsgSeq) -> OpenGap {
        OpenGap { conversation_id, from_seq, to_seq, found_at: Timestamp(0), attempts: 0 }
    }

    fn cut(gaps: Vec<OpenGap>) -> Vec<(ConversationId, MsgSeq, MsgSeq)> {
        pages(gaps).into_iter().map(|page| (page.conversation, page.from, page.to)).collect()
    }

    #[test]
    fn a_long_gap_is_cut_from_the_top() {
        assert_eq!(cut(vec![gap(1, 5, 50)]), [(1, 31, 50), (1, 11, 30), (1, 5, 10)]);
        let huge = cut(vec![gap(1, 1, 4_000_000_000)]);
        assert_eq!(huge.len(), 64);
        assert_eq!(huge[0], (1, 3_999_999_981, 4_000_000_000));
    }

    #[test]
    fn gaps_close_to_each_other_share_a_page() {
        let gaps = vec![gap(1, 40, 40), gap(2, 7, 7), gap(1, 30, 31), gap(1, 10, 22), gap(1, 3, 3)];
        assert_eq!(cut(gaps), [(1, 21, 40), (1, 3, 20), (2, 7, 7)]);
    }

    #[test]
    fn a_page_may_tell_of_the_gap_that_it_is_cut_from_and_of_nothing_below() {
        let below = |gaps| pages(gaps).iter().map(|page| page.missing_from).collect::<Vec<_>>();
        assert_eq!(below(vec![gap(1, 5, 50)]), [5, 5, 5]);
        assert_eq!(below(vec![gap(1, 40, 40), gap(1, 30, 31), gap(1, 10, 22)]), [10, 10]);
        assert_eq!(below(vec![gap(1, 40, 40), gap(1, 30, 31)]), [30]);
    }

    #[test]
    fn every_missing_sequence_is_in_a_page_and_no_page_is_too_long() {
        let gaps = vec![gap(1, 90, 95), gap(1, 70, 74), gap(1, 20, 60), gap(1, 1, 2)];
        let pages = cut(gaps.clone());
        for gap in &gaps {
            for seq in gap.from_seq..=gap.to_seq {
                let holds = |page: &&(i64, u64, u64)| (page.1..=page.2).contains(&seq);
                assert_eq!(pages.iter().filter(holds).count(), 1, "{seq} in {pages:?}");
            }
        }
        assert!(pages.iter().all(|(_, from, to)| to - from < PAGE));
    }
}
