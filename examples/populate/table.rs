//! What was asked, and how long it took.

use std::time::Duration;

/// Of a table's entries that were in time, so many of the slowest are shown.
const SHOWN: usize = 12;

/// Questions of one kind.
pub(crate) struct Table {
    name: &'static str,
    goal: Duration,
    asked: usize,
    late: usize,
    early: usize,
    worst: Vec<(Duration, String)>,
}

impl Table {
    pub(crate) fn new(name: &'static str, goal: Duration) -> Self {
        Self { name, goal, asked: 0, late: 0, early: 0, worst: Vec::new() }
    }

    /// Notes how long an answer took; what is late is told at once.
    pub(crate) fn note(&mut self, name: String, took: Duration) {
        self.asked += 1;
        if took > self.goal {
            self.late += 1;
            eprintln!("late: {:.1} ms  {name}", ms(took));
        }
        self.worst.push((took, name));
    }

    /// Notes that an answer ended early: with fewer rows than wanted, and more further back.
    pub(crate) fn ended_early(&mut self) {
        self.early += 1;
    }

    /// Prints what was late, and the slowest of the rest. Answers whether nothing was late.
    #[expect(clippy::disallowed_macros, reason = "an example's output")]
    pub(crate) fn print(&mut self) -> bool {
        self.worst.sort_unstable_by(|a, b| b.cmp(a));
        let half = self.worst.get(self.worst.len() / 2).map_or(0.0, |(took, _)| ms(*took));
        println!(
            "{}: {} asked, {} took longer than {:?}, half of them less than {half:.2} ms, {} ended early",
            self.name, self.asked, self.late, self.goal, self.early
        );
        for (took, name) in self.worst.iter().take(SHOWN.max(self.late)) {
            println!("  {:>9.2} ms  {name}", ms(*took));
        }
        self.late == 0
    }
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}
