//! `[server]`: the listener that Chat calls.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Mistake, check_pair, require};

/// The callback listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    pub listen: SocketAddr,
    pub callback_path: String,
    pub max_body_bytes: usize,
    pub max_connections: usize,
    pub header_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub answer_timeout_ms: u64,
    pub insecure: bool,
    pub tls_cert: PathBuf,
    pub tls_key: PathBuf,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            callback_path: "/callback".into(),
            max_body_bytes: 262_144,
            max_connections: 4096,
            header_timeout_ms: 10_000,
            body_timeout_ms: 10_000,
            idle_timeout_ms: 600_000,
            answer_timeout_ms: 1_200,
            insecure: false,
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
        }
    }
}

impl Server {
    pub(super) fn check(&self, without_token: bool, found: &mut Vec<Mistake>) {
        check_pair("server", &self.tls_cert, &self.tls_key, found);
        require(
            self.callback_path.starts_with('/')
                && self
                    .callback_path
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte)),
            "server.callback_path",
            "must be a path such as /callback, of letters, digits and / - . _ ~",
            found,
        );
        require(
            (1024..=1_048_576).contains(&self.max_body_bytes),
            "server.max_body_bytes",
            "must lie between 1024 and 1048576 bytes",
            found,
        );
        require(
            (1..=1_000_000).contains(&self.max_connections),
            "server.max_connections",
            "must lie between 1 and 1000000",
            found,
        );
        for (key, value) in [
            ("server.header_timeout_ms", self.header_timeout_ms),
            ("server.body_timeout_ms", self.body_timeout_ms),
            ("server.idle_timeout_ms", self.idle_timeout_ms),
        ] {
            require(
                (1..=86_400_000).contains(&value),
                key,
                "must lie between 1 ms and a day",
                found,
            );
        }
        require(
            (1..=1_900).contains(&self.answer_timeout_ms),
            "server.answer_timeout_ms",
            "must lie between 1 and 1900 ms, since Chat gives up after 2 seconds",
            found,
        );
        require(
            self.listen.ip().is_loopback() || !without_token || self.insecure,
            "server.listen",
            "is not a loopback address, and chat.callback_token is not set: anyone could have any \
             message deleted. Set the token, or server.insecure = true if a proxy authenticates",
            found,
        );
    }
}
