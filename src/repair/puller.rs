//! Spends the budget of history calls.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::page::{Account, Asked, Stretch as Told};
use super::probes::Probe;
use super::work::{Picker, Stretch, Work};
use super::{Shared, lock, metrics, reread, unless_logged};
use crate::chat::client::{Answer, CallResult, MAX_HISTORY, Page};
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
/// After so many calls in a row without an answer of Chat, all of them wait.
const UNREACHABLE_AFTER: u32 = 5;
/// While nothing works until a person changes something.
const HALT: Duration = Duration::from_secs(30);
/// The answer would have been larger than 1 MB (page `errors`): ask for less.
const TOO_LARGE: i64 = 10_018;

/// What stands in the way of every call.
#[derive(Default)]
pub(super) struct Trouble {
    failures: u32,
    told: bool,
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
            shared.permit().await;
            shared.client.connected(AT_ONCE / 2).await;
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
    let Stretch { conversation: id, from, to, attempts } = stretch;
    let Some(conversation) = shared.store.conversation(id).await? else { return Ok(()) };
    let asked = Asked { to: Some(to), from: Some(from), not_before: Timestamp::default() };
    let failed = match call(shared, &conversation, asked.to, wanted(from, to)).await {
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
    let give_up = failed.is_final(attempts);
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
        let asked = Asked { to: None, from: None, not_before };
        match call(shared, &conversation, None, MAX_HISTORY).await {
            Ok(page) => {
                if let Some(told) = Told::of(page, asked) {
                    account(shared, &conversation, told).await?;
                }
                Ok(true)
            }
            Err(failure) => Ok(failure.is_final(0)),
        }
    };
    match done.await {
        Ok(true) => {
            if !lock(&shared.probes).done(probe) {
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
        not_before: *not_before,
    };
    let number = if *next_seq > 0 { wanted((*from_seq).max(1), *next_seq) } else { MAX_HISTORY };
    let mut counted = Counted::default();
    let outcome = match call(shared, conversation, asked.to, number).await {
        Ok(page) => match Told::of(page, asked) {
            Some(told) => {
                let (from, more) = (told.from, told.more);
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
        Err(failure) if failure.is_final(backfill.attempts) => StepOutcome::Failed(failure.why),
        Err(failure) => again(shared, &backfill, failure.why),
    };
    let step = BackfillStep {
        backfill_id: backfill.backfill_id,
        outcome,
        recorded: counted.recorded,
        recalls: counted.recalls,
        at: shared.clock.now(),
    };
    shared.store.backfilled(step).await
}

fn again(shared: &Shared, backfill: &Backfill, why: String) -> StepOutcome {
    let due_at = shared.clock.now().after(backoff(backfill.attempts));
    StepOutcome::Again { why, due_at }
}

async fn second_look(shared: &Shared, stretch: Stretch) -> Result<(), Error> {
    let id = stretch.conversation;
    let Some(conversation) = shared.store.conversation(id).await? else { return Ok(()) };
    let number = wanted(stretch.from, stretch.to);
    match call(shared, &conversation, Some(stretch.to), number).await {
        Ok(page) => reread::compare(shared, &conversation, stretch, page).await,
        Err(failure) => {
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
    let Account { messages, runs, recalled } = told.account(&known);
    let mut counted = Counted::default();
    for mut message in messages {
        message.group_type.clone_from(&conversation.group_type);
        let taken = shared.intake.take_history(message).await?;
        if taken.recorded == Recorded::New {
            counted.recorded += 1;
            counted.recalls += u32::from(taken.recall);
        }
    }
    let at = shared.clock.now();
    for (from, to, finding) in &runs {
        metrics::explained(*finding, to - from + 1);
    }
    let explained = Explained { conversation_id: id, from_seq: from, to_seq: to, runs, at };
    shared.store.explain(explained).await?;
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
async fn call(
    shared: &Shared,
    conversation: &Conversation,
    to: Option<MsgSeq>,
    mut number: u32,
) -> Result<Page, Failure> {
    let mut renewed = false;
    loop {
        let Conversation { group_id, topic_id, .. } = conversation;
        let answer = match shared.client.history(group_id, topic_id, to, number).await {
            CallResult::Answered(answer) => answer,
            CallResult::NotSent { why } => return Err(unreachable(shared, why)),
            CallResult::Unclear { why, .. } => return Err(unreachable(shared, why.to_string())),
        };
        metrics::called(&answer.error_code.to_string());
        let class = answer.class();
        if class == Class::Done {
            clear(shared);
            return Ok(answer.value);
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
        Class::Configuration | Class::Credential => {
            shared.limiter.hold(HALT);
            let mut trouble = lock(&shared.trouble);
            if !std::mem::replace(&mut trouble.told, true) {
                tracing::error!(why, "history cannot be pulled until somebody mends this");
            }
            Kind::Later
        }
        Class::GroupGone | Class::Refused => Kind::Never,
        Class::NotPermitted | Class::Gone | Class::Dead | Class::Unknown => Kind::Perhaps,
        Class::Done | Class::Retry | Class::GroupBusy => Kind::Later,
    };
    Failure { why, kind }
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
    *lock(&shared.trouble) = Trouble::default();
}

impl Failure {
    fn is_final(&self, attempts: u32) -> bool {
        match self.kind {
            Kind::Never => true,
            Kind::Perhaps => attempts + 1 >= BELIEVED_AFTER,
            Kind::Later => false,
        }
    }
}
