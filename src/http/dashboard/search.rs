//! The search box: a message by its key, a group, a sender or a rule by its name, and where texts are in
//! an index, messages that hold what was typed.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::page::{self, Failed, Frame, Visitor, encoded};
use super::{Dashboard, go};
use crate::model::MsgSeq;
use crate::store::{Error, NameOf};

#[derive(Template)]
#[template(path = "search.html")]
struct Found {
    frame: Frame,
    asked: String,
    link: String,
    named: NameOf,
    searches: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    q: String,
}

pub(super) async fn search(
    State(dashboard): State<Dashboard>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Response {
    let preferences = visitor.preferences;
    match find(&dashboard, visitor, asked.q.trim()).await {
        Ok(response) => response,
        Err(error) => Failed::store(preferences)(error).into_response(),
    }
}

async fn find(dashboard: &Dashboard, visitor: Visitor, asked: &str) -> Result<Response, Error> {
    let store = &dashboard.admin.store;
    for (group, topic, seq) in keys(asked) {
        if let Some(message) = store.find(group, topic, seq).await? {
            return Ok(go(&format!("/messages/{message}")));
        }
    }
    let named = if asked.is_empty() { NameOf::default() } else { store.named(asked).await? };
    let link = encoded(asked);
    let searches = dashboard.admin.operator.searches() && !asked.is_empty();
    // What can only be one thing is shown at once.
    match named {
        NameOf { group: true, sender: false, rule: false } => {
            Ok(go(&format!("/lists/messages?group={link}")))
        }
        NameOf { group: false, sender: true, rule: false } => {
            Ok(go(&format!("/lists/messages?sender={link}")))
        }
        NameOf { group: false, sender: false, rule: true } => {
            Ok(go(&format!("/lists/messages?rule={link}")))
        }
        NameOf { group: false, sender: false, rule: false } if searches => {
            Ok(go(&format!("/lists/messages?text={link}")))
        }
        named => {
            let frame = visitor.frame("");
            Ok(page::show(&Found { frame, asked: asked.to_owned(), link, named, searches }))
        }
    }
}

/// `GROUP/SEQ` and `GROUP/TOPIC/SEQ`. Ids may hold a slash themselves, so both are tried.
fn keys(asked: &str) -> Vec<(&str, &str, MsgSeq)> {
    let Some((group, seq)) = asked.rsplit_once('/') else { return Vec::new() };
    let Ok(seq) = seq.parse() else { return Vec::new() };
    let mut keys = vec![(group, "", seq)];
    if let Some((group, topic)) = group.split_once('/') {
        keys.push((group, topic, seq));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_both_forms() {
        assert_eq!(keys("@TGS#1/7"), [("@TGS#1", "", 7)]);
        assert_eq!(keys("c/t/7"), [("c/t", "", 7), ("c", "t", 7)]);
        assert!(keys("mallory").is_empty() && keys("a/b").is_empty());
    }
}
