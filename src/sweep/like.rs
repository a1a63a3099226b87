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
    /// Group, and topic if any: either may hold a slash.
    place: String,
    seq: MsgSeq,
    since: Timestamp,
}

impl Like {
    pub(super) fn parse(text: &str, since: Timestamp) -> Result<Self, Error> {
        let parts = text.rsplit_once('/').filter(|(place, _)| !place.is_empty());
        let seq = |text: &str| text.parse::<u32>().ok().filter(|seq| *seq > 0);
        match parts.and_then(|(place, text)| Some((place, seq(text)?))) {
            Some((place, seq)) => Ok(Self { place: place.to_owned(), seq: seq.into(), since }),
            None => Err(Error::Invalid(format!(
                "{text:?} names no message: write GROUP/SEQ or GROUP/TOPIC/SEQ"
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
        let text = page.map(JudgedPage::messages).transpose()?.and_then(|mut page| page.pop());
        let text = text.map(|judged| judged.message.text.as_str().to_owned()).unwrap_or_default();
        let model = Likeness::of(&text);
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
        let splits =
            self.place.match_indices('/').map(|(at, _)| (&self.place[..at], &self.place[at + 1..]));
        for (group, topic) in std::iter::once((self.place.as_str(), "")).chain(splits) {
            let which = Meant::Sequences {
                group: group.to_owned(),
                topic: topic.to_owned(),
                seqs: vec![self.seq],
                at: self.since,
            };
            let found = store.meant(&which, 1).await?;
            if let Some(message_id) = found.first().and_then(|message| message.message_id) {
                return Ok(message_id);
            }
        }
        Err(Error::Invalid(format!("no message {} of {} is recorded", self.seq, self.place)))
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
