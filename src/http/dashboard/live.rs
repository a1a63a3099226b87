//! The live feed: rows as they are recorded, and how their recalls end, as server-sent events of
//! ready HTML.
//!
//! A feed begins where the page or the last connection ended. Whoever is far behind is shown the newest.

use std::collections::VecDeque;
use std::fmt::Write;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::Dashboard;
use super::page::{Frame, Visitor};
use super::row::{Row, is_moving};
use crate::http::stream::{self, Out, Over, Teller};
use crate::model::{JobState, Verdict};
use crate::store::{Case, Error, Wanted};

/// Rows of one look: nobody reads more.
const ROWS: usize = 12;
/// Rows whose recalls are followed.
const FOLLOWED: usize = 60;
/// Feeds at a time.
pub(super) const FEEDS: usize = 64;

/// What a feed shows; stands in the address of the page.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    /// `all`, `flag` and what is worse, or `recall`.
    pub verdict: String,
    pub group: String,
    pub sender: String,
    pub rule: String,
    /// The last message that the page shows.
    after: Option<i64>,
}

impl Filter {
    pub(super) fn wanted(&self) -> Wanted {
        let given = |word: &String| Some(word.trim().to_owned()).filter(|word| !word.is_empty());
        Wanted {
            verdict: match self.verdict.as_str() {
                "all" => Verdict::Pass,
                "recall" => Verdict::Recall,
                _ => Verdict::Flag,
            },
            group: given(&self.group),
            sender: given(&self.sender),
            rule: given(&self.rule),
            after: 0,
        }
    }

    /// The part of an address that asks for the same.
    pub(super) fn query(&self) -> String {
        let pairs = [
            ("verdict", &self.verdict),
            ("group", &self.group),
            ("sender", &self.sender),
            ("rule", &self.rule),
        ];
        let given = pairs.iter().filter(|(_, value)| !value.is_empty());
        let pairs: Vec<_> =
            given.map(|(n, v)| format!("{n}={}", super::page::encoded(v))).collect();
        pairs.join("&")
    }
}

pub(super) async fn feed(
    State(dashboard): State<Dashboard>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
    headers: HeaderMap,
) -> Response {
    // A browser that comes back says what it saw last.
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let out = Out::new(&dashboard.admin, &dashboard.access, headers);
    let streams = dashboard.feeds.clone();
    let feed = Feed {
        after: seen.or(filter.after),
        wanted: filter.wanted(),
        frame: visitor.frame(""),
        followed: VecDeque::new(),
        dashboard,
    };
    stream::events(out, &streams, feed)
}

struct Feed {
    dashboard: Dashboard,
    frame: Frame,
    wanted: Wanted,
    after: Option<i64>,
    /// Messages whose recalls are under way, with the state that was sent last.
    followed: VecDeque<(i64, Option<JobState>)>,
}

impl Teller for Feed {
    async fn look(&mut self, out: &Out) -> Result<bool, Over> {
        let events = self.news().await?;
        out.send(events).await
    }
}

impl Feed {
    /// What is new since the last look.
    async fn news(&mut self) -> Result<String, Error> {
        let store = self.dashboard.admin.store.clone();
        let head = store.latest().await?;
        let after = *self.after.get_or_insert(head);
        let mut events = String::new();
        if head > after {
            let wanted = Wanted { after, ..self.wanted.clone() };
            let mut cases = store.recent(&wanted, ROWS + 1).await?;
            let more = cases.len() > ROWS;
            cases.truncate(ROWS);
            let last = cases.first().and_then(|case| case.message_id).unwrap_or(head).max(head);
            self.after = Some(last);
            if more {
                event(&mut events, "more", after, "");
            }
            for case in cases.iter().rev() {
                self.follow(case);
                event(&mut events, "row", case.message_id.unwrap_or(last), &self.html(case));
            }
        }
        let moving: Vec<i64> = self.followed.iter().map(|(id, _)| *id).collect();
        if !moving.is_empty() {
            for case in store.cases(&moving).await? {
                let Some(id) = case.message_id else { continue };
                let state = case.job.as_ref().map(|job| job.state);
                let known = self.followed.iter_mut().find(|(known, _)| *known == id);
                let Some(known) = known.filter(|(_, sent)| *sent != state) else { continue };
                known.1 = state;
                event(&mut events, "turn", self.after.unwrap_or(head), &self.html(&case));
                if !is_moving(&case) {
                    self.followed.retain(|(known, _)| *known != id);
                }
            }
        }
        Ok(events)
    }

    fn follow(&mut self, case: &Case) {
        if let Some(id) = case.message_id.filter(|_| is_moving(case)) {
            self.followed.push_back((id, case.job.as_ref().map(|job| job.state)));
            if self.followed.len() > FOLLOWED {
                self.followed.pop_front();
            }
        }
    }

    fn html(&self, case: &Case) -> String {
        let row = Row::of(case, self.frame.preferences.language);
        Line { frame: &self.frame, row: &row }.render().unwrap_or_default()
    }
}

#[derive(Template)]
#[template(path = "row.html")]
struct Line<'a> {
    frame: &'a Frame,
    row: &'a Row,
}

/// An event as the stream writes it: each line of its data on a line of its own.
fn event(out: &mut String, name: &str, id: i64, data: &str) {
    let _ = write!(out, "event: {name}\nid: {id}\n");
    for line in data.trim().lines() {
        out.push_str("data: ");
        out.push_str(line);
        out.push('\n');
    }
    out.push('\n');
}
