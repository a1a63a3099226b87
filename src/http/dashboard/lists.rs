//! The lists of the audit: recalls, messages, calls, gaps, what operators did, plans, each with its
//! filters in the address, page by page, and as CSV.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Dashboard;
use super::hostile::{self, Html};
use super::page::{self, Failed, Frame, Visitor, When, encoded};
use super::row::lasted;
use super::words::Language;
use crate::model::Timestamp;
use crate::store::{Cell, Error, Filter, Page, View};

const ROWS: usize = 50;
/// Rows of a CSV file, and of the pages that it is read by.
const CSV_ROWS: usize = 10_000;
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
        filters: &["group", "sender", "rule", "state"],
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
) -> Response {
    let (word, csv) = list.strip_suffix(".csv").map_or((list.as_str(), false), |word| (word, true));
    let Some(shape) = LISTS.iter().find(|shape| shape.word == word) else {
        return Failed::not_found(visitor.preferences).into_response();
    };
    let preferences = visitor.preferences;
    let answer = if csv {
        file(&dashboard, shape, &asked).await
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
    let filter = asked.filter(dashboard, shape, ROWS);
    let page = dashboard.admin.store.page(shape.view, &filter).await?;
    let rows = page.rows.iter().map(|row| shown_row(shape, &page, row, language)).collect();
    let values = [("group", &asked.group), ("sender", &asked.sender), ("rule", &asked.rule)];
    let filters = values.iter().filter(|(name, _)| shape.filters.contains(name));
    let state = |state: &&'static str| (*state, language.word(shape.kind, state));
    let is_number = |name: &str| {
        ["_ms", "_seq", "attempts", "sequences", "_status", "_code", "messages", "recallable"]
            .iter()
            .any(|end| name.ends_with(end))
            || name == "progress"
    };
    Ok(page::show(&List {
        frame: visitor.frame("lists"),
        word: shape.word,
        others: LISTS.iter().map(|shape| shape.word).collect(),
        filters: filters.map(|(name, value)| (*name, (*value).clone())).collect(),
        states: shape.states.iter().map(state).collect(),
        columns: shape
            .columns
            .iter()
            .map(|name| Column { name, is_number: is_number(name) })
            .collect(),
        rows,
        query: asked.query(),
        next: page.next,
        spans: [0, 60, 1_440, 10_080, 43_200],
        asked,
    }))
}

impl Asked {
    fn filter(&self, dashboard: &Dashboard, shape: &Shape, limit: usize) -> Filter {
        let given = |name: &str, word: &String| {
            let word = word.trim();
            (!word.is_empty() && shape.filters.contains(&name)).then(|| word.to_owned())
        };
        let now = dashboard.admin.clock.now();
        let back = std::time::Duration::from_secs(u64::from(self.minutes) * 60);
        Filter {
            group: given("group", &self.group),
            sender: given("sender", &self.sender),
            rule: given("rule", &self.rule),
            state: given("state", &self.state),
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

/// The list as a file that opens in a spreadsheet, with every column of the view.
async fn file(dashboard: &Dashboard, shape: &Shape, asked: &Asked) -> Result<Response, Error> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let mut filter = asked.filter(dashboard, shape, CSV_PAGE);
    let mut rows = 0;
    loop {
        let page = dashboard.admin.store.page(shape.view, &filter).await?;
        if rows == 0 {
            // Writing to memory does not fail.
            let _ = out.write_record(&page.columns);
        }
        for row in &page.rows {
            let _ = out.write_record(row.iter().map(csv_cell));
        }
        rows += page.rows.len();
        filter.cursor = page.next;
        if page.next.is_none() || rows >= CSV_ROWS {
            break;
        }
    }
    let Ok(bytes) = out.into_inner() else {
        return Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response());
    };
    let name = format!("attachment; filename=\"quell-{}.csv\"", shape.word);
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, bytes).into_response())
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
