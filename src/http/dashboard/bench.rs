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
use super::trial::{self, NotNow, Progress};
use super::words::Language;
use super::{Dashboard, go};
use crate::backtest::{Report, Sample};
use crate::model::{Mode, Text, Verdict};
use crate::rules::{CompiledRules, ExplainedHit, Explanation};

/// Characters of a text that is tried.
const MOST_TEXT: usize = 20_000;
/// Groups and senders shown of a trial.
const TOP: usize = 5;

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
        trial: dashboard.trials.latest().map(|trial| shown(dashboard, &trial, language)),
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
    let actor = visitor.caller.actor.clone();
    match trial::start(&dashboard, &actor, rules.clone(), stretch).await {
        Ok(()) => go("/bench#trial"),
        Err(NotNow::Busy) => {
            let why = preferences.language.say("bench.busy");
            Failed::new(preferences, StatusCode::CONFLICT, why).into_response()
        }
        Err(NotNow::Broken(error)) => {
            let mut bench = bench(&dashboard, visitor, String::new(), None);
            bench.candidate = rules;
            bench.mistakes = error.mistakes.iter().map(ToString::to_string).collect();
            (StatusCode::UNPROCESSABLE_ENTITY, page::show(&bench)).into_response()
        }
    }
}

pub(super) async fn end_trial(State(dashboard): State<Dashboard>) -> Response {
    dashboard.trials.end();
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
    let trial = dashboard.trials.latest().map(|trial| shown(&dashboard, &trial, language));
    page::show(&TrialPart { frame: visitor.frame("bench"), trial })
}

/// A trial on its way to the page.
struct TrialShown {
    by: Html,
    began: When,
    stretch: String,
    running: Option<(u64, String)>,
    ended: bool,
    failed: Option<Html>,
    report: Option<ReportShown>,
}

struct ReportShown {
    messages: String,
    changed: String,
    without_text: u64,
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

fn shown(dashboard: &Dashboard, trial: &trial::Trial, language: Language) -> TrialShown {
    let progress = trial.progress();
    let stretch = i64::try_from(trial.stretch.as_millis()).unwrap_or(i64::MAX);
    let mut shown = TrialShown {
        by: id(&trial.by),
        began: When(trial.began),
        stretch: lasted(stretch, language),
        running: None,
        ended: false,
        failed: None,
        report: None,
    };
    match progress {
        Progress::Running(done, of) => {
            shown.running = Some((done * 100 / of.max(1), grouped(done)));
        }
        Progress::Ended => shown.ended = true,
        Progress::Failed(why) => shown.failed = Some(hostile::text(&why)),
        Progress::Done(report) => shown.report = Some(report_shown(dashboard, &report, language)),
    }
    shown
}

fn report_shown(dashboard: &Dashboard, report: &Report, language: Language) -> ReportShown {
    let terms = dashboard.admin.operator.sweep_terms();
    let cost = report.cost(terms.batch_size);
    let seconds = cost.calls * 1_000 / u64::from(terms.calls_per_second.max(1));
    let sample = |is_new: bool| {
        move |sample: &Sample| SampleShown {
            is_new,
            text: hostile::excerpt(&sample.text, 120),
            key: id(&sample.key.to_string()),
        }
    };
    let rules = report.rules.iter().map(|tally| TallyShown {
        id: id(tally.rule.as_str()),
        mode: tally.mode.map_or("off", Mode::as_str),
        new: tally.hits.new,
        lost: tally.hits.lost,
        same: tally.same,
        samples: tally
            .new_samples
            .iter()
            .map(sample(true))
            .chain(tally.lost_samples.iter().map(sample(false)))
            .collect(),
    });
    let verdicts = Verdict::ALL.iter().zip(&report.verdicts);
    ReportShown {
        messages: grouped(report.messages),
        changed: grouped(report.changed),
        without_text: report.without_text,
        verdicts: verdicts
            .map(|(then, now)| (then.as_str(), now.iter().copied().map(grouped).collect()))
            .collect(),
        rules: rules.collect(),
        groups: report.groups(TOP).iter().map(|(g, t)| (id(g.as_str()), t.new, t.lost)).collect(),
        senders: report.senders(TOP).iter().map(|(s, t)| (id(s.as_str()), t.new, t.lost)).collect(),
        recalls: grouped(cost.messages),
        calls: grouped(cost.calls),
        seconds: lasted(i64::try_from(seconds).unwrap_or(i64::MAX), language),
    }
}
