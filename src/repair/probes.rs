//! When to ask a quiet conversation for messages that nobody told of.
//!
//! A hole shows only when something comes after it, so a lost last message leaves none. Each
//! conversation is asked some time after its latest message, then ever more rarely; a new message
//! starts that over. Nothing is moved while messages come: what is due looks up whether something
//! was said since.
//!
//! Pure: no clock, no I/O. Sixteen bytes a conversation.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::model::Timestamp;
use crate::store::ConversationId;

/// Each probe of a quiet conversation comes so many times later than the one before.
const RARER: u32 = 6;

/// Conversations and when each is to be asked next.
#[derive(Debug)]
pub struct Probes {
    /// After the latest message.
    first: Duration,
    /// Quiet for longer, a conversation is not asked any more.
    longest: Duration,
    due: BinaryHeap<Reverse<Due>>,
}

/// Times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: u32,
    conversation: u32,
    /// The latest message when this was set.
    said_at: u32,
    step: u8,
}

/// A conversation that is to be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    pub conversation: ConversationId,
    said_at: u32,
    step: u8,
}

impl Probes {
    /// The first so long after a message; none for conversations quiet for longer than `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, due: BinaryHeap::new() }
    }

    /// Follows a conversation whose latest message came then. To be called once until
    /// [`Probes::done`] says that it is not followed any more.
    pub fn follow(&mut self, conversation: ConversationId, said_at: Timestamp) {
        let said_at = seconds(said_at);
        self.push(conversation, said_at.saturating_add(whole(self.first)), said_at, 0);
    }

    /// Follows a conversation that is to be asked at once: something may have been said while
    /// nobody listened.
    pub fn ask_at_once(&mut self, conversation: ConversationId, said_at: Timestamp) {
        self.push(conversation, 0, seconds(said_at), 0);
    }

    /// The next conversation to be asked, if one is due.
    pub fn next(
        &mut self,
        now: Timestamp,
        said_at: impl Fn(ConversationId) -> Option<Timestamp>,
    ) -> Option<Probe> {
        let now = seconds(now);
        while let Some(&Reverse(due)) = self.due.peek()
            && due.at <= now
        {
            self.due.pop();
            let conversation = due.conversation.into();
            // Gone, and with it all that could be asked.
            let Some(latest) = said_at(conversation).map(seconds) else { continue };
            if latest > due.said_at && due.at > 0 {
                self.follow(conversation, Timestamp(i64::from(latest) * 1000));
            } else {
                return Some(Probe { conversation, said_at: latest, step: due.step });
            }
        }
        None
    }

    /// When the next one is due.
    #[must_use]
    pub fn next_at(&self) -> Option<Timestamp> {
        self.due.peek().map(|Reverse(due)| Timestamp(i64::from(due.at) * 1000))
    }

    /// A conversation was asked. Answers whether it is still followed.
    pub fn done(&mut self, probe: Probe, now: Timestamp) -> bool {
        let mut step = probe.step;
        loop {
            step = step.saturating_add(1);
            let wait = self.first.saturating_mul(RARER.saturating_pow(step.into()));
            if wait > self.longest {
                return false;
            }
            let at = probe.said_at.saturating_add(whole(wait));
            // Where it has been quiet for long, it would have been asked by then: this was it.
            if at > seconds(now) {
                self.push(probe.conversation, at, probe.said_at, step);
                return true;
            }
        }
    }

    /// A conversation could not be asked: again then.
    pub fn again(&mut self, probe: Probe, at: Timestamp) {
        self.push(probe.conversation, seconds(at).max(1), probe.said_at, probe.step);
    }

    fn push(&mut self, conversation: ConversationId, at: u32, said_at: u32, step: u8) {
        if let Ok(conversation) = u32::try_from(conversation) {
            self.due.push(Reverse(Due { at, conversation, said_at, step }));
        }
    }
}

fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.secs()).unwrap_or(0)
}

fn whole(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(20);
    const LONGEST: Duration = Duration::from_hours(24);

    fn at(seconds: i64) -> Timestamp {
        Timestamp((1_764_000_000 + seconds) * 1000)
    }

    #[test]
    fn a_quiet_conversation_is_asked_ever_more_rarely_and_then_left_alone() {
        let mut probes = Probes::new(FIRST, LONGEST);
        probes.follow(7, at(0));
        let mut asked = Vec::new();
        let mut now = 0;
        loop {
            while let Some(probe) = probes.next(at(now), |_| Some(at(0))) {
                asked.push(now);
                if !probes.done(probe, at(now)) {
                    assert_eq!(asked, [20, 120, 720, 4320, 25_920]);
                    assert_eq!(probes.next_at(), None);
                    return;
                }
            }
            now += 10;
        }
    }

    #[test]
    fn a_busy_conversation_is_not_asked() {
        let mut probes = Probes::new(FIRST, LONGEST);
        probes.follow(7, at(0));
        for now in (0..600).step_by(5) {
            assert_eq!(probes.next(at(now), |_| Some(at(now - 3))), None);
        }
        assert!(probes.next(at(614), |_| Some(at(595))).is_none());
        assert!(probes.next(at(615), |_| Some(at(595))).is_some());
    }

    #[test]
    fn after_a_start_everybody_is_asked_whatever_was_said_since() {
        let mut probes = Probes::new(FIRST, LONGEST);
        probes.ask_at_once(7, at(-3000));
        let probe = probes.next(at(0), |_| Some(at(0))).unwrap();
        probes.again(probe, at(9));
        assert_eq!(probes.next(at(8), |_| Some(at(0))), None);
        assert_eq!(probes.next(at(9), |_| Some(at(0))).map(|probe| probe.conversation), Some(7));
    }

    #[test]
    fn after_a_start_a_quiet_conversation_is_asked_once() {
        let mut probes = Probes::new(FIRST, LONGEST);
        probes.ask_at_once(7, at(-10 * 3600));
        let probe = probes.next(at(0), |_| Some(at(-10 * 3600))).unwrap();
        assert!(!probes.done(probe, at(0)));
        probes.ask_at_once(8, at(-300));
        let probe = probes.next(at(0), |_| Some(at(-300))).unwrap();
        assert!(probes.done(probe, at(0)));
        assert_eq!(probes.next_at(), Some(at(420)));
    }

    #[test]
    fn a_conversation_that_is_gone_is_dropped() {
        let mut probes = Probes::new(FIRST, LONGEST);
        probes.follow(7, at(0));
        assert_eq!(probes.next(at(100), |_| None), None);
        assert_eq!(probes.next_at(), None);
        assert!(size_of::<Due>() <= 16);
    }
}
