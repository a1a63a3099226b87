//! `[notify]`: who is told when something needs a person.

use serde::{Deserialize, Serialize};

use super::{Mistake, Secret, require};

/// How a message is written, by who reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// JSON after the Standard Webhooks specification, signed.
    #[default]
    Standard,
    Slack,
    Discord,
    /// Feishu's name elsewhere.
    Lark,
    Feishu,
    Dingtalk,
    Wecom,
    Telegram,
}

/// Where alerts go, and what is worth one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    pub url: Secret,
    pub form: Form,
    pub secret: Secret,
    pub telegram_chat: String,
    pub queue_age_seconds: u64,
    pub summary_at: String,
    pub allow_private: bool,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            form: Form::Standard,
            secret: Secret::default(),
            telegram_chat: String::new(),
            queue_age_seconds: 60,
            summary_at: "08:00".into(),
            allow_private: false,
        }
    }
}

impl Notify {
    /// Minutes after midnight, UTC, at which a day is summed up; none where it is not.
    #[must_use]
    pub fn summary_minute(&self) -> Option<u32> {
        let (hours, minutes) = self.summary_at.split_once(':')?;
        let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
        (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
    }

    pub(super) fn check(&self, found: &mut Vec<Mistake>) {
        use secrecy::ExposeSecret;
        let url = self.url.get().map_or("", |url| url.expose_secret());
        let allowed = url.starts_with("https://")
            || (self.allow_private && url.starts_with("http://"))
            || url.is_empty();
        require(
            allowed,
            "notify.url",
            "must begin with https:// (or http://, where notify.allow_private = true)",
            found,
        );
        let secret = self.secret.get().map_or("", |secret| secret.expose_secret());
        require(
            self.form != Form::Standard || secret.is_empty() || key(secret).is_some(),
            "notify.secret",
            "must be whsec_ and 24 to 64 bytes in base64: `openssl rand -base64 32` makes them",
            found,
        );
        require(
            self.form != Form::Telegram || url.is_empty() || !self.telegram_chat.is_empty(),
            "notify.telegram_chat",
            "is missing: the id of the chat that the bot writes to",
            found,
        );
        require(
            self.summary_at.is_empty() || self.summary_minute().is_some(),
            "notify.summary_at",
            "must be a time such as 08:00, UTC, or empty",
            found,
        );
    }
}

/// The key that a `whsec_` secret stands for.
#[must_use]
pub fn key(secret: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    let encoded = secret.strip_prefix("whsec_")?;
    let key = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}
