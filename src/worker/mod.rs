//! The recall queue at work: what goes next, how fast, and what an answer means.
//!
//! - [`scheduler`] picks the batch that should leave now.
//! - [`limit`] lets calls leave at no more than the set pace.
//! - [`circuit`] stops calling while calling is pointless, and finds out when it no longer is.
//! - [`ruling`] turns Chat's answer into what happens to each job.
//! - [`runner`] holds them together: it leases, sends, and records.

pub mod circuit;
pub mod limit;
pub mod ruling;
mod runner;
pub mod scheduler;

pub use runner::{Options, Status, Worker};
