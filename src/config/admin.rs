//! `[admin]`: the listener for operators, metrics and probes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Mistake, Secret, check_pair, require};

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    pub listen: SocketAddr,
    pub token: Secret,
    pub read_token: Secret,
    pub insecure: bool,
    pub max_body_bytes: usize,
    pub answer_timeout_ms: u64,
    pub tls_cert: PathBuf,
    pub tls_key: PathBuf,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081),
            token: Secret::default(),
            read_token: Secret::default(),
            insecure: false,
            max_body_bytes: 4 << 20,
            answer_timeout_ms: 30_000,
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
        }
    }
}

impl Admin {
    pub(super) fn check(&self, found: &mut Vec<Mistake>) {
        check_pair("admin", &self.tls_cert, &self.tls_key, found);
        require(
            self.listen.ip().is_loopback() || self.token.is_set() || self.insecure,
            "admin.listen",
            "is not a loopback address, and admin.token is not set: anyone could recall messages. \
             Set the token, or admin.insecure = true if a proxy authenticates",
            found,
        );
        require(
            !self.token.is_set() || self.token != self.read_token,
            "admin.read_token",
            "must differ from admin.token, else readers could operate",
            found,
        );
        require(
            (1024..=67_108_864).contains(&self.max_body_bytes),
            "admin.max_body_bytes",
            "must lie between 1024 and 67108864 bytes",
            found,
        );
        require(
            (1..=3_600_000).contains(&self.answer_timeout_ms),
            "admin.answer_timeout_ms",
            "must lie between 1 ms and an hour",
            found,
        );
    }
}
