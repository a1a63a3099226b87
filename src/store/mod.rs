//! Where everything is kept, behind traits by role, so that a second backend can follow.
//!
//! What every backend promises, and `contract` checks:
//!
//! - Each method is one transaction. When it returns `Ok`, its effect survives a crash.
//! - [`Intake::record`] stores message, verdict, hits and recall job together; the same message again
//!   changes nothing.
//! - A job is leased with a number that grows; whoever holds an older number can change nothing.
//! - A message has at most one unfinished job.

mod allowances;
mod answers;
mod audit;
mod backfills;
mod cases;
mod columns;
#[cfg(test)]
mod contract;
mod control;
mod figures;
mod gaps;
mod intake;
mod jobs;
mod outcomes;
mod plans;
mod replay;
mod retention;
mod reviews;
pub mod sqlite;
mod trail;

pub use allowances::{Allowances, NewAllowance};
pub use answers::{Answer, Answers};
pub use audit::{Audit, Cell, Filter, Page, View};
pub use backfills::{Backfill, BackfillStep, Backfills, StepOutcome};
pub use cases::{Case, CaseHit, CaseJob, Cases, LOOK_BACK, NameOf, Wanted};
pub use columns::{Column, Kind, REVIEWABLE};
pub use control::{By, Control, JobChange, JobFilter, Pause, QUELL, Tripped};
pub use figures::{Bucket, Figures, HeldJob, Ranked, RuleFigures, SenderFigures, Story, TopPlaces};
pub use gaps::{
    Explained, Finding, Gaps, Known, NewGap, NotedGaps, OpenGap, Reached, Seen, Sighting,
    Sightings, Unexplained,
};
pub use intake::{
    Destroyed, Intake, NewJob, Quarantined, Recalled, Record, Recorded, Recording, RuleSet,
    StoredMessage,
};
pub use jobs::{
    CallOutcome, Conversation, ConversationId, Exposure, FinishedCall, JobEvent, JobEvents,
    JobUpdate, Jobs, Lease, LeaseRequest, LeasedJob, QueuedJob, SettledJob,
};
pub use outcomes::Outcomes;
pub use plans::{Meant, MeantMessage, NewPlan, Plan, PlanId, PlannedMessage, Plans};
pub use replay::{JudgedMessage, JudgedPage, PastHit, Replay, Stretch};
pub use retention::{Cutoffs, Erased, Pruned, Retention};
pub use reviews::{Precision, Review, Reviews};
pub use trail::{Chain, Disagreement, Trail, Verified};

/// All roles of one backend.
pub trait Store:
    Intake
    + Jobs
    + Control
    + Audit
    + Cases
    + Replay
    + Plans
    + Gaps
    + Backfills
    + Retention
    + Reviews
    + Figures
    + Answers
    + Outcomes
    + Allowances
    + Trail
    + Chain
{
}
impl<T> Store for T where
    T: Intake
        + Jobs
        + Control
        + Audit
        + Cases
        + Replay
        + Plans
        + Gaps
        + Backfills
        + Retention
        + Reviews
        + Figures
        + Answers
        + Outcomes
        + Allowances
        + Trail
        + Chain
{
}

/// Why the store did not do what it was asked to. Nothing of it happened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// More waits than may wait. Trying later may help.
    #[error("the store is overloaded: {0} writes wait")]
    Overloaded(usize),
    /// The disk is full, the file cannot be written, the database is broken.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// One statement was refused; the database itself is fine.
    #[error("the store refused a statement: {0}")]
    Refused(String),
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Another process holds the database.
    #[error("{path} is in use by another quell: one daemon a database")]
    Locked { path: String },
    /// The SQLite library has a bug that loses commits.
    #[error("SQLite {found} is too old: {wanted} is the first without the WAL-reset bug")]
    SqliteTooOld { found: String, wanted: &'static str },
    /// The database was made by a newer quell.
    #[error("the database has schema version {found}, this quell knows up to {known}")]
    TooNew { found: i64, known: i64 },
    /// The database wants `quell migrate` first.
    #[error("the database has schema version {found}, {known} is needed: run `quell migrate`")]
    NotMigrated { found: i64, known: i64 },
}
