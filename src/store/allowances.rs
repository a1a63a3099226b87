//! The role that keeps what operators let through beside the rules file.

use async_trait::async_trait;

use super::{By, Error};
use crate::model::{Allowance, AllowanceKind, RuleId};

/// Keeps allowances. Whoever judges is told by whoever owns it.
#[async_trait]
pub trait Allowances: Send + Sync {
    /// All of them, in the order in which they were made.
    async fn allowances(&self) -> Result<Vec<Allowance>, Error>;

    /// Makes one and records the act. The same again is the one that is there already, and an act all
    /// the same. [`Error::Invalid`] where there are too many.
    async fn allow(&self, by: &By, allowance: &NewAllowance) -> Result<Allowance, Error>;

    /// Takes one back and records the act. Answers whether there was one of that kind.
    async fn disallow(&self, by: &By, kind: AllowanceKind, id: i64) -> Result<bool, Error>;
}

/// An allowance to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAllowance {
    pub kind: AllowanceKind,
    pub value: String,
    pub rule: Option<RuleId>,
    pub note: String,
}
