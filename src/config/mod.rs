//! The configuration: TOML file < environment (`QUELL__SECTION__KEY`) < flags, checked once.
//!
//! One file a section, plain values. `config/default.toml` documents every key with unit and reason;
//! a test keeps it equal to [`Config::default`]. Unknown keys are errors, and every mistake is
//! reported, not only the first. Secrets never show: see [`Secret`].

mod admin;
mod chat;
mod guard;
mod history;
mod load;
mod log;
pub mod notify;
mod recall;
mod retention;
mod rules;
mod secret;
mod server;
mod store;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use admin::Admin;
pub use chat::Chat;
pub use guard::Guard;
pub use history::History;
pub use load::{Error, Loaded, Mistake, Overrides, load, load_str, secrets_among};
pub use log::{Log, LogFormat};
pub use notify::Notify;
pub use recall::{CALLS_PER_SECOND_AT_CHAT, Recall, RecallMode};
pub use retention::{Retention, StoreText};
pub use rules::Rules;
pub use secret::{Secret, Secrets};
pub use server::Server;
pub use store::{Store, Synchronous};

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub admin: Admin,
    pub chat: Chat,
    pub recall: Recall,
    pub history: History,
    pub store: Store,
    pub rules: Rules,
    pub guard: Guard,
    pub retention: Retention,
    pub notify: Notify,
    pub log: Log,
}

impl Config {
    /// What is wrong with the values taken together; empty when `quell serve` could start with them.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut found = Vec::new();
        self.server.check(self.chat.callback_token.is_empty(), &mut found);
        self.admin.check(&mut found);
        self.chat.check(&mut found);
        self.recall.check(&mut found);
        self.history.check(&mut found);
        self.store.check(&mut found);
        self.guard.check(&mut found);
        self.retention.check(&mut found);
        self.notify.check(&mut found);
        self.log.check(&mut found);
        found
    }
}

/// A certificate and its key come together or not at all.
fn check_pair(section: &str, certificate: &Path, key: &Path, found: &mut Vec<Mistake>) {
    let missing = match (certificate.as_os_str().is_empty(), key.as_os_str().is_empty()) {
        (false, true) => "tls_key",
        (true, false) => "tls_cert",
        _ => return,
    };
    found.push(Mistake::of(
        &format!("{section}.{missing}"),
        "is missing: TLS wants tls_cert and tls_key together",
    ));
}

/// Notes a mistake unless a condition holds.
fn require(holds: bool, key: &'static str, problem: impl Into<String>, found: &mut Vec<Mistake>) {
    if !holds {
        found.push(Mistake::of(key, problem));
    }
}
