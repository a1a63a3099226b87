//! The role that answers questions. It reads only, and never holds up a callback.

use async_trait::async_trait;
use serde_json::Value;

use super::Error;
use crate::model::Timestamp;

/// Answers audit questions.
#[async_trait]
pub trait Audit: Send + Sync {
    /// One page of a view, newest first, after a filter. Looks at a bounded number of rows: a page may
    /// hold fewer than wanted, or none, and still have a next one.
    async fn page(&self, view: View, filter: &Filter) -> Result<Page, Error>;

    /// How many jobs stand in each state; states without a job are left out. Reads every job.
    async fn jobs_by_state(&self) -> Result<Vec<(String, i64)>, Error>;

    /// The same for jobs that are not finished, at the cost of these alone.
    async fn unfinished_by_state(&self) -> Result<Vec<(String, i64)>, Error>;

    /// Whether the database can be read.
    async fn ping(&self) -> Result<(), Error>;
}

/// What can be listed. The columns are those of the SQL view of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Messages,
    Verdicts,
    Conflicts,
    Quarantine,
    Hits,
    Recalls,
    Calls,
    Gaps,
    Backfills,
    Operations,
    Plans,
    Reviews,
}

impl View {
    const WORDS: [(&'static str, Self); 12] = [
        ("messages", Self::Messages),
        ("verdicts", Self::Verdicts),
        ("conflicts", Self::Conflicts),
        ("quarantine", Self::Quarantine),
        ("hits", Self::Hits),
        ("recalls", Self::Recalls),
        ("calls", Self::Calls),
        ("gaps", Self::Gaps),
        ("backfills", Self::Backfills),
        ("operations", Self::Operations),
        ("plans", Self::Plans),
        ("reviews", Self::Reviews),
    ];

    /// Every view.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::WORDS.into_iter().map(|(_, view)| view)
    }

    /// The view that a word of commands and paths stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, view)| view)
    }

    /// The word used in commands and paths.
    #[must_use]
    pub fn word(self) -> &'static str {
        let found = Self::WORDS.into_iter().find(|(_, view)| *view == self);
        found.map_or("", |(word, _)| word)
    }
}

/// Which rows are wanted. An empty filter wants all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub group: Option<String>,
    pub topic: Option<String>,
    pub sender: Option<String>,
    pub rule: Option<String>,
    /// A job state, a verdict, a call outcome: what the view has.
    pub state: Option<String>,
    /// Part of a message's text; the case of ASCII letters does not count. What is shorter than three
    /// characters is looked for by reading the messages, newest first.
    pub text: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Where the page before ended.
    pub cursor: Option<i64>,
    /// Rows a page; 0 stands for 100.
    pub limit: usize,
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Integer(i64),
    Text(String),
}

impl From<Cell> for Value {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Null => Value::Null,
            Cell::Integer(number) => number.into(),
            Cell::Text(text) => text.into(),
        }
    }
}

/// Rows of a view.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
    /// Give it as the next filter's cursor; `None` when nothing is left.
    pub next: Option<i64>,
}

impl Page {
    /// The rows as JSON objects.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        let object = |row: &Vec<Cell>| {
            let pairs = self.columns.iter().cloned().zip(row.iter().cloned().map(Value::from));
            Value::Object(pairs.collect())
        };
        self.rows.iter().map(object).collect()
    }

    /// A row's value by the column's name.
    #[must_use]
    pub fn cell<'a>(&self, row: &'a [Cell], column: &str) -> &'a Cell {
        let place = self.columns.iter().position(|name| name == column);
        place.and_then(|place| row.get(place)).unwrap_or(&Cell::Null)
    }
}
