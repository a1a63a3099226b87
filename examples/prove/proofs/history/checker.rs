//! Names every breach of a promise that three records show, and reads nothing but these: what was
//! sent and acknowledged, what the database holds, what Chat received and did.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use quell::model::{MessageKey, MsgSeq};

/// Chat's limits (pages `recall`, `rest-intro`).
const MESSAGES_A_CALL: usize = 10;
const CALLS_A_SECOND: usize = 200;

/// A message of the traffic.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub key: MessageKey,
    /// A callback of it was answered 200 with `ErrorCode` 0.
    pub acknowledged: bool,
    /// It was made to break a rule.
    pub violating: bool,
    /// Kept nowhere by Chat.
    pub online_only: bool,
}

/// A recall job of the database.
#[derive(Clone, Debug)]
pub(crate) struct Recall {
    pub key: MessageKey,
    pub state: String,
}

/// A call as the daemon wrote it down.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub group: String,
    pub topic: String,
    pub seqs: Vec<MsgSeq>,
    pub outcome: String,
}

/// The database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    /// The verdict of each message.
    pub messages: HashMap<MessageKey, String>,
    pub recalls: Vec<Recall>,
    pub calls: Vec<Call>,
}

/// A call as Chat received it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub at: Duration,
    pub group: String,
    pub topic: String,
    pub seqs: Vec<MsgSeq>,
    /// Messages that its answer spoke for.
    pub settled: BTreeSet<MsgSeq>,
}

/// The three records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    pub sent: Vec<Record>,
    pub stored: Stored,
    pub calls: Vec<Received>,
    /// What Chat took back.
    pub recalled: HashSet<MessageKey>,
}

/// A promise that was broken, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    NotStored(MessageKey),
    Misjudged(MessageKey),
    NoRecall(MessageKey),
    TwoRecalls(MessageKey),
    Unfinished(MessageKey, String),
    LeftLeased(MessageKey),
    GivenUp(MessageKey, String),
    StillVisible(MessageKey, String),
    WronglyRecalled(MessageKey),
    CallTooLarge(usize),
    RepeatedInCall(MessageKey),
    MixedCall(MessageKey),
    TooManyCalls(usize),
    TooManyTries { key: MessageKey, settled: usize, unclear: usize },
    HiddenCalls { key: MessageKey, received: usize, written: usize },
}

impl Breach {
    /// Its name.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::NotStored(_) => "acknowledged and not stored",
            Self::Misjudged(_) => "violating and judged otherwise",
            Self::NoRecall(_) => "violating and without a recall",
            Self::TwoRecalls(_) => "more than one recall job",
            Self::Unfinished(..) => "recall not finished",
            Self::LeftLeased(_) => "left in a lease",
            Self::GivenUp(..) => "given up though it could be recalled",
            Self::StillVisible(..) => "said to be recalled and visible",
            Self::WronglyRecalled(_) => "recalled without a verdict",
            Self::CallTooLarge(_) => "call too large",
            Self::RepeatedInCall(_) => "twice in one call",
            Self::MixedCall(_) => "call of several conversations",
            Self::TooManyCalls(_) => "too many calls in a second",
            Self::TooManyTries { .. } => "called again after an answer",
            Self::HiddenCalls { .. } => "call that was not written down",
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStored(key)
            | Self::Misjudged(key)
            | Self::NoRecall(key)
            | Self::TwoRecalls(key)
            | Self::LeftLeased(key)
            | Self::WronglyRecalled(key)
            | Self::RepeatedInCall(key)
            | Self::MixedCall(key) => write!(f, "{key}"),
            Self::Unfinished(key, state)
            | Self::GivenUp(key, state)
            | Self::StillVisible(key, state) => {
                write!(f, "{key} ({state})")
            }
            Self::CallTooLarge(count) | Self::TooManyCalls(count) => write!(f, "{count}"),
            Self::TooManyTries { key, settled, unclear } => {
                write!(f, "{key}: {settled} answers, {unclear} unclear")
            }
            Self::HiddenCalls { key, received, written } => {
                write!(f, "{key}: {received} received, {written} written down")
            }
        }
    }
}

/// Every breach that the records show.
pub(crate) fn breaches(books: &Books) -> Vec<Breach> {
    let mut found = Vec::new();
    messages(books, &mut found);
    recalls(books, &mut found);
    calls(books, &mut found);
    tries(books, &mut found);
    found
}

fn messages(books: &Books, found: &mut Vec<Breach>) {
    let jobs: HashSet<&MessageKey> = books.stored.recalls.iter().map(|job| &job.key).collect();
    for sent in &books.sent {
        let verdict = books.stored.messages.get(&sent.key);
        if sent.acknowledged && verdict.is_none() {
            found.push(Breach::NotStored(sent.key.clone()));
        }
        if let Some(verdict) = verdict
            && sent.violating != (verdict == "recall")
        {
            found.push(Breach::Misjudged(sent.key.clone()));
        }
    }
    for (key, verdict) in &books.stored.messages {
        if verdict == "recall" && !jobs.contains(key) {
            found.push(Breach::NoRecall(key.clone()));
        }
    }
    for key in &books.recalled {
        let verdict = books.stored.messages.get(key);
        if verdict.is_none_or(|verdict| verdict != "recall") {
            found.push(Breach::WronglyRecalled(key.clone()));
        }
    }
}

fn recalls(books: &Books, found: &mut Vec<Breach>) {
    let impossible: HashSet<&MessageKey> =
        books.sent.iter().filter(|sent| sent.online_only).map(|sent| &sent.key).collect();
    let mut seen = HashSet::new();
    for job in &books.stored.recalls {
        let key = job.key.clone();
        let state = job.state.clone();
        if !seen.insert(&job.key) {
            found.push(Breach::TwoRecalls(key.clone()));
        }
        let recalled = books.recalled.contains(&key);
        match state.as_str() {
            "leased" => found.push(Breach::LeftLeased(key)),
            "recalled" | "gone" if !recalled => found.push(Breach::StillVisible(key, state)),
            "recalled" | "gone" => {}
            "refused" | "dead" | "cancelled" => {
                if !impossible.contains(&key) {
                    found.push(Breach::GivenUp(key, state));
                }
            }
            _ => found.push(Breach::Unfinished(key, state)),
        }
    }
}

fn calls(books: &Books, found: &mut Vec<Breach>) {
    let known: HashSet<&MessageKey> = books.sent.iter().map(|sent| &sent.key).collect();
    let mut times: Vec<Duration> = books.calls.iter().map(|call| call.at).collect();
    times.sort_unstable();
    let (mut first, mut most) = (0, 0);
    for (last, at) in times.iter().enumerate() {
        while at.saturating_sub(times[first]) >= Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    if most > CALLS_A_SECOND {
        found.push(Breach::TooManyCalls(most));
    }
    for call in &books.calls {
        if call.seqs.len() > MESSAGES_A_CALL {
            found.push(Breach::CallTooLarge(call.seqs.len()));
        }
        let mut seen = BTreeSet::new();
        for &seq in &call.seqs {
            let key = key(&call.group, &call.topic, seq);
            if !seen.insert(seq) {
                found.push(Breach::RepeatedInCall(key.clone()));
            }
            if !known.contains(&key) {
                found.push(Breach::MixedCall(key));
            }
        }
    }
}

#[derive(Default)]
struct Tries {
    received: usize,
    settled: usize,
    written: usize,
    unclear: usize,
}

/// An answer that came through ends a message. Only where the daemon could not know it, and wrote
/// the call down as unclear, may it call again.
fn tries(books: &Books, found: &mut Vec<Breach>) {
    let mut tries: BTreeMap<MessageKey, Tries> = BTreeMap::new();
    for call in &books.calls {
        for &seq in &call.seqs {
            let tries = tries.entry(key(&call.group, &call.topic, seq)).or_default();
            tries.received += 1;
            tries.settled += usize::from(call.settled.contains(&seq));
        }
    }
    for call in &books.stored.calls {
        for &seq in &call.seqs {
            let tries = tries.entry(key(&call.group, &call.topic, seq)).or_default();
            tries.written += usize::from(call.outcome != "unsent");
            tries.unclear += usize::from(call.outcome == "unclear");
        }
    }
    for (key, Tries { received, settled, written, unclear }) in tries {
        if settled > 1 + unclear {
            found.push(Breach::TooManyTries { key: key.clone(), settled, unclear });
        }
        if received > written {
            found.push(Breach::HiddenCalls { key, received, written });
        }
    }
}

fn key(group: &str, topic: &str, msg_seq: MsgSeq) -> MessageKey {
    MessageKey { group_id: group.into(), topic_id: topic.into(), msg_seq }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seq: MsgSeq) -> MessageKey {
        key("g", "", seq)
    }

    /// Message 1 is harmless, 2 is violating and recalled at the second try, 3 is online-only.
    fn clean() -> Books {
        let record = |seq, violating, online_only| Record {
            key: message(seq),
            acknowledged: true,
            violating,
            online_only,
        };
        let received = |ms, settled: &[MsgSeq]| Received {
            at: Duration::from_millis(ms),
            group: "g".into(),
            topic: String::new(),
            seqs: vec![2],
            settled: settled.iter().copied().collect(),
        };
        let call = |outcome: &str| Call {
            group: "g".into(),
            topic: String::new(),
            seqs: vec![2],
            outcome: outcome.into(),
        };
        let verdicts = [(1, "pass"), (2, "recall"), (3, "recall")];
        Books {
            sent: vec![record(1, false, false), record(2, true, false), record(3, true, true)],
            stored: Stored {
                messages: verdicts.map(|(seq, it)| (message(seq), it.to_owned())).into(),
                recalls: vec![
                    Recall { key: message(2), state: "recalled".into() },
                    Recall { key: message(3), state: "refused".into() },
                ],
                calls: vec![call("unclear"), call("answered"), call("unsent")],
            },
            calls: vec![received(0, &[2]), received(100, &[2])],
            recalled: [message(2)].into(),
        }
    }

    fn check(damage: impl FnOnce(&mut Books), expected: &[Breach]) {
        let mut books = clean();
        damage(&mut books);
        assert_eq!(breaches(&books), expected);
    }

    #[test]
    fn clean_books_show_nothing() {
        check(|_| {}, &[]);
    }

    #[test]
    fn what_was_acknowledged_must_be_stored() {
        let lost = |books: &mut Books| drop(books.stored.messages.remove(&message(1)));
        check(lost, &[Breach::NotStored(message(1))]);
        let refused = |books: &mut Books| {
            books.stored.messages.remove(&message(1));
            books.sent[0].acknowledged = false;
        };
        check(refused, &[]);
    }

    #[test]
    fn a_verdict_must_be_the_one_that_was_meant() {
        let missed = |books: &mut Books| {
            books.stored.messages.insert(message(3), "pass".into());
            books.stored.recalls.pop();
        };
        check(missed, &[Breach::Misjudged(message(3))]);
        let false_alarm = |books: &mut Books| {
            books.stored.messages.insert(message(1), "recall".into());
            books.stored.recalls.push(Recall { key: message(1), state: "gone".into() });
            books.recalled.insert(message(1));
        };
        check(false_alarm, &[Breach::Misjudged(message(1))]);
    }

    #[test]
    fn every_violation_has_one_recall_that_ended() {
        check(|books| drop(books.stored.recalls.pop()), &[Breach::NoRecall(message(3))]);
        let twice = |books: &mut Books| {
            let again = books.stored.recalls[1].clone();
            books.stored.recalls.push(again);
        };
        check(twice, &[Breach::TwoRecalls(message(3))]);
        for state in ["pending", "retry", "held"] {
            let expected = [Breach::Unfinished(message(3), state.into())];
            check(|books| books.stored.recalls[1].state = state.into(), &expected);
        }
        let leased = |books: &mut Books| books.stored.recalls[1].state = "leased".into();
        check(leased, &[Breach::LeftLeased(message(3))]);
        for state in ["refused", "dead", "cancelled"] {
            let expected = [Breach::GivenUp(message(2), state.into())];
            check(|books| books.stored.recalls[0].state = state.into(), &expected);
        }
    }

    #[test]
    fn recalled_means_recalled_at_chat() {
        for state in ["recalled", "gone"] {
            let expected = [Breach::StillVisible(message(3), state.into())];
            check(|books| books.stored.recalls[1].state = state.into(), &expected);
        }
    }

    #[test]
    fn nothing_is_recalled_without_a_verdict() {
        for seq in [1, 9] {
            let innocent = |books: &mut Books| assert!(books.recalled.insert(message(seq)));
            check(innocent, &[Breach::WronglyRecalled(message(seq))]);
        }
        let flagged = |books: &mut Books| {
            books.stored.messages.insert(message(1), "flag".into());
            books.recalled.insert(message(1));
        };
        check(flagged, &[Breach::WronglyRecalled(message(1))]);
    }

    #[test]
    fn a_call_keeps_chats_limits() {
        let spoil = |seqs: Vec<MsgSeq>, topic: &str| {
            let mut books = clean();
            books.calls[0] = Received { seqs, topic: topic.into(), ..books.calls[0].clone() };
            breaches(&books)
        };
        assert!(spoil((1..=11).collect(), "").contains(&Breach::CallTooLarge(11)));
        assert!(spoil(vec![2, 2], "").contains(&Breach::RepeatedInCall(message(2))));
        assert!(spoil(vec![2], "t").contains(&Breach::MixedCall(key("g", "t", 2))));
        assert!(spoil(vec![2, 77], "").contains(&Breach::MixedCall(message(77))));
    }

    #[test]
    fn the_fullest_second_is_found() {
        let fill = |count: u64, books: &mut Books| {
            let one = Received { seqs: Vec::new(), ..books.calls[0].clone() };
            books.calls.extend(
                (0..count)
                    .map(|n| Received { at: Duration::from_millis(60_900 + n), ..one.clone() }),
            );
        };
        check(|books| fill(200, books), &[]);
        check(|books| fill(201, books), &[Breach::TooManyCalls(201)]);
    }

    #[test]
    fn an_answer_that_came_through_ends_it() {
        let clear = |books: &mut Books| books.stored.calls[0].outcome = "answered".into();
        check(clear, &[Breach::TooManyTries { key: message(2), settled: 2, unclear: 0 }]);
        // Chat never said anything the first time, so the second is no repetition.
        let lost = |books: &mut Books| {
            books.stored.calls[0].outcome = "failed".into();
            books.calls[0].settled.clear();
        };
        check(lost, &[]);
    }

    #[test]
    fn every_call_is_written_down_before_it_leaves() {
        let hidden = |books: &mut Books| drop(books.stored.calls.remove(1));
        check(hidden, &[Breach::HiddenCalls { key: message(2), received: 2, written: 1 }]);
    }
}
