//! `flood`: many messages of one sender in a short while.
//!
//! ```yaml
//! flood: { messages: 8, within: 10s }
//! flood: { messages: 30, within: 1m, in: everywhere }
//! ```
//!
//! Holds from the given number of messages on, this one counted, as long as they lie within the span
//! before it.

use crate::model::Signals;
use crate::rules::decode::{Span, word, written};
use crate::rules::windows::{Measure, Reach, What};

written! {
    /// How many messages in which span.
    struct Written: "a flood matcher" {
        /// From this many messages on.
        messages = "messages": u64,
        /// The span they lie in.
        within = "within": Span,
        /// `group` (default): those of the same group and topic; `everywhere`: of all groups.
        reach = "in": Option<Where>,
    }
}

word! {
    /// Which messages are counted together.
    enum Where: "a reach" {
        Group = "group",
        Everywhere = "everywhere",
    }
}

impl Where {
    pub(crate) fn reach(this: Option<Self>, default: Reach) -> Reach {
        match this {
            None => default,
            Some(Self::Group) => Reach::Group,
            Some(Self::Everywhere) => Reach::Everywhere,
        }
    }
}

impl Written {
    pub(crate) fn measure(&self) -> Measure {
        let reach = Where::reach(self.reach, Reach::Group);
        Measure::of(What::Flood { reach, within: self.within.0 })
    }
    pub(crate) fn holds(&self, measure: &Measure, signals: &Signals) -> bool {
        signals.count(&measure.name).is_some_and(|count| u64::from(count) >= self.messages)
    }
}
