//! Conditions, compiled, and whether they hold.

use super::findings::{Findings, LeafId, Span};
use super::kinds::{element, flood, length, mentions, newcomer, platform, repeat};
use super::windows::Measure;
use crate::model::{Message, Signals, Text};

/// A condition, compiled.
#[derive(Debug)]
pub(crate) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    /// Something found in the text.
    Text(LeafId),
    Element(element::Written),
    Length(length::Written),
    Mentions(mentions::Written),
    Platform(platform::Written),
    Flood(flood::Written, Measure),
    Repeat(repeat::Written, Measure),
    Newcomer(newcomer::Written, Measure),
    Score {
        at_least: f64,
        parts: Vec<(f64, Condition)>,
    },
}

/// What is judged: a message with what its senders did before, or a text on its own.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) text: &'a Text,
    pub(crate) message: Option<(&'a Message, &'a Signals)>,
}

/// Whether a condition holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Truth {
    No,
    /// With the places in the text that it holds by; none where it holds by something else.
    Yes(Vec<Span>),
    /// It asks for what a text on its own has not; it counts for nothing.
    Open,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes(Vec::new()) } else { Self::No }
    }
}

impl Condition {
    /// Whether the condition holds. Places covered by a `spared` one do not count.
    pub(crate) fn holds(
        &self,
        subject: Subject<'_>,
        findings: &Findings,
        spared: &[Span],
    ) -> Truth {
        let of_message = |check: &dyn Fn(&Message, &Signals) -> bool| match subject.message {
            Some((message, signals)) => Truth::from(check(message, signals)),
            None => Truth::Open,
        };
        match self {
            Self::Text(leaf) => {
                let covered =
                    |span: &Span| spared.iter().any(|s| s.start <= span.start && span.end <= s.end);
                let found: Vec<_> = findings.of(*leaf).filter(|span| !covered(span)).collect();
                if found.is_empty() { Truth::No } else { Truth::Yes(found) }
            }
            Self::Any(parts) => any(parts.iter().map(|part| part.holds(subject, findings, spared))),
            Self::All(parts) => all(parts.iter().map(|part| part.holds(subject, findings, spared))),
            Self::Not(part) => match part.holds(subject, findings, &[]) {
                Truth::No => Truth::Yes(Vec::new()),
                Truth::Yes(_) => Truth::No,
                Truth::Open => Truth::Open,
            },
            Self::Element(check) => check.holds(subject.message.map(|(message, _)| message)).into(),
            Self::Length(check) => check.holds(subject.text.as_str()).into(),
            Self::Mentions(check) => of_message(&|message, _| check.holds(message)),
            Self::Platform(check) => of_message(&|message, _| check.holds(message)),
            Self::Flood(check, measure) => of_message(&|_, signals| check.holds(measure, signals)),
            Self::Repeat(check, measure) => of_message(&|_, signals| check.holds(measure, signals)),
            Self::Newcomer(check, measure) => {
                of_message(&|_, signals| check.holds(measure, signals))
            }
            Self::Score { at_least, parts } => {
                let mut sum = 0.0;
                let mut places = Vec::new();
                for (weight, part) in parts {
                    if let Truth::Yes(found) = part.holds(subject, findings, spared) {
                        sum += weight;
                        if *weight > 0.0 {
                            places.extend(found);
                        }
                    }
                }
                if sum >= *at_least { Truth::Yes(places) } else { Truth::No }
            }
        }
    }

    /// The leaves without any of which the condition cannot hold; `None` where it can.
    pub(crate) fn triggers(&self) -> Option<Vec<LeafId>> {
        match self {
            Self::Text(leaf) => Some(vec![*leaf]),
            Self::Any(parts) => {
                let each: Option<Vec<_>> = parts.iter().map(Self::triggers).collect();
                each.map(|leaves| leaves.concat())
            }
            Self::All(parts) => parts.iter().filter_map(Self::triggers).min_by_key(Vec::len),
            _ => None,
        }
    }

    /// Whether it asks for what Chat's callback tells and its history does not.
    pub(crate) fn asks_the_callback(&self) -> bool {
        match self {
            Self::Any(parts) | Self::All(parts) => parts.iter().any(Self::asks_the_callback),
            Self::Not(part) => part.asks_the_callback(),
            Self::Score { parts, .. } => parts.iter().any(|(_, part)| part.asks_the_callback()),
            Self::Mentions(_) | Self::Platform(_) => true,
            _ => false,
        }
    }

    /// Everything that has to be counted for it.
    pub(crate) fn measures(&self, into: &mut Vec<Measure>) {
        match self {
            Self::Any(parts) | Self::All(parts) => {
                for part in parts {
                    part.measures(into);
                }
            }
            Self::Not(part) => part.measures(into),
            Self::Score { parts, .. } => {
                for (_, part) in parts {
                    part.measures(into);
                }
            }
            Self::Flood(_, measure) | Self::Repeat(_, measure) | Self::Newcomer(_, measure) => {
                into.push(measure.clone());
            }
            _ => {}
        }
    }
}

fn any(parts: impl Iterator<Item = Truth>) -> Truth {
    let mut truth = Truth::Open;
    for part in parts {
        truth = match (truth, part) {
            (Truth::Yes(mut places), Truth::Yes(more)) => {
                places.extend(more);
                Truth::Yes(places)
            }
            (yes @ Truth::Yes(_), _) | (_, yes @ Truth::Yes(_)) => yes,
            (Truth::Open, Truth::Open) => Truth::Open,
            _ => Truth::No,
        };
    }
    truth
}

fn all(parts: impl Iterator<Item = Truth>) -> Truth {
    let mut truth = Truth::Open;
    for part in parts {
        truth = match (truth, part) {
            (_, Truth::No) => return Truth::No,
            (Truth::Yes(mut places), Truth::Yes(more)) => {
                places.extend(more);
                Truth::Yes(places)
            }
            (yes @ Truth::Yes(_), _) | (_, yes) => yes,
        };
    }
    truth
}
