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
//! | 2 | [`rules`] | the rules file, compiled, and the engine that judges by it |
//! | 2 | [`chat`] | Chat's protocol: callbacks verified and read, REST calls made |
//! | 4 | [`sim`] | a simulated Chat to try things against |
//!
//! A message's way: bytes, [`chat`] verifies and reads them, [`text`] extracts what can be read,
//! [`rules`] judges, the store records message, verdict and recall jobs in one transaction, and only
//! then is the callback answered. A job's way: claimed from the store, batched with others of its
//! group and topic, paced, called, and finished with what Chat answered for each message.

pub mod chat;
pub mod cli;
pub mod model;
pub mod sim;
pub mod text;
