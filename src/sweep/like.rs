//! Near-duplicates of a message, over all groups.

use tokio::task::spawn_blocking;

use crate::model::{MsgSeq, Timestamp};
use crate::rules::Likeness;
use crate::store::{Error, JudgedPage, Meant, Plans, Replay, Stretch};

/// Messages read at once.
const PAGE: usize = 2_000;

/// A message, and since when others like it are sought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Like {
    of: Model,
    since: Timestamp,
}

/// What others are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Model {
    /// In the records.
    Message(i64),
    /// In the latest life of a group, and of a topic if any: either's name may hold a slash.
    Sequence { place: String, seq: MsgSeq },
}

impl Like {
    pub(super) fn parse(text: &str, since: Timestamp) -> Result<Self, Error> {
        if let Some(message) = text.parse().ok().filter(|message| *message > 0) {
            return Ok(Self { of: Model::Message(message), since });
        }
        let parts = text.rsplit_once('/').filter(|(place, _)| !place.is_empty());
        let seq = |text: &str| text.parse::<u32>().ok().filter(|seq| *seq > 0);
        match parts.and_then(|(place, text)| Some((place, seq(text)?))) {
            Some((place, seq)) => {
                let of = Model::Sequence { place: place.to_owned(), seq: seq.into() };
                Ok(Self { of, since })
            }
            None => Err(Error::Invalid(format!(
                "{text:?} names no message: write GROUP/SEQ, GROUP/TOPIC/SEQ or a message_id"
            ))),
        }
    }

    /// The ids of the message and of those like it.
    pub(super) async fn find(
        &self,
        store: &(impl Plans + Replay + ?Sized),
        most: usize,
    ) -> Result<Vec<i64>, Error> {
        let message_id = self.message(store).await?;
        let this = Stretch { after: message_id - 1, until: message_id };
        let page = store.judged(this, 1, None).await?;
        let found = page.map(JudgedPage::messages).transpose()?.and_then(|mut page| page.pop());
        let Some(found) = found else {
            return Err(Error::Invalid(format!("no message {message_id} is recorded")));
        };
        let model = Likeness::of(found.message.text.as_str());
        if model.is_empty() {
            return Err(Error::Invalid(
                "that message has no letters to compare, or its text is not kept".into(),
            ));
        }
        let mut ids = vec![message_id];
        let mut stretch = store.stretch(Some(self.since)).await?;
        while let Some(page) = store.judged(stretch, PAGE, None).await? {
            stretch.after = page.last;
            let (model, since) = (model.clone(), self.since);
            let found = spawn_blocking(move || alike(page, &model, since)).await;
            ids.extend(
                found.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?,
            );
            if ids.len() > most {
                break;
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// The id of the message itself.
    async fn message(&self, store: &(impl Plans + ?Sized)) -> Result<i64, Error> {
        let (place, seq) = match &self.of {
            Model::Message(message_id) => return Ok(*message_id),
            Model::Sequence { place, seq } => (place, *seq),
        };
        let splits = place.match_indices('/').map(|(at, _)| (&place[..at], &place[at + 1..]));
        for (group, topic) in std::iter::once((place.as_str(), "")).chain(splits) {
            let which = Meant::Sequences {
                group: group.to_owned(),
                topic: topic.to_owned(),
                seqs: vec![seq],
                at: self.since,
            };
            let found = store.meant(&which, 1).await?;
            if let Some(message_id) = found.first().and_then(|message| message.message_id) {
                return Ok(message_id);
            }
        }
        Err(Error::Invalid(format!("no message {seq} of {place} is recorded")))
    }
}

fn alike(page: JudgedPage, model: &Likeness, since: Timestamp) -> Result<Vec<i64>, Error> {
    let messages = page.messages()?.into_iter();
    let alike = messages.filter(|judged| {
        judged.message.received_at >= since
            && Likeness::of(judged.message.text.as_str()).is_near(model)
    });
    Ok(alike.map(|judged| judged.message_id).collect())
}
