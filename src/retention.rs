//! Letting go: texts and rows that are old enough, and what a person wrote who wants it gone.
//!
//! A few messages a transaction, so that callbacks never wait for it; broken off at any point, it goes
//! on where it ended.

use std::time::Duration;

use crate::model::{Timestamp, UserId};
use crate::store::{By, Cutoffs, Error, Pruned, QUELL, Store};

/// Messages a transaction.
const AT_ONCE: usize = 500;
/// Between two transactions, for others.
const PAUSE: Duration = Duration::from_millis(2);
/// Attempts to have the write-ahead log overwritten while somebody reads an old state.
const SCRUBS: u32 = 50;
/// Between two of these.
const SCRUB_AGAIN: Duration = Duration::from_millis(100);
/// A day, as retention counts it.
const DAY: Duration = Duration::from_hours(24);

/// How long what is kept, in days; 0 for ever.
#[derive(Clone, Copy, Debug)]
pub struct Days {
    pub text: u32,
    pub matched_text: u32,
    pub rows: u32,
}

impl Days {
    /// What is too old by now.
    #[must_use]
    pub fn cutoffs(self, now: Timestamp) -> Cutoffs {
        let before = |days: u32| (days > 0).then(|| now.before(DAY * days));
        Cutoffs {
            text: before(self.text),
            matched_text: before(self.matched_text),
            rows: before(self.rows),
        }
    }
}

/// What erasing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    pub messages: u64,
    pub quarantined: u64,
    /// Whether the file and its log hold nothing of it any more. A reader that keeps an old state open
    /// can stand in the way; the log is overwritten once it is gone.
    pub scrubbed: bool,
}

/// Takes away what a sender wrote, and records that it was done. `progress` is told how many messages
/// are done.
pub async fn erase(
    store: &dyn Store,
    by: &By,
    sender: &UserId,
    mut progress: impl FnMut(u64),
) -> Result<Erasure, Error> {
    let (mut messages, mut after) = (0, 0);
    while let Some(erased) = store.erase_some(sender, after, AT_ONCE).await? {
        (messages, after) = (messages + erased.messages, erased.after);
        progress(messages);
        tokio::time::sleep(PAUSE).await;
    }
    let quarantined = store.erase_quarantined(sender).await?;
    // Answers that are kept may hold a message's text.
    store.forget_answers().await?;
    let detail = serde_json::json!({
        "sender": sender, "messages": messages, "quarantined": quarantined,
    });
    store.note_removal(by, "erase", detail.to_string()).await?;
    Ok(Erasure { messages, quarantined, scrubbed: scrub(store).await? })
}

/// Takes away what is older than wanted, and records it where an operator asked or there was anything. `progress` is told
/// what is done.
pub async fn prune(
    store: &dyn Store,
    by: &By,
    before: Cutoffs,
    mut progress: impl FnMut(Pruned),
) -> Result<Pruned, Error> {
    let mut all = Pruned::default();
    loop {
        let pruned = store.prune_some(before, AT_ONCE).await?;
        all.texts += pruned.texts;
        all.rows += pruned.rows;
        progress(all);
        if !pruned.more {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    if all.texts + all.rows > 0 || by.actor != QUELL {
        let detail = serde_json::json!({ "texts": all.texts, "rows": all.rows });
        store.note_removal(by, "prune", detail.to_string()).await?;
    }
    Ok(all)
}

async fn scrub(store: &dyn Store) -> Result<bool, Error> {
    for _ in 0..SCRUBS {
        if store.scrub().await? {
            return Ok(true);
        }
        tokio::time::sleep(SCRUB_AGAIN).await;
    }
    Ok(false)
}
