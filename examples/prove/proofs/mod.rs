//! The proofs, a file each, and the table that they answer with.

pub(crate) mod backtest;
pub(crate) mod bed;
pub(crate) mod drain;
pub(crate) mod gaps;
pub(crate) mod history;
pub(crate) mod latency;
pub(crate) mod limiter;
pub(crate) mod load;
pub(crate) mod million;
pub(crate) mod outage;
pub(crate) mod overload;
pub(crate) mod soak;

use std::fmt;

/// A figure and what it has to be.
#[derive(Debug)]
pub(crate) struct Figure {
    what: String,
    value: String,
    goal: String,
    met: bool,
}

/// What a proof found.
#[derive(Debug)]
pub(crate) struct Report {
    title: String,
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), figures: Vec::new() }
    }
    /// A figure with a goal.
    pub(crate) fn goal(
        &mut self,
        what: impl Into<String>,
        value: impl fmt::Display,
        goal: impl Into<String>,
        met: bool,
    ) {
        let (what, value, goal) = (what.into(), value.to_string(), goal.into());
        self.figures.push(Figure { what, value, goal, met });
    }
    /// A figure that is only worth knowing.
    pub(crate) fn figure(&mut self, what: impl Into<String>, value: impl fmt::Display) {
        self.goal(what, value, "", true);
    }
    /// The goals that were missed.
    pub(crate) fn missed(&self) -> Vec<String> {
        let missed = self.figures.iter().filter(|figure| !figure.met);
        missed.map(|it| format!("{}: {} (goal {})", it.what, it.value, it.goal)).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for Figure { what, value, goal, met } in &self.figures {
            let goal = match (goal.as_str(), met) {
                ("", _) => String::new(),
                (goal, true) => format!("  goal {goal}: met"),
                (goal, false) => format!("  goal {goal}: MISSED"),
            };
            writeln!(f, "  {what:<44}{value:>14}{goal}")?;
        }
        Ok(())
    }
}

/// The value below which so many percent lie, of sorted values.
pub(crate) fn percentile<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}
