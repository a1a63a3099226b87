//! `--since`: how long ago, or a moment.

use std::str::FromStr;
use std::time::Duration;

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
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(seconds)?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

fn moment(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00"));
    let date = numbers(date, '-', &[4, 2, 2])?;
    let (time, millis) = match time.split_once('.') {
        Some((time, fraction)) => {
            (time, numbers(fraction, '.', &[3]).and_then(|parts| parts.first().copied())?)
        }
        None => (time, 0),
    };
    let mut time = match time.len() {
        5 => numbers(time, ':', &[2, 2])?,
        _ => numbers(time, ':', &[2, 2, 2])?,
    };
    time.resize(3, 0);
    let (&[year, month, day], &[hour, minute, second]) = (date.as_slice(), time.as_slice()) else {
        return None;
    };
    if hour > 23 || minute > 59 || second > 59 || !is_a_day(year, month, day) {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Timestamp(seconds * 1000 + millis))
}

/// Numbers of given lengths, with a separator between them.
fn numbers(text: &str, separator: char, lengths: &[usize]) -> Option<Vec<i64>> {
    let parts: Vec<_> = text.split(separator).collect();
    let number = |(part, length): (&&str, &usize)| {
        let digits = part.len() == *length && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten()
    };
    (parts.len() == lengths.len()).then(|| parts.iter().zip(lengths).map(number).collect())?
}

fn is_a_day(year: i64, month: i64, day: i64) -> bool {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return false,
    };
    (1..=last).contains(&day)
}

/// Days since 1970-01-01 in the Gregorian calendar, its years taken to begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 153 + 2) / 5
        + day
        - 719_469
}

/// A moment as people read it, UTC, to the second.
#[must_use]
pub fn iso(at: Timestamp) -> String {
    let (days, seconds) = (at.secs().div_euclid(86_400), at.secs().rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The reverse of [`days`].
fn date(days: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days.div_euclid(366);
    while self::days(year + 1, 1, 1) <= days {
        year += 1;
    }
    let begins = |month: &i64| self::days(year, *month, 1) <= days;
    let month = (1..=12).rev().find(begins).unwrap_or(1);
    (year, month, days - self::days(year, month, 1) + 1)
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
            "7 d",
            "7y",
            "-1h",
            "2023-02-29",
            "2024-13-01",
            "2024-01-01T24:00",
            "2024-1-1",
            "1.5h",
            "99999999999999999999d",
            "2024-01-01T10",
            "now",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Since>(), Err(NotATime), "{text}");
        }
    }
}
