//! How long the daemon takes to answer over HTTP: every page of the dashboard, every list of the API, and
//! what monitoring asks.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quell::app::App;
use quell::config::{Overrides, load_str};
use quell::model::{Clock, SystemClock, Timestamp};
use quell::sim::traffic::DEMO_RULES;
use quell::store::sqlite::Sqlite;
use quell::store::{Audit, Cases, Cell, Filter, View};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::table::Table;
use crate::timing;

/// A page is to be there within so long.
const GOAL: Duration = Duration::from_millis(200);
/// Each is asked for once, and then so often: the slowest counts.
const ROUNDS: u32 = 4;
/// No answer may take longer.
const PATIENCE: Duration = Duration::from_mins(1);
/// What lists of the dashboard are narrowed down by.
const FILTERS: [&str; 12] = [
    "",
    "minutes=1440",
    "minutes=43200",
    "group=%40TGS%230",
    "group=%40TGS%234998",
    "sender=user0",
    "sender=user150000",
    "rule=contact-bait",
    "state=recall",
    "state=held",
    "sender=user0&state=flag",
    "group=%40TGS%230&rule=contact-bait&minutes=10080",
];
const LISTS: [&str; 8] =
    ["recalls", "messages", "calls", "gaps", "conflicts", "operations", "plans", "quarantine"];

/// The time at which the database ended, going on from there.
struct Then {
    behind: Duration,
}

impl Clock for Then {
    fn now(&self) -> Timestamp {
        SystemClock.now().before(self.behind)
    }
}

/// Starts a daemon on the file and asks for everything. Answers whether all of it was quick.
pub(crate) async fn time(file: &Path) -> Result<bool> {
    let folder = tempfile::Builder::new().prefix("quell-populate-").tempdir()?;
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, DEMO_RULES)?;
    let file = std::fs::canonicalize(file).with_context(|| file.display().to_string())?;
    // Nothing is asked of Chat: no history is pulled, and nothing is pruned away that is to be asked for.
    let config = format!(
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
         [chat]\nsdk_app_id = 1400000000\nidentifier = 'administrator'\nsecret_key = 'none'\n\
         base_url = 'http://127.0.0.1:9'\ncallback_token = 'none'\n\
         [recall]\nmode = 'shadow'\n[history]\nrepair = false\n\
         [retention]\ntext_days = 0\nmatched_text_days = 0\nrows_days = 0\n\
         [store]\nurl = 'sqlite:{}'\n[rules]\npath = '{}'\n",
        file.display(),
        rules.display()
    );
    let loaded = load_str("populate", &config, &Overrides::default())?;
    let behind = behind(&file).await?;
    let app = App::start(&loaded.config, Arc::new(Then { behind })).await?;
    let mut table = Table::new("pages", GOAL);
    let asked = ask(&app, &mut table).await;
    app.stop().await;
    asked?;
    Ok(table.print())
}

async fn behind(file: &Path) -> Result<Duration> {
    let store = quell::store::sqlite::open(&quell::store::sqlite::Options::at(file)).await?;
    let last = timing::last(&store).await?;
    store.close().await;
    Ok(SystemClock.now().since(last))
}

async fn ask(app: &App, table: &mut Table) -> Result<()> {
    let address = app.admin_address();
    let latest = app.store().latest().await?;
    for path in paths(app.store(), latest).await? {
        // Where a stream ended: the feed counts messages, the API calls and acts, too.
        let seen = match path.as_str() {
            "/api/v1/events" => format!("{}-0-0", latest - 500),
            _ => (latest - 5_000).to_string(),
        };
        get(address, &path, &seen).await?;
        let mut slowest = Duration::ZERO;
        for _ in 0..ROUNDS {
            slowest = slowest.max(get(address, &path, &seen).await?);
        }
        table.note(path, slowest);
    }
    Ok(())
}

/// Everything that can be asked for.
async fn paths(store: &Sqlite, latest: i64) -> Result<Vec<String>> {
    let mut paths: Vec<String> = [
        "/",
        "/?verdict=all",
        "/?verdict=recall",
        "/?sender=user0",
        "/?sender=nobody",
        "/?group=%40TGS%230",
        "/?rule=contact-bait",
        "/parts/state",
        "/parts/figures",
        "/parts/exposure.json",
        "/queue",
        "/bench",
        "/search?q=user0",
        "/search?q=nobody",
        "/search?q=contact-bait",
        "/search?q=%40TGS%230/1000",
        "/login",
        "/metrics",
        "/readyz",
        "/api/v1/status",
        "/api/v1/rules",
        "/api/v1/exemptions",
        "/api/v1/allow-phrases",
        "/api/v1/reviews/waiting",
        "/api/v1/reviews/waiting?rule=contact-bait",
        "/api/v1/reviews/waiting?sender=nobody",
        "/api/v1/reviews/precision",
        "/openapi.json",
    ]
    .map(str::to_owned)
    .to_vec();
    for minutes in [15, 60, 360, 1_440] {
        paths.push(format!("/parts/figures?minutes={minutes}"));
        paths.push(format!("/parts/exposure.json?minutes={minutes}"));
    }
    // Streams: until the first event is there, of one that goes on where it ended.
    paths.extend(["/parts/feed?verdict=recall", "/api/v1/events"].map(str::to_owned));
    for filter in [Filter::default(), Filter { sender: Some("user0".into()), ..Filter::default() }]
    {
        let page = store.page(View::Recalls, &Filter { limit: 1, ..filter }).await?;
        let row = page.rows.first().context("there is no recall")?;
        let Cell::Integer(message) = page.cell(row, "message_id") else { continue };
        paths.push(format!("/messages/{message}"));
        paths.push(format!("/api/v1/messages/{message}"));
    }
    paths.push(format!("/messages/{}", latest / 2));
    for list in LISTS {
        paths.extend(FILTERS.map(|filter| format!("/lists/{list}?{filter}")));
    }
    for view in View::all() {
        paths.push(format!("/api/v1/{}", view.word()));
        paths.push(format!("/api/v1/{}?limit=1000", view.word()));
    }
    Ok(paths)
}

/// Asks for a page. Answers how long the whole of it took, or of a stream its beginning.
async fn get(address: SocketAddr, path: &str, seen: &str) -> Result<Duration> {
    let began = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, read(address, path, seen));
    let answer = answer.await.with_context(|| format!("{path}: no answer"))??;
    let took = began.elapsed();
    let first = answer.lines().next().unwrap_or_default();
    let is_fine = ["200", "302", "303"].iter().any(|code| first.contains(code));
    ensure!(is_fine, "{path}: {first}");
    Ok(took)
}

async fn read(address: SocketAddr, path: &str, seen: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nLast-Event-ID: {seen}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (mut answer, mut chunk) = (Vec::new(), vec![0; 65_536]);
    loop {
        let read = stream.read(&mut chunk).await?;
        answer.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&answer);
        let is_stream = text.contains("text/event-stream");
        if read == 0 || (is_stream && text.contains("\ndata: ")) {
            return Ok(text.into_owned());
        }
    }
}
