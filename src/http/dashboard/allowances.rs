//! What operators let through beside the rules file: looked at, added, taken back.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::hostile::{self, Html};
use super::page::{self, Failed, Frame, Visitor, When, encoded};
use super::row::id;
use super::{Dashboard, lists};
use crate::model::{Allowance, AllowanceKind};

/// The word of this list among the others.
pub(super) const WORD: &str = "allowances";
/// Characters of a note.
const NOTE: usize = 200;

#[derive(Template)]
#[template(path = "allowances.html")]
struct Allowances {
    frame: Frame,
    word: &'static str,
    others: Vec<&'static str>,
    rows: Vec<Row>,
    /// Rules that something can be let through by.
    rules: Vec<String>,
}

struct Row {
    id: i64,
    kind: &'static str,
    value: Html,
    /// What else a sender said.
    link: Option<String>,
    rule: Option<Html>,
    by: Html,
    at: When,
    note: Option<Html>,
}

impl From<&Allowance> for Row {
    fn from(allowance: &Allowance) -> Self {
        let value = &allowance.value;
        Self {
            id: allowance.id,
            kind: allowance.kind.as_str(),
            value: hostile::text(value),
            link: (allowance.kind == AllowanceKind::Sender)
                .then(|| format!("/lists/messages?sender={}", encoded(value))),
            rule: allowance.rule.as_ref().map(|rule| id(rule.as_str())),
            by: id(&allowance.by),
            at: When(allowance.at),
            note: Some(&allowance.note)
                .filter(|note| !note.is_empty())
                .map(|note| hostile::excerpt(note, NOTE)),
        }
    }
}

pub(super) async fn show(State(dashboard): State<Dashboard>, visitor: Visitor) -> Response {
    let admin = &dashboard.admin;
    let allowances = match admin.store.allowances().await {
        Ok(allowances) => allowances,
        Err(error) => return Failed::store(visitor.preferences)(error).into_response(),
    };
    page::show(&Allowances {
        frame: visitor.frame("lists"),
        word: WORD,
        others: lists::words(),
        // The latest first, as in every list.
        rows: allowances.iter().rev().map(Row::from).collect(),
        rules: admin.operator.rules().summaries().iter().map(|rule| rule.id.to_string()).collect(),
    })
}
