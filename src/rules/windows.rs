//! What senders did lately: the memory of `flood`, `repeat` and `newcomer`.
//!
//! A message is observed before it is judged; what was counted goes with the message as its
//! [`Signals`], so judging itself remembers nothing. The memory is bounded whatever the traffic: a
//! fixed number of keys, each with a fixed number of entries, the oldest forgotten first. It is lost
//! when the process ends and can be refilled from stored messages.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::engine::CompiledRules;
use super::simhash::{self, bands, simhash};
use crate::model::{Message, Signals, Source, Timestamp};
use crate::text::{Squeezed, Symbols};

/// Which messages are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reach {
    Group,
    Everywhere,
}

/// Whose messages are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum By {
    Sender,
    Anyone,
}

/// Something to count.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Measure {
    Flood { reach: Reach, within: Duration },
    Repeat { by: By, reach: Reach, near: bool, min_length: u64, within: Duration },
    Newcomer { reach: Reach },
}

impl Measure {
    /// The name under which the count is recorded.
    pub(crate) fn name(&self) -> String {
        let place = |reach: &Reach| match reach {
            Reach::Group => "group",
            Reach::Everywhere => "everywhere",
        };
        match self {
            Self::Flood { reach, within } => {
                format!("flood/{}/{}s", place(reach), within.as_secs())
            }
            Self::Repeat { by, reach, near, min_length, within } => {
                let by = if *by == By::Sender { "sender" } else { "anyone" };
                let near = if *near { "near" } else { "same" };
                format!("repeat/{by}/{}/{near}/{min_length}/{}s", place(reach), within.as_secs())
            }
            Self::Newcomer { reach } => format!("newcomer/{}", place(reach)),
        }
    }
}

/// The most keys remembered; a key is a sender, a text, or a part of a text's digest.
const MAX_KEYS: usize = 200_000;
/// The most messages remembered for one key. Counts do not go above.
const MAX_ENTRIES: usize = 128;
/// The most messages whose signals are kept, so that a repeated callback gets the same.
const MAX_RECENT: usize = 20_000;
/// How far the clock of a message may be off the time at which it was received.
const MAX_SKEW: Duration = Duration::from_mins(5);

/// What senders did lately. One for the whole daemon, shared by its threads.
#[derive(Debug, Default)]
pub struct Windows {
    memory: Mutex<Memory>,
}

impl Windows {
    /// Notes a message and answers what the rules' stateful matchers have to know about it. To be
    /// called once for each message before it is judged; a repeated message gets the same answer and
    /// is not counted twice.
    #[must_use]
    pub fn observe(&self, rules: &CompiledRules, message: &Message) -> Signals {
        let measures = &rules.compiled.measures;
        if measures.is_empty() {
            return Signals::default();
        }
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.observe(measures, message)
    }

    /// Notes stored messages after a start, oldest first.
    pub fn refill<'a>(
        &self,
        rules: &CompiledRules,
        messages: impl IntoIterator<Item = &'a Message>,
    ) {
        for message in messages {
            let _ = self.observe(rules, message);
        }
    }

    /// Whether any matcher counts all that a sender ever wrote, so that a refill can never bring
    /// enough.
    #[must_use]
    pub fn looks_back_for_ever(rules: &CompiledRules) -> bool {
        rules.compiled.measures.iter().any(|measure| matches!(measure, Measure::Newcomer { .. }))
    }

    /// Whether any matcher counts over all groups, so that one group's messages do not tell.
    #[must_use]
    pub fn reaches_everywhere(rules: &CompiledRules) -> bool {
        rules.compiled.measures.iter().any(|measure| match measure {
            Measure::Flood { reach, .. }
            | Measure::Repeat { reach, .. }
            | Measure::Newcomer { reach } => *reach == Reach::Everywhere,
        })
    }

    /// Whether there is anything to count at all.
    #[must_use]
    pub fn count_anything(rules: &CompiledRules) -> bool {
        !rules.compiled.measures.is_empty()
    }

    /// The longest span that any matcher looks back: what a refill has to bring.
    #[must_use]
    pub fn longest_span(rules: &CompiledRules) -> Duration {
        let spans = rules.compiled.measures.iter().map(|measure| match measure {
            Measure::Flood { within, .. } | Measure::Repeat { within, .. } => *within,
            Measure::Newcomer { .. } => Duration::ZERO,
        });
        spans.max().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Memory {
    hasher: RandomState,
    young: HashMap<u64, Trail>,
    old: HashMap<u64, Trail>,
    recent: HashMap<u64, Signals>,
    recent_order: VecDeque<u64>,
}

/// The last messages under one key.
#[derive(Clone, Debug, Default)]
struct Trail {
    entries: VecDeque<Entry>,
    /// Messages ever seen, those forgotten included.
    total: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Timestamp,
    message: u64,
    sender: u64,
    digest: u64,
}

impl Memory {
    fn observe(&mut self, measures: &[Measure], message: &Message) -> Signals {
        let id = self.hasher.hash_one((&message.key, &message.content_hash, measures));
        if let Some(signals) = self.recent.get(&id) {
            return signals.clone();
        }
        let seen = Seen::of(message, &self.hasher);
        let mut signals = Signals::default();
        for measure in measures {
            self.measure(measure, message, &seen, &mut signals);
        }
        self.recent.insert(id, signals.clone());
        self.recent_order.push_back(id);
        if self.recent_order.len() > MAX_RECENT
            && let Some(oldest) = self.recent_order.pop_front()
        {
            self.recent.remove(&oldest);
        }
        signals
    }

    fn measure(
        &mut self,
        measure: &Measure,
        message: &Message,
        seen: &Seen,
        signals: &mut Signals,
    ) {
        let place = |reach: &Reach| {
            (*reach == Reach::Group).then_some((&message.key.group_id, &message.key.topic_id))
        };
        match measure {
            Measure::Flood { reach, within } => {
                let key = self.key(("flood", place(reach), &message.sender));
                let count = self.trail(key).count(&seen.entry, *within, |_| true);
                signals.counts.insert(measure.name(), count.messages);
            }
            Measure::Newcomer { reach } => {
                let key = self.key(("newcomer", place(reach), &message.sender));
                let trail = self.trail(key);
                let _ = trail.count(&seen.entry, MAX_SKEW, |_| true);
                signals.counts.insert(measure.name(), trail.total);
            }
            Measure::Repeat { by, reach, near, min_length, within } => {
                if (seen.letters as u64) < *min_length {
                    return;
                }
                let who = (*by == By::Sender).then_some(&message.sender);
                let count = if *near && seen.letters >= simhash::SHORTEST {
                    let keys: Vec<u64> = bands(seen.entry.digest)
                        .map(|band| self.key(("near", place(reach), who, band)))
                        .collect();
                    let mut count = Count::default();
                    for key in keys {
                        let close = |other: &Entry| {
                            (other.digest ^ seen.entry.digest).count_ones() <= simhash::NEAR
                        };
                        count.add(&self.trail(key).found(&seen.entry, *within, close));
                    }
                    count.of_sets()
                } else {
                    let key = self.key(("same", place(reach), who, &seen.text));
                    self.trail(key).count(&seen.entry, *within, |_| true)
                };
                let name = measure.name();
                signals.counts.insert(format!("{name}/senders"), count.senders);
                signals.counts.insert(name, count.messages);
            }
        }
    }

    fn key(&self, of: impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    /// The trail of a key. When there are too many keys, those not used since the last time there
    /// were are forgotten.
    fn trail(&mut self, key: u64) -> &mut Trail {
        if self.young.len() >= MAX_KEYS / 2 && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        let old = self.old.remove(&key);
        let trail = self.young.entry(key).or_default();
        if let Some(old) = old {
            *trail = old;
        }
        trail
    }
}

/// What there is to remember of a message.
struct Seen {
    entry: Entry,
    /// The folded text, which is the same for texts that only look different.
    text: String,
    letters: usize,
}

impl Seen {
    fn of(message: &Message, hasher: &RandomState) -> Self {
        let text = Squeezed::of(&Symbols::of(message.text.as_str())).text;
        let letters = text.chars().count();
        let entry = Entry {
            at: time_of(message),
            message: hasher.hash_one(&message.key),
            sender: hasher.hash_one(&message.sender),
            digest: simhash(&text),
        };
        Self { entry, text, letters }
    }
}

/// The message's own time, unless a callback brings one that cannot be.
fn time_of(message: &Message) -> Timestamp {
    let (sent, received) = (message.sent_at, message.received_at);
    if message.source == Source::History {
        return sent;
    }
    Timestamp(sent.0.clamp(received.before(MAX_SKEW).0, received.after(MAX_SKEW).0))
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    messages: u32,
    senders: u32,
}

/// Messages and senders, each once.
#[derive(Default)]
struct Count {
    messages: HashSet<u64>,
    senders: HashSet<u64>,
}

impl Count {
    fn add(&mut self, found: &[Entry]) {
        self.messages.extend(found.iter().map(|entry| entry.message));
        self.senders.extend(found.iter().map(|entry| entry.sender));
    }
    fn of_sets(&self) -> Tally {
        let number = |set: &HashSet<u64>| u32::try_from(set.len()).unwrap_or(u32::MAX);
        Tally { messages: number(&self.messages), senders: number(&self.senders) }
    }
}

impl Trail {
    /// Notes a message and gives those within the span before it, itself among them.
    fn found(
        &mut self,
        this: &Entry,
        within: Duration,
        counts: impl Fn(&Entry) -> bool,
    ) -> Vec<Entry> {
        if !self.entries.iter().any(|entry| entry.message == this.message) {
            self.total = self.total.saturating_add(1);
            self.entries.push_back(*this);
            if self.entries.len() > MAX_ENTRIES {
                self.entries.pop_front();
            }
        }
        let since = this.at.before(within);
        let in_span = |entry: &&Entry| entry.at > since && entry.at <= this.at && counts(entry);
        self.entries.iter().filter(in_span).copied().collect()
    }

    fn count(&mut self, this: &Entry, within: Duration, counts: impl Fn(&Entry) -> bool) -> Tally {
        let mut count = Count::default();
        count.add(&self.found(this, within, counts));
        count.of_sets()
    }
}
