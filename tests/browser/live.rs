//! The live feed.

use crate::browser::{Browser, Window};
use crate::daemon::Home;

const ROWS: &str = "document.querySelectorAll('#feed > .row').length";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_moves_shows_outcomes_and_stops_on_demand() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let Some(browser) = Browser::open(&app, Window::Desk).await else { return };
    browser.goto("/").await;
    assert_eq!(browser.value("document.querySelector('#feed-empty') !== null").await, true);
    browser.until("document.querySelector('#feed-status').textContent === 'live'").await;
    assert_eq!(app.callbacks.say("g", 1, "a bad offer").await, 200);
    assert_eq!(app.callbacks.say("g", 2, "harmless").await, 200);
    assert_eq!(app.callbacks.say("g", 3, "how odd").await, 200);
    browser.until(&format!("{ROWS} === 2")).await;
    browser.until("document.querySelector('#m1 .state')?.textContent.includes('recalled')").await;
    let rows =
        browser.value("[...document.querySelectorAll('#feed mark')].map((m) => m.textContent)");
    assert_eq!(rows.await, serde_json::json!(["odd", "bad"]), "newest first, what matched set off");
    assert_eq!(
        browser.value("document.querySelector('#feed-empty')").await,
        serde_json::Value::Null
    );
    // The times are the reader's own.
    assert_eq!(browser.value("document.querySelector('#m1 time').title !== ''").await, true);
    let pause = browser.find("#feed-pause").await;
    pause.click().await.unwrap();
    browser.until("document.querySelector('#feed-pause[aria-pressed=true]')").await;
    assert_eq!(app.callbacks.say("g", 4, "bad again").await, 200);
    app.drain().await;
    assert_eq!(browser.value("document.querySelector('#feed-status').textContent").await, "paused");
    assert_eq!(browser.value(ROWS).await, 2);
    pause.click().await.unwrap();
    browser.until("document.querySelector('#m4 .state')?.textContent.includes('recalled')").await;
    // A pause of the recalls is said on every page that stands open.
    app.post("/api/v1/pause", serde_json::json!({})).await;
    browser.until("document.querySelector('#state .banner')?.textContent.includes('paused')").await;
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_stand_in_the_address() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let Some(browser) = Browser::open(&app, Window::Desk).await else { return };
    crate::some_traffic(&app).await;
    browser.goto("/?verdict=all").await;
    browser.until("document.querySelector('#feed-status').textContent === 'live'").await;
    assert_eq!(browser.value(ROWS).await, 7);
    let rule = browser.find("input[name=rule]").await;
    rule.send_keys("curious").await.unwrap();
    browser.press_enter().await;
    browser.until("location.search === '?verdict=all&rule=curious'").await;
    browser.until(&format!("document.readyState === 'complete' && {ROWS} === 1")).await;
    browser.until("document.querySelector('#feed-status').textContent === 'live'").await;
    assert_eq!(app.callbacks.say("other", 1, "bad").await, 200);
    assert_eq!(app.callbacks.say("other", 2, "odd").await, 200);
    browser.until(&format!("{ROWS} === 2")).await;
    assert_eq!(browser.value("document.querySelector('#feed mark').textContent").await, "odd");
    browser.close().await;
    app.stop().await;
}
