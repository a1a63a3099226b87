//! The rule bench: what the rules in force say of a text, and what a candidate would have done.

use std::time::Duration;

use askama::Template;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::hostile::{self, Html, Span};
use super::page::{self, Failed, Frame, Visitor, When};
use super::row::{grouped, id, lasted};
use super::words::Language;
use super::{Dashboard, go};
use crate::backtest::{Asked, Backtest, Shown, ShownSample, State as Standing};
use crate::http::candidate::{self, NotBegun};
use crate::model::{Mode, Text};
use crate::rules::{CompiledRules, ExplainedHit, Explanation};
use crate::store::By;

/// Characters of a text that is tried.
const MOST_TEXT: usize = 20_000;
/// Groups and senders shown of a trial.
const TOP: usize = 5;
/// Changed messages shown of a rule, new hits and lost ones apart.
const SAMPLES: usize = 3;

#[derive(Template)]
#[template(path = "bench.html")]
struct Bench {
    frame: Frame,
    text: String,
    explained: Option<Explained>,
    candidate: String,
    /// What is wrong with the candidate.
    mistakes: Vec<String>,
    trial: Option<TrialShown>,
    stretches: [u64; 4],
}

/// What rules say of a text.
pub(super) struct Explained {
    pub verdict: &'static str,
    pub marked: Html,
    pub rules: Vec<RuleSaid>,
    /// Rules that neither hit nor came near.
    pub silent: usize,
}

/// What a rule says of a text.
pub(super) struct RuleSaid {
    pub id: Html,
    pub mode: &'static str,
    pub why: String,
    pub hits: Vec<HitSaid>,
    pub miss: Option<Html>,
}

pub(super) struct HitSaid {
    pub text: Option<Html>,
    pub start: usize,
    pub end: usize,
    pub steps: Vec<String>,
}

pub(super) async fn show(State(dashboard): State<Dashboard>, visitor: Visitor) -> Response {
    page::show(&bench(&dashboard, visitor, String::new(), None))
}

fn bench(
    dashboard: &Dashboard,
    visitor: Visitor,
    text: String,
    explained: Option<Explained>,
) -> Bench {
    let language = visitor.preferences.language;
    Bench {
        trial: latest(dashboard, language),
        frame: visitor.frame("bench"),
        text,
        explained,
        candidate: dashboard.admin.operator.rules().source().to_owned(),
        mistakes: Vec::new(),
        stretches: [60, 1_440, 10_080, 43_200],
    }
}

#[derive(Deserialize)]
struct Given {
    text: String,
}

#[derive(Template)]
#[template(path = "explained.html")]
struct ExplainedPart {
    frame: Frame,
    explained: Explained,
}

pub(super) async fn explain(
    State(dashboard): State<Dashboard>,
    visitor: Visitor,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let given: Given = match page::read(visitor.preferences, &body) {
        Ok(given) => given,
        Err(failed) => return failed.into_response(),
    };
    // Forms send line ends as CR LF.
    let text: String = given.text.replace("\r\n", "\n").chars().take(MOST_TEXT).collect();
    let rules = dashboard.admin.operator.rules();
    let language = visitor.preferences.language;
    let explained = explanation(&rules, &text, language);
    if headers.contains_key("hx-request") {
        page::show(&ExplainedPart { frame: visitor.frame("bench"), explained })
    } else {
        page::show(&bench(&dashboard, visitor, text, Some(explained)))
    }
}

/// What rules say of a text on its own.
pub(super) fn explanation(rules: &CompiledRules, text: &str, language: Language) -> Explained {
    let Explanation { verdict, rules: said } = rules.explain(&Text::bare(text));
    let summaries = rules.summaries();
    let mut spans = Vec::new();
    let mut shown = Vec::new();
    for rule in &said {
        for hit in rule.hits.iter().filter(|hit| hit.hit.start < hit.hit.end) {
            let ExplainedHit { hit, .. } = hit;
            spans.push(Span { start: hit.start, end: hit.end, rule: hit.rule.as_str() });
        }
        if rule.hits.is_empty() && rule.miss.is_none() {
            continue;
        }
        let summary = summaries.iter().find(|summary| summary.id == rule.rule);
        shown.push(RuleSaid {
            id: id(rule.rule.as_str()),
            mode: rule.mode.as_str(),
            why: summary.map_or_else(String::new, |summary| summary.why.clone()),
            hits: rule.hits.iter().map(|hit| hit_said(hit, language)).collect(),
            miss: rule.miss.as_deref().map(hostile::text),
        });
    }
    // Hits first, and among them those that count.
    shown.sort_by_key(|rule| (rule.hits.is_empty(), rule.mode != Mode::Live.as_str()));
    Explained {
        verdict: verdict.as_str(),
        marked: hostile::marked(text, &spans),
        silent: said.len() - shown.len(),
        rules: shown,
    }
}

fn hit_said(explained: &ExplainedHit, language: Language) -> HitSaid {
    let hit = &explained.hit;
    HitSaid {
        text: (hit.start < hit.end).then(|| hostile::text(&hit.text)),
        start: hit.start,
        end: hit.end,
        steps: explained.steps.iter().map(|step| language.word("step", step)).collect(),
    }
}

#[derive(Deserialize)]
struct Candidate {
    rules: String,
    #[serde(default)]
    minutes: u32,
}

/// Lets a candidate run over what is stored.
pub(super) async fn start_trial(
    State(dashboard): State<Dashboard>,
    visitor: Visitor,
    body: Bytes,
) -> Response {
    let preferences = visitor.preferences;
    let candidate: Candidate = match page::read(preferences, &body) {
        Ok(candidate) => candidate,
        Err(failed) => return failed.into_response(),
    };
    let rules = candidate.rules.replace("\r\n", "\n");
    let stretch = Duration::from_secs(60 * u64::from(candidate.minutes.clamp(1, 43_200)));
    let now = dashboard.admin.clock.now();
    let since = Some(now.before(stretch));
    let asked = Asked { since, group: None, samples: SAMPLES, limit: TOP };
    let by = By::new(&visitor.caller.actor, now);
    match candidate::backtest(&dashboard.admin, &by, rules.clone(), asked).await {
        Ok(_) => go("/bench#trial"),
        Err(NotBegun::Busy) => {
            let why = preferences.language.say("bench.busy");
            Failed::new(preferences, StatusCode::CONFLICT, why).into_response()
        }
        Err(NotBegun::Broken(error)) => {
            let mut bench = bench(&dashboard, visitor, String::new(), None);
            bench.candidate = rules;
            bench.mistakes = error.mistakes.iter().map(ToString::to_string).collect();
            (StatusCode::UNPROCESSABLE_ENTITY, page::show(&bench)).into_response()
        }
        Err(NotBegun::Store(error)) => Failed::store(preferences)(error).into_response(),
    }
}

pub(super) async fn end_trial(State(dashboard): State<Dashboard>, visitor: Visitor) -> Response {
    let backtests = &dashboard.admin.backtests;
    if let Some(latest) = backtests.all().first() {
        let by = By::new(&visitor.caller.actor, dashboard.admin.clock.now());
        if let Err(error) = backtests.cancel(&by, latest.id).await {
            return Failed::store(visitor.preferences)(error).into_response();
        }
    }
    go("/bench#trial")
}

#[derive(Template)]
#[template(path = "trial.html")]
struct TrialPart {
    frame: Frame,
    trial: Option<TrialShown>,
}

/// The part of the page that tells how far a trial is.
pub(super) async fn trial(State(dashboard): State<Dashboard>, visitor: Visitor) -> Response {
    let language = visitor.preferences.language;
    let trial = latest(&dashboard, language);
    page::show(&TrialPart { frame: visitor.frame("bench"), trial })
}

/// A trial on its way to the page.
struct TrialShown {
    by: Html,
    began: When,
    stretch: String,
    /// Where it is about one group alone.
    group: Option<Html>,
    running: Option<(u64, String)>,
    ended: bool,
    failed: Option<Html>,
    report: Option<ReportShown>,
}

struct ReportShown {
    messages: String,
    changed: String,
    without_text: u64,
    from_history: u64,
    conflicts: u64,
    verdicts: Vec<(&'static str, Vec<String>)>,
    rules: Vec<TallyShown>,
    groups: Vec<(Html, u64, u64)>,
    senders: Vec<(Html, u64, u64)>,
    recalls: String,
    calls: String,
    seconds: String,
}

struct TallyShown {
    id: Html,
    mode: &'static str,
    new: u64,
    lost: u64,
    same: u64,
    samples: Vec<SampleShown>,
}

struct SampleShown {
    is_new: bool,
    text: Html,
    key: Html,
}

/// The latest trial, whoever began it and how.
fn latest(dashboard: &Dashboard, language: Language) -> Option<TrialShown> {
    dashboard.admin.backtests.all().first().map(|trial| shown(trial, language))
}

fn shown(trial: &Backtest, language: Language) -> TrialShown {
    let progress = trial.progress();
    let since = trial.asked.since;
    let stretch = since.map(|since| trial.began_at.since(since).as_millis());
    let stretch = stretch.map(|ms| lasted(i64::try_from(ms).unwrap_or(i64::MAX), language));
    TrialShown {
        by: id(&trial.requested_by),
        began: When(trial.began_at),
        stretch: stretch.unwrap_or_else(|| language.word("span", "0")),
        group: trial.asked.group.as_ref().map(|group| id(group.as_str())),
        running: (progress.state == Standing::Running)
            .then(|| (progress.done * 100 / progress.of.max(1), grouped(progress.done))),
        ended: progress.state == Standing::Cancelled,
        failed: progress.reason.as_deref().map(hostile::text),
        report: progress.report.map(|report| report_shown(&report, language)),
    }
}

fn report_shown(report: &Shown, language: Language) -> ReportShown {
    let sample = |is_new: bool| {
        move |sample: &ShownSample| {
            let ShownSample { group_id, topic_id, msg_seq, .. } = sample;
            let topic = if topic_id.is_empty() { String::new() } else { format!("/{topic_id}") };
            SampleShown {
                is_new,
                text: hostile::excerpt(&sample.text, 120),
                key: id(&format!("{group_id}{topic}/{msg_seq}")),
            }
        }
    };
    let rules = report.rules.iter().map(|tally| TallyShown {
        id: id(tally.rule.as_str()),
        mode: tally.mode.map_or("off", Mode::as_str),
        new: tally.new,
        lost: tally.lost,
        same: tally.same,
        samples: tally
            .new_samples
            .iter()
            .map(sample(true))
            .chain(tally.lost_samples.iter().map(sample(false)))
            .collect(),
    });
    let verdicts = report.verdicts.chunk_by(|one, next| one.then == next.then);
    let verdicts = verdicts.map(|row| {
        let now = row.iter().map(|pair| grouped(pair.messages)).collect();
        (row.first().map_or("", |pair| pair.then.as_str()), now)
    });
    let cost = report.cost;
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of some hours")]
    let ms = (cost.seconds * 1000.0) as i64;
    ReportShown {
        messages: grouped(report.messages),
        changed: grouped(report.changed),
        without_text: report.without_text,
        from_history: report.from_history,
        conflicts: report.conflicts,
        verdicts: verdicts.collect(),
        rules: rules.collect(),
        groups: report.groups.iter().map(|of| (id(&of.group_id), of.new, of.lost)).collect(),
        senders: report.senders.iter().map(|of| (id(&of.sender), of.new, of.lost)).collect(),
        recalls: grouped(cost.messages),
        calls: grouped(cost.calls),
        seconds: lasted(ms, language),
    }
}
