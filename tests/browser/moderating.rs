//! Held jobs, worked by keyboard; what buttons ask before they act.

use quell::store::View;

use crate::browser::{Browser, Window};
use crate::daemon::Home;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_jobs_are_worked_by_keyboard() {
    let home = Home::new().await;
    let app = home.start(&["guard.rule_recalls_per_minute=1"]).await;
    let Some(browser) = Browser::open(&app, Window::Desk).await else { return };
    for seq in 1..=4 {
        assert_eq!(app.callbacks.say("g", seq, "bad").await, 200);
    }
    app.drain().await;
    assert_eq!(home.sim.recalled().len(), 1);
    browser.goto("/queue").await;
    let here = "document.querySelector('.item.here .open').textContent.startsWith";
    browser.until(&format!("{here}('#2')")).await;
    browser.press("j").await;
    browser.until(&format!("{here}('#3')")).await;
    browser.press("k").await;
    browser.until(&format!("{here}('#2')")).await;
    // A decision can be taken back.
    browser.press("a").await;
    browser.until("document.querySelector('.deciding')?.textContent.includes('Undo')").await;
    browser.press("u").await;
    browser.until("!document.querySelector('.deciding')").await;
    browser.until(&format!("{here}('#2')")).await;
    browser.press("a").await;
    browser.until(&format!("{here}('#3')")).await;
    browser.press("r").await;
    browser.until("document.querySelectorAll('.item').length === 1").await;
    app.drain().await;
    let recalled: Vec<u64> = home.sim.recalled().iter().map(|key| key.msg_seq).collect();
    assert_eq!(recalled, [1, 2], "approved and arrived at Chat");
    let states = app.column(View::Recalls, "state").await;
    assert_eq!(states, ["held", "cancelled", "recalled", "recalled"]);
    let actors = app.column(View::Operations, "actor").await;
    assert_eq!(actors, ["dashboard", "dashboard"]);
    browser.press("?").await;
    browser.until("document.querySelector('#keys:popover-open')").await;
    browser.press("?").await;
    browser.until("!document.querySelector('#keys:popover-open')").await;
    assert_eq!(browser.value("document.querySelector('#queue-count').textContent").await, "1");
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_held_jobs_that_is_worked_off_goes_on_with_the_rest() {
    let home = Home::new().await;
    let app = home.start(&["guard.rule_recalls_per_minute=1"]).await;
    let Some(browser) = Browser::open(&app, Window::Desk).await else { return };
    for seq in 1..=52 {
        assert_eq!(app.callbacks.say("g", seq, "bad").await, 200);
    }
    browser.goto("/queue").await;
    browser.until("document.querySelectorAll('.item').length === 50").await;
    assert_eq!(browser.value("document.querySelector('#queue-count').textContent").await, "51");
    for _ in 0..50 {
        browser.press("r").await;
    }
    browser
        .until(
            "document.querySelectorAll('.item').length === 1
             && document.querySelector('.item .open').textContent.startsWith('#52')",
        )
        .await;
    assert_eq!(browser.value("document.querySelector('#queue-count').textContent").await, "1");
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_undone_is_asked_first() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let Some(browser) = Browser::open(&app, Window::Desk).await else { return };
    assert_eq!(app.callbacks.say("g", 1, "good morning").await, 200);
    browser.goto("/messages/1").await;
    browser.find("[popovertarget=confirm-recall]").await.click().await.unwrap();
    browser.until("document.querySelector('#confirm-recall:popover-open')").await;
    browser.find("[popovertargetaction=hide]").await.click().await.unwrap();
    browser.until("!document.querySelector('#confirm-recall:popover-open')").await;
    assert!(app.column(View::Recalls, "state").await.is_empty());
    browser.find("[popovertarget=confirm-recall]").await.click().await.unwrap();
    browser.until("document.activeElement.closest('#confirm-recall')").await;
    browser.press_enter().await;
    browser
        .until("document.querySelector('.notice.done')?.textContent.includes('on its way')")
        .await;
    while home.sim.recalled().is_empty() {
        tokio::task::yield_now().await;
    }
    app.drain().await;
    browser.goto("/messages/1").await;
    assert_eq!(
        browser
            .value("document.querySelector('main .state').textContent.includes('recalled')")
            .await,
        true
    );
    assert_eq!(
        browser.value("document.querySelector('[popovertarget=confirm-recall]')").await,
        serde_json::Value::Null
    );
    browser.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_and_a_candidate_are_tried_on_the_bench() {
    let home = Home::new().await;
    let app = home.start(&[]).await;
    let Some(browser) = Browser::open(&app, Window::Desk).await else { return };
    crate::some_traffic(&app).await;
    browser.goto("/bench").await;
    browser.find("#text").await.send_keys("such BAD news").await.unwrap();
    browser.find("form[action='/bench'] button").await.click().await.unwrap();
    browser.until("document.querySelector('#explained mark')?.textContent === 'BAD'").await;
    let rules = browser.find("#rules").await;
    rules.clear().await.unwrap();
    let candidate =
        "version: 1\nrules:\n  - id: morning\n    when: { keyword: { words: [morning] } }\n";
    let fill = "arguments[0].value = arguments[1];";
    let element = serde_json::to_value(&rules).unwrap();
    browser.client.execute(fill, vec![element, candidate.into()]).await.unwrap();
    browser.find("form[action='/bench/trial'] button").await.click().await.unwrap();
    browser
        .until("document.querySelector('#trial table th[scope=row]')?.textContent === 'morning'")
        .await;
    browser.close().await;
    app.stop().await;
}
