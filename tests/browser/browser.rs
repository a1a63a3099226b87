//! A browser of a test's own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::daemon::TestApp;

/// Browsers at a time: each takes some hundred megabytes.
static ROOM: Semaphore = Semaphore::const_new(2);

/// How long a page may take for what a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a browser's window is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    Desk,
    Phone,
}

/// A browser that shows a daemon's dashboard.
pub(crate) struct Browser {
    pub client: Client,
    url: String,
    _driver: Child,
    _profile: TempDir,
    _room: SemaphorePermit<'static>,
}

/// Says that a test is skipped, or fails where none may be.
pub(crate) fn skip(missing: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "{missing} is missing: a test was not run");
    eprintln!("skipped: {missing} is missing");
}

/// A program by the variable that names it, or in the path.
fn program(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Some(path.into());
    }
    let folders = env::var_os("PATH")?;
    let mut all =
        env::split_paths(&folders).flat_map(|folder| names.iter().map(move |n| folder.join(n)));
    all.find(|path| path.is_file())
}

impl Browser {
    /// Opens a browser, or says why not and answers nothing.
    pub(crate) async fn open(app: &TestApp, window: Window) -> Option<Self> {
        let Some(chromium) =
            program("CHROMIUM", &["chromium", "chromium-browser", "google-chrome"])
        else {
            skip("chromium");
            return None;
        };
        let Some(driver) = program("CHROMEDRIVER", &["chromedriver"]) else {
            skip("chromedriver");
            return None;
        };
        let room = ROOM.acquire().await.unwrap();
        let profile = tempfile::tempdir().unwrap();
        let (driver, port) = start(&driver).await;
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities(&chromium, profile.path(), window));
        let client = builder.connect(&format!("http://127.0.0.1:{port}")).await.unwrap();
        let url = format!("http://{}", app.app().admin_address());
        Some(Self { client, url, _driver: driver, _profile: profile, _room: room })
    }

    pub(crate) async fn close(self) {
        self.client.close().await.unwrap();
    }

    /// Goes to a page and waits for what its scripts bring in.
    pub(crate) async fn goto(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.url)).await.unwrap();
        self.until("document.readyState === 'complete' && !document.querySelector('#figures > p:only-child')")
            .await;
        self.until(
            "[...document.querySelectorAll('.chart')].every((chart) => chart.dataset.drawn)",
        )
        .await;
    }

    /// Waits until an expression is true in the page, or in the one that comes after it.
    pub(crate) async fn until(&self, expression: &str) {
        let began = Instant::now();
        let script = format!(
            "const done = arguments[arguments.length - 1];
             if ({expression}) done(true); else setTimeout(() => done(false), 25);"
        );
        // While another page comes, nothing can be asked.
        while self.client.execute_async(&script, Vec::new()).await.ok() != Some(json!(true)) {
            if began.elapsed() > PATIENCE {
                let page = self.client.source().await.unwrap();
                panic!("it never came that {expression}\n{page}");
            }
        }
    }

    /// The value of an expression.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        self.client.execute(&format!("return ({expression});"), Vec::new()).await.unwrap()
    }

    /// The value that a promise comes to.
    pub(crate) async fn promised(&self, expression: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             Promise.resolve({expression}).then(done, (error) => done('failed: ' + error));"
        );
        self.client.execute_async(&script, Vec::new()).await.unwrap()
    }

    pub(crate) async fn find(&self, selector: &str) -> Element {
        let found = self.client.find(Locator::Css(selector)).await;
        found.unwrap_or_else(|error| panic!("no {selector}: {error}"))
    }

    /// Presses a key, wherever the focus is.
    pub(crate) async fn press(&self, key: &str) {
        self.client.active_element().await.unwrap().send_keys(key).await.unwrap();
    }

    pub(crate) async fn press_enter(&self) {
        self.press(&char::from(Key::Enter).to_string()).await;
    }

    /// Leaves a picture of what is shown.
    pub(crate) async fn picture(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let picture = self.client.screenshot().await.unwrap();
        std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }
}

/// Starts the driver on a free port, which it tells.
async fn start(driver: &Path) -> (Child, u16) {
    let mut child = Command::new(driver)
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let port = line
            .rsplit("successfully on port ")
            .next()
            .and_then(|rest| rest.trim_end_matches('.').parse().ok());
        if let Some(port) = port {
            // Whoever writes to a pipe that nobody reads ends.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (child, port);
        }
    }
    panic!("chromedriver ended before it told its port");
}

fn capabilities(chromium: &Path, profile: &Path, window: Window) -> serde_json::Map<String, Value> {
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--lang=en-US",
        "--window-size=1280,900",
        &format!("--user-data-dir={}", profile.display()),
    ];
    let mut options = json!({ "binary": chromium, "args": arguments });
    if window == Window::Phone {
        let metrics = json!({ "width": 390, "height": 844, "pixelRatio": 2, "touch": true });
        options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
    }
    let capabilities = json!({
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "timeouts": { "script": 20_000, "pageLoad": 30_000 },
        // A dialog stays, so that a test can find it.
        "unhandledPromptBehavior": "ignore",
    });
    capabilities.as_object().unwrap().clone()
}
