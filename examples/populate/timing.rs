//! How long it takes to answer: every list by every filter and every two of them, and the figures.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use quell::model::Timestamp;
use quell::store::sqlite::{self, Options};
use quell::store::{Audit, Cases, Cell, Figures, Filter, Reviews, View, Wanted};

use crate::table::Table;

/// A page is to be there within so long.
const GOAL: Duration = Duration::from_millis(100);
/// How often each list by at most one filter is asked for, and each figure: the slowest counts. Before
/// that it is asked for once, which reads what is not in memory yet.
const ROUNDS: u32 = 4;
/// The same for lists by two filters, of which there are hundreds.
const ROUNDS_OF_PAIRS: u32 = 1;
/// Rows of a page for which no limit is said.
const USUAL_ROWS: usize = 100;
/// What was not asked by then is not asked any more, and that is a failure.
const MOST: Duration = Duration::from_mins(5);

const VIEWS: [View; 12] = [
    View::Messages,
    View::Verdicts,
    View::Hits,
    View::Recalls,
    View::Calls,
    View::Gaps,
    View::Conflicts,
    View::Quarantine,
    View::Reviews,
    View::Operations,
    View::Plans,
    View::Backfills,
];

/// Sets a part of a filter; the time is that of the last message.
type Set = fn(&mut Filter, Timestamp);

/// A busy group and a quiet one, and so on: what makes a difference to how rows are found.
const FILTERS: [(&str, Set); 20] = [
    ("busy group", |filter, _| filter.group = Some("@TGS#0".into())),
    ("quiet group", |filter, _| filter.group = Some("@TGS#4998".into())),
    ("community", |filter, _| filter.group = Some("@TGS#c1".into())),
    ("busy sender", |filter, _| filter.sender = Some("user0".into())),
    ("quiet sender", |filter, _| filter.sender = Some("user150000".into())),
    ("unknown sender", |filter, _| filter.sender = Some("nobody".into())),
    ("actor", |filter, _| filter.sender = Some("bob".into())),
    ("frequent rule", |filter, _| filter.rule = Some("contact-bait".into())),
    ("shadow rule", |filter, _| filter.rule = Some("tried-out".into())),
    ("unknown rule", |filter, _| filter.rule = Some("no-such-rule".into())),
    ("recall", |filter, _| filter.state = Some("recall".into())),
    ("flag", |filter, _| filter.state = Some("flag".into())),
    ("pass", |filter, _| filter.state = Some("pass".into())),
    ("shadow", |filter, _| filter.state = Some("shadow".into())),
    ("held", |filter, _| filter.state = Some("held".into())),
    ("recalled", |filter, _| filter.state = Some("recalled".into())),
    ("failed", |filter, _| filter.state = Some("failed".into())),
    ("unrepairable", |filter, _| filter.state = Some("unrepairable".into())),
    ("last day", |filter, last| filter.since = Some(days_before(last, 1))),
    ("a week ago", |filter, last| filter.until = Some(days_before(last, 7))),
];

fn days_before(time: Timestamp, days: u64) -> Timestamp {
    time.before(Duration::from_hours(24 * days))
}

/// When the last message was received: what was made long ago is asked as if it were that moment.
pub(crate) async fn last(store: &sqlite::Sqlite) -> Result<Timestamp> {
    let page = store.page(View::Messages, &Filter { limit: 1, ..Filter::default() }).await?;
    let row = page.rows.first().context("there is no message")?;
    match page.cell(row, "received_at") {
        Cell::Integer(at) => Ok(Timestamp(*at)),
        other => anyhow::bail!("a message was received at {other:?}"),
    }
}

/// Asks everything. Answers whether all of it was quick.
pub(crate) async fn time(file: &Path) -> Result<bool> {
    let began = Instant::now();
    let store = sqlite::open(&Options::at(file)).await?;
    let last = last(&store).await?;
    let mut figures = Table::new("figures", GOAL);
    ask_figures(&store, last, &mut figures).await?;
    let mut in_time = figures.print();
    let mut single = Table::new("lists by one filter or none", GOAL);
    let mut pairs = Vec::new();
    for view in VIEWS {
        let none = Filter::default();
        ask_list(&store, (view, &none), view.word().to_owned(), ROUNDS, &mut single).await?;
        for (place, (name, set)) in FILTERS.iter().enumerate() {
            let mut filter = Filter::default();
            set(&mut filter, last);
            if !is_asked(view, &filter) {
                continue;
            }
            let asked = format!("{} by {name}", view.word());
            ask_list(&store, (view, &filter), asked, ROUNDS, &mut single).await?;
            for (other, also) in &FILTERS[place + 1..] {
                let mut both = filter.clone();
                also(&mut both, last);
                // A second word for the same takes the place of the first.
                if set_parts(&both) > set_parts(&filter) && is_asked(view, &both) {
                    pairs.push((format!("{} by {name} and {other}", view.word()), view, both));
                }
            }
        }
    }
    in_time &= single.print();
    let mut double = Table::new("lists by two filters", GOAL);
    let asked = pairs.len();
    for (done, (name, view, filter)) in pairs.into_iter().enumerate() {
        if began.elapsed() > MOST {
            eprintln!("{} lists were not asked for: {MOST:?} were over", asked - done);
            in_time = false;
            break;
        }
        ask_list(&store, (view, &filter), name, ROUNDS_OF_PAIRS, &mut double).await?;
    }
    in_time &= double.print();
    store.close().await;
    Ok(in_time)
}

/// How many parts of a filter say anything.
fn set_parts(filter: &Filter) -> usize {
    let words = [&filter.group, &filter.sender, &filter.rule, &filter.state];
    let times = [filter.since, filter.until];
    words.into_iter().flatten().count() + times.into_iter().flatten().count()
}

/// Whether a view can be asked by it.
fn is_asked(view: View, filter: &Filter) -> bool {
    let knows = |name: &str| view.filters().iter().any(|(known, _)| *known == name);
    let asked = [
        ("group", filter.group.is_some()),
        ("sender", filter.sender.is_some()),
        ("rule", filter.rule.is_some()),
        ("state", filter.state.is_some()),
    ];
    asked.into_iter().all(|(name, wanted)| !wanted || knows(name))
}

/// Notes the slowest of some rounds behind a first one.
async fn ask_list(
    store: &sqlite::Sqlite,
    (view, filter): (View, &Filter),
    name: String,
    rounds: u32,
    table: &mut Table,
) -> Result<()> {
    let first = store.page(view, filter).await?;
    if first.next.is_some() && first.rows.len() < USUAL_ROWS {
        table.ended_early();
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds {
        let began = Instant::now();
        store.page(view, filter).await?;
        slowest = slowest.max(began.elapsed());
    }
    table.note(name, slowest);
    Ok(())
}

async fn ask_figures(store: &sqlite::Sqlite, now: Timestamp, figures: &mut Table) -> Result<()> {
    let (day, month) = (days_before(now, 1), days_before(now, 30));
    let latest = store.page(View::Recalls, &Filter { limit: 1, ..Filter::default() }).await?;
    let Some(Cell::Integer(message)) =
        latest.rows.first().map(|row| latest.cell(row, "message_id").clone())
    else {
        anyhow::bail!("there is no recall");
    };
    let quarter = Duration::from_mins(15);
    let half_day = Duration::from_hours(12);
    let rule = Filter { rule: Some("contact-bait".into()), ..Filter::default() };
    let all = Wanted::default();
    let nobodys = Wanted { sender: Some("nobody".into()), ..Wanted::default() };
    macro_rules! ask {
        ($($name:literal: $what:expr;)+) => {
            $(
                $what.await?;
                let mut slowest = Duration::ZERO;
                for _ in 0..ROUNDS {
                    let began = Instant::now();
                    $what.await?;
                    slowest = slowest.max(began.elapsed());
                }
                figures.note($name.to_owned(), slowest);
            )+
        };
    }
    ask! {
        "exposure of a day by 15 minutes": store.exposure(day, now, quarter);
        "exposure of a month by 12 hours": store.exposure(month, now, half_day);
        "exposure of a month": store.exposure(month, now, Duration::from_hours(24 * 30));
        "calls a second": store.calls_per_second(day, now);
        "recalls by state, of a day": store.recalls_by_state(day);
        "recalls by state, of a month": store.recalls_by_state(month);
        "top rules of a day": store.top_rules(day, 10);
        "top rules of a month": store.top_rules(month, 10);
        "top groups and senders of a day": store.top_places(day, 10);
        "top groups and senders of a month": store.top_places(month, 10);
        "a message with everything": store.story(message);
        "messages around another one": store.around(message, 4);
        "a busy sender": store.sender(&"user0".into(), None, 50);
        "a quiet sender": store.sender(&"user150000".into(), None, 50);
        "an unknown sender": store.sender(&"nobody".into(), None, 50);
        "held jobs": store.held(0, 50);
        "held cases": store.held_cases(0, 50);
        "recent cases": store.recent(&all, 30);
        "recent cases of a sender": store.recent(&nobodys, 30);
        "what a word names": store.named("nobody");
        "a message by its key": store.find("@TGS#0", "", 1000);
        "what waits for review": store.to_review(&Filter::default());
        "what waits for review of a rule": store.to_review(&rule);
        "precision": store.precision();
        "jobs by state": store.jobs_by_state();
        "unfinished jobs by state": store.unfinished_by_state();
    }
    Ok(())
}
