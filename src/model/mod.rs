//! The words of the trade as plain types: ids, messages, verdicts, jobs, time.
//!
//! Nothing here does I/O, reads a clock or knows how a thing is stored, sent or shown.
//! Every other module may import from here; this one imports from nowhere.

mod allowance;
mod clock;
mod content;
pub mod faults;
mod ids;
mod job;
mod message;
mod signals;
mod text;
mod verdict;
mod word;

pub use allowance::{Allowance, AllowanceKind};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use content::Content;
pub use ids::{AppId, GroupId, JobId, MessageKey, MsgSeq, RuleId, RulesVersion, TopicId, UserId};
pub use job::{JobState, PlanState, RequestedBy};
pub use message::{Element, GroupType, Mentions, Message, Source};
pub use signals::Signals;
pub use text::{Origin, Piece, Text, excerpt};
pub use verdict::{Action, Hit, Judgement, Mode, Severity, Verdict};
pub use word::Word;
