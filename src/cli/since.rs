//! `--since`: how long ago, or a moment.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo};

use crate::model::Timestamp;

/// The first moment that counts: `90s`, `15m`, `2h`, `7d`, `2w` ago, or `2026-05-01`,
/// `2026-05-01T18:30Z`, `2026-05-01T18:30:05.250Z`, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    Ago(Duration),
    At(Timestamp),
}

/// Neither a span nor a moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write how long ago, such as 30m, 2h, 7d, or a moment such as 2026-05-01T18:30Z")]
pub struct NotATime;

impl Since {
    /// The moment, as seen from now.
    #[must_use]
    pub fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(span) => now.before(span),
            Self::At(moment) => moment,
        }
    }
}

impl FromStr for Since {
    type Err = NotATime;
    fn from_str(text: &str) -> Result<Self, NotATime> {
        span(text).map(Self::Ago).or_else(|| moment(text).map(Self::At)).ok_or(NotATime)
    }
}

fn span(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    // Months and years are not the same length everywhere, so they are no measure here.
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(length).ok().filter(|length| !length.is_zero())
}

fn moment(text: &str) -> Option<Timestamp> {
    let moment = text.parse::<jiff::Timestamp>().or_else(|_| {
        // Without an offset it is UTC, like everything that quell prints.
        let local: DateTime = text.parse()?;
        local.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp())
    });
    moment.ok().map(|moment| Timestamp(moment.as_millisecond()))
}

/// A moment as people read it, UTC, to the second.
#[must_use]
pub fn iso(at: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(at.secs() * 1000).unwrap_or_default();
    moment.to_string()
}

/// The same to the millisecond, as the twins in views are written.
#[must_use]
pub fn iso_to_the_millisecond(at: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default();
    format!("{moment:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_they_are_read() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2024-02-29T12:00:00Z",
            "1999-12-31T23:59:59Z",
            "2100-03-01T00:00:01Z",
        ] {
            assert_eq!(iso(moment(text).unwrap()), text);
        }
        assert_eq!(iso_to_the_millisecond(Timestamp(1_000)), "1970-01-01T00:00:01.000Z");
        assert_eq!(iso_to_the_millisecond(Timestamp(1_012)), "1970-01-01T00:00:01.012Z");
    }

    #[test]
    fn spans_and_moments_are_told_apart() {
        let ago = |seconds| Ok(Since::Ago(Duration::from_secs(seconds)));
        let at = |millis| Ok(Since::At(Timestamp(millis)));
        let cases = [
            ("90s", ago(90)),
            ("15m", ago(900)),
            ("2h", ago(7_200)),
            ("7d", ago(604_800)),
            ("2w", ago(1_209_600)),
            ("1970-01-01", at(0)),
            ("2024-02-29T12:00Z", at(1_709_208_000_000)),
            ("2026-05-01T18:30:05.250Z", at(1_777_660_205_250)),
            ("1999-12-31T23:59:59", at(946_684_799_000)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Since>(), expected, "{text}");
        }
        let wrong = [
            "",
            "7",
            "d",
            "0h",
            "7y",
            "-1h",
            "2023-02-29",
            "2024-13-01",
            "2024-01-01T24:00",
            "2024-1-1",
            "99999999999999999999d",
            "now",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Since>(), Err(NotATime), "{text}");
        }
    }
}
