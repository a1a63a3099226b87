//! A case as a line of the feed, of the queue, of a sender's history.

use super::hostile::{self, Html, Span};
use super::page::{When, encoded};
use super::words::Language;
use crate::model::{JobState, Mode, Verdict};
use crate::store::{Case, CaseHit, CaseJob};

/// Characters of a message in one line.
const EXCERPT: usize = 240;
/// Characters of an id.
const ID: usize = 80;

/// A line about a message.
pub(super) struct Row {
    pub message_id: Option<i64>,
    pub at: When,
    pub group: Html,
    pub group_link: String,
    pub topic: Option<Html>,
    pub seq: u64,
    pub sender: Html,
    pub sender_link: String,
    pub text: Html,
    pub is_empty: bool,
    pub verdict: &'static str,
    pub rules: Vec<RuleTag>,
    pub outcome: Option<Outcome>,
}

/// A rule that matched.
#[derive(PartialEq)]
pub(super) struct RuleTag {
    pub id: Html,
    pub shadow: bool,
}

/// How a recall stands.
pub(super) struct Outcome {
    pub state: &'static str,
    /// How long the message was visible.
    pub exposure: Option<String>,
}

impl Row {
    pub(super) fn of(case: &Case, language: Language) -> Self {
        Self {
            message_id: case.message_id,
            at: When(case.sent_at),
            group: id(&case.group_id),
            group_link: encoded(&case.group_id),
            topic: (!case.topic_id.is_empty()).then(|| id(&case.topic_id)),
            seq: case.msg_seq,
            sender: id(&case.sender),
            sender_link: encoded(&case.sender),
            text: hostile::excerpt_marked(&case.text, &spans(&case.hits), EXCERPT),
            is_empty: case.text.is_empty(),
            verdict: case.verdict.as_str(),
            rules: tags(&case.hits),
            outcome: case.job.as_ref().map(|job| Outcome::of(job, language)),
        }
    }
}

impl Outcome {
    pub(super) fn of(job: &CaseJob, language: Language) -> Self {
        Self { state: job.state.as_str(), exposure: job.exposure_ms.map(|ms| lasted(ms, language)) }
    }
}

/// Whether something about a case will change by itself.
pub(super) fn is_moving(case: &Case) -> bool {
    match &case.job {
        Some(job) => !job.state.is_final() && job.state != JobState::Held,
        None => case.verdict == Verdict::Recall,
    }
}

/// An id as somebody else chose it.
pub(super) fn id(id: &str) -> Html {
    hostile::excerpt(id, ID)
}

/// The rules that matched, each once.
pub(super) fn tags(hits: &[CaseHit]) -> Vec<RuleTag> {
    let mut tags: Vec<RuleTag> = Vec::new();
    for hit in hits {
        let tag = RuleTag { id: id(&hit.rule), shadow: hit.mode == Mode::Shadow };
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

/// The places that rules matched; those of no characters are left out.
pub(super) fn spans(hits: &[CaseHit]) -> Vec<Span<'_>> {
    fn span(hit: &CaseHit) -> Span<'_> {
        Span { start: hit.start, end: hit.end, rule: &hit.rule }
    }
    hits.iter().filter(|hit| hit.start < hit.end).map(span).collect()
}

/// A span of milliseconds in the largest unit that says it well.
pub(super) fn lasted(ms: i64, language: Language) -> String {
    let seconds = ms / 1000;
    let (value, unit) = match seconds {
        ..1 => return format!("{ms} ms"),
        1..60 => (format!("{}.{}", seconds, (ms % 1000) / 100), "s"),
        3_600 => ("1".to_owned(), "h"),
        60..5_400 => ((seconds / 60).to_string(), "min"),
        5_400..172_800 => ((seconds / 3_600).to_string(), "h"),
        _ => ((seconds / 86_400).to_string(), "d"),
    };
    format!("{value} {}", language.word("unit", unit))
}

/// A number in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_said_in_the_unit_that_fits() {
        for (ms, said) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_250, "1.2 s"),
            (59_999, "59.9 s"),
            (60_000, "1 min"),
            (3_600_000, "1 h"),
            (7_200_000, "2 h"),
            (259_200_000, "3 d"),
        ] {
            assert_eq!(lasted(ms, Language::En), said);
        }
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123), "123");
    }
}
