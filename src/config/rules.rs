//! `[rules]`: what to judge by.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The rules file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    pub path: PathBuf,
}

impl Default for Rules {
    fn default() -> Self {
        Self { path: "rules.yaml".into() }
    }
}
