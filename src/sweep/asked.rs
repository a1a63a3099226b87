//! What is asked of a sweep, and whether it makes sense.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MOST;
use super::like::Like;
use crate::model::{MsgSeq, Timestamp};
use crate::store::{Error, Meant};

/// How far back near-duplicates are sought where nothing is said.
const LIKE_SINCE: Duration = Duration::from_hours(24);

const WAYS: &str = "say which messages: one of seq, message_id, sender, rule, like";

/// Which messages shall be recalled: by sequence, by its number in the records, by sender, by rule, or
/// like another message. Exactly one of these five.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = PlanRequest)]
pub struct Asked {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// `5,7,10-20`, of a group or topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<String>,
    /// One recorded message, whichever life of its group it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `GROUP/SEQ` or `GROUP/TOPIC/SEQ` of the group's latest life, or a `message_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
    /// Milliseconds since 1970, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub since: Option<Timestamp>,
}

impl Asked {
    /// What is meant, or the message that near-duplicates are sought of.
    pub(super) fn meant(&self, now: Timestamp) -> Result<Result<Meant, Like>, Error> {
        let nonsense = |why: &str| Err(Error::Invalid(why.to_owned()));
        let ways = [&self.seq, &self.sender, &self.rule, &self.like];
        let said = ways.iter().filter(|way| way.is_some()).count();
        if said + usize::from(self.message_id.is_some()) != 1 {
            return nonsense(WAYS);
        }
        if self.since.is_some_and(|since| since > now) {
            return nonsense("since lies ahead");
        }
        if let Some(seq) = &self.seq {
            let seqs: Sequences = seq.parse().map_err(|wrong: Wrong| Error::Invalid(wrong.0))?;
            let Some(group) = self.group.clone().filter(|group| !group.is_empty()) else {
                return nonsense("sequences are those of a group: say which");
            };
            if self.since.is_some() {
                return nonsense("sequences say which messages: since has no part in it");
            }
            let topic = self.topic.clone().unwrap_or_default();
            return Ok(Ok(Meant::Sequences { group, topic, seqs: seqs.0, at: now }));
        }
        if let Some(message_id) = self.message_id {
            if self.group.is_some() || self.topic.is_some() || self.since.is_some() {
                return nonsense("message_id says it all: leave group, topic and since out");
            }
            return Ok(Ok(Meant::Ids(vec![message_id])));
        }
        if self.topic.is_some() {
            return nonsense("a topic goes with sequences alone");
        }
        if let Some(like) = &self.like {
            if self.group.is_some() {
                return nonsense("near-duplicates are sought in all groups: leave group out");
            }
            let since = self.since.unwrap_or_else(|| now.before(LIKE_SINCE));
            return Like::parse(like, since).map(Err);
        }
        let Some(since) = self.since else {
            return nonsense("say since when: the messages of all times are never meant");
        };
        let group = self.group.clone();
        Ok(Ok(match (&self.sender, &self.rule) {
            (Some(sender), _) => Meant::Sender { sender: sender.clone(), group, since },
            (_, Some(rule)) => Meant::Rule { rule: rule.clone(), group, since },
            _ => return nonsense(WAYS),
        }))
    }
}

/// Sequences as people write them: `5,7,10-20`. In order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequences(pub Vec<MsgSeq>);

/// What is wrong with what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(String);

impl FromStr for Sequences {
    type Err = Wrong;
    fn from_str(text: &str) -> Result<Self, Wrong> {
        let mut seqs = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (number(from, part)?, number(to, part)?);
            if from > to {
                return Err(Wrong(format!("{part:?} runs backwards")));
            }
            if to - from >= MOST as u64
                || seqs.len() + usize::try_from(to - from).unwrap_or(MOST) >= MOST
            {
                return Err(Wrong(format!("more than {MOST} sequences: narrow it down")));
            }
            seqs.extend(from..=to);
        }
        seqs.sort_unstable();
        seqs.dedup();
        Ok(Self(seqs))
    }
}

fn number(text: &str, part: &str) -> Result<MsgSeq, Wrong> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse::<u32>().ok()).flatten().filter(|seq| *seq > 0);
    let why = || Wrong(format!("{part:?} is no sequence or range: write 5,7,10-20"));
    number.map(MsgSeq::from).ok_or_else(why)
}

impl fmt::Display for Sequences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, run) in self.0.chunk_by(|a, b| a + 1 == *b).enumerate() {
            let separator = if at == 0 { "" } else { "," };
            match run {
                [one] => write!(f, "{separator}{one}")?,
                [first, .., last] => write!(f, "{separator}{first}-{last}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_read_in_order_and_once() {
        let seqs: Sequences = "10-12, 5,7,6,11".parse().unwrap();
        assert_eq!(seqs.0, [5, 6, 7, 10, 11, 12]);
        assert_eq!(seqs.to_string(), "5-7,10-12");
        for wrong in [
            "",
            "0",
            "5-",
            "-5",
            "7-5",
            "a",
            "1,,2",
            "4294967296",
            "1-4294967295",
            "+3",
            "1-100001",
        ] {
            assert!(wrong.parse::<Sequences>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let now = Timestamp(1_000_000);
        let some = |text: &str| Some(text.to_owned());
        let since = Some(Timestamp(1));
        let cases = [
            (Asked::default(), "one of"),
            (Asked { seq: some("5"), ..Asked::default() }, "a group"),
            (Asked { seq: some("5"), message_id: Some(5), ..Asked::default() }, "one of"),
            (Asked { message_id: Some(5), group: some("g"), ..Asked::default() }, "leave group"),
            (Asked { message_id: Some(5), since, ..Asked::default() }, "leave group"),
            (Asked { like: some("0"), ..Asked::default() }, "GROUP/SEQ"),
            (Asked { sender: some("u"), ..Asked::default() }, "since when"),
            (Asked { sender: some("u"), rule: some("r"), since, ..Asked::default() }, "one of"),
            (Asked { rule: some("r"), topic: some("t"), since, ..Asked::default() }, "topic"),
            (
                Asked { sender: some("u"), since: Some(Timestamp(2_000_000)), ..Asked::default() },
                "ahead",
            ),
            (Asked { like: some("g"), ..Asked::default() }, "GROUP/SEQ"),
            (Asked { like: some("g/0"), ..Asked::default() }, "GROUP/SEQ"),
        ];
        for (asked, why) in cases {
            let refused = asked.meant(now).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
