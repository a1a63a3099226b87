//! The role that makes what was recorded evident: a chain of digests over verdicts, calls and operators'
//! acts. Whoever changes, takes away or puts in a row afterwards would have to make every later link anew,
//! and a head that was kept elsewhere tells.

use async_trait::async_trait;

use super::Error;
use crate::model::Timestamp;

/// Builds the chain, and what else is built behind the writer: indexes that no callback should wait for.
#[async_trait]
pub trait Trail: Send + Sync {
    /// Takes in some of what was recorded since. Answers whether there is more to take in at once. Rows
    /// join the chain when there are enough of them for a link, or when the oldest is some seconds old.
    async fn follow(&self, now: Timestamp) -> Result<bool, Error>;
}

/// Reads the chain.
#[async_trait]
pub trait Chain: Send + Sync {
    /// Compares what stands in the database with the chain. `head` is one that was told before: it has
    /// to be a link of this chain. `progress` is told how many rows were compared.
    async fn verify(
        &self,
        head: Option<&str>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Verified, Error>;

    /// The hash of the newest link, in hexadecimal; empty where there is none.
    async fn head(&self) -> Result<String, Error>;
}

/// What comparing came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub links: u64,
    /// Rows that were compared.
    pub rows: u64,
    /// Rows whose content was erased; the rest of them was compared.
    pub erased: u64,
    /// Rows that retention took away; of them the digest stays.
    pub pruned: u64,
    /// Rows that are too new to be in the chain. Nothing is known of them.
    pub behind: u64,
    /// The hash of the newest link, in hexadecimal. Kept elsewhere, it shows later whether the chain was
    /// cut or made anew.
    pub head: String,
    /// What does not agree, the first hundred.
    pub findings: Vec<Disagreement>,
}

/// Something that does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    pub link: i64,
    pub what: String,
}
