//! `/api/v1/rules`: the rules in force, what they say of a text, and what there is to say of others.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::super::admin::Admin;
use super::super::candidate;
use super::super::extract::{Json, Yaml};
use super::super::problem::{self, Problem};
use super::Answer;
use crate::chat::wire;
use crate::model::{Hit, Text, Timestamp};
use crate::rules::{CompiledRules, Finding, Level, RuleSummary, Windows};

/// The longest text that is explained; Chat's own limit is far below (page `limits`).
const MOST_TEXT_CHARS: usize = 32_768;

/// The rules in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rules {
    /// A digest of the rules file and every list it reads.
    version: String,
    /// In order of the file, those that are off included.
    rules: Vec<Rule>,
}

/// A rule as it is in force.
#[derive(Debug, Serialize, ToSchema)]
struct Rule {
    id: String,
    why: String,
    /// `off`, `shadow` or `live`.
    mode: &'static str,
    /// `low`, `medium`, `high` or `critical`.
    severity: &'static str,
    /// `recall`, `flag`.
    actions: Vec<&'static str>,
    /// The share of messages for which a hit makes a job.
    rollout: f64,
    /// Whether a guard took it out of force.
    tripped: bool,
}

/// The rules in force
///
/// The version is their entity tag: with `If-None-Match` the answer is 304 while nothing changed.
#[utoipa::path(
    get, path = "/api/v1/rules", tag = "rules", operation_id = "rules",
    params(("If-None-Match" = Option<String>, Header, description = "An entity tag")),
    responses(
        (status = 200, description = "The rules", body = Rules,
            headers(("ETag" = String, description = "The version, quoted"))),
        (status = 304, description = "They are still those"),
    ),
)]
pub(super) async fn show(
    State(admin): State<Admin>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let rules = admin.operator.rules();
    let tripped = admin.store.tripped().await?;
    let is_tripped = |rule: &RuleSummary| tripped.iter().any(|tripped| tripped.rule == rule.id);
    let summaries = rules.summaries();
    let mut mark = rules.version().to_string();
    // A rule that trips changes what is shown, so the tag tells that too.
    for rule in summaries.iter().filter(|rule| is_tripped(rule)) {
        mark.push('+');
        mark.push_str(rule.id.as_str());
    }
    let tag = HeaderValue::from_str(&format!("\"{mark}\"")).ok();
    let known = headers.get(header::IF_NONE_MATCH);
    let same = known.is_some() && known == tag.as_ref();
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let rule = |rule: &RuleSummary| Rule {
            id: rule.id.to_string(),
            why: rule.why.clone(),
            mode: rule.mode.as_str(),
            severity: rule.severity.as_str(),
            actions: rule.actions.iter().map(|action| action.as_str()).collect(),
            rollout: rule.rollout,
            tripped: is_tripped(rule),
        };
        let version = rules.version().to_string();
        Json(Rules { version, rules: summaries.iter().map(rule).collect() }).into_response()
    };
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// What there is to say of a rules file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RulesCheck)]
pub(super) struct Checked {
    /// Whether it can be used and its examples come out right; warnings do not count.
    fine: bool,
    /// The version it would have, without what operators let through; null where it cannot be used.
    rules_version: Option<String>,
    /// As `quell rules check --format json` tells them.
    findings: Vec<Finding>,
}

/// Check a rules file
///
/// Every mistake with its place, what is doubtful, and the examples that come out wrong. Nothing is
/// kept or changed. Its lists are read beside the rules in force or below: those that are in force, and
/// others that end in `.txt`.
#[utoipa::path(
    post, path = "/api/v1/rules/check", tag = "rules", operation_id = "check_rules",
    request_body(content = Value, content_type = "application/yaml",
        description = "The rules file as it would stand on disk"),
    responses(
        (status = 200, description = "What there is to say of it", body = Checked),
        (status = 400, description = "The body is no UTF-8, or broke off", body = problem::Shown,
            content_type = "application/problem+json"),
        (status = 415, description = "The body is not announced as `application/yaml`",
            body = problem::Shown, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn check(State(admin): State<Admin>, Yaml(yaml): Yaml) -> Answer<Checked> {
    let checked = candidate::check(&admin, yaml).await;
    Ok(Json(Checked {
        fine: checked.findings.iter().all(|(level, _)| *level == Level::Warning),
        rules_version: checked.rules.map(|rules| rules.version().to_string()),
        findings: checked.findings.into_iter().map(Finding::from).collect(),
    }))
}

/// A text on its own, or a callback's body. Exactly one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExplainRequest)]
pub(super) struct Question {
    /// Scope, exemptions and what needs a message or its history have no part in it.
    #[schema(max_length = 32768)]
    text: Option<String>,
    /// The body of a `Group.CallbackAfterSendMsg`, judged as if it were the first that ever came.
    #[schema(value_type = Option<Object>)]
    callback: Option<Box<RawValue>>,
    /// What the message of the callback was sent from.
    #[serde(default)]
    platform: String,
}

/// What the rules say.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explained {
    /// `pass`, `flag` or `recall`.
    verdict: &'static str,
    rules_version: String,
    /// For a text: every rule. For a callback: those that hit.
    rules: Vec<ExplainedRule>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ExplainedRule {
    rule: String,
    mode: &'static str,
    hits: Vec<ExplainedHit>,
    /// Where it does not hit: what came nearest, or what held it back.
    miss: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ExplainedHit {
    /// The first matched character of the text; start and end are 0 where something else was matched.
    start: usize,
    /// One behind the last.
    end: usize,
    text: String,
    /// The folding steps that it took, for a text.
    steps: Vec<&'static str>,
}

/// What the rules in force say of a text or a callback
#[utoipa::path(
    post, path = "/api/v1/rules/explain", tag = "rules", operation_id = "explain",
    request_body(content = Question, example = json!({"text": "free crypto giveaway"})),
    responses((status = 200, description = "What they say", body = Explained)),
)]
pub(super) async fn explain(
    State(admin): State<Admin>,
    Json(question): Json<Question>,
) -> Answer<Explained> {
    let rules = admin.operator.rules();
    match (question.text, question.callback) {
        (Some(text), None) if text.chars().count() > MOST_TEXT_CHARS => {
            Err(Problem::unfit("a text has at most 32768 characters"))
        }
        (Some(text), None) => Ok(Json(of_text(&rules, &text))),
        (None, Some(callback)) => {
            let now = admin.clock.now();
            of_callback(&rules, &callback, &question.platform, now).map(Json)
        }
        _ => Err(Problem::unfit("say text or callback, one of the two")),
    }
}

fn of_text(rules: &CompiledRules, text: &str) -> Explained {
    let explanation = rules.explain(&Text::bare(text));
    let explained = explanation.rules.into_iter().map(|rule| ExplainedRule {
        rule: rule.rule.to_string(),
        mode: rule.mode.as_str(),
        hits: rule.hits.into_iter().map(|of| hit(of.hit, of.steps)).collect(),
        miss: rule.miss,
    });
    Explained {
        verdict: explanation.verdict.as_str(),
        rules_version: rules.version().to_string(),
        rules: explained.collect(),
    }
}

fn of_callback(
    rules: &CompiledRules,
    callback: &RawValue,
    platform: &str,
    now: Timestamp,
) -> Result<Explained, Problem> {
    let message = wire::parse_message(callback.get().as_bytes(), platform, now)
        .map_err(|error| Problem::unfit(format!("the callback cannot be read: {error}")))?;
    let signals = Windows::default().observe(rules, &message);
    let judgement = rules.judge(&message, &signals);
    let mut explained: Vec<ExplainedRule> = Vec::new();
    for found in judgement.hits {
        // Hits come in order of the rules, so those of a rule stand in a row.
        match explained.last_mut().filter(|last| last.rule == found.rule.as_str()) {
            Some(last) => last.hits.push(hit(found, Vec::new())),
            None => explained.push(ExplainedRule {
                rule: found.rule.to_string(),
                mode: found.mode.as_str(),
                hits: vec![hit(found, Vec::new())],
                miss: None,
            }),
        }
    }
    Ok(Explained {
        verdict: judgement.verdict.as_str(),
        rules_version: rules.version().to_string(),
        rules: explained,
    })
}

fn hit(hit: Hit, steps: Vec<&'static str>) -> ExplainedHit {
    ExplainedHit { start: hit.start, end: hit.end, text: hit.text, steps }
}
