//! Spends the budget of history calls.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::page::{Account, Asked, Stretch as Told};
use super::probes::Probe;
use super::work::{Picker, Stretch, Work};
use super::{Scope, Shared, lock, metrics, reread, unless_logged};
use crate::chat::client::{Answer, CallResult, Finished, MAX_HISTORY, Page};
use crate::chat::error::{Class, meaning};
use crate::model::{MsgSeq, Timestamp};
use crate::store::{
    Backfill, BackfillStep, Conversation, Error, Explained, Recalled, Recorded, StepOutcome,
    Unexplained,
};

/// Calls under way at once. 50 calls a second that take 100 ms each need five.
const AT_ONCE: usize = 16;
/// Without a sign that there is more to do, the next look comes after this.
const IDLE: Duration = Duration::from_secs(1);
/// Between attempts, first and at the most.
const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(5)];
/// A code that may be about one conversation alone is believed after so many attempts.
const BELIEVED_AFTER: u32 = 4;
/// ... unless nothing else was answered either for so long: then it is about everything.
const NOTHING_ANSWERED: Duration = Duration::from_mins(5);
/// After so many calls in a row without an answer that tells anything, all of them wait.
const UNREACHABLE_AFTER: u32 = 5;
/// Below so many pages in a row of what has expired or was never stored, nothing else is sought; the
/// second number is for what quell looks up by itself, which was sent lately.
const BARREN: [u32; 2] = [50, 5];
/// While nothing works until a person changes something.
const HALT: Duration = Duration::from_secs(30);
/// The answer would have been larger than 1 MB (page `errors`): ask for less.
const TOO_LARGE: i64 = 10_018;

/// What stands in the way of every call.
#[derive(Default)]
pub(super) struct Trouble {
    failures: u32,
    told: bool,
    /// When Chat last told of a history.
    answered_at: Option<Instant>,
}

/// Why nothing came.
struct Failure {
    why: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Passes by itself.
    Later,
    /// May be about this conversation, or about everything.
    Perhaps,
    /// Will never come.
    Never,
}

pub(super) async fn pull_all(shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let busy = Arc::new(Mutex::new(HashSet::new()));
    let mut picker = Picker::new();
    let stop = shared.stop.clone();
    let pulling = async {
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let under_way = lock(&busy).clone();
            let work = picker.next(&shared, &under_way).await;
            let Some(work) = unless_logged(work, "what to pull cannot be read").flatten() else {
                drop(slot);
                let idle = idle(&shared);
                tokio::select! {
                    () = tokio::time::sleep(idle) => {}
                    () = shared.wake.notified() => tokio::time::sleep(picker.rest()).await,
                }
                continue;
            };
            // In this order: a permit is for a call that leaves right then.
            shared.client.connected(AT_ONCE / 2).await;
            shared.permit().await;
            let key = work.busy();
            if let Some(key) = key {
                lock(&busy).insert(key);
            }
            let (shared, busy) = (Arc::clone(&shared), Arc::clone(&busy));
            shared.tasks.clone().spawn(async move {
                pull(&shared, work).await;
                if let Some(key) = key {
                    lock(&busy).remove(&key);
                }
                drop(slot);
                shared.wake.notify_one();
            });
        }
    };
    stop.run_until_cancelled(pulling).await;
}

/// How long there is nothing to do, unless somebody says otherwise.
fn idle(shared: &Shared) -> Duration {
    let now = shared.clock.now();
    let next = lock(&shared.probes).next_at();
    let until = next.map(|at| u64::try_from(at.millis() - now.millis()).unwrap_or(0));
    until.map_or(IDLE, |millis| IDLE.min(Duration::from_millis(millis.max(20))))
}

async fn pull(shared: &Shared, work: Work) {
    let done = match work {
        Work::Gap(stretch) => gap(shared, stretch).await,
        Work::Probe(asked) => probe(shared, asked).await,
        Work::Backfill(next) => backfill(shared, next).await,
        Work::Reread(stretch) => second_look(shared, stretch).await,
    };
    unless_logged(done, "what history tells cannot be recorded yet");
}

async fn gap(shared: &Shared, stretch: Stretch) -> Result<(), Error> {
    let Stretch { conversation: id, from, to, missing_from, attempts } = stretch;
    let Some(conversation) = shared.store.conversation(id).await? else { return Ok(()) };
    let asked = Asked {
        to: Some(to),
        from: Some(missing_from),
        number: wanted(from, to),
        not_before: Timestamp::default(),
    };
    let failed = match call(shared, &conversation, asked).await {
        Ok(page) => match Told::of(page, asked) {
            Some(told) => match account(shared, &conversation, told).await {
                Ok(_) => return Ok(()),
                Err(error) => Failure { why: error.to_string(), kind: Kind::Later },
            },
            None => Failure { why: "an empty answer".to_owned(), kind: Kind::Perhaps },
        },
        Err(failure) => failure,
    };
    let now = shared.clock.now();
    let give_up = failed.is_final(shared, attempts);
    if give_up {
        metrics::unrepairable(to - from + 1);
        tracing::warn!(
            group.id = %conversation.group_id,
            topic.id = %conversation.topic_id,
            from,
            to,
            why = failed.why,
            "missing messages cannot be pulled"
        );
    }
    shared
        .store
        .unexplained(Unexplained {
            conversation_id: id,
            from_seq: from,
            to_seq: to,
            reason: failed.why,
            due_at: now.after(backoff(attempts)),
            give_up,
            at: now,
        })
        .await
}

/// Asks a quiet conversation for its newest messages.
async fn probe(shared: &Shared, probe: Probe) -> Result<(), Error> {
    let id = probe.conversation;
    let again = |shared: &Shared| {
        let at = shared.clock.now().after(HALT);
        lock(&shared.probes).again(probe, at);
    };
    let done = async {
        let Some(conversation) = shared.store.conversation(id).await? else { return Ok(true) };
        let not_before = shared.store.watching_since().await?;
        let asked = Asked { to: None, from: None, number: MAX_HISTORY, not_before };
        match call(shared, &conversation, asked).await {
            Ok(page) => {
                if let Some(told) = Told::of(page, asked) {
                    lock(&shared.ledger).newest(id, told.to);
                    account(shared, &conversation, told).await?;
                }
                Ok(true)
            }
            // Where the next probe fails the same way, no harm is done by its being the next one.
            Err(failure) => Ok(failure.is_final(shared, BELIEVED_AFTER)),
        }
    };
    match done.await {
        Ok(true) => {
            if !lock(&shared.probes).done(probe, shared.clock.now()) {
                lock(&shared.ledger).let_sleep(id);
            }
            Ok(())
        }
        Ok(false) => {
            again(shared);
            Ok(())
        }
        Err(error) => {
            again(shared);
            Err(error)
        }
    }
}

async fn backfill(shared: &Shared, backfill: Backfill) -> Result<(), Error> {
    let Backfill { conversation, from_seq, next_seq, not_before, .. } = &backfill;
    let asked = Asked {
        to: (*next_seq > 0).then_some(*next_seq),
        from: Some((*from_seq).max(1)),
        number: if *next_seq > 0 { wanted((*from_seq).max(1), *next_seq) } else { MAX_HISTORY },
        not_before: *not_before,
    };
    let mut counted = Counted::default();
    let outcome = match call(shared, conversation, asked).await {
        Ok(page) => match Told::of(page, asked) {
            Some(told) => {
                let from = told.from;
                let more = told.more && !shared.is_barren(&backfill, told.barren);
                match account(shared, conversation, told).await {
                    Ok(done) => {
                        counted = done;
                        if more && from > 1 {
                            StepOutcome::Next(from - 1)
                        } else {
                            StepOutcome::Done(format!("read down to {from}"))
                        }
                    }
                    Err(error) => again(shared, &backfill, error.to_string()),
                }
            }
            None => StepOutcome::Done("history holds nothing more".to_owned()),
        },
        Err(failure) if failure.is_final(shared, backfill.attempts) => {
            StepOutcome::Failed(failure.why)
        }
        Err(failure) => again(shared, &backfill, failure.why),
    };
    let step = BackfillStep {
        backfill_id: backfill.backfill_id,
        outcome,
        recorded: counted.recorded,
        recalls: counted.recalls,
        at: shared.clock.now(),
    };
    if !matches!(step.outcome, StepOutcome::Next(_)) {
        lock(&shared.barren).remove(&backfill.backfill_id);
    }
    shared.store.backfilled(step).await
}

impl Shared {
    /// Whether a backfill found nothing to see for so long that there is nothing below either.
    fn is_barren(&self, backfill: &Backfill, this: bool) -> bool {
        let mut barren = lock(&self.barren);
        let pages = barren.entry(backfill.backfill_id).or_default();
        *pages = if this { *pages + 1 } else { 0 };
        *pages >= BARREN[usize::from(backfill.own)]
    }
}

fn again(shared: &Shared, backfill: &Backfill, why: String) -> StepOutcome {
    let due_at = shared.clock.now().after(backoff(backfill.attempts));
    StepOutcome::Again { why, due_at }
}

async fn second_look(shared: &Shared, stretch: Stretch) -> Result<(), Error> {
    let id = stretch.conversation;
    let Some(conversation) = shared.store.conversation(id).await? else { return Ok(()) };
    let asked = Asked {
        to: Some(stretch.to),
        from: Some(stretch.from),
        number: wanted(stretch.from, stretch.to),
        not_before: Timestamp::default(),
    };
    match call(shared, &conversation, asked).await {
        Ok(page) => reread::compare(shared, &conversation, stretch, page).await,
        Err(failure) => {
            if !failure.is_final(shared, stretch.attempts) && stretch.attempts < BELIEVED_AFTER {
                let again = Stretch { attempts: stretch.attempts + 1, ..stretch };
                lock(&shared.reread_again).push_back(again);
            }
            tracing::debug!(why = failure.why, "messages could not be read once more");
            Ok(())
        }
    }
}

/// What came of a page.
#[derive(Clone, Copy, Default)]
struct Counted {
    /// Messages that no callback had brought.
    recorded: u32,
    /// Of these, how many got a recall job.
    recalls: u32,
}

/// Records what a page tells that was not known.
async fn account(
    shared: &Shared,
    conversation: &Conversation,
    told: Told,
) -> Result<Counted, Error> {
    let id = conversation.conversation_id;
    let (from, to) = (told.from, told.to);
    let known = shared.store.known(id, from, to).await?;
    let Account { mut messages, runs, recalled } = told.account(&known);
    for message in &mut messages {
        message.group_type.clone_from(&conversation.group_type);
    }
    let at = shared.clock.now();
    let explained =
        Explained { conversation_id: id, from_seq: from, to_seq: to, runs: runs.clone(), at };
    let mut counted = Counted::default();
    for taken in shared.intake.take_history(messages, explained).await? {
        if taken.recorded == Recorded::New {
            counted.recorded += 1;
            counted.recalls += u32::from(taken.recall);
        }
    }
    for (from, to, finding) in runs {
        metrics::explained(finding, to - from + 1);
    }
    lock(&shared.ledger).cover(id, from, to);
    shared.note.notify_one();
    if !recalled.is_empty() {
        let recalled = Recalled {
            group_id: conversation.group_id.clone(),
            topic_id: conversation.topic_id.clone(),
            seqs: recalled,
            // History does not tell who did it. Where an attempt of ours ended unclear, it was we.
            ours: true,
            operator: "somebody, as history shows".into(),
            at,
        };
        shared.store.recalled(recalled).await?;
    }
    Ok(counted)
}

/// Entries to ask for, so that a stretch is covered.
fn wanted(from: MsgSeq, to: MsgSeq) -> u32 {
    u32::try_from(to + 1 - from).unwrap_or(MAX_HISTORY).clamp(1, MAX_HISTORY)
}

fn backoff(attempts: u32) -> Duration {
    BACKOFF[0].saturating_mul(2_u32.saturating_pow(attempts.min(16))).min(BACKOFF[1])
}

/// Pulls one page. The permit for the first attempt has been taken.
async fn call(shared: &Shared, conversation: &Conversation, asked: Asked) -> Result<Page, Failure> {
    let mut renewed = false;
    let mut number = asked.number;
    loop {
        let Conversation { group_id, topic_id, .. } = conversation;
        let answer = match shared.client.history(group_id, topic_id, asked.to, number).await {
            CallResult::Answered(answer) => answer,
            CallResult::NotSent { why } => return Err(unreachable(shared, why)),
            CallResult::Unclear { why, .. } => return Err(unreachable(shared, why.to_string())),
        };
        metrics::called(&answer.error_code.to_string());
        let class = answer.class();
        if class == Class::Done {
            clear(shared);
            let mut page = answer.value;
            if page.unreadable > 0 {
                tracing::warn!(
                    group.id = %group_id,
                    topic.id = %topic_id,
                    entries = page.unreadable,
                    "history holds what cannot be read"
                );
            }
            if number < asked.number && page.finished == Finished::All {
                // All of the fewer that were asked for.
                page.finished = Finished::More;
            }
            return Ok(page);
        }
        if answer.error_code == TOO_LARGE && number > 1 {
            number = number.div_ceil(4);
        } else if class == Class::Credential && !renewed {
            renewed = true;
            shared.client.renew_user_sig();
        } else {
            return Err(refused(shared, class, &answer));
        }
        if shared.stop.run_until_cancelled(shared.permit()).await.is_none() {
            return Err(Failure { why: "stopped".to_owned(), kind: Kind::Later });
        }
    }
}

fn refused(shared: &Shared, class: Class, answer: &Answer<Page>) -> Failure {
    let why = format!("{}: {}", answer.error_code, meaning(answer.error_code));
    let kind = match class {
        Class::RateLimited { wait } => {
            shared.limiter.slow_down(wait);
            Kind::Later
        }
        // Whoever asked waits for it, and can ask again.
        Class::Configuration | Class::Credential if shared.is_errand() => Kind::Never,
        Class::Configuration | Class::Credential => {
            halt(shared, &why);
            Kind::Later
        }
        Class::GroupGone | Class::Refused => Kind::Never,
        Class::NotPermitted | Class::Gone | Class::Dead | Class::Unknown => {
            let in_a_row = {
                let mut trouble = lock(&shared.trouble);
                trouble.failures = trouble.failures.saturating_add(1);
                trouble.failures
            };
            if in_a_row >= UNREACHABLE_AFTER && !shared.is_answered() {
                halt(shared, &why);
            }
            Kind::Perhaps
        }
        Class::Done | Class::Retry | Class::GroupBusy => Kind::Later,
    };
    Failure { why, kind }
}

/// Lets no call leave for a while, and tells once.
fn halt(shared: &Shared, why: &str) {
    shared.limiter.hold(HALT);
    if !std::mem::replace(&mut lock(&shared.trouble).told, true) {
        tracing::error!(why, "history cannot be pulled until somebody mends this");
    }
}

impl Shared {
    /// Whether Chat told of any history lately.
    fn is_answered(&self) -> bool {
        let answered_at = lock(&self.trouble).answered_at;
        answered_at.is_some_and(|at| at.elapsed() < NOTHING_ANSWERED)
    }

    /// Whether somebody waits for the end of it.
    fn is_errand(&self) -> bool {
        self.options.scope == Scope::Backfills
    }
}

fn unreachable(shared: &Shared, why: String) -> Failure {
    metrics::called("none");
    let mut trouble = lock(&shared.trouble);
    trouble.failures = trouble.failures.saturating_add(1);
    if trouble.failures >= UNREACHABLE_AFTER {
        let wait = backoff(trouble.failures - UNREACHABLE_AFTER).min(HALT);
        shared.limiter.hold(wait);
    }
    Failure { why, kind: Kind::Later }
}

fn clear(shared: &Shared) {
    let answered_at = Some(Instant::now());
    *lock(&shared.trouble) = Trouble { answered_at, ..Trouble::default() };
}

impl Failure {
    fn is_final(&self, shared: &Shared, attempts: u32) -> bool {
        self.kind.is_final(attempts, shared.is_answered(), shared.is_errand())
    }
}

impl Kind {
    /// Whether it is given up, after so many attempts before this one. `answered`: others are
    /// answered; `errand`: somebody waits for the end of it.
    fn is_final(self, attempts: u32, answered: bool, errand: bool) -> bool {
        let often = attempts + 1 >= BELIEVED_AFTER;
        match self {
            Self::Never => true,
            Self::Perhaps => often && (answered || errand),
            Self::Later => often && errand,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_given_up_while_everything_fails() {
        for (kind, attempts, answered, errand, expected) in [
            (Kind::Never, 0, false, false, true),
            (Kind::Perhaps, 2, true, false, false),
            (Kind::Perhaps, 3, true, false, true),
            // An account without rights is refused everywhere: that is mended, and then it goes on.
            (Kind::Perhaps, 1000, false, false, false),
            (Kind::Later, 1000, true, false, false),
            // Whoever waits at a terminal is told.
            (Kind::Perhaps, 3, false, true, true),
            (Kind::Later, 2, false, true, false),
            (Kind::Later, 3, false, true, true),
        ] {
            let is_final = kind.is_final(attempts, answered, errand);
            assert_eq!(is_final, expected, "{attempts} {answered} {errand}");
        }
    }
}
