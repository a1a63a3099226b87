//! `score`: several weak signs that are strong together.
//!
//! ```yaml
//! score:
//!   at_least: 3
//!   sum:
//!     - { weight: 2, when: { contact: any } }
//!     - { weight: 1, when: { newcomer: 3 } }
//!     - { weight: -2, when: { keyword: [群公告] } }
//! ```
//!
//! Each part that holds adds its weight. What the parts matched is what the rule reports.

use crate::rules::decode::written;
use crate::rules::file::When;

written! {
    /// A sum of weights and the threshold that it has to reach.
    struct Written: "a score" {
        /// The sum at which the score holds.
        at_least = "at_least": f64,
        /// What adds to it.
        sum = "sum": Vec<Part>,
    }
}

written! {
    /// A condition and what it adds where it holds.
    struct Part: "a part of a score" {
        weight = "weight": f64,
        when = "when": When,
    }
}
