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
    /// A workflow's webhook of Microsoft Teams.
    Teams,
}

/// Where alerts go, and what is worth one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    pub url: Secret,
    pub form: Form,
    pub secret: Secret,
    pub telegram_chat: String,
    pub also: Vec<Receiver>,
    pub queue_age_seconds: u64,
    pub summary_at: String,
    pub allow_private: bool,
}

/// A further receiver, with a form and a secret of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Receiver {
    pub url: Secret,
    pub form: Form,
    pub secret: Secret,
    pub telegram_chat: String,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            form: Form::Standard,
            secret: Secret::default(),
            telegram_chat: String::new(),
            also: Vec::new(),
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

    /// Everybody who is told: the one of `[notify]` itself, and those beside it.
    pub fn receivers(&self) -> impl Iterator<Item = Receiver> {
        let first = Receiver {
            url: self.url.clone(),
            form: self.form,
            secret: self.secret.clone(),
            telegram_chat: self.telegram_chat.clone(),
        };
        let all = std::iter::once(first).chain(self.also.iter().cloned());
        all.filter(|receiver| receiver.url.is_set())
    }

    pub(super) fn check(&self, found: &mut Vec<Mistake>) {
        let first = Receiver {
            url: self.url.clone(),
            form: self.form,
            secret: self.secret.clone(),
            telegram_chat: self.telegram_chat.clone(),
        };
        first.check("notify", self.allow_private, found);
        for (at, receiver) in self.also.iter().enumerate() {
            let place = format!("notify.also[{at}]");
            if receiver.url.is_set() {
                receiver.check(&place, self.allow_private, found);
            } else {
                found.push(Mistake::of(&format!("{place}.url"), "is missing"));
            }
        }
        require(
            self.summary_at.is_empty() || self.summary_minute().is_some(),
            "notify.summary_at",
            "must be a time such as 08:00, UTC, or empty",
            found,
        );
    }
}

impl Receiver {
    /// Whether what it gets could be signed and is not.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        self.form == Form::Standard && !self.secret.is_set()
    }

    /// What is wrong with it, as keys below `place`.
    fn check(&self, place: &str, allow_private: bool, found: &mut Vec<Mistake>) {
        use secrecy::ExposeSecret;
        let url = self.url.get().map_or("", |url| url.expose_secret());
        let secret = self.secret.get().map_or("", |secret| secret.expose_secret());
        let secure = url.starts_with("https://");
        let checks = [
            (
                secure || (allow_private && url.starts_with("http://")) || url.is_empty(),
                "url",
                "must begin with https:// (or http://, where notify.allow_private = true)",
            ),
            (
                self.form != Form::Standard || secret.is_empty() || key(secret).is_some(),
                "secret",
                "must be whsec_ and 24 to 64 bytes in base64: `openssl rand -base64 32` makes them",
            ),
            (
                self.form != Form::Telegram || url.is_empty() || !self.telegram_chat.is_empty(),
                "telegram_chat",
                "is missing: the id of the chat that the bot writes to",
            ),
        ];
        let wrong = checks.into_iter().filter(|(holds, ..)| !holds);
        found.extend(wrong.map(|(_, key, why)| Mistake::of(&format!("{place}.{key}"), why)));
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
