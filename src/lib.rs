//! quell keeps group chat on Tencent Cloud Chat clean: it records every group message, judges it by
//! the rules of a YAML file, recalls what an enforced rule matches, and can say afterwards what was
//! done, when and why.
//!
//! The modules, lowest layer first. A module imports from lower layers only, never from a sibling
//! or from above; `tests/tidy.rs` checks it.
//!
//! | layer | module | what it is for |
//! | --- | --- | --- |
//! | 0 | [`model`] | the words of the trade as plain types |
//! | 1 | [`text`] | a message's text: extracted, folded, with the way back to the original |
//! | 1 | [`config`] | file, environment and flags, checked once |
//! | 2 | [`rules`] | the rules file, compiled, and the engine that judges by it |
//! | 2 | [`store`] | where everything is kept, behind traits by role |
//! | 2 | [`chat`] | Chat's protocol: callbacks verified and read, REST calls made |
//! | 3 | [`intake`] | the one path a message takes, from bytes to recorded |
//! | 3 | [`worker`] | the recall queue: what goes next, how fast, and what an answer means |
//! | 3 | [`backtest`] | a candidate rule set over stored messages, compared |
//! | 3 | [`notify`] | telling a person what needs one: webhooks and chat tools |
//! | 3 | [`retention`] | letting go: of what is old, and of what a person wants gone |
//! | 3 | [`sweep`] | retroactive recalls: planned, looked at, applied |
//! | 4 | [`repair`] | what the callbacks missed: found by sequence, pulled from history |
//! | 4 | [`http`] | the listeners and their routes |
//! | 4 | [`sim`] | a simulated Chat to try things against |
//! | 5 | [`app`] | builds everything from the configuration, owns start and stop |
//! | 6 | [`cli`] | one file a subcommand |
//!
//! A message's way: bytes, [`chat`] verifies and reads them, [`text`] extracts what can be read,
//! [`rules`] judges, the store records message, verdict and recall job in one transaction, and only
//! then is the callback answered. A job's way: it waits in the store's table, is put into a call with
//! others of its group and topic, leased, paced, sent, and finished with what Chat answered for it.

pub mod app;
pub mod backtest;
pub mod chat;
pub mod cli;
pub mod config;
pub mod http;
pub mod intake;
pub mod model;
pub mod notify;
pub mod repair;
pub mod retention;
pub mod rules;
pub mod sim;
pub mod store;
pub mod sweep;
pub mod text;
pub mod worker;
