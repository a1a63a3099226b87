//! The recall queue at work: what goes next, how fast, and what an answer means.
//!
//! - [`scheduler`] picks the batch that should leave now.
//! - [`limit`] lets calls leave at no more than the set pace.
//! - [`circuit`] stops calling while calling is pointless, and finds out when it no longer is.
//! - [`ruling`] turns Chat's answer into what happens to each job.
//! - `planner` leases, `sender` calls and records, [`Worker`] holds them together.

pub mod circuit;
pub mod limit;
mod planner;
pub mod ruling;
mod runner;
pub mod scheduler;
mod sender;

pub use runner::{Options, Status, Worker};
