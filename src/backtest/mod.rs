//! A candidate rule set over stored messages, compared with what was decided then.
//!
//! A verdict is a function of message, signals and rule set, and all three are stored. What the
//! stateful matchers saw is taken as it was recorded wherever it was, so that the rules that were in
//! force give exactly the verdicts that they gave, in whatever order callbacks came in. What was not
//! counted then is counted now, over the messages in the order in which they were recorded.
//!
//! Pages are read, counted and judged one behind the other on threads of their own, a few at a time,
//! so memory does not grow with the store.

mod background;
mod report;
mod shown;
mod top;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::model::{GroupId, Timestamp, UserId};
use crate::rules::{CompiledRules, Measures, Windows};
use crate::store::{Error, JudgedMessage, JudgedPage, Replay, Stretch};

pub use background::{Asked, Backtest, Backtests, Progress, Room, State, Terms};
pub use report::{Cost, Report, RuleTally, Sample, Tally};
pub use shown::{
    Pace, Shown, ShownCost, ShownGroup, ShownRule, ShownSample, ShownSender, ShownVerdicts, grouped,
};

/// Messages read at once.
const PAGE: usize = 2_000;
/// Pages that wait between two steps.
const AHEAD: usize = 2;
/// How far the clock of a message may be off the time at which it was received, as the windows see it.
const SKEW: Duration = Duration::from_mins(5);

/// What is compared, and how much of it is shown.
#[derive(Clone, Debug)]
pub struct Options {
    /// Messages received from then on; all of them where nothing is given.
    pub since: Option<Timestamp>,
    pub group: Option<GroupId>,
    /// The account that quell calls as: its messages are never recalled.
    pub identifier: UserId,
    /// Changed messages kept of each rule, new hits and lost ones apart.
    pub samples: usize,
    /// Threads that judge at a time.
    pub judges: usize,
}

/// Judges what is stored and compares. `progress` is told how many messages of at most how many are
/// done.
pub async fn run(
    rules: Arc<CompiledRules>,
    store: Arc<dyn Replay>,
    options: Options,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, Error> {
    if let Some(group) = &options.group
        && !store.knows_group(group.as_str()).await?
    {
        return Err(Error::Invalid(format!("no message of group {group} was ever recorded")));
    }
    let mut stretch = store.stretch(options.since).await?;
    let mut report = Report::new(&rules, &options);
    report.conflicts =
        store.conflicts(stretch, options.group.as_ref().map(GroupId::as_str)).await?;
    let counted = Arc::new(rules.measures().without(&store.counted(stretch).await?));
    if options.since.is_some() && !counted.is_empty() {
        stretch = store.stretch(counted_since(&counted, options.since)).await?;
    }
    // What others say elsewhere may count for a group's messages.
    let only = options.group.clone().filter(|_| !counted.reach_everywhere());
    let mut pages = count(counted, read(store, stretch, only));
    let judges = options.judges.max(1);
    let options = Arc::new(options);
    let mut under_way: VecDeque<JoinHandle<Result<(Report, i64), Error>>> = VecDeque::new();
    loop {
        let page = pages.recv().await.transpose()?;
        let ended = page.is_none();
        if let Some(page) = page {
            let (rules, options) = (Arc::clone(&rules), Arc::clone(&options));
            under_way.push_back(spawn_blocking(move || judge(&rules, &options, page)));
        }
        while under_way.len() >= judges || (ended && !under_way.is_empty()) {
            let Some(first) = under_way.pop_front() else { break };
            let (part, last) = first.await.unwrap_or_else(rethrow)?;
            report.merge(part);
            progress(stretch.most() - Stretch { after: last, ..stretch }.most(), stretch.most());
        }
        if ended {
            return Ok(report);
        }
    }
}

/// From when on messages have to be counted, so that the first one compared finds what it would have
/// found.
fn counted_since(measures: &Measures, since: Option<Timestamp>) -> Option<Timestamp> {
    if measures.look_back_for_ever() {
        return None;
    }
    since.map(|since| since.before(measures.longest_span() + SKEW))
}

/// Messages on their way to being judged.
enum Page {
    Read(JudgedPage),
    Counted(i64, Vec<JudgedMessage>),
}

type Pages = mpsc::Receiver<Result<Page, Error>>;

/// Reads ahead, page by page.
fn read(store: Arc<dyn Replay>, mut stretch: Stretch, group: Option<GroupId>) -> Pages {
    let (out, pages) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let group = group.as_ref().map(GroupId::as_str);
        while let Some(page) = store.judged(stretch, PAGE, group).await.transpose() {
            // After a failure nothing is left to read.
            stretch.after = page.as_ref().map_or(stretch.until, |page| page.last);
            if out.send(page.map(Page::Read)).await.is_err() {
                return;
            }
        }
    });
    pages
}

/// Completes each message's signals: what was recorded stands, what nobody counted then is counted.
fn count(measures: Arc<Measures>, mut pages: Pages) -> Pages {
    if measures.is_empty() {
        return pages;
    }
    let (out, counted) = mpsc::channel(AHEAD);
    spawn_blocking(move || {
        let windows = Windows::default();
        while let Some(page) = pages.blocking_recv() {
            let page = page.and_then(|page| {
                let (last, mut messages) = page.open()?;
                for judged in &mut messages {
                    let mut signals = windows.count(&measures, &judged.message);
                    signals.counts.append(&mut judged.signals.counts);
                    judged.signals = signals;
                }
                Ok(Page::Counted(last, messages))
            });
            if out.blocking_send(page).is_err() {
                return;
            }
        }
    });
    counted
}

impl Page {
    /// Its last id and its messages.
    fn open(self) -> Result<(i64, Vec<JudgedMessage>), Error> {
        match self {
            Self::Read(page) => Ok((page.last, page.messages()?)),
            Self::Counted(last, messages) => Ok((last, messages)),
        }
    }
}

/// Judges a page. Answers what it adds to the report, and its last id.
fn judge(rules: &CompiledRules, options: &Options, page: Page) -> Result<(Report, i64), Error> {
    let (last, messages) = page.open()?;
    let mut report = Report::new(rules, options);
    for judged in &messages {
        let message = &judged.message;
        if options.since.is_some_and(|since| message.received_at < since)
            || options.group.as_ref().is_some_and(|group| *group != message.key.group_id)
        {
            continue;
        }
        if judged.has_text {
            report.compare(rules, judged, &rules.judge(message, &judged.signals));
        } else {
            report.without_text += 1;
        }
    }
    Ok((report, last))
}

/// A panic on another thread goes on here.
fn rethrow<T>(error: JoinError) -> T {
    std::panic::resume_unwind(error.into_panic())
}
