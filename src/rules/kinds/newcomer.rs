//! `newcomer`: the first messages of a sender that quell sees.
//!
//! ```yaml
//! newcomer: 3
//! newcomer: { first: 3, in: group }
//! ```
//!
//! Counted over all groups unless `in: group` is given. Whoever spoke before quell was started, or
//! so long ago that the windows have let go, counts as new again: combine it with another sign.

use schemars::JsonSchema;

use crate::model::Signals;
use crate::rules::decode::{FromNode, Notes, written};
use crate::rules::kinds::flood::Where;
use crate::rules::windows::{Measure, Reach, What};
use crate::rules::yaml::{Node, Value};

/// What is written below `newcomer`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum Written {
    First(u64),
    Map(Map),
}

written! {
    /// How many messages a sender is new for.
    struct Map: "a newcomer matcher" {
        first = "first": u64,
        /// `everywhere` (default) or `group`.
        reach = "in": Option<Where>,
    }
}

impl FromNode for Written {
    fn from_node(node: &Node, notes: &mut Notes) -> Option<Self> {
        match node.value {
            Value::Map(_) => Map::from_node(node, notes).map(Self::Map),
            _ => u64::from_node(node, notes).map(Self::First),
        }
    }
}

impl Written {
    pub(crate) fn measure(&self) -> Measure {
        let reach = match self {
            Self::First(_) => Reach::Everywhere,
            Self::Map(map) => Where::reach(map.reach, Reach::Everywhere),
        };
        Measure::of(What::Newcomer { reach })
    }
    /// How many messages a sender is new for.
    pub(crate) fn first(&self) -> u64 {
        match self {
            Self::First(first) => *first,
            Self::Map(map) => map.first,
        }
    }
    pub(crate) fn holds(&self, measure: &Measure, signals: &Signals) -> bool {
        signals.count(&measure.name).is_some_and(|nth| u64::from(nth) <= self.first())
    }
}
