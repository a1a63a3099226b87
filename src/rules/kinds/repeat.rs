//! `repeat`: the same or nearly the same text again and again.
//!
//! ```yaml
//! repeat: { times: 3, within: 10m }
//! repeat: { times: 5, within: 1h, by: anyone, in: everywhere, near: true }
//! repeat: { times: 5, senders: 4, within: 10m, by: anyone }
//! ```
//!
//! Texts are compared as folded: separators, case, look-alikes and repeated letters do not make them
//! differ. `near` also counts texts in which little is changed. Texts shorter than `min_length`
//! characters are not counted, since people say `ok` all day.

use crate::model::Signals;
use crate::rules::decode::{Span, word, written};
use crate::rules::kinds::flood::Where;
use crate::rules::windows::{By, Measure, Reach, What};

written! {
    /// How often, by whom and in which span.
    struct Written: "a repeat matcher" {
        /// From this many on, this one counted.
        times = "times": u64,
        /// The span they lie in.
        within = "within": Span,
        /// `sender` (default): of the same sender; `anyone`: of all.
        by = "by": Option<Who>,
        /// `group` (default): of the same group and topic; `everywhere`: of all groups.
        reach = "in": Option<Where>,
        /// Whether texts in which little differs count as the same. Default: false.
        near = "near": Option<bool>,
        /// By at least this many senders.
        senders = "senders": Option<u64>,
        /// Texts with fewer letters are not counted. Default: 6.
        min_length = "min_length": Option<u64>,
    }
}

word! {
    /// Whose messages are counted together.
    enum Who: "a kind of sender" {
        Sender = "sender",
        Anyone = "anyone",
    }
}

/// Texts with fewer letters are not counted where the rule does not say.
const MIN_LENGTH: u64 = 6;

impl Written {
    pub(crate) fn by_anyone(&self) -> bool {
        self.by == Some(Who::Anyone)
    }
    pub(crate) fn measure(&self) -> Measure {
        Measure::of(What::Repeat {
            by: if self.by_anyone() { By::Anyone } else { By::Sender },
            reach: Where::reach(self.reach, Reach::Group),
            near: self.near == Some(true),
            min_length: self.min_length.unwrap_or(MIN_LENGTH),
            within: self.within.0,
        })
    }
    pub(crate) fn holds(&self, measure: &Measure, signals: &Signals) -> bool {
        let reached = |name: &str, wanted: u64| {
            signals.count(name).is_some_and(|count| u64::from(count) >= wanted)
        };
        reached(&measure.name, self.times)
            && self.senders.is_none_or(|senders| reached(&measure.senders, senders))
    }
}
