//! Feeds the ledger with what is recorded, and notes what it finds.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::probes::Probes;
use super::{Shared, lock, metrics, unless_logged};
use crate::model::Timestamp;
use crate::store::{Error, Sighting, Sightings};

/// Between looks at which holes have lasted.
const TICK: Duration = Duration::from_millis(250);
/// Without anything to note, the checkpoint moves this often: a restart reads back what came since.
const CHECKPOINT: Duration = Duration::from_secs(5);
/// Rows read at once.
const PAGE: usize = 5_000;
/// While the store cannot be read, how long until the next attempt.
const TRY_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn keep(shared: Arc<Shared>, mut sightings: Sightings) {
    let checkpoint = loop {
        if let Some(checkpoint) = unless_logged(load(&shared).await, "gaps cannot be read yet") {
            break checkpoint;
        }
        let again = shared.stop.run_until_cancelled(tokio::time::sleep(TRY_AGAIN)).await;
        if again.is_none() {
            return;
        }
    };
    shared.wake.notify_one();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut noted = Noted { checkpoint, at: Instant::now() };
    let mut unsure = false;
    loop {
        let mut news = Vec::new();
        tokio::select! {
            count = sightings.recv_many(&mut news, 64) => {
                if count == 0 {
                    return;
                }
                for sighting in news {
                    unsure |= take_in(&shared, sighting);
                }
                continue;
            }
            _ = ticks.tick() => {}
            () = shared.note.notified() => {}
            () = shared.stop.cancelled() => {
                note(&shared, &mut noted, true).await;
                return;
            }
        }
        if unsure {
            unsure = replay(&shared, noted.checkpoint).await.is_err();
        }
        note(&shared, &mut noted, false).await;
    }
}

/// What was noted last.
struct Noted {
    checkpoint: i64,
    at: Instant,
}

/// Answers whether something may have been recorded without our knowing.
fn take_in(shared: &Shared, sighting: Sighting) -> bool {
    let mut ledger = lock(&shared.ledger);
    match sighting {
        Sighting::Seen(seen) => seen.iter().for_each(|seen| ledger.observe(seen)),
        Sighting::Ended(conversations) => conversations.into_iter().for_each(|at| ledger.end(at)),
        Sighting::Failed => return true,
    }
    let woken = ledger.woken();
    if !woken.is_empty() {
        let mut probes = lock(&shared.probes);
        for conversation in woken {
            if let Some(said_at) = ledger.seen_at(conversation) {
                probes.follow(conversation, said_at);
            }
        }
    }
    false
}

/// Builds the ledger from what the store holds. Answers up to where all of it had been noted.
async fn load(shared: &Shared) -> Result<i64, Error> {
    let checkpoint = shared.store.gaps_checkpoint().await?;
    let mut noted_since = Vec::new();
    let mut after = 0;
    loop {
        let page = shared.store.reached(checkpoint, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.conversation_id;
        let mut ledger = lock(&shared.ledger);
        for reached in page {
            ledger.load(&reached);
            if !reached.noted.is_empty() {
                noted_since.push((reached.conversation_id, reached.noted));
            }
        }
    }
    lock(&shared.ledger).starts_after(checkpoint);
    replay(shared, checkpoint).await?;
    let mut ledger = lock(&shared.ledger);
    for (conversation, runs) in noted_since {
        for (from, to) in runs {
            ledger.cover(conversation, from, to);
        }
    }
    let known: Vec<_> = ledger.conversations().collect();
    // Active is whoever was so before this process's predecessor ended, however long ago that was.
    let latest = known.iter().filter_map(|conversation| ledger.seen_at(*conversation)).max();
    let heard = latest.map_or(shared.clock.now(), |latest| latest.min(shared.clock.now()));
    let active_since = heard.before(shared.options.probe_active);
    let mut probes = lock(&shared.probes);
    // Each conversation is followed once, also one that woke while this was read.
    *probes = Probes::new(shared.options.probe_after, shared.options.probe_active);
    let mut asked = 0;
    for conversation in known {
        let said_at = ledger.seen_at(conversation).unwrap_or(Timestamp(0));
        if ledger.has_history(conversation) && said_at >= active_since {
            ledger.keep_awake(conversation);
            probes.ask_at_once(conversation, said_at);
            asked += 1;
        } else {
            ledger.let_sleep(conversation);
        }
    }
    tracing::info!(conversations = asked, "asking active conversations for what was missed");
    Ok(checkpoint)
}

/// Takes in once more what was recorded behind a message.
async fn replay(shared: &Shared, checkpoint: i64) -> Result<(), Error> {
    let mut after = checkpoint;
    loop {
        let page = shared.store.seen_after(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.message_id;
        take_in(shared, Sighting::Seen(page));
    }
}

async fn note(shared: &Shared, noted: &mut Noted, last: bool) {
    let due = lock(&shared.ledger).due(shared.clock.now(), shared.options.grace);
    let news = !(due.gaps.is_empty() && due.firsts.is_empty() && due.late.is_empty());
    let moved = due.checkpoint > noted.checkpoint;
    if !(news || moved && (last || noted.at.elapsed() >= CHECKPOINT)) {
        return;
    }
    match shared.store.note_gaps(due.clone()).await {
        Ok(()) => {
            *noted = Noted { checkpoint: due.checkpoint, at: Instant::now() };
            metrics::noted(&due);
            if news {
                shared.wake.notify_one();
            }
        }
        Err(error) => {
            unless_logged::<()>(Err(error), "missing sequences cannot be noted yet");
            lock(&shared.ledger).put_back(due);
        }
    }
}
