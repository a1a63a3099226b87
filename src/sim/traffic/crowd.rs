//! Who writes where: many groups of every type, a few of them busy, most of them quiet.

use rand::Rng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;

use crate::model::{GroupId, TopicId, UserId};

/// A group takes this many messages a second, all types together; more is dropped by Chat
/// (page `limits`), so a crowd that wants to be heard does not send it.
const GROUP_MESSAGES_PER_SECOND: u32 = 40;

/// A group, or a topic of one.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) group_id: GroupId,
    pub(super) topic_id: TopicId,
    pub(super) group_type: &'static str,
}

#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) places: Vec<Place>,
    popularity: WeightedIndex<f64>,
    /// Messages of each place within the second that `second` numbers.
    said: Vec<u32>,
    second: u64,
}

impl Crowd {
    /// Enough groups for a rate to fit into what groups take.
    pub(super) fn for_rate(rate: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let groups = (rate / 8.0).clamp(40.0, 20_000.0) as usize;
        let places: Vec<_> = (0..groups).map(place).collect();
        #[expect(clippy::cast_precision_loss, reason = "ranks are small")]
        let weights = (0..groups).map(|rank| 1.0 / (rank as f64 + 5.0));
        let popularity = WeightedIndex::new(weights).expect("there are groups, each with a weight");
        Self { said: vec![0; places.len()], places, popularity, second: 0 }
    }

    /// Where the next message goes: an index into `places`. Busy groups are skipped for the rest
    /// of the second.
    pub(super) fn place(&mut self, second: u64, rng: &mut StdRng) -> usize {
        if second != self.second {
            self.second = second;
            self.said.fill(0);
        }
        let drawn = self.popularity.sample(rng);
        let count = self.places.len();
        let free = (0..count).map(|step| (drawn + step) % count);
        let at = free.into_iter().find(|at| self.said[*at] < GROUP_MESSAGES_PER_SECOND);
        let at = at.unwrap_or(drawn);
        self.said[at] += 1;
        at
    }
}

fn place(rank: usize) -> Place {
    let (prefix, group_type) = match rank % 10 {
        3 => ("live-room-", "AVChatRoom"),
        5 => ("@TGS#2MEET", "ChatRoom"),
        7 => ("@TGS#_@TGS#cDEMO", "Community"),
        8 => ("@TGS#2WORK", "Private"),
        _ => ("@TGS#2PUB", "Public"),
    };
    let group_id = format!("{prefix}{rank}");
    let topic_id = match group_type {
        "Community" => format!("{group_id}@TOPIC#_talk"),
        _ => String::new(),
    };
    Place { group_id: group_id.into(), topic_id: topic_id.into(), group_type }
}

/// One of a few thousand members.
pub(super) fn member(rng: &mut StdRng) -> UserId {
    format!("member{}", rng.random_range(0..5000)).into()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn no_group_is_asked_for_more_than_it_takes() {
        let mut crowd = Crowd::for_rate(2000.0);
        let mut rng = StdRng::seed_from_u64(1);
        for second in 0..3 {
            let mut said = vec![0; crowd.places.len()];
            for _ in 0..2000 {
                said[crowd.place(second, &mut rng)] += 1;
            }
            assert!(said.iter().all(|said| *said <= 40));
            assert!(said[0] > 20 && said[200] < said[0], "some are busier than others");
        }
    }
}
