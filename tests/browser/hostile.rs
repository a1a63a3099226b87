//! Messages as attackers write them.

use serde_json::json;

use crate::browser::{Browser, Window};
use crate::daemon::{Home, message};

const OWN: &str = "<img src=x onerror=\"window.owned=1\"><script>window.owned=2;alert(1)</script>\
     <svg onload=window.owned=3><a href=\"javascript:window.owned=4\">x</a><style>body{display:none}</style>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_full_of_markup_and_controls_is_inert() {
    let home = Home::new().await;
    let app = home.start(&["guard.sender_recalls_per_minute=1"]).await;
    let Some(browser) = Browser::open(&app, Window::Desk).await else { return };
    let texts = [
        format!("bad {OWN}"),
        format!("bad \"'><template></bdi></p></li></ol></main>{OWN}"),
        "bad \u{202e}\u{2066}txt.exe\u{2069}\u{202d}\u{200f} \u{0} \u{1b}[2J \u{feff}".to_owned(),
        format!("bad {}", "\u{0335}\u{0489}z".repeat(300)),
        format!("bad {}", "W".repeat(3000)),
        "bad\n".repeat(200),
        "bad data: x\n\nevent: row\ndata: <b id=forged>forged</b>\n\n".to_owned(),
        "bad מרחבא عربى {{ 7*7 }} ${7*7} &lt;b&gt;".to_owned(),
    ];
    browser.goto("/?verdict=all").await;
    browser.until("document.querySelector('#feed-status').textContent === 'live'").await;
    for (seq, text) in (1..).zip(&texts) {
        let mut body = message("g\"><script>window.owned=5</script>", seq, text);
        body["From_Account"] =
            json!("mal\u{202e}<b>lory</b>'\"><img src=x onerror=window.owned=6>");
        assert_eq!(app.callbacks.send(&body).await, 200);
    }
    app.drain().await;
    let allowed = json!({ "sender": OWN, "note": format!("\u{202e}{OWN}") });
    assert_eq!(app.post("/api/v1/exemptions", allowed).await.0, 200);
    browser
        .until(&format!("document.querySelectorAll('#feed > .row').length === {}", texts.len()))
        .await;
    inert(&browser, "the live feed").await;
    for page in [
        "/",
        "/queue",
        "/lists/messages",
        "/lists/recalls",
        "/lists/allowances",
        "/messages/1",
        "/messages/2",
        "/messages/3",
        "/messages/4",
        "/messages/5",
        "/messages/6",
        "/messages/7",
        "/messages/8",
        "/search?q=%3Cscript%3Ewindow.owned%3D7%3C%2Fscript%3E%E2%80%AE",
        "/?group=%22%3E%3Cscript%3Ewindow.owned%3D8%3C%2Fscript%3E",
    ] {
        browser.goto(page).await;
        inert(&browser, page).await;
    }
    browser.goto("/messages/1").await;
    let said = browser.value("document.querySelector('#said').textContent").await;
    assert_eq!(said.as_str().unwrap(), texts[0], "every character is there, as text");
    browser.goto("/messages/3").await;
    let said = browser.value("document.querySelector('#said').textContent").await;
    assert!(said.as_str().unwrap().contains("U+202E") && said.as_str().unwrap().contains("U+001B"));
    browser.close().await;
    app.stop().await;
}

/// No script ran, no dialog came, nothing was loaded, and each text stays within its element.
async fn inert(browser: &Browser, page: &str) {
    assert!(browser.client.get_alert_text().await.is_err(), "{page}: a dialog came up");
    let found = browser.value(CHECK).await;
    assert_eq!(found, json!([]), "{page}");
}

const CHECK: &str = r"(() => {
    const wrong = [];
    if (window.owned !== undefined) wrong.push('a script ran: ' + window.owned);
    if (document.querySelector('#forged')) wrong.push('an event was forged');
    const main = document.querySelector('main');
    if (!main || getComputedStyle(document.body).display === 'none') wrong.push('the page is gone');
    const strange = main.querySelectorAll('img, svg, script, style, template, iframe, [onerror], [onload]');
    if (strange.length) wrong.push('elements of a message: ' + strange[0].outerHTML);
    for (const link of document.links) {
        if (!['http:'].includes(link.protocol) || link.host !== location.host) wrong.push('a link: ' + link.href);
    }
    const turning = /[\u0000-\u0009\u000b-\u001f\u200b-\u200c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/;
    for (const said of document.querySelectorAll('.said')) {
        if (turning.test(said.textContent)) wrong.push('a control: ' + JSON.stringify(said.textContent.slice(0, 40)));
        if (!/isolate/.test(getComputedStyle(said).unicodeBidi)) wrong.push('not isolated');
        for (const inside of said.querySelectorAll('*')) {
            if (!['MARK', 'SPAN'].includes(inside.tagName)) wrong.push('an element: ' + inside.outerHTML);
        }
        const holder = said.closest('.row, .item, td, li, .message');
        if (!holder || !said.getClientRects().length) continue;
        const [outer, inner] = [holder.getBoundingClientRect(), said.getBoundingClientRect()];
        if (inner.left < outer.left - 1 || inner.right > outer.right + 1) wrong.push('it leaves its place: ' + said.textContent.slice(0, 40));
    }
    for (const row of document.querySelectorAll('.row:not(.this)')) {
        const tops = ['.meta', '.text', '.from'].map((part) => row.querySelector(part).getBoundingClientRect());
        if (!(tops[0].bottom <= tops[1].top + 1 && tops[1].bottom <= tops[2].top + 1)) wrong.push('parts of a row overlap');
    }
    return wrong;
})()";
