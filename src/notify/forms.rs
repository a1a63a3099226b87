//! An alert as each receiver wants it: address, headers and body of a request, and what its answer means.
//!
//! Standard: <https://www.standardwebhooks.com>. The others are the incoming webhooks ("custom bots") of
//! the chat tools. Some of them answer 200 and say in the body that they refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Alert, Receiver};
use crate::config::notify::{self, Form};
use crate::model::Timestamp;

/// A request that tells an alert.
pub(super) struct Request {
    /// What the URL's query gets in addition.
    pub query: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// Characters of a message: one tool takes 2048 bytes, another 2000 characters.
const LONGEST_TEXT: usize = 600;

/// The request for an alert, at the moment it is sent: signatures hold for minutes.
pub(super) fn request(receiver: &Receiver, alert: &Alert, now: Timestamp) -> Request {
    let text = short(&alert.text());
    let secret = receiver.secret.as_ref().map(ExposeSecret::expose_secret);
    let plain =
        |body: Value| Request { query: String::new(), headers: Vec::new(), body: body.to_string() };
    match receiver.form {
        Form::Standard => standard(alert, secret, now),
        Form::Slack => plain(json!({ "text": escaped_for_slack(&text) })),
        // What stands in the text must call nobody.
        Form::Discord => plain(json!({ "content": text, "allowed_mentions": { "parse": [] } })),
        Form::Lark | Form::Feishu => {
            // `<at user_id="all">` would call everybody.
            let text = text.replace('<', "\u{ff1c}");
            let mut body = json!({ "msg_type": "text", "content": { "text": text } });
            if let Some(secret) = secret {
                let seconds = now.secs().to_string();
                let key = format!("{seconds}\n{secret}");
                body["sign"] = json!(STANDARD.encode(hmac(key.as_bytes(), b"")));
                body["timestamp"] = json!(seconds);
            }
            plain(body)
        }
        Form::Dingtalk => {
            let body = json!({ "msgtype": "text", "text": { "content": text } });
            let query = secret.map_or_else(String::new, |secret| {
                let stamp = now.millis();
                let sign = hmac(secret.as_bytes(), format!("{stamp}\n{secret}").as_bytes());
                let sign = STANDARD.encode(sign);
                let sign = utf8_percent_encode(&sign, NON_ALPHANUMERIC);
                format!("timestamp={stamp}&sign={sign}")
            });
            Request { query, ..plain(body) }
        }
        Form::Wecom => plain(json!({ "msgtype": "text", "text": { "content": text } })),
        Form::Telegram => plain(json!({
            "chat_id": receiver.telegram_chat, "text": text,
            "link_preview_options": { "is_disabled": true },
        })),
        Form::Teams => plain(json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "type": "AdaptiveCard", "version": "1.4",
                    "body": [{ "type": "TextBlock", "wrap": true, "text": text }],
                },
            }],
        })),
    }
}

fn standard(alert: &Alert, secret: Option<&str>, now: Timestamp) -> Request {
    let id = alert.id();
    let stamp = now.secs().to_string();
    let body = json!({
        "type": alert.kind(), "timestamp": iso(alert.at()), "data": alert.data(),
        "text": alert.text(),
    })
    .to_string();
    let mut headers = vec![("webhook-id", id.clone()), ("webhook-timestamp", stamp.clone())];
    if let Some(key) = secret.and_then(notify::key) {
        let signature = hmac(&key, format!("{id}.{stamp}.{body}").as_bytes());
        headers.push(("webhook-signature", format!("v1,{}", STANDARD.encode(signature))));
    }
    Request { query: String::new(), headers, body }
}

fn iso(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.millis())
        .map_or_else(|_| String::new(), |at| at.to_string())
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// `<!channel>` and links are markup there.
fn escaped_for_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What a receiver's answer with a status of success says it did not like, if anything.
pub(super) fn refused(form: Form, body: &str) -> Option<String> {
    let said: Value = serde_json::from_str(body).unwrap_or_default();
    let code = match form {
        Form::Lark | Form::Feishu => said["code"].as_i64().or_else(|| said["StatusCode"].as_i64()),
        Form::Dingtalk | Form::Wecom => said["errcode"].as_i64(),
        Form::Telegram => (said["ok"] == false).then_some(1),
        Form::Standard | Form::Slack | Form::Discord | Form::Teams => None,
    };
    let words = ["msg", "errmsg", "description"].into_iter().find_map(|key| said[key].as_str());
    code.filter(|code| *code != 0).map(|code| format!("{code} {}", words.unwrap_or("")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RuleId;

    fn options(form: Form, secret: Option<&str>) -> Receiver {
        Receiver {
            url: "https://receiver.example/hook".into(),
            form,
            secret: secret.map(Into::into),
            telegram_chat: "-100".into(),
            allow_private: false,
        }
    }

    fn alert() -> Alert {
        let why = "it hit <!channel> & 60 of 100 senders".to_owned();
        Alert::RuleTripped { rule: RuleId::from("bait"), why, at: Timestamp(1_764_000_000_000) }
    }

    #[test]
    fn a_standard_signature_can_be_verified() {
        let secret = format!("whsec_{}", STANDARD.encode([7_u8; 32]));
        let now = Timestamp(1_764_000_005_000);
        let request = request(&options(Form::Standard, Some(&secret)), &alert(), now);
        let header = |name| {
            let found = request.headers.iter().find(|(known, _)| *known == name);
            found.unwrap().1.clone()
        };
        assert_eq!(header("webhook-timestamp"), "1764000005");
        let signed = format!("{}.1764000005.{}", header("webhook-id"), request.body);
        let expected = STANDARD.encode(hmac(&[7; 32], signed.as_bytes()));
        assert_eq!(header("webhook-signature"), format!("v1,{expected}"));
        let body: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(body["type"], "rule.tripped");
        assert_eq!(body["timestamp"], "2025-11-24T16:00:00Z");
        assert_eq!(body["data"]["rule"], "bait");
    }

    /// The example of the Standard Webhooks specification's libraries.
    #[test]
    fn the_specifications_vector_holds() {
        let key = notify::key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        let expected = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(STANDARD.encode(hmac(&key, signed.as_bytes())), expected);
    }

    #[test]
    fn every_tool_gets_its_own_form() {
        let now = Timestamp(1_764_000_005_000);
        let body = |form, secret| {
            let request = request(&options(form, secret), &alert(), now);
            (serde_json::from_str::<Value>(&request.body).unwrap(), request.query)
        };
        let (slack, _) = body(Form::Slack, None);
        assert!(slack["text"].as_str().unwrap().contains("&lt;!channel&gt; &amp; 60"));
        let (discord, _) = body(Form::Discord, None);
        assert_eq!(discord["allowed_mentions"], json!({ "parse": [] }));
        let (teams, _) = body(Form::Teams, None);
        let card = &teams["attachments"][0]["content"]["body"][0]["text"];
        assert!(card.as_str().unwrap().contains("rule bait tripped"), "{teams}");
        let (lark, _) = body(Form::Lark, Some("s"));
        assert!(!lark["content"]["text"].as_str().unwrap().contains('<'), "{lark}");
        assert_eq!(lark["timestamp"], "1764000005");
        let sign = STANDARD.encode(hmac(b"1764000005\ns", b""));
        assert_eq!(lark["sign"], sign.as_str());
        let (dingtalk, query) = body(Form::Dingtalk, Some("s"));
        assert!(dingtalk["text"]["content"].is_string());
        assert!(query.starts_with("timestamp=1764000005000&sign="), "{query}");
        assert_eq!(body(Form::Wecom, None).0["msgtype"], "text");
        assert_eq!(body(Form::Telegram, None).0["chat_id"], "-100");
    }

    #[test]
    fn a_long_alert_fits_every_tool() {
        let why = "长".repeat(5_000);
        let alert = Alert::RuleTripped { rule: RuleId::from("bait"), why, at: Timestamp(0) };
        for form in [Form::Wecom, Form::Discord, Form::Telegram] {
            let body = request(&options(form, None), &alert, Timestamp(0)).body;
            let body: Value = serde_json::from_str(&body).unwrap();
            let text = [&body["text"]["content"], &body["content"], &body["text"]];
            let text = text.into_iter().find_map(Value::as_str).unwrap();
            assert!(text.len() <= 2_048 && text.ends_with('…'), "{form:?}: {}", text.len());
        }
    }

    #[test]
    fn an_answer_of_success_may_be_a_refusal() {
        let lark = r#"{"code":19021,"msg":"sign match fail"}"#;
        assert_eq!(refused(Form::Lark, lark), Some("19021 sign match fail".into()));
        assert_eq!(refused(Form::Feishu, r#"{"StatusCode":0,"code":0}"#), None);
        assert!(refused(Form::Dingtalk, r#"{"errcode":310000,"errmsg":"x"}"#).is_some());
        assert_eq!(refused(Form::Wecom, r#"{"errcode":0,"errmsg":"ok"}"#), None);
        assert_eq!(refused(Form::Slack, "ok"), None);
    }
}
