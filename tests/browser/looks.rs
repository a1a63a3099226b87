//! What every page has to be: within the window, readable by everybody, loading nothing from elsewhere.

use std::env;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::browser::{Browser, Window, skip};
use crate::daemon::{Home, TestApp};
use crate::{PAGES, some_traffic};

/// A daemon that has something to show on every page.
async fn busy(home: &Home) -> TestApp {
    let app = home.start(&["guard.rule_recalls_per_minute=2"]).await;
    some_traffic(&app).await;
    app
}

/// Chooses language and colours as a reader does.
async fn prefer(browser: &Browser, preference: &str) {
    let form = format!(
        "fetch('/preferences', {{ method: 'POST', redirect: 'manual',
             body: new URLSearchParams('{preference}') }}).then(() => true)"
    );
    assert_eq!(browser.promised(&form).await, true);
}

/// Elements that stand out of the window on the right, but for those that can be scrolled to.
const OVERFLOW: &str = r"(() => {
    const width = document.documentElement.clientWidth;
    const wrong = [];
    if (document.documentElement.scrollWidth > width) wrong.push('the page: ' + document.documentElement.scrollWidth + ' in ' + width);
    for (const element of document.querySelectorAll('body *')) {
        const box = element.getBoundingClientRect();
        if (box.width === 0 || element.closest('.scroll *, .chart *, .skip, .sr, [popover], meter, progress, option, select')) continue;
        if (box.right > width + 1 || box.left < -1) wrong.push(element.outerHTML.slice(0, 120));
    }
    return wrong;
})()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stands_out_of_a_phone_in_either_language_and_colour() {
    let home = Home::new().await;
    let app = busy(&home).await;
    let Some(browser) = Browser::open(&app, Window::Phone).await else { return };
    browser.goto("/").await;
    assert_eq!(browser.value("innerWidth").await, 390);
    for preference in ["language=en&theme=light", "language=zh&theme=dark"] {
        prefer(&browser, preference).await;
        for page in PAGES {
            browser.goto(page).await;
            assert_eq!(browser.value(OVERFLOW).await, json!([]), "{page} {preference}");
        }
    }
    let paper = "getComputedStyle(document.body).backgroundColor";
    assert_eq!(browser.value(paper).await, "rgb(20, 24, 28)", "dark");
    assert_eq!(browser.value("document.documentElement.lang").await, "zh-CN");
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_load_nothing_from_elsewhere_and_keep_to_their_policy() {
    let home = Home::new().await;
    let app = busy(&home).await;
    let Some(browser) = Browser::open(&app, Window::Desk).await else { return };
    for page in PAGES {
        browser.goto(page).await;
        let loaded = "performance.getEntriesByType('resource').map((entry) => entry.name)";
        let loaded = browser.value(loaded).await;
        let own = format!("http://{}/", app.app().admin_address());
        for name in loaded.as_array().unwrap() {
            assert!(name.as_str().unwrap().starts_with(&own), "{page} loads {name}");
        }
        assert_eq!(browser.promised(VIOLATIONS).await, json!([]), "{page}");
    }
    // The same look finds a breach where there is one.
    let breach =
        "(document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\">x</p>'), true)";
    assert_eq!(browser.value(breach).await, true);
    assert_ne!(browser.promised(VIOLATIONS).await, json!([]));
    browser.close().await;
    app.stop().await;
}

/// What the policy stood in the way of since the page was opened. Reports come in order, so when one that
/// was asked for is there, all others are.
const VIOLATIONS: &str = r"new Promise((done) => {
    const found = [];
    const observer = new ReportingObserver((reports) => {
        for (const { body } of reports) {
            if (body.blockedURL.startsWith('https://quell.invalid')) {
                observer.disconnect();
                done(found);
            } else {
                found.push(body.effectiveDirective + ' ' + body.blockedURL);
            }
        }
    }, { types: ['csp-violation'], buffered: true });
    observer.observe();
    fetch('https://quell.invalid/' + Math.random()).catch(() => {});
})";

/// Where axe-core lies.
fn axe() -> Option<String> {
    let usual =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/npm/node_modules/axe-core/axe.min.js");
    let path = env::var_os("AXE_CORE").map_or(usual, PathBuf::from);
    std::fs::read_to_string(path).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_no_serious_problem_on_any_page() {
    let Some(axe) = axe() else {
        skip("axe-core (npm install --prefix target/npm axe-core)");
        return;
    };
    let home = Home::new().await;
    let app = busy(&home).await;
    let Some(browser) = Browser::open(&app, Window::Desk).await else { return };
    browser.goto("/").await;
    for preference in ["language=en&theme=light", "language=zh&theme=dark"] {
        prefer(&browser, preference).await;
        for page in PAGES.iter().chain(&["/messages/99"]) {
            browser.goto(page).await;
            assert_eq!(problems(&browser, &axe).await, json!([]), "{page} {preference}");
        }
    }
    browser.goto("/queue").await;
    browser.press("?").await;
    browser.until("document.querySelector('#keys:popover-open')").await;
    assert_eq!(problems(&browser, &axe).await, json!([]), "the keys");
    // The same look finds a problem where there is one.
    browser
        .value("document.querySelector('main').append(document.createElement('textarea'))")
        .await;
    assert_ne!(problems(&browser, &axe).await, json!([]));
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_no_serious_problem_on_the_login_page() {
    let Some(axe) = axe() else {
        skip("axe-core (npm install --prefix target/npm axe-core)");
        return;
    };
    let home = Home::new().await;
    let app = home.start(&["admin.token=operate"]).await;
    let Some(browser) = Browser::open(&app, Window::Phone).await else { return };
    browser.goto("/login").await;
    assert_eq!(problems(&browser, &axe).await, json!([]));
    assert_eq!(browser.value(OVERFLOW).await, json!([]));
    browser.picture("login-phone").await;
    browser.close().await;
    app.stop().await;
}

/// Serious and critical findings of axe-core.
async fn problems(browser: &Browser, axe: &str) -> Value {
    browser.client.execute(axe, Vec::new()).await.unwrap();
    let run = "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, help, nodes }) => [id, help, nodes.slice(0, 3).map(({ html }) => html.slice(0, 200))]))";
    browser.promised(run).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_pages_are_photographed() {
    let home = Home::new().await;
    let app = busy(&home).await;
    let pages = [
        ("overview", "/"),
        ("queue", "/queue"),
        ("message", "/messages/2"),
        ("bench", "/bench"),
        ("recalls", "/lists/recalls"),
        ("messages", "/lists/messages"),
        ("allowances", "/lists/allowances"),
        ("plan", "/plans/1"),
    ];
    for (window, suffix) in [(Window::Desk, ""), (Window::Phone, "-phone")] {
        let Some(browser) = Browser::open(&app, window).await else { return };
        browser.goto("/").await;
        for (preference, kind) in
            [("language=en&theme=light", "light"), ("language=zh&theme=dark", "dark-zh")]
        {
            prefer(&browser, preference).await;
            for (name, page) in pages {
                browser.goto(page).await;
                browser.picture(&format!("{name}-{kind}{suffix}")).await;
            }
        }
        browser.close().await;
    }
    app.stop().await;
}
