//! Messages by a key whose index goes by stretches of messages.
//!
//! An index by sender alone has a random page for nearly every message that is recorded; one by stretches
//! first has the pages of the newest stretch alone (migration 0007 tells what that saves). It gives a key's
//! messages in their order within a stretch, so whoever wants them in the order of recording goes from one
//! stretch to the one before, until there are enough. That costs a look into the index for each stretch, be
//! the key in it or not.

use serde_json::json;
use sqlx::{AssertSqlSafe, Row, SqlitePool};

use super::open::unavailable;
use crate::store::Error;

/// The messages of a stretch have numbers that differ in so many of their lowest bits alone, as the indexes
/// have it.
pub(super) const STRETCH_BITS: u32 = 9;
/// Stretches of the first statement of a walk, and by how many times more the next ones have: a key that is
/// everywhere is found at once, one that is rare in few statements.
const FIRST: i64 = 8;
const GROWTH: i64 = 4;
/// Looks into the index of one walk.
const MOST_LOOKS: i64 = 10_000;

/// A key that messages are sought by.
#[derive(Clone, Debug)]
pub(super) struct Stretches {
    /// Goes by stretches, then by the key.
    pub index: &'static str,
    /// The key as a condition on the message `m`; ?1 is what is wanted.
    pub condition: &'static str,
    pub wanted: String,
    /// Looks that a stretch takes.
    pub looks: i64,
}

/// What was found of a list that goes from the highest id to the lowest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Highest first.
    pub ids: Vec<i64>,
    /// Nothing was left out from here on.
    pub through: i64,
    /// What it cost beside the ids, in rows that could have been read for it.
    pub looks: usize,
}

impl Stretches {
    /// The messages of conversations.
    pub(super) fn of_conversations(conversations: &[i64]) -> Self {
        Self {
            index: "messages_key",
            condition: "m.conversation_id in (select value from json_each(?1))",
            wanted: json!(conversations).to_string(),
            looks: i64::try_from(conversations.len()).unwrap_or(i64::MAX),
        }
    }

    /// The messages that a sender wrote.
    pub(super) fn of_sender(sender: &str) -> Self {
        Self {
            index: "messages_sender",
            condition: "m.sender = ?1",
            wanted: sender.to_owned(),
            looks: 1,
        }
    }

    /// The highest ids from one on and below another one, so many of them, or fewer where seeking more
    /// takes too long: `through` says how far it went.
    pub(super) async fn ids(
        &self,
        pool: &SqlitePool,
        from: i64,
        end: i64,
        most: usize,
    ) -> Result<Found, Error> {
        let ends = sqlx::query(
            "select coalesce((select min(message_id) from messages), 1),
                 coalesce((select max(message_id) from messages), 0) + 1",
        )
        .fetch_one(pool)
        .await
        .map_err(unavailable)?;
        let mut found = Found { through: from, ..Found::default() };
        let (from, mut upper) = (from.max(ends.get(0)), end.min(ends.get(1)));
        let (mut at_once, mut spent) = (FIRST, 0);
        while upper > from && found.ids.len() < most {
            if spent >= MOST_LOOKS {
                found.through = upper;
                break;
            }
            // The stretch of the highest id that is left, and those before it.
            let last = (upper - 1) >> STRETCH_BITS;
            let first = (last - at_once + 1).max(from >> STRETCH_BITS);
            let lower = (first << STRETCH_BITS).max(from);
            let left = most - found.ids.len();
            found.ids.extend(self.within(pool, (first, last), (lower, upper), left).await?);
            spent += (last - first + 1) * self.looks;
            upper = lower;
            at_once *= GROWTH;
        }
        if found.ids.len() == most {
            found.through = found.ids.last().copied().unwrap_or(upper);
        }
        found.looks = usize::try_from(spent).unwrap_or(usize::MAX);
        Ok(found)
    }

    async fn within(
        &self,
        pool: &SqlitePool,
        (first, last): (i64, i64),
        (lower, upper): (i64, i64),
        most: usize,
    ) -> Result<Vec<i64>, Error> {
        let Self { index, condition, .. } = self;
        let sql = format!(
            "with recursive stretch (number) as (
                 select ?3 union all select number - 1 from stretch where number > ?2)
             select m.message_id from stretch cross join messages m indexed by {index}
                 on (m.message_id >> {STRETCH_BITS}) = stretch.number and {condition}
             where m.message_id >= ?4 and m.message_id < ?5
             order by m.message_id desc limit ?6"
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(self.wanted.as_str())
            .bind(first)
            .bind(last)
            .bind(lower)
            .bind(upper)
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(pool)
            .await
            .map_err(unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::open::connect_for_tests;
    use crate::store::sqlite::{Options, open};
    use crate::store::{Cases, Figures};

    /// Messages of somebody else but for those with these numbers.
    async fn messages(theirs: &[i64]) -> (crate::store::sqlite::Sqlite, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::at(&folder.path().join("quell.db"));
        let store = open(&options).await.unwrap();
        let mut connection = connect_for_tests(&options).await;
        for (id, sender) in theirs.iter().flat_map(|id| [(id * 2, "theirs"), (id * 2 + 1, "other")])
        {
            sqlx::query(
                "insert into messages values (?1, 1, ?1, ?2, 0, 0, 0, 0, 0, 1, '', '', null, '',
                     null, x'')",
            )
            .bind(id)
            .bind(sender)
            .execute(&mut connection)
            .await
            .unwrap();
        }
        (store, folder)
    }

    #[tokio::test]
    async fn a_walk_finds_everything_between_two_ids_highest_first() {
        let stretch = 1 << STRETCH_BITS;
        let halves =
            [1, 2, 7, stretch / 2 - 1, stretch / 2, 3 * stretch, 90 * stretch, 91 * stretch];
        let (store, _folder) = messages(&halves).await;
        let walk = Stretches::of_sender("theirs");
        let all: Vec<i64> = halves.iter().rev().map(|half| half * 2).collect();
        let ends = [i64::MIN, 2, 3, stretch - 1, stretch, 5 * stretch, 182 * stretch, i64::MAX];
        for from in ends {
            for end in ends {
                let meant: Vec<_> =
                    all.iter().copied().filter(|id| (from..end).contains(id)).collect();
                let found = walk.ids(&store.readers, from, end, 100).await.unwrap();
                assert_eq!((found.ids, found.through), (meant.clone(), from), "{from} {end}");
                let some = walk.ids(&store.readers, from, end, 3).await.unwrap();
                assert_eq!(some.ids, meant[..meant.len().min(3)], "{from} {end}");
                if let [.., last] = some.ids[..]
                    && some.ids.len() == 3
                {
                    assert_eq!(some.through, last);
                }
            }
        }
        let nobody = Stretches::of_sender("nobody");
        let none = nobody.ids(&store.readers, i64::MIN, i64::MAX, 3).await.unwrap();
        assert_eq!((none.ids, none.through), (Vec::new(), i64::MIN));
    }

    #[tokio::test]
    async fn a_walk_that_takes_too_long_says_how_far_it_went() {
        let far = (MOST_LOOKS + 5_000) << STRETCH_BITS;
        let (store, _folder) = messages(&[1, far]).await;
        let walk = Stretches::of_sender("theirs");
        let first = walk.ids(&store.readers, i64::MIN, i64::MAX, 9).await.unwrap();
        assert_eq!(first.ids, [far * 2]);
        assert!(first.through > 2 && first.through < far * 2, "{first:?}");
        let (mut end, mut found) = (first.through, Vec::new());
        while end > i64::MIN {
            let more = walk.ids(&store.readers, i64::MIN, end, 9).await.unwrap();
            assert!(more.through < end);
            end = more.through;
            found.extend(more.ids);
        }
        assert_eq!(found, [2]);
    }

    #[tokio::test]
    async fn what_lies_beyond_one_walk_is_found_by_going_on() {
        let far = (MOST_LOOKS + 5_000) << STRETCH_BITS;
        let (store, folder) = messages(&[1, far]).await;
        let options = Options::at(&folder.path().join("quell.db"));
        let mut connection = connect_for_tests(&options).await;
        sqlx::query("delete from messages where message_id = ?")
            .bind(far * 2)
            .execute(&mut connection)
            .await
            .unwrap();
        assert!(store.named("theirs").await.unwrap().sender);
        assert!(!store.named("nobody").await.unwrap().sender);
        let (theirs, mut before, mut pages) = ("theirs".into(), None, 0);
        loop {
            let page = Figures::sender(&store, &theirs, before, 9).await.unwrap();
            pages += 1;
            let Some(next) = page.next else { break };
            assert!(before.is_none_or(|before| next < before));
            before = Some(next);
        }
        assert!(pages > 1);
    }
}
