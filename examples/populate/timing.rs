//! How long it takes to answer: every list by every filter and every two of them, and the figures.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use quell::model::{Clock, SystemClock, Timestamp};
use quell::store::sqlite::{self, Options};
use quell::store::{Audit, Cell, Figures, Filter, Reviews, View};

/// A page is to be there within so long.
const GOAL: Duration = Duration::from_millis(100);
const ROUNDS: u32 = 5;

const VIEWS: [View; 8] = [
    View::Messages,
    View::Verdicts,
    View::Hits,
    View::Recalls,
    View::Calls,
    View::Gaps,
    View::Reviews,
    View::Operations,
];

/// Sets a part of a filter.
type Set = fn(&mut Filter);

/// A busy group and a quiet one, and so on: what makes a difference to how rows are found.
const FILTERS: [(&str, Set); 15] = [
    ("busy group", |filter| filter.group = Some("@TGS#0".into())),
    ("quiet group", |filter| filter.group = Some("@TGS#4998".into())),
    ("community", |filter| filter.group = Some("@TGS#c1".into())),
    ("busy sender", |filter| filter.sender = Some("user0".into())),
    ("quiet sender", |filter| filter.sender = Some("user150000".into())),
    ("actor", |filter| filter.sender = Some("bob".into())),
    ("frequent rule", |filter| filter.rule = Some("contact-bait".into())),
    ("unknown rule", |filter| filter.rule = Some("no-such-rule".into())),
    ("recall", |filter| filter.state = Some("recall".into())),
    ("flag", |filter| filter.state = Some("flag".into())),
    ("held", |filter| filter.state = Some("held".into())),
    ("failed", |filter| filter.state = Some("failed".into())),
    ("unrepairable", |filter| filter.state = Some("unrepairable".into())),
    ("last day", |filter| filter.since = Some(days_ago(1))),
    ("a week ago", |filter| filter.until = Some(days_ago(7))),
];

fn days_ago(days: u64) -> Timestamp {
    SystemClock.now().before(Duration::from_hours(24 * days))
}

/// What took longest.
#[derive(Default)]
struct Slowest {
    asked: u32,
    late: u32,
    worst: Vec<(Duration, String)>,
}

impl Slowest {
    fn note(&mut self, name: String, took: Duration) {
        self.asked += 1;
        if took > GOAL {
            self.late += 1;
        }
        self.worst.push((took, name));
        self.worst.sort_unstable_by(|a, b| b.cmp(a));
        self.worst.truncate(12);
    }
}

/// Asks everything. Answers whether all of it was quick.
pub(crate) async fn time(file: &Path) -> Result<bool> {
    let store = sqlite::open(&Options::at(file)).await?;
    let (mut single, mut pairs, mut figures) =
        (Slowest::default(), Slowest::default(), Slowest::default());
    for view in VIEWS {
        single.note(view.word().to_owned(), page(&store, view, &Filter::default()).await?);
        for (place, (name, set)) in FILTERS.iter().enumerate() {
            let mut filter = Filter::default();
            set(&mut filter);
            if store.page(view, &filter).await.is_err() {
                continue;
            }
            single.note(format!("{} by {name}", view.word()), page(&store, view, &filter).await?);
            for (other, also) in &FILTERS[place + 1..] {
                let mut both = filter.clone();
                also(&mut both);
                if store.page(view, &both).await.is_ok() {
                    let name = format!("{} by {name} and {other}", view.word());
                    pairs.note(name, page(&store, view, &both).await?);
                }
            }
        }
    }
    ask_figures(&store, &mut figures).await?;
    store.close().await;
    for (name, slowest) in
        [("one filter or none", &single), ("two filters", &pairs), ("figures", &figures)]
    {
        println_table(name, slowest);
    }
    Ok(single.late + pairs.late + figures.late == 0)
}

#[expect(clippy::disallowed_macros, reason = "an example's output")]
fn println_table(name: &str, slowest: &Slowest) {
    println!("{name}: {} asked, {} took longer than {GOAL:?}", slowest.asked, slowest.late);
    for (took, name) in &slowest.worst {
        println!("  {:>9.2} ms  {name}", took.as_secs_f64() * 1e3);
    }
}

/// The slowest of some rounds but the first, which reads what is not in memory yet.
async fn page(store: &sqlite::Sqlite, view: View, filter: &Filter) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        store.page(view, filter).await?;
        slowest = slowest.max(began.elapsed());
    }
    Ok(slowest)
}

async fn ask_figures(store: &sqlite::Sqlite, figures: &mut Slowest) -> Result<()> {
    let now = SystemClock.now();
    let day = days_ago(1);
    let latest = store.page(View::Recalls, &Filter { limit: 1, ..Filter::default() }).await?;
    let Some(Cell::Integer(message)) =
        latest.rows.first().map(|row| latest.cell(row, "message_id").clone())
    else {
        anyhow::bail!("there is no recall");
    };
    macro_rules! ask {
        ($name:literal, $what:expr) => {
            let mut slowest = Duration::ZERO;
            for _ in 0..ROUNDS {
                let began = Instant::now();
                $what.await?;
                slowest = slowest.max(began.elapsed());
            }
            figures.note($name.to_owned(), slowest);
        };
    }
    ask!("exposure of a day by 15 minutes", store.exposure(day, now, Duration::from_mins(15)));
    ask!(
        "exposure of a month by 12 hours",
        store.exposure(days_ago(30), now, Duration::from_hours(12))
    );
    ask!("calls a second", store.calls_per_second(day, now));
    ask!("recalls by state", store.recalls_by_state(day));
    ask!("top rules", store.top_rules(day, 10));
    ask!("top groups and senders", store.top_places(day, 10));
    ask!("a message with everything", store.story(message));
    ask!("a busy sender", store.sender(&"user0".into(), None, 50));
    ask!("held jobs", store.held(0, 50));
    ask!("what waits for review", store.to_review(&Filter::default()));
    Ok(())
}
