//! `[store]`: where everything is kept.

use serde::{Deserialize, Serialize};

use super::{Mistake, require};

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// When it is on the disk: what was acknowledged survives a power cut.
    #[default]
    Full,
    /// When the operating system has it: the last commits may be lost at a power cut, not at a crash
    /// of quell alone.
    Normal,
}

/// The database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    pub url: String,
    pub synchronous: Synchronous,
    pub queue_messages: usize,
    pub batch_messages: usize,
    pub readers: u32,
    pub quarantine_rows: u32,
    pub search: bool,
    pub migrate: bool,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: "sqlite:quell.db".into(),
            synchronous: Synchronous::Full,
            queue_messages: 8192,
            batch_messages: 512,
            readers: 4,
            quarantine_rows: 10_000,
            search: false,
            migrate: true,
        }
    }
}

impl Store {
    /// The path of the database file.
    #[must_use]
    pub fn sqlite_path(&self) -> Option<&std::path::Path> {
        let path = self.url.strip_prefix("sqlite:")?;
        let path = path.strip_prefix("//").unwrap_or(path);
        (!path.is_empty() && !path.contains('?') && !path.starts_with(':'))
            .then(|| std::path::Path::new(path))
    }

    pub(super) fn check(&self, found: &mut Vec<Mistake>) {
        require(
            self.sqlite_path().is_some(),
            "store.url",
            "must be sqlite: and the path of a file, such as sqlite:/var/lib/quell/quell.db",
            found,
        );
        require(
            (16..=1_000_000).contains(&self.queue_messages),
            "store.queue_messages",
            "must lie between 16 and 1000000",
            found,
        );
        require(
            (1..=10_000).contains(&self.batch_messages),
            "store.batch_messages",
            "must lie between 1 and 10000",
            found,
        );
        require(
            (1..=64).contains(&self.readers),
            "store.readers",
            "must lie between 1 and 64",
            found,
        );
        require(self.quarantine_rows >= 1, "store.quarantine_rows", "must be at least 1", found);
    }
}
