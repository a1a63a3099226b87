//! What a page of history says about the sequences that it was asked for.
//!
//! Pure: what is known goes in, what to do about it comes out.

use crate::chat::client::{Entry, EntryKind, Finished, Page};
use crate::model::{Message, MsgSeq, Timestamp};
use crate::store::{Finding, Known};

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The largest sequence; `None` for the newest that there is.
    pub to: Option<MsgSeq>,
    /// The smallest sequence of interest; `None` where the page may end where it likes.
    pub from: Option<MsgSeq>,
    /// Entries.
    pub number: u32,
    /// Messages sent earlier are of no interest, nor is anything below them.
    pub not_before: Timestamp,
}

/// A page, cut to what is of interest.
#[derive(Debug)]
pub struct Stretch {
    /// Everything in here is told by the page.
    pub from: MsgSeq,
    pub to: MsgSeq,
    /// Smallest sequence first.
    entries: Vec<Entry>,
    /// What sequences are that the page leaves out.
    unlisted: Finding,
    /// Whether there is more of interest below.
    pub more: bool,
    /// Whether it holds nothing but what has expired or was never stored.
    pub barren: bool,
}

/// What follows from a page.
#[derive(Debug, Default)]
pub struct Account {
    /// Messages that no callback brought, smallest sequence first.
    pub messages: Vec<Message>,
    /// What the sequences without a callback are, smallest first.
    pub runs: Vec<(MsgSeq, MsgSeq, Finding)>,
    /// Messages that are taken back, though nothing has confirmed that yet.
    pub recalled: Vec<MsgSeq>,
}

impl Stretch {
    /// `None` where the page tells nothing.
    #[must_use]
    pub fn of(page: Page, asked: Asked) -> Option<Self> {
        let (finished, unreadable) = (page.finished, page.unreadable);
        let mut entries = page.entries;
        entries.retain(|entry| asked.to.is_none_or(|to| entry.msg_seq <= to));
        entries.sort_by_key(|entry| entry.msg_seq);
        entries.dedup_by_key(|entry| entry.msg_seq);
        let to = asked.to.or_else(|| entries.last().map(|entry| entry.msg_seq))?;
        let smallest = entries.first().map(|entry| entry.msg_seq);
        let lowest = asked.from.unwrap_or(1).max(1);
        let told = match finished {
            // That everything asked for is there says nothing of what lies below.
            Finished::All => {
                let last = (to + 1).saturating_sub(asked.number.into());
                smallest.map_or(last, |smallest| smallest.min(last))
            }
            Finished::More => smallest?,
            // What is older has expired as well.
            Finished::MoreExpired => lowest,
        };
        // Sequences above the newest entry are not in history, however many were asked for.
        let mut from = told.max(lowest);
        let mut more = from > lowest && smallest.is_some();
        let barren = entries.iter().all(|entry| entry.kind == EntryKind::Hole);
        let too_old = entries.iter().rev().find(|entry| is_before(entry, asked.not_before));
        if let Some(too_old) = too_old {
            from = from.max(too_old.msg_seq + 1);
            more = false;
        }
        entries.retain(|entry| entry.msg_seq >= from);
        let unlisted = match finished {
            // One of them may be what could not be read.
            _ if unreadable > 0 => Finding::Unreadable,
            Finished::MoreExpired => Finding::Expired,
            Finished::All | Finished::More => Finding::Absent,
        };
        (from <= to).then_some(Self { from, to, entries, unlisted, more, barren })
    }

    /// What follows from it, given what is known.
    #[must_use]
    pub fn account(self, known: &Known) -> Account {
        let mut account = Account::default();
        let mut next = self.from;
        for entry in self.entries {
            account.leave_out(next, entry.msg_seq, self.unlisted, known);
            next = entry.msg_seq + 1;
            account.entry(entry, known);
        }
        account.leave_out(next, self.to + 1, self.unlisted, known);
        account
    }
}

fn is_before(entry: &Entry, not_before: Timestamp) -> bool {
    // History tells whole seconds.
    matches!(&entry.kind, EntryKind::Message(message) if message.sent_at.secs() < not_before.secs())
}

impl Account {
    fn entry(&mut self, entry: Entry, known: &Known) {
        let seq = entry.msg_seq;
        if entry.kind == EntryKind::Recalled && known.unconfirmed.binary_search(&seq).is_ok() {
            self.recalled.push(seq);
        }
        if known.covers(seq) {
            return;
        }
        let finding = match entry.kind {
            EntryKind::Message(message) => {
                self.messages.push(*message);
                Finding::Message
            }
            EntryKind::Hole => Finding::Expired,
            EntryKind::Recalled => Finding::Recalled,
            EntryKind::System => Finding::System,
        };
        self.add(seq, seq, finding);
    }

    /// Sequences from `from` up to and without `end` that the page does not list.
    fn leave_out(&mut self, from: MsgSeq, end: MsgSeq, finding: Finding, known: &Known) {
        let mut next = from;
        let mut covered: Vec<(MsgSeq, MsgSeq)> = known
            .messages
            .iter()
            .map(|seq| (*seq, *seq))
            .chain(known.explained.iter().copied())
            .filter(|(low, high)| *high >= from && *low < end)
            .collect();
        covered.sort_unstable();
        for (low, high) in covered {
            if low > next {
                self.add(next, low - 1, finding);
            }
            next = next.max(high + 1);
        }
        if next < end {
            self.add(next, end - 1, finding);
        }
    }

    fn add(&mut self, from: MsgSeq, to: MsgSeq, finding: Finding) {
        if let Some((_, last, same)) = self.runs.last_mut()
            && *last + 1 == from
            && *same == finding
        {
            *last = to;
        } else {
            self.runs.push((from, to, finding));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::wire;

    fn message(seq: MsgSeq, secs: i64) -> Entry {
        let body = format!(
            r#"{{"CallbackCommand":"Group.CallbackAfterSendMsg","GroupId":"g","MsgSeq":{seq},
            "MsgTime":{secs},"MsgBody":[]}}"#
        );
        let message = wire::parse_message(body.as_bytes(), "", Timestamp(0)).unwrap();
        Entry { msg_seq: seq, kind: EntryKind::Message(Box::new(message)) }
    }

    fn other(seq: MsgSeq, kind: EntryKind) -> Entry {
        Entry { msg_seq: seq, kind }
    }

    fn page(entries: Vec<Entry>, finished: Finished) -> Page {
        Page { entries, finished, unreadable: 0 }
    }

    fn asked(from: MsgSeq, to: MsgSeq) -> Asked {
        Asked { to: Some(to), from: Some(from), number: 20, not_before: Timestamp(0) }
    }

    #[test]
    fn each_missing_sequence_is_explained_once() {
        let entries = vec![
            message(30, 9),
            other(29, EntryKind::System),
            other(28, EntryKind::Recalled),
            other(27, EntryKind::Recalled),
            other(26, EntryKind::Hole),
            message(25, 9),
            message(24, 9),
        ];
        let stretch = Stretch::of(page(entries, Finished::More), asked(21, 30)).unwrap();
        assert_eq!((stretch.from, stretch.to, stretch.more), (24, 30, true));
        let known =
            Known { messages: vec![25, 28], explained: vec![(26, 26)], unconfirmed: vec![28] };
        let account = stretch.account(&known);
        let seqs: Vec<_> = account.messages.iter().map(|message| message.key.msg_seq).collect();
        assert_eq!(seqs, [24, 30]);
        assert_eq!(account.recalled, [28]);
        assert_eq!(
            account.runs,
            [
                (24, 24, Finding::Message),
                (27, 27, Finding::Recalled),
                (29, 29, Finding::System),
                (30, 30, Finding::Message),
            ]
        );
    }

    #[test]
    fn what_chat_does_not_list_is_not_waited_for() {
        let stretch = Stretch::of(page(vec![message(3, 9)], Finished::All), asked(2, 9_000_000));
        let account = stretch.unwrap().account(&Known { messages: vec![7], ..Known::default() });
        assert_eq!(
            account.runs,
            [(3, 3, Finding::Message), (4, 6, Finding::Absent), (8, 9_000_000, Finding::Absent),]
        );
        let below = Stretch::of(page(vec![message(3, 9)], Finished::More), asked(9, 9_000_000));
        let account = below.unwrap().account(&Known::default());
        assert_eq!(account.runs, [(9, 9_000_000, Finding::Absent)]);
        let odd = Page { unreadable: 1, ..page(vec![message(3, 9)], Finished::All) };
        let odd = Stretch::of(odd, asked(3, 4)).unwrap().account(&Known::default());
        assert_eq!(odd.runs, [(3, 3, Finding::Message), (4, 4, Finding::Unreadable)]);
        let expired = Stretch::of(page(vec![], Finished::MoreExpired), asked(5, 6)).unwrap();
        assert_eq!(expired.account(&Known::default()).runs, [(5, 6, Finding::Expired)]);
        assert!(Stretch::of(page(vec![], Finished::More), asked(5, 6)).is_none());
    }

    #[test]
    fn a_full_page_says_nothing_of_what_lies_below() {
        // Chat says that everything asked for is there, or that there is more: both mean this.
        for finished in [Finished::All, Finished::More] {
            let entries = (41..=60).rev().map(|seq| message(seq, 9)).collect();
            let stretch = Stretch::of(page(entries, finished), asked(1, 60)).unwrap();
            assert_eq!((stretch.from, stretch.to, stretch.more), (41, 60, true), "{finished:?}");
        }
        let few = page(vec![message(60, 9), other(55, EntryKind::Hole)], Finished::All);
        let stretch = Stretch::of(few, asked(1, 60)).unwrap();
        assert_eq!((stretch.from, stretch.more, stretch.barren), (41, true, false));
        let cut_short = page(vec![message(60, 9), message(55, 9)], Finished::More);
        assert_eq!(Stretch::of(cut_short, asked(1, 60)).unwrap().from, 55);
        let last = page(vec![message(2, 9), message(1, 9)], Finished::All);
        assert!(!Stretch::of(last, asked(1, 2)).unwrap().more);
        let none = Stretch::of(page(vec![], Finished::All), asked(1, 60)).unwrap();
        assert_eq!((none.from, none.more), (41, false));
        let holes = page(vec![other(60, EntryKind::Hole)], Finished::All);
        assert!(Stretch::of(holes, asked(1, 60)).unwrap().barren);
    }

    #[test]
    fn what_was_sent_earlier_is_left_alone() {
        let entries = vec![
            message(30, 50),
            other(29, EntryKind::System),
            message(28, 40),
            other(27, EntryKind::System),
            message(26, 50),
        ];
        let newest = Asked { to: None, from: None, number: 20, not_before: Timestamp(45_900) };
        let stretch = Stretch::of(page(entries, Finished::More), newest).unwrap();
        assert_eq!((stretch.from, stretch.to, stretch.more), (29, 30, false));
    }
}
