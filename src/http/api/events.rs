//! `/api/v1/events`: what happens, as server-sent events.
//!
//! A stream goes on where an earlier one ended. Whoever reads too slowly is told how much was left out.

use std::collections::BTreeSet;
use std::fmt::Write;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::super::access::Access;
use super::super::admin::Admin;
use super::super::extract::Query;
use super::super::problem::Problem;
use super::super::stream::{self, Out, Over, Streams, Teller};
use crate::model::{Mode, Verdict};
use crate::store::{Error, Filter, JudgedMessage, JudgedPage, Stretch, View};

/// Messages of a page, calls and acts of one look.
const MOST: usize = 1_000;
/// Pages of messages of one look. A stream that is further behind leaves some out.
const PAGES: usize = 10;

/// What a stream tells.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Kinds of events, with commas between them: `verdict`, `recall`, `operation`; all of them where
    /// nothing is said.
    kinds: Option<String>,
    /// Verdicts from that one on: `pass` (all of them), `flag` (those that act, the default) or `recall`.
    verdict: Option<String>,
    /// Verdicts and recalls of this group alone.
    group: Option<String>,
    /// Verdicts of this sender alone.
    sender: Option<String>,
    /// Verdicts that this rule had a part in.
    rule: Option<String>,
}

/// What a stream tells, read.
struct Selection {
    kinds: Vec<String>,
    least: Verdict,
    group: Option<String>,
    sender: Option<String>,
    rule: Option<String>,
}

const KINDS: [&str; 3] = ["verdict", "recall", "operation"];

impl Wanted {
    fn read(self) -> Result<Selection, Problem> {
        let refuse = |why: String| Problem::new(StatusCode::BAD_REQUEST, why);
        let kinds: Vec<String> = match &self.kinds {
            None => KINDS.iter().map(|kind| (*kind).to_owned()).collect(),
            Some(kinds) => kinds.split(',').map(|kind| kind.trim().to_owned()).collect(),
        };
        if let Some(other) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            return Err(refuse(format!("{other:?} is no kind of event: {}", KINDS.join(", "))));
        }
        let word = self.verdict.as_deref().unwrap_or("flag");
        let least = Verdict::from_word(word)
            .ok_or_else(|| refuse(format!("{word:?} is no verdict: pass, flag or recall")))?;
        let Self { group, sender, rule, .. } = self;
        Ok(Selection { kinds, least, group, sender, rule })
    }
}

impl Selection {
    fn has(&self, kind: &str) -> bool {
        self.kinds.iter().any(|wanted| wanted == kind)
    }

    fn wants(&self, judged: &JudgedMessage) -> bool {
        let is = |wanted: &Option<String>, actual: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == actual)
        };
        judged.verdict >= self.least
            && is(&self.group, judged.message.key.group_id.as_str())
            && is(&self.sender, judged.message.sender.as_str())
            && self
                .rule
                .as_ref()
                .is_none_or(|rule| judged.hits.iter().any(|hit| hit.rule.as_str() == rule))
    }
}

/// The data of a `verdict` event.
#[derive(Serialize, ToSchema)]
pub(super) struct VerdictEvent {
    message_id: i64,
    group_id: String,
    topic_id: String,
    msg_seq: u64,
    sender: String,
    /// Milliseconds since 1970, UTC.
    received_at: i64,
    /// `pass`, `flag` or `recall`.
    verdict: &'static str,
    /// Live rules that matched.
    rules: Vec<String>,
    /// Rules in shadow that matched.
    shadow_rules: Vec<String>,
    text: String,
}

impl From<&JudgedMessage> for VerdictEvent {
    fn from(judged: &JudgedMessage) -> Self {
        let message = &judged.message;
        let rules = |mode| {
            let hits = judged.hits.iter().filter(|hit| hit.mode == mode);
            hits.map(|hit| hit.rule.to_string()).collect()
        };
        Self {
            message_id: judged.message_id,
            group_id: message.key.group_id.to_string(),
            topic_id: message.key.topic_id.to_string(),
            msg_seq: message.key.msg_seq,
            sender: message.sender.to_string(),
            received_at: message.received_at.millis(),
            verdict: judged.verdict.as_str(),
            rules: rules(Mode::Live),
            shadow_rules: rules(Mode::Shadow),
            text: message.text.as_str().to_owned(),
        }
    }
}

/// What happens, as it happens
///
/// Server-sent events. `verdict`: a message was judged (schema `VerdictEvent`). `recall`: a call to Chat
/// ended; the call as in the list of calls, and under `recalls` how the recalls of its messages stand.
/// `operation`: an act, as in the list of operations. `lagged`: some events were left out, since the
/// reader was too slow or had been away for long. Every event has an id; with it in `Last-Event-ID` a
/// stream goes on where another one ended, whatever happened to quell meanwhile.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events", operation_id = "events",
    params(Wanted, ("Last-Event-ID" = Option<String>, Header, description = "Where to go on")),
    responses((status = 200, description = "A stream without an end", body = String,
        content_type = "text/event-stream")),
)]
pub(super) async fn follow(
    State(admin): State<Admin>,
    Extension(streams): Extension<Streams>,
    Extension(access): Extension<Access>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let selection = wanted.read()?;
    let seen = headers.get("last-event-id").and_then(|id| Place::parse(id.to_str().ok()?));
    let place = match seen {
        Some(place) => place,
        None => Place::of_now(&admin).await?,
    };
    let out = Out::new(&admin, &access, headers);
    Ok(stream::events(out, &streams, Follower { admin, selection, place }))
}

/// How far a stream has come: everything up to these rows was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    message: i64,
    call: i64,
    /// Calls behind `call` that were told already, while an earlier one was still under way.
    told: BTreeSet<i64>,
    operation: i64,
}

impl Place {
    async fn of_now(admin: &Admin) -> Result<Self, Error> {
        let head = async |view, id: &str| {
            let page = admin.store.page(view, &Filter { limit: 1, ..Filter::default() }).await?;
            let first = page.objects().into_iter().next();
            Ok::<_, Error>(first.and_then(|row| row[id].as_i64()).unwrap_or(0))
        };
        Ok(Self {
            message: admin.store.stretch(None).await?.until,
            call: head(View::Calls, "call_id").await?,
            told: BTreeSet::new(),
            operation: head(View::Operations, "operation_id").await?,
        })
    }

    /// From the id of an event: `message-call-operation`.
    fn parse(id: &str) -> Option<Self> {
        let mut parts = id.split('-').map(|part| part.parse().ok().filter(|id: &i64| *id >= 0));
        let mut next = || parts.next().flatten();
        let place =
            Self { message: next()?, call: next()?, told: BTreeSet::new(), operation: next()? };
        parts.next().is_none().then_some(place)
    }

    fn id(&self) -> String {
        format!("{}-{}-{}", self.message, self.call, self.operation)
    }
}

struct Follower {
    admin: Admin,
    selection: Selection,
    place: Place,
}

impl Teller for Follower {
    async fn look(&mut self, out: &Out) -> Result<bool, Over> {
        let told = self.selection.has("verdict") && self.verdicts(out).await?;
        let mut events = String::new();
        if self.selection.has("recall") {
            self.recalls(&mut events).await?;
        }
        if self.selection.has("operation") {
            self.operations(&mut events).await?;
        }
        Ok(out.send(events).await? || told)
    }
}

impl Follower {
    async fn verdicts(&mut self, out: &Out) -> Result<bool, Over> {
        let head = self.admin.store.stretch(None).await?.until;
        let mut told = false;
        for _ in 0..PAGES {
            if self.place.message >= head {
                return Ok(told);
            }
            let (page, until) = self.page(head).await?;
            let mut events = String::new();
            for judged in page.map(JudgedPage::messages).transpose()?.into_iter().flatten() {
                if self.selection.wants(&judged) {
                    self.place.message = judged.message_id;
                    let data =
                        serde_json::to_value(VerdictEvent::from(&judged)).unwrap_or_default();
                    self.event(&mut events, "verdict", &data);
                }
            }
            self.place.message = until;
            told |= out.send(events).await?;
        }
        let behind = head - self.place.message;
        if behind > 0 {
            self.place.message = head;
            let mut events = String::new();
            self.event(&mut events, "lagged", &json!({ "verdicts": behind }));
            told |= out.send(events).await?;
        }
        Ok(told)
    }

    /// The next messages, and how far one has come with them.
    async fn page(&self, head: i64) -> Result<(Option<JudgedPage>, i64), Error> {
        let store = &self.admin.store;
        let after = self.place.message;
        let most = i64::try_from(MOST).unwrap_or(i64::MAX);
        if self.selection.least == Verdict::Pass {
            // Of all messages no more are read than are told, whatever group is wanted.
            let until = head.min(after + most);
            let group = self.selection.group.as_deref();
            return Ok((store.judged(Stretch { after, until }, MOST, group).await?, until));
        }
        let wanted = Stretch { after, until: head };
        let page = store.matched(wanted, self.selection.least, MOST).await?;
        let until = page.as_ref().map_or(head, |page| page.last);
        Ok((page, until))
    }

    async fn recalls(&mut self, events: &mut String) -> Result<(), Error> {
        let calls = self.newest(View::Calls, "call_id", self.place.call, events).await?;
        for call in &calls {
            let id = call["call_id"].as_i64().unwrap_or(0);
            let ended = call["outcome"] != "started";
            if ended && !self.place.told.contains(&id) {
                self.place.told.insert(id);
                let group = self.selection.group.as_deref();
                if group.is_none_or(|group| call["group_id"] == group) {
                    let mut data = call.clone();
                    data["recalls"] = self.admin.store.outcomes(id).await?.into();
                    self.event(events, "recall", &data);
                }
            }
        }
        // Up to the first that is still under way; the rest is looked at again.
        for call in &calls {
            let id = call["call_id"].as_i64().unwrap_or(0);
            if !self.place.told.remove(&id) {
                break;
            }
            self.place.call = id;
        }
        Ok(())
    }

    async fn operations(&mut self, events: &mut String) -> Result<(), Error> {
        let after = self.place.operation;
        for act in self.newest(View::Operations, "operation_id", after, events).await? {
            self.place.operation = act["operation_id"].as_i64().unwrap_or(after);
            self.event(events, "operation", &act);
        }
        Ok(())
    }

    /// Rows of a view behind an id, oldest first; where there are too many, the newest of them.
    async fn newest(
        &self,
        view: View,
        id: &str,
        after: i64,
        events: &mut String,
    ) -> Result<Vec<Value>, Error> {
        let mut rows = Vec::new();
        let mut filter = Filter { limit: 100, ..Filter::default() };
        while rows.len() < MOST {
            let page = self.admin.store.page(view, &filter).await?;
            let new = page.objects().into_iter();
            let before = rows.len();
            rows.extend(new.take_while(|row| row[id].as_i64().unwrap_or(0) > after));
            if rows.len() - before < filter.limit || page.next.is_none() {
                rows.reverse();
                return Ok(rows);
            }
            filter.cursor = page.next;
        }
        self.event(events, "lagged", &json!({ "of": view.word() }));
        rows.reverse();
        Ok(rows)
    }

    fn event(&self, out: &mut String, name: &str, data: &Value) {
        // JSON has its line feeds escaped, so the data is one line.
        let _ = write!(out, "event: {name}\nid: {}\ndata: {data}\n\n", self.place.id());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_again_by_its_id() {
        let place = Place { message: 7, call: 0, told: BTreeSet::new(), operation: 12 };
        assert_eq!(Place::parse(&place.id()), Some(place));
        for wrong in ["", "1", "1-2", "1-2-x", "1-2-3-4", "1--2-3"] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_kind_or_verdict_is_refused() {
        let wanted = |kinds: &str, verdict: &str| Wanted {
            kinds: Some(kinds.into()),
            verdict: Some(verdict.into()),
            ..Wanted::default()
        };
        assert!(wanted("verdict, recall", "pass").read().is_ok());
        assert!(wanted("verdicts", "pass").read().is_err());
        assert!(wanted("verdict", "held").read().is_err());
    }
}
