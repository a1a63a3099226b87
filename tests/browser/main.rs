//! The dashboard in a real browser: headless Chromium, driven through chromedriver.
//!
//! Where one of the two is missing, or axe-core for the tests that need it, a test says that it was
//! skipped; with `CI=true` in the environment it fails instead. `CHROMIUM`, `CHROMEDRIVER` and
//! `AXE_CORE` name them where they do not lie in the usual places. Pictures of the main pages are left in
//! `target/screenshots`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod browser;
#[path = "../it/support/daemon.rs"]
#[expect(dead_code, reason = "another binary uses the rest")]
mod daemon;
mod hostile;
mod live;
mod looks;
mod moderating;

pub(crate) const APP_ID: u64 = 1_400_000_001;
pub(crate) const ADMIN: &str = "administrator";
pub(crate) const KEY: &str = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e";

/// Every page that has something to show once [`some_traffic`] was there.
pub(crate) const PAGES: &[&str] = &[
    "/",
    "/?verdict=all&sender=mallory",
    "/queue",
    "/bench",
    "/messages/1",
    "/messages/2",
    "/plans/1",
    "/lists/recalls",
    "/lists/messages",
    "/lists/calls",
    "/lists/gaps",
    "/lists/conflicts",
    "/lists/operations",
    "/lists/plans",
    "/lists/reviews",
    "/lists/backfills",
    "/lists/allowances",
    "/lists/messages?text=odd",
    "/lists/quarantine",
    "/search?q=nobody",
];

/// Messages of all kinds in a group: recalled ones, held ones, a flagged one, harmless ones, a conflict,
/// and a plan.
pub(crate) async fn some_traffic(app: &daemon::TestApp) {
    for (seq, text) in [
        (1, "都来加微信领红包啦，现在就加"),
        (2, "a bad offer, and a bad one at that"),
        (3, "how odd"),
        (4, "quite a shade"),
        (5, "good morning everybody"),
        (6, "one more bad offer"),
        (
            7,
            "and_a_word_without_any_room_to_break_it_anywhere_at_all_for_hundreds_of_characters_on_end",
        ),
    ] {
        assert_eq!(app.callbacks.say("@TGS#2GROUP", seq, text).await, 200);
    }
    assert_eq!(app.callbacks.say("@TGS#2GROUP", 1, "bad under the same sequence").await, 200);
    app.drain().await;
    for (path, let_through) in [
        ("exemptions", serde_json::json!({"sender": "administrator", "note": "our own notices"})),
        ("allow-phrases", serde_json::json!({"phrase": "微信支付", "rule": "bait"})),
    ] {
        assert_eq!(app.post(&format!("/api/v1/{path}"), let_through).await.0, 200);
    }
    let sweep = serde_json::json!({"sender": "mallory", "since": 0});
    assert_eq!(app.post("/api/v1/plans", sweep).await.0, 200);
}
