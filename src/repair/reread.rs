//! A second look at messages, since no callback tells of an edit.
//!
//! Each message is read from history once more, some time after it came. Where its text is another by
//! then, that content is judged and kept beside the first, like any other content under a known
//! sequence. Costs a call for every twenty sequences of a group, so it is off unless asked for.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::work::Stretch;
use super::{Shared, lock, metrics, unless_logged};
use crate::chat::client::{EntryKind, MAX_HISTORY, Page};
use crate::model::{Element, Message, MsgSeq};
use crate::store::{Conversation, ConversationId, Error, Recorded, Seen};

/// Messages looked at in one round.
const ROUND: usize = 2_000;

/// After a start, messages this much older are still read once more ...
const LOOK_BACK: Duration = Duration::from_hours(1);
/// ... but no more of them than this.
const REREAD_AT_MOST: usize = 200_000;

/// How far the second look has come.
#[derive(Default)]
pub(super) struct Rereading {
    /// `None` until the store was asked.
    through: Option<i64>,
    /// Where the round that is under way ends.
    round_ends: i64,
    waiting: VecDeque<Stretch>,
}

impl Rereading {
    /// The next stretch to be read once more.
    pub(super) async fn next(&mut self, shared: &Shared) -> Result<Option<Stretch>, Error> {
        let wait = shared.options.reread_after;
        if wait.is_zero() {
            return Ok(None);
        }
        if let Some(stretch) = self.waiting.pop_front() {
            return Ok(Some(stretch));
        }
        if let Some(stretch) = lock(&shared.reread_again).pop_front() {
            return Ok(Some(stretch));
        }
        let through = match self.through {
            None => {
                // What came long before is not caught up on, however long this was switched off.
                let since = shared.clock.now().before(wait + LOOK_BACK);
                let recent = shared.store.message_before(since, REREAD_AT_MOST).await?;
                recent.max(shared.store.reread_through().await?)
            }
            Some(_) => self.round_ends,
        };
        if self.through != Some(through) {
            shared.store.set_reread_through(through).await?;
            self.through = Some(through);
        }
        let before = shared.clock.now().before(wait);
        let mut seen = shared.store.seen_after(through, ROUND).await?;
        let ripe = seen.iter().position(|seen| seen.received_at > before).unwrap_or(seen.len());
        seen.truncate(ripe);
        self.round_ends = seen.last().map_or(through, |last| last.message_id);
        self.waiting = stretches(&seen);
        Ok(self.waiting.pop_front())
    }
}

/// Pages that hold these messages, for each conversation from its oldest on.
fn stretches(seen: &[Seen]) -> VecDeque<Stretch> {
    let mut by_conversation: BTreeMap<ConversationId, Vec<MsgSeq>> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| seen.has_history) {
        by_conversation.entry(seen.conversation_id).or_default().push(seen.msg_seq);
    }
    let mut stretches = VecDeque::new();
    for (conversation, mut seqs) in by_conversation {
        seqs.sort_unstable();
        let mut open: Option<Stretch> = None;
        for seq in seqs {
            if let Some(stretch) = &mut open
                && seq - stretch.from < MsgSeq::from(MAX_HISTORY)
            {
                stretch.to = seq;
            } else {
                stretches.extend(open.replace(Stretch {
                    conversation,
                    from: seq,
                    to: seq,
                    missing_from: seq,
                    attempts: 0,
                }));
            }
        }
        stretches.extend(open);
    }
    stretches
}

/// Compares a page with what is stored, and has what differs judged.
pub(super) async fn compare(
    shared: &Shared,
    conversation: &Conversation,
    stretch: Stretch,
    page: Page,
) -> Result<(), Error> {
    let Stretch { conversation: id, from, to, .. } = stretch;
    let stored = shared.store.stored_messages(id, from, to).await?;
    for entry in page.entries {
        let EntryKind::Message(mut message) = entry.kind else { continue };
        let before = stored.iter().find(|stored| stored.key.msg_seq == entry.msg_seq);
        let Some(before) = before.filter(|before| is_edited(before, &message)) else { continue };
        message.group_type.clone_from(&conversation.group_type);
        message.platform.clone_from(&before.platform);
        let taken = shared.intake.take_edited(*message).await;
        let taken = unless_logged(taken, "an edited message cannot be recorded yet");
        if taken.is_some_and(|taken| taken.recorded == Recorded::Conflict) {
            metrics::edited();
        }
    }
    Ok(())
}

/// Whether what rules read has changed. Parts that history may leave out do not count, and where the text
/// is not kept there is nothing to compare.
fn is_edited(before: &Message, now: &Message) -> bool {
    let is_blank = |element: &Element| element.content["Text"] == "";
    if before.text.is_empty() && before.elements.iter().all(is_blank) {
        return false;
    }
    let said = |message: &Message| -> Vec<_> {
        message
            .elements
            .iter()
            .map(|element| (element.msg_type.clone(), element.content.clone()))
            .collect()
    };
    let left_out = now.cloud_custom_data.is_empty() && !before.cloud_custom_data.is_empty();
    before.sender == now.sender
        && if left_out { said(before) != said(now) } else { before.text != now.text }
}
