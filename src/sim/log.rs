//! What arrived at the simulated Chat, for tests and reports: the one witness that does not ask
//! the caller.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use super::faults::Fault;
use crate::model::{GroupId, MsgSeq, Timestamp, TopicId};

/// A REST call that arrived.
#[derive(Clone, Debug, Serialize)]
pub struct Arrival {
    /// Since the simulation started, by a clock that never steps.
    #[serde(serialize_with = "as_micros", rename = "at_us")]
    pub at: Duration,
    pub wall: Timestamp,
    pub command: String,
    pub group_id: GroupId,
    pub topic_id: TopicId,
    pub seqs: Vec<MsgSeq>,
    /// What was answered: `None` while nothing was, or for good where a fault wanted it so.
    pub answer: Option<Answered>,
    pub fault: Option<Fault>,
}

/// What a call was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answered {
    pub http_status: u16,
    pub error_code: i64,
    /// `RetCode` of each message as it went out.
    pub ret_codes: Vec<(MsgSeq, i64)>,
}

/// The arrivals, oldest first; the oldest make room where there are too many.
#[derive(Debug)]
pub(super) struct Log {
    arrivals: VecDeque<Arrival>,
    dropped: usize,
    limit: usize,
}

impl Log {
    pub(super) fn new(limit: usize) -> Self {
        Self { arrivals: VecDeque::new(), dropped: 0, limit }
    }

    /// Writes an arrival down and answers with the number that [`Log::at_mut`] takes.
    pub(super) fn arrived(&mut self, arrival: Arrival) -> usize {
        if self.arrivals.len() == self.limit {
            self.arrivals.pop_front();
            self.dropped += 1;
        }
        self.arrivals.push_back(arrival);
        self.dropped + self.arrivals.len() - 1
    }

    pub(super) fn at_mut(&mut self, number: usize) -> Option<&mut Arrival> {
        self.arrivals.get_mut(number.checked_sub(self.dropped)?)
    }

    pub(super) fn arrivals(&self) -> impl Iterator<Item = &Arrival> {
        self.arrivals.iter()
    }
}

/// The most arrivals of a command within any one second, whichever way they were answered.
#[must_use]
pub fn max_in_one_second<'a>(
    arrivals: impl IntoIterator<Item = &'a Arrival>,
    command: &str,
) -> usize {
    let mut times: Vec<_> =
        arrivals.into_iter().filter(|call| call.command == command).map(|call| call.at).collect();
    times.sort_unstable();
    let (mut first, mut most) = (0, 0);
    for (last, at) in times.iter().enumerate() {
        while at.saturating_sub(times[first]) >= Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

fn as_micros<S: serde::Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(at.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(ms: u64) -> Arrival {
        Arrival {
            at: Duration::from_millis(ms),
            wall: Timestamp(0),
            command: "x".into(),
            group_id: "g".into(),
            topic_id: "".into(),
            seqs: vec![],
            answer: None,
            fault: None,
        }
    }

    #[test]
    fn the_fullest_second_is_found_wherever_it_starts() {
        let check = |times: &[u64], most| {
            let arrivals: Vec<_> = times.iter().copied().map(arrival).collect();
            assert_eq!(max_in_one_second(&arrivals, "x"), most, "{times:?}");
            assert_eq!(max_in_one_second(&arrivals, "y"), 0);
        };
        check(&[], 0);
        check(&[0, 1000, 2000], 1);
        check(&[0, 999], 2);
        check(&[0, 600, 1100, 1500, 1599, 2200], 4);
        check(&[1599, 0, 1500, 600, 1100, 2200], 4);
    }

    #[test]
    fn numbers_stay_good_while_the_oldest_make_room() {
        let mut log = Log::new(2);
        let numbers: Vec<_> = (0..3).map(|ms| log.arrived(arrival(ms))).collect();
        assert!(log.at_mut(numbers[0]).is_none());
        assert_eq!(log.at_mut(numbers[2]).unwrap().at, Duration::from_millis(2));
        assert_eq!(log.arrivals().count(), 2);
    }
}
