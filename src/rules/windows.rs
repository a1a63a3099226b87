//! What senders did lately: the memory of `flood`, `repeat` and `newcomer`.
//!
//! A message is observed before it is judged; what was counted goes with the message as its
//! [`Signals`], so judging itself remembers nothing. The memory is bounded whatever the traffic: a
//! fixed number of keys, each with a fixed number of entries, the oldest forgotten first. It is lost
//! when the process ends and can be refilled from stored messages.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::condition::Condition;
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

/// Something to count, with the names under which it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Measure {
    what: What,
    pub(crate) name: Arc<str>,
    /// For the number of different senders.
    pub(crate) senders: Arc<str>,
}

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum What {
    Flood { reach: Reach, within: Duration },
    Repeat { by: By, reach: Reach, near: bool, min_length: u64, within: Duration },
    Newcomer { reach: Reach },
}

impl Measure {
    pub(crate) fn of(what: What) -> Self {
        let name = what.name();
        Self { senders: format!("{name}/senders").into(), name: name.into(), what }
    }
}

impl What {
    fn name(&self) -> String {
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

/// All that a rule set counts.
#[derive(Clone, Debug, Default)]
pub struct Measures {
    each: Vec<Measure>,
    /// Tells sets of measures apart.
    digest: u64,
}

impl Measures {
    pub(crate) fn of(mut measures: Vec<Measure>) -> Self {
        measures.sort();
        measures.dedup();
        let mut hasher = DefaultHasher::new();
        measures.hash(&mut hasher);
        Self { each: measures, digest: hasher.finish() }
    }

    pub(crate) fn of_condition(condition: &Condition) -> Self {
        let mut measures = Vec::new();
        condition.measures(&mut measures);
        Self::of(measures)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// The names under which counts are recorded.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.each.iter().map(|measure| &measure.name)
    }

    /// Those of which the name is not among the given ones.
    #[must_use]
    pub fn without(&self, names: &HashSet<String>) -> Self {
        let others = self.each.iter().filter(|measure| !names.contains(measure.name.as_ref()));
        Self::of(others.cloned().collect())
    }

    /// Whether any counts all that a sender ever wrote, so that no span is long enough.
    #[must_use]
    pub fn look_back_for_ever(&self) -> bool {
        self.each.iter().any(|measure| matches!(measure.what, What::Newcomer { .. }))
    }

    /// The longest span that any looks back.
    #[must_use]
    pub fn longest_span(&self) -> Duration {
        let spans = self.each.iter().map(|measure| match &measure.what {
            What::Flood { within, .. } | What::Repeat { within, .. } => *within,
            What::Newcomer { .. } => Duration::ZERO,
        });
        spans.max().unwrap_or_default()
    }

    /// Whether any counts over all groups, so that one group's messages do not tell.
    #[must_use]
    pub fn reach_everywhere(&self) -> bool {
        self.each.iter().any(|measure| match &measure.what {
            What::Flood { reach, .. } | What::Repeat { reach, .. } | What::Newcomer { reach } => {
                *reach == Reach::Everywhere
            }
        })
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
        self.count(rules.measures(), message)
    }

    /// The same for a choice of what a rule set counts.
    #[must_use]
    pub fn count(&self, measures: &Measures, message: &Message) -> Signals {
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
        rules.measures().look_back_for_ever()
    }

    /// The longest span that any matcher looks back: what a refill has to bring.
    #[must_use]
    pub fn longest_span(rules: &CompiledRules) -> Duration {
        rules.measures().longest_span()
    }
}

#[derive(Debug, Default)]
struct Memory {
    hasher: RandomState,
    young: HashMap<u64, Trail>,
    old: HashMap<u64, Trail>,
    recent: HashMap<u64, Signals>,
    recent_order: VecDeque<u64>,
    /// Room to count in.
    found: Vec<(u64, u64)>,
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
    fn observe(&mut self, measures: &Measures, message: &Message) -> Signals {
        let id = self.hasher.hash_one((&message.key, &message.content_hash, measures.digest));
        if let Some(signals) = self.recent.get(&id) {
            return signals.clone();
        }
        let seen = Seen::of(message, measures, &self.hasher);
        let mut signals = Signals::default();
        for measure in &measures.each {
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
        match &measure.what {
            What::Flood { reach, within } => {
                let key = self.key(("flood", place(reach), &message.sender));
                let count = self.count(key, &seen.entry, *within);
                signals.counts.insert(Arc::clone(&measure.name), count.messages);
            }
            What::Newcomer { reach } => {
                let key = self.key(("newcomer", place(reach), &message.sender));
                let trail = self.trail(key);
                trail.note(&seen.entry);
                let total = trail.total;
                signals.counts.insert(Arc::clone(&measure.name), total);
            }
            What::Repeat { by, reach, near, min_length, within } => {
                if (seen.letters as u64) < *min_length {
                    return;
                }
                let who = (*by == By::Sender).then_some(&message.sender);
                let count = if *near && seen.letters >= simhash::SHORTEST {
                    let digest = seen.entry.digest;
                    let common = self.key(("near", place(reach), who));
                    let mut found = std::mem::take(&mut self.found);
                    found.clear();
                    for band in bands(digest) {
                        let close =
                            |other: &Entry| (other.digest ^ digest).count_ones() <= simhash::NEAR;
                        let key = self.key((common, band));
                        self.trail(key).find(&seen.entry, *within, close, &mut found);
                    }
                    let count = Tally::of(&mut found);
                    self.found = found;
                    count
                } else {
                    let key = self.key(("same", place(reach), who, &seen.text));
                    self.count(key, &seen.entry, *within)
                };
                signals.counts.insert(Arc::clone(&measure.senders), count.senders);
                signals.counts.insert(Arc::clone(&measure.name), count.messages);
            }
        }
    }

    /// Notes a message under a key and counts those within the span before it, itself among them.
    fn count(&mut self, key: u64, this: &Entry, within: Duration) -> Tally {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        self.trail(key).find(this, within, |_| true, &mut found);
        let count = Tally::of(&mut found);
        self.found = found;
        count
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
    /// Only what some measure asks for: folding a text costs as much as all the rest.
    fn of(message: &Message, measures: &Measures, hasher: &RandomState) -> Self {
        let repeats = |measure: &Measure| matches!(measure.what, What::Repeat { .. });
        let nearly = |measure: &Measure| matches!(measure.what, What::Repeat { near: true, .. });
        let text = if measures.each.iter().any(repeats) {
            Squeezed::of(&Symbols::of(message.text.as_str())).into_text()
        } else {
            String::new()
        };
        let letters = text.chars().count();
        let entry = Entry {
            at: time_of(message),
            message: hasher.hash_one(&message.key),
            sender: hasher.hash_one(&message.sender),
            digest: if measures.each.iter().any(nearly) { simhash(&text) } else { 0 },
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

impl Tally {
    /// Messages and senders, each once.
    fn of(found: &mut [(u64, u64)]) -> Self {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let different = |found: &[(u64, u64)], of: fn(&(u64, u64)) -> u64| {
            number(found.chunk_by(|a, b| of(a) == of(b)).count())
        };
        found.sort_unstable_by_key(|(message, _)| *message);
        let messages = different(found, |(message, _)| *message);
        found.sort_unstable_by_key(|(_, sender)| *sender);
        Self { messages, senders: different(found, |(_, sender)| *sender) }
    }
}

impl Trail {
    /// Notes a message, once.
    fn note(&mut self, this: &Entry) {
        if !self.entries.iter().any(|entry| entry.message == this.message) {
            self.total = self.total.saturating_add(1);
            self.entries.push_back(*this);
            if self.entries.len() > MAX_ENTRIES {
                self.entries.pop_front();
            }
        }
    }

    /// Notes a message and adds message and sender of those within the span before it, itself among
    /// them.
    fn find(
        &mut self,
        this: &Entry,
        within: Duration,
        counts: impl Fn(&Entry) -> bool,
        found: &mut Vec<(u64, u64)>,
    ) {
        self.note(this);
        let since = this.at.before(within);
        let in_span = |entry: &&Entry| entry.at > since && entry.at <= this.at && counts(entry);
        found
            .extend(self.entries.iter().filter(in_span).map(|entry| (entry.message, entry.sender)));
    }
}
