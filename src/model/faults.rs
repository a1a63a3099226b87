//! Places at which tests make a step fail. Without the feature `fail`, which no build that is shipped
//! has, there is nothing of them in the program; the tests look for their names in the binary.
//!
//! With it, `FAILPOINTS` says what happens where (see the crate `fail`), for example
//! `after_claim=3*off->1*return(kill)`: the process ends at the fourth call, as by `kill -9`.
//!
//! | point | lies |
//! | --- | --- |
//! | `judge` | before a message is judged |
//! | `before_commit` | between a transaction's statements and its commit |
//! | `after_commit_before_ack` | after the commit, before anybody is told |
//! | `after_claim` | after a call's lease, before the call leaves |
//! | `after_send_before_record` | after Chat's answer, before it is recorded |
//! | `on_checkpoint` | before the write-ahead log is emptied |
//! | `checkpoint_write` | where the log is worked into the database: a page cannot be written |
//! | `checkpoint_sync` | there, too: what was written cannot be synced |
//! | `on_rule_swap` | between announcing other rules and judging by them |

/// Evaluates a point: ends the process where it is told to, else answers whether the step fails.
#[cfg(feature = "fail")]
pub(crate) fn strikes(point: &str) -> bool {
    let told = fail::eval(point, Option::unwrap_or_default);
    if told.as_deref() == Some("kill") {
        std::process::abort();
    }
    told.is_some()
}

/// Does what `FAILPOINTS` says from now on.
#[cfg(feature = "fail")]
pub fn heed_environment() {
    // Dropping it would end what it set up.
    std::mem::forget(fail::FailScenario::setup());
}

/// A point; with a second argument, what is returned where the step fails.
macro_rules! fault {
    ($point:literal) => {
        #[cfg(feature = "fail")]
        {
            crate::model::faults::strikes($point);
        }
    };
    ($point:literal, $instead:expr) => {
        #[cfg(feature = "fail")]
        if crate::model::faults::strikes($point) {
            return $instead;
        }
    };
}
pub(crate) use fault;
