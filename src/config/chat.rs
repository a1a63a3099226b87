//! `[chat]`: the application at Tencent Cloud Chat.

use serde::{Deserialize, Serialize};

use super::{Mistake, Secret, Secrets, require};

/// Account, host and shared secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chat {
    pub sdk_app_id: u64,
    pub identifier: String,
    pub secret_key: Secret,
    pub region: String,
    pub base_url: String,
    pub callback_token: Secrets,
    pub callback_tolerance_seconds: u64,
    pub roaming_days: u32,
}

impl Default for Chat {
    fn default() -> Self {
        Self {
            sdk_app_id: 0,
            identifier: "administrator".into(),
            secret_key: Secret::default(),
            region: "singapore".into(),
            base_url: String::new(),
            callback_token: Secrets::default(),
            callback_tolerance_seconds: 60,
            roaming_days: 7,
        }
    }
}

impl Chat {
    pub(super) fn check(&self, found: &mut Vec<Mistake>) {
        require(
            self.sdk_app_id > 0,
            "chat.sdk_app_id",
            "is missing: the SDKAppID of your application, shown in the Chat console",
            found,
        );
        require(
            !self.identifier.is_empty(),
            "chat.identifier",
            "is missing: the account of an app administrator",
            found,
        );
        require(
            self.secret_key.is_set(),
            "chat.secret_key",
            "is missing: the key of your application, shown in the Chat console \
             (or chat.secret_key_file, QUELL__CHAT__SECRET_KEY, QUELL__CHAT__SECRET_KEY_FILE)",
            found,
        );
        let rest = self
            .base_url
            .strip_prefix("https://")
            .or_else(|| self.base_url.strip_prefix("http://"));
        require(
            self.base_url.is_empty()
                || rest.is_some_and(|rest| !rest.starts_with(['/', ':']) && !rest.is_empty()),
            "chat.base_url",
            "must be https:// or http://, then a host and perhaps a port",
            found,
        );
        require(
            (1..=86_400 * 366).contains(&self.callback_tolerance_seconds),
            "chat.callback_tolerance_seconds",
            "must be at least 1 second and at most a year",
            found,
        );
        require(
            (1..=3_650).contains(&self.roaming_days),
            "chat.roaming_days",
            "must lie between 1 and 3650 days",
            found,
        );
    }
}
