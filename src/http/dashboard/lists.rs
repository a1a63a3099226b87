//! The lists of the audit: recalls, messages, calls, gaps, what operators did, plans, each with its
//! filters in the address, page by page, and as CSV.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::Instant;

use super::Dashboard;
use super::hostile::{self, Html};
use super::page::{self, Failed, Frame, Visitor, When, encoded};
use super::row::lasted;
use super::words::Language;
use crate::http::stream::Out;
use crate::model::Timestamp;
use crate::store::{Cell, Error, Filter, Page, View};

const ROWS: usize = 50;
/// How long rows are looked for that are rare among others. Whoever wants to goes on from there.
const PATIENCE: Duration = Duration::from_millis(100);
/// Rows of the pages that a CSV file is read by.
const CSV_PAGE: usize = 1_000;
/// Characters of a cell.
const EXCERPT: usize = 160;

/// A list as people look at it.
struct Shape {
    view: View,
    word: &'static str,
    /// Columns shown, in this order.
    columns: &'static [&'static str],
    /// What it can be narrowed down by.
    filters: &'static [&'static str],
    /// What `state` can be.
    states: &'static [&'static str],
    /// The kind of word that a state is.
    kind: &'static str,
}

const VERDICTS: &[&str] = &["pass", "flag", "recall"];

const LISTS: &[Shape] = &[
    Shape {
        view: View::Recalls,
        word: "recalls",
        columns: &[
            "created_at",
            "state",
            "sender",
            "group_id",
            "msg_seq",
            "requested_by",
            "attempts",
            "ret_code",
            "exposure_ms",
            "reason",
        ],
        filters: &["group", "sender", "rule", "state"],
        states: &[
            "pending",
            "leased",
            "retry",
            "held",
            "recalled",
            "gone",
            "refused",
            "dead",
            "cancelled",
        ],
        kind: "state",
    },
    Shape {
        view: View::Messages,
        word: "messages",
        columns: &["received_at", "verdict", "sender", "group_id", "msg_seq", "text"],
        filters: &["group", "sender", "rule", "text", "state"],
        states: VERDICTS,
        kind: "verdict",
    },
    Shape {
        view: View::Calls,
        word: "calls",
        columns: &[
            "started_at",
            "outcome",
            "group_id",
            "sequences",
            "duration_ms",
            "http_status",
            "error_code",
        ],
        filters: &["group", "state"],
        states: &["answered", "failed", "unclear", "unsent", "started"],
        kind: "outcome",
    },
    Shape {
        view: View::Gaps,
        word: "gaps",
        columns: &["found_at", "state", "group_id", "from_seq", "to_seq", "sequences", "reason"],
        filters: &["group", "state"],
        states: &["open", "filled", "legitimate", "unrepairable"],
        kind: "gap",
    },
    Shape {
        view: View::Conflicts,
        word: "conflicts",
        columns: &["received_at", "verdict", "sender", "group_id", "msg_seq", "text"],
        filters: &["group", "sender", "rule", "state"],
        states: VERDICTS,
        kind: "verdict",
    },
    Shape {
        view: View::Operations,
        word: "operations",
        columns: &["at", "actor", "act", "detail"],
        filters: &["sender", "state"],
        states: &[],
        kind: "act",
    },
    Shape {
        view: View::Plans,
        word: "plans",
        columns: &[
            "created_at",
            "plan_id",
            "state",
            "created_by",
            "asked",
            "messages",
            "recallable",
            "progress",
        ],
        filters: &["sender", "state"],
        states: &["planned", "applying", "applied", "cancelling", "cancelled"],
        kind: "plan",
    },
    Shape {
        view: View::Reviews,
        word: "reviews",
        columns: &["at", "verdict", "rule_id", "sender", "group_id", "msg_seq", "reviewer", "note"],
        filters: &["group", "sender", "rule", "state"],
        states: &["right", "wrong"],
        kind: "verdict",
    },
    Shape {
        view: View::Backfills,
        word: "backfills",
        columns: &[
            "created_at",
            "state",
            "group_id",
            "from_seq",
            "to_seq",
            "pages",
            "recorded",
            "recalls",
            "requested_by",
            "reason",
        ],
        filters: &["group", "state"],
        states: &["running", "done", "failed", "cancelled"],
        kind: "backfill",
    },
    Shape {
        view: View::Quarantine,
        word: "quarantine",
        columns: &["received_at", "command", "reason", "body"],
        filters: &[],
        states: &[],
        kind: "",
    },
];

/// What is asked for, as it stands in the address.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    group: String,
    sender: String,
    rule: String,
    text: String,
    state: String,
    cursor: Option<i64>,
    /// Minutes back; 0 for all times.
    minutes: u32,
}

#[derive(Template)]
#[template(path = "list.html")]
struct List {
    frame: Frame,
    word: &'static str,
    others: Vec<&'static str>,
    asked: Asked,
    filters: Vec<(&'static str, String)>,
    states: Vec<(&'static str, String)>,
    columns: Vec<Column>,
    rows: Vec<Vec<Shown>>,
    query: String,
    next: Option<i64>,
    /// Whether others were looked through and there is more to look through.
    partial: bool,
    /// Whether texts could be searched here, were they put into an index.
    searchable: bool,
    spans: [u32; 5],
}

struct Column {
    name: &'static str,
    is_number: bool,
}

/// A cell on its way to the page.
struct Shown {
    html: Html,
    at: Option<When>,
    link: Option<String>,
    is_number: bool,
    /// The word of a state, for its colour.
    state: Option<String>,
}

pub(super) async fn show(
    State(dashboard): State<Dashboard>,
    Path(list): Path<String>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let (word, csv) = list.strip_suffix(".csv").map_or((list.as_str(), false), |word| (word, true));
    let Some(shape) = LISTS.iter().find(|shape| shape.word == word) else {
        return Failed::not_found(visitor.preferences).into_response();
    };
    let preferences = visitor.preferences;
    let answer = if csv {
        file(&dashboard, shape, &asked, headers).await
    } else {
        list_page(&dashboard, shape, visitor, asked).await
    };
    answer.unwrap_or_else(|error| Failed::store(preferences)(error).into_response())
}

async fn list_page(
    dashboard: &Dashboard,
    shape: &'static Shape,
    visitor: Visitor,
    asked: Asked,
) -> Result<Response, Error> {
    let language = visitor.preferences.language;
    let page = look(dashboard, shape, &asked).await?;
    let rows: Vec<_> = page.rows.iter().map(|row| shown_row(shape, &page, row, language)).collect();
    let values = [
        ("group", &asked.group),
        ("sender", &asked.sender),
        ("rule", &asked.rule),
        ("text", &asked.text),
    ];
    let searches = dashboard.admin.operator.searches();
    let shown = |name: &str| shape.filters.contains(&name) && (name != "text" || searches);
    let filters = values.iter().filter(|(name, _)| shown(name));
    let state = |state: &&'static str| (*state, language.word(shape.kind, state));
    let is_number = |name: &str| {
        let ends = ["_ms", "_seq", "_status", "_code"];
        let whole =
            ["attempts", "messages", "recallable", "progress", "pages", "recorded", "recalls"];
        ends.iter().any(|end| name.ends_with(end)) || whole.contains(&name) || name == "sequences"
    };
    Ok(page::show(&List {
        frame: visitor.frame("lists"),
        word: shape.word,
        others: words(),
        filters: filters.map(|(name, value)| (*name, (*value).clone())).collect(),
        states: shape.states.iter().map(state).collect(),
        columns: shape
            .columns
            .iter()
            .map(|name| Column { name, is_number: is_number(name) })
            .collect(),
        partial: rows.len() < ROWS && page.next.is_some(),
        rows,
        query: asked.query(),
        next: page.next,
        searchable: !searches && shape.filters.contains(&"text"),
        spans: [0, 60, 1_440, 10_080, 43_200],
        asked,
    }))
}

/// A page of rows. Where the store looked through others and found none that fits, it looks on for a
/// while.
async fn look(dashboard: &Dashboard, shape: &Shape, asked: &Asked) -> Result<Page, Error> {
    let mut filter = asked.filter(dashboard, shape, ROWS);
    let began = Instant::now();
    loop {
        let page = dashboard.admin.store.page(shape.view, &filter).await?;
        let found = !page.rows.is_empty() || page.next.is_none();
        if found || began.elapsed() >= PATIENCE {
            return Ok(page);
        }
        filter.cursor = page.next;
    }
}

/// The words of all lists, in the order in which they are offered.
pub(super) fn words() -> Vec<&'static str> {
    let lists = LISTS.iter().map(|shape| shape.word);
    lists.chain([super::allowances::WORD]).collect()
}

impl Asked {
    fn filter(&self, dashboard: &Dashboard, shape: &Shape, limit: usize) -> Filter {
        let given = |name: &str, word: &String| {
            let word = word.trim();
            (!word.is_empty() && shape.filters.contains(&name)).then(|| word.to_owned())
        };
        let text = given("text", &self.text);
        let now = dashboard.admin.clock.now();
        let back = Duration::from_secs(u64::from(self.minutes) * 60);
        Filter {
            group: given("group", &self.group),
            sender: given("sender", &self.sender),
            rule: given("rule", &self.rule),
            state: given("state", &self.state),
            text: text.filter(|_| dashboard.admin.operator.searches()),
            since: (self.minutes > 0).then(|| now.before(back)),
            cursor: self.cursor,
            limit,
            ..Filter::default()
        }
    }

    /// The same without the place in the list, as a part of an address.
    fn query(&self) -> String {
        let mut pairs = Vec::new();
        for (name, value) in [
            ("group", &self.group),
            ("sender", &self.sender),
            ("rule", &self.rule),
            ("text", &self.text),
            ("state", &self.state),
        ] {
            if !value.is_empty() {
                pairs.push(format!("{name}={}", encoded(value)));
            }
        }
        if self.minutes > 0 {
            pairs.push(format!("minutes={}", self.minutes));
        }
        pairs.join("&")
    }
}

fn shown_row(shape: &Shape, page: &Page, row: &[Cell], language: Language) -> Vec<Shown> {
    let text = |column: &str| match page.cell(row, column) {
        Cell::Text(text) => text.clone(),
        Cell::Integer(number) => number.to_string(),
        Cell::Null => String::new(),
    };
    let cell = |name: &&'static str| {
        let value = text(name);
        let number = match page.cell(row, name) {
            Cell::Integer(number) => Some(*number),
            _ => None,
        };
        let is_state = ["state", "verdict", "outcome"].contains(name);
        let html = if is_state {
            hostile::text(&language.word(shape.kind, &value))
        } else if *name == "reason" {
            hostile::excerpt(&language.reason(&value), EXCERPT)
        } else if *name == "asked" {
            let parts = super::plans::asked(&value, language).into_iter();
            let parts: Vec<_> = parts.map(|(name, value)| format!("{name} {value}")).collect();
            hostile::excerpt(&parts.join(", "), EXCERPT)
        } else if name.ends_with("_ms") {
            number.map_or_else(Html::default, |ms| hostile::text(&lasted(ms, language)))
        } else {
            hostile::excerpt(&value, EXCERPT)
        };
        let link = match *name {
            "msg_seq" => Some(text("message_id"))
                .filter(|id| !id.is_empty())
                .map(|id| format!("/messages/{id}")),
            "plan_id" => Some(format!("/plans/{value}")),
            "sender" => Some(format!("/lists/messages?sender={}", encoded(&value))),
            "group_id" => Some(format!("/lists/messages?group={}", encoded(&value))),
            _ => None,
        };
        Shown {
            html,
            at: number
                .filter(|_| *name == "at" || name.ends_with("_at"))
                .map(|ms| When(Timestamp(ms))),
            link,
            is_number: number.is_some(),
            state: is_state.then_some(value),
        }
    };
    shape.columns.iter().map(cell).collect()
}

/// The list as a file that opens in a spreadsheet, with every column of the view and every row: read
/// page by page, as fast as it is taken.
async fn file(
    dashboard: &Dashboard,
    shape: &'static Shape,
    asked: &Asked,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let mut filter = asked.filter(dashboard, shape, CSV_PAGE);
    // What is wrong with the question is said before the file begins.
    let mut page = dashboard.admin.store.page(shape.view, &filter).await?;
    let (out, body) = Out::new(&dashboard.admin, &dashboard.access, headers);
    let store = Arc::clone(&dashboard.admin.store);
    tokio::spawn(async move {
        let names = shape.view.columns().iter().map(|column| column.name.to_owned()).collect();
        let mut piece = csv_lines(&[names]);
        loop {
            let rows: Vec<_> =
                page.rows.iter().map(|row| row.iter().map(csv_cell).collect()).collect();
            piece.extend(csv_lines(&rows));
            if out.send(std::mem::take(&mut piece)).await.is_err() {
                return;
            }
            filter.cursor = page.next;
            if page.next.is_none() {
                return;
            }
            page = match store.page(shape.view, &filter).await {
                Ok(page) => page,
                // A file that ends early must not look like a whole one.
                Err(error) => return out.fail(&error).await,
            };
        }
    });
    let name = format!("attachment; filename=\"quell-{}.csv\"", shape.word);
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, body).into_response())
}

fn csv_lines(rows: &[Vec<String>]) -> Vec<u8> {
    let mut out = csv::Writer::from_writer(Vec::new());
    for row in rows {
        // Writing to memory does not fail.
        let _ = out.write_record(row);
    }
    out.into_inner().unwrap_or_default()
}

/// A cell that no spreadsheet takes for a formula.
fn csv_cell(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(number) => number.to_string(),
        Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
            format!("'{text}")
        }
        Cell::Text(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of so many rows, as a page.
    fn page(rows: usize, next: Option<i64>) -> String {
        let row = || vec![];
        let list = List {
            frame: page::bare(page::Preferences::default(), "/"),
            word: "messages",
            others: words(),
            asked: Asked::default(),
            filters: Vec::new(),
            states: Vec::new(),
            columns: Vec::new(),
            partial: rows < ROWS && next.is_some(),
            rows: std::iter::repeat_with(row).take(rows).collect(),
            query: "rule=bait".to_owned(),
            next,
            searchable: false,
            spans: [0; 5],
        };
        list.render().unwrap()
    }

    #[test]
    fn a_list_says_whether_there_is_more() {
        let further = "href=\"/lists/messages?rule=bait&amp;cursor=7\"";
        for (rows, next, said) in [
            (ROWS, Some(7), "Next page"),
            (3, Some(7), "Only a part"),
            (0, Some(7), "so far"),
            (3, None, ""),
            (0, None, "Nothing fits"),
        ] {
            let page = page(rows, next);
            assert!(page.contains(said), "{rows} {next:?}: {page}");
            assert_eq!(page.contains(further), next.is_some(), "{rows} {next:?}");
            assert_eq!(page.contains("Nothing fits"), rows == 0 && next.is_none());
            assert_eq!(page.contains("Look further"), rows < ROWS && next.is_some());
        }
    }
}
