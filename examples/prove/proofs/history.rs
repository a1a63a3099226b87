//! `history`: no promise breaks, however often the daemon is killed and however Chat fails.
//!
//! Traffic runs without a pause against the real binary, which is killed with SIGKILL at random
//! points and started again; the simulated Chat in this process fails in every way it can. Three
//! records are kept by three parties: the callbacks that were sent and acknowledged, written down
//! and synced by a recorder between the two (`ledger`); the database; and Chat's log of calls. One
//! function that reads nothing else (`checker`) names each breach:
//!
//! - acknowledged and not stored;
//! - stored, violating, and not judged so, or without a recall, or with one that is not finished;
//! - said to be recalled, and still visible;
//! - recalled without an enforced verdict;
//! - a call of more than ten messages, of one message twice, of a message that is not of its
//!   conversation;
//! - more than 200 calls in a second;
//! - more calls for a message than one and its unclear outcomes, or calls that the daemon did not
//!   write down;
//! - jobs left in a lease.

pub(crate) mod checker;
pub(crate) mod ledger;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use quell::model::MessageKey;
use quell::sim::traffic::{Traffic, TrafficOptions};
use quell::sim::{Arrival, CallbackTarget, Faults};
use quell::store::{Audit, Cell, Filter, Page, View};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::checker::{Books, Call, Recall, Received, Record, Stored};
use self::ledger::Ledger;
use super::Report;
use super::bed::{Bed, CALLBACK_TOKEN, until};

/// Messages a second, and the share that violates.
const RATE: f64 = 600.0;
const VIOLATING: f64 = 0.4;
/// A daemon lives so long before it is killed, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 100..2500;
/// What waits at the end has so long to be recalled: retries wait for minutes in the worst case.
const DRAIN: Duration = Duration::from_mins(10);
/// Rows read at once.
const PAGE: usize = 10_000;

/// How a daemon ends.
pub(crate) enum End {
    /// Killed after so long, whatever it does then.
    After(Duration),
    /// By itself at a step, as by `kill -9`: `FAILPOINTS` of a build with the feature `fail`, and what
    /// is asked of the admin listener to bring the step about.
    #[cfg(feature = "fail")]
    At(&'static str, Option<(&'static str, &'static str)>),
}

/// With so many kills, each at a random moment.
pub(crate) async fn prove(binary: &Path, cycles: usize) -> Result<Report> {
    let mut random = StdRng::seed_from_u64(1);
    let life = |_| End::After(Duration::from_millis(random.random_range(LIFE_MS)));
    let title = format!("history: {cycles} kills, faults on, three records");
    run(binary, title, (0..cycles).map(life).collect()).await
}

/// With an end at each step between a callback's arrival and a job's outcome.
#[cfg(feature = "fail")]
pub(crate) async fn prove_steps(binary: &Path) -> Result<Report> {
    let reload = Some(("/-/reload", ""));
    let erase = Some(("/api/v1/erase", r#"{"sender":"nobody"}"#));
    let ends = vec![
        End::At("before_commit=40*off->1*return(kill)", None),
        End::At("after_commit_before_ack=40*off->1*return(kill)", None),
        End::At("after_claim=5*off->1*return(kill)", None),
        End::At("after_send_before_record=5*off->1*return(kill)", None),
        End::At("on_rule_swap=1*return(kill)", reload),
        End::At("on_checkpoint=1*return(kill)", erase),
        // Failures that are no end: the transaction is undone and done again, the call too.
        End::At("before_commit=20*off->3*return(error)->20*off->1*return(kill)", None),
        End::At("after_commit_before_ack=20*off->1*panic", None),
        End::At("after_claim=3*off->2*panic->3*off->1*return(kill)", None),
        End::At("after_send_before_record=3*off->2*panic->3*off->1*return(kill)", None),
    ];
    run(binary, format!("steps: {} ends, each at a step", ends.len()), ends).await
}

async fn run(binary: &Path, title: String, ends: Vec<End>) -> Result<Report> {
    let bed = Bed::new(false).await?;
    bed.sim.set_faults(Faults::rough());
    let ledger = Ledger::start(&bed.folder.path().join("ledger.jsonl")).await?;
    let target = CallbackTarget { url: ledger.url(), token: Some(CALLBACK_TOKEN.into()) };
    bed.sim.call_back(&target)?;
    let options = TrafficOptions {
        rate: RATE,
        violating: VIOLATING,
        resend: true,
        connections: 64,
        ..TrafficOptions::default()
    };
    let traffic = Traffic::start(&bed.sim, &target, &options)?;
    for end in ends {
        match end {
            End::After(life) => {
                let daemon = bed.spawn(binary).await?;
                ledger.forward_to(daemon.callbacks);
                tokio::time::sleep(life).await;
                daemon.kill().await?;
            }
            #[cfg(feature = "fail")]
            End::At(faults, asked) => {
                let daemon = bed.spawn_failing(binary, faults).await?;
                ledger.forward_to(daemon.callbacks);
                if let Some((path, body)) = asked {
                    daemon.ask(path, body).await;
                }
                daemon.ended().await.with_context(|| format!("{faults} brings no end"))?;
            }
        }
    }
    let daemon = bed.spawn(binary).await?;
    ledger.forward_to(daemon.callbacks);
    let (progress, meant) = traffic.stop().await;
    let drained = until(DRAIN, async || Ok(daemon.unfinished().await? == 0)).await?;
    daemon.terminate().await?;
    ledger.meant(&meant);
    let acknowledged = ledger.stop().await?;

    let books = Books {
        sent: acknowledged,
        stored: stored(&bed).await?,
        calls: bed.calls().into_iter().map(received).collect(),
        recalled: bed.sim.recalls().into_iter().map(|recall| recall.key).collect(),
    };
    let breaches = checker::breaches(&books);
    let mut report = Report::new(title);
    report.figure("messages sent", progress.sent);
    report.figure("acknowledged", books.sent.iter().filter(|sent| sent.acknowledged).count());
    report.figure("stored", books.stored.messages.len());
    report.figure("recalled at Chat", books.recalled.len());
    report.figure("calls at Chat", books.calls.len());
    let unclear = books.stored.calls.iter().filter(|call| call.outcome == "unclear").count();
    report.figure("of unclear outcome", unclear);
    report.goal("queue drained", drained, "true", drained);
    report.goal("breaches", breaches.len(), "0", breaches.is_empty());
    let mut by_kind: HashMap<&str, usize> = HashMap::new();
    for breach in &breaches {
        let seen = by_kind.entry(breach.kind()).or_default();
        *seen += 1;
        if *seen <= 5 {
            report.goal(breach.kind(), breach, "none", false);
        }
    }
    Ok(report)
}

fn received(call: Arrival) -> Received {
    let answer = call.answer.as_ref().filter(|answer| answer.http_status == 200);
    let settled: BTreeSet<u64> = answer
        .filter(|answer| answer.error_code == 0)
        .map(|answer| answer.ret_codes.iter().map(|(seq, _)| *seq).collect())
        .unwrap_or_default();
    Received {
        at: call.at,
        group: call.group_id.as_str().to_owned(),
        topic: call.topic_id.as_str().to_owned(),
        seqs: call.seqs,
        settled,
    }
}

/// What the database holds, now that nobody has it open.
async fn stored(bed: &Bed) -> Result<Stored> {
    let store = bed.store().await?;
    let mut stored = Stored::default();
    pages(store.as_ref(), View::Messages, |page, row| {
        stored.messages.insert(key(page, row), text(page, row, "verdict"));
    })
    .await?;
    pages(store.as_ref(), View::Recalls, |page, row| {
        stored.recalls.push(Recall { key: key(page, row), state: text(page, row, "state") });
    })
    .await?;
    pages(store.as_ref(), View::Calls, |page, row| {
        let listed = text(page, row, "sequences");
        stored.calls.push(Call {
            group: text(page, row, "group_id"),
            topic: text(page, row, "topic_id"),
            seqs: serde_json::from_str(&listed).unwrap_or_default(),
            outcome: text(page, row, "outcome"),
        });
    })
    .await?;
    store.close().await;
    Ok(stored)
}

pub(crate) fn text(page: &Page, row: &[Cell], column: &str) -> String {
    match page.cell(row, column) {
        Cell::Text(text) => text.clone(),
        Cell::Integer(number) => number.to_string(),
        Cell::Null => String::new(),
    }
}

pub(crate) fn integer(page: &Page, row: &[Cell], column: &str) -> i64 {
    match page.cell(row, column) {
        Cell::Integer(number) => *number,
        _ => 0,
    }
}

pub(crate) fn key(page: &Page, row: &[Cell]) -> MessageKey {
    MessageKey {
        group_id: text(page, row, "group_id").into(),
        topic_id: text(page, row, "topic_id").into(),
        msg_seq: text(page, row, "msg_seq").parse().unwrap_or(0),
    }
}

pub(crate) async fn pages(
    store: &impl Audit,
    view: View,
    mut look: impl FnMut(&Page, &[Cell]),
) -> Result<()> {
    let mut filter = Filter { limit: PAGE, ..Filter::default() };
    loop {
        let page = store.page(view, &filter).await.context("the database cannot be read")?;
        page.rows.iter().for_each(|row| look(&page, row));
        filter.cursor = page.next;
        if page.next.is_none() {
            return Ok(());
        }
    }
}

/// What was sent: the ledger's lines about one message taken together.
fn by_key(lines: impl IntoIterator<Item = Record>) -> Vec<Record> {
    let mut known: HashMap<MessageKey, Record> = HashMap::new();
    for line in lines {
        match known.entry(line.key.clone()) {
            Entry::Vacant(free) => drop(free.insert(line)),
            Entry::Occupied(mut same) => {
                let same = same.get_mut();
                same.acknowledged |= line.acknowledged;
                same.violating |= line.violating;
                same.online_only |= line.online_only;
            }
        }
    }
    known.into_values().collect()
}
