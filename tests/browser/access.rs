//! Logging in by browser, and what readers see.

use crate::browser::{Browser, Window};
use crate::daemon::Home;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_logs_in_sees_everything_and_can_change_nothing() {
    let home = Home::new().await;
    let tokens =
        ["admin.token=operate", "admin.read_token=look", "guard.rule_recalls_per_minute=1"];
    let app = home.start(&tokens).await;
    for seq in 1..=3 {
        assert_eq!(app.callbacks.say("g", seq, "bad").await, 200);
    }
    let Some(browser) = Browser::open(&app, Window::Desk).await else { return };
    browser.client.goto(&format!("http://{}/queue", app.app().admin_address())).await.unwrap();
    browser.until("location.pathname === '/login'").await;
    browser.find("#token").await.send_keys("guess").await.unwrap();
    browser.press_enter().await;
    browser
        .until("document.querySelector('[role=alert]')?.textContent.includes('No such token')")
        .await;
    browser.find("#token").await.send_keys("look").await.unwrap();
    browser.find("#name").await.send_keys("rea").await.unwrap();
    browser.press_enter().await;
    browser
        .until("location.pathname === '/queue' && document.querySelectorAll('.item').length === 2")
        .await;
    assert_eq!(browser.value("document.cookie.includes('quell_session')").await, false, "HttpOnly");
    for page in ["/", "/queue", "/bench", "/messages/1", "/lists/recalls"] {
        browser.goto(page).await;
        let acts =
            "document.querySelectorAll('[action^=\"/act/\"], [formaction^=\"/act/\"]').length";
        assert_eq!(browser.value(acts).await, 0, "{page}");
        let who = browser.value("document.querySelector('.actor').textContent").await;
        assert!(who.as_str().unwrap().contains("read only"), "{page}: {who}");
    }
    let refused =
        browser.promised("fetch('/act/pause', { method: 'POST' }).then((answer) => answer.status)");
    assert_eq!(refused.await, 403);
    // The feed of a session ends with it.
    browser.goto("/").await;
    browser.until("document.querySelector('#feed-status').textContent === 'live'").await;
    browser.promised("fetch('/logout', { method: 'POST' }).then((answer) => answer.status)").await;
    browser.until("location.pathname === '/login' || document.querySelector('#feed-status').textContent !== 'live'").await;
    browser.close().await;
    app.stop().await;
}
