//! The overview: how it stands, figures of the last hours, and the live feed.

use std::time::Duration;

use askama::Template;
use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Dashboard;
use super::hostile::Html;
use super::live::Filter;
use super::page::{self, Failed, Frame, Visitor, When, encoded};
use super::row::{Row, grouped, id, lasted};
use super::words::Language;
use crate::model::JobState;
use crate::store::{Bucket, Error, Ranked, RuleFigures};

/// Rows that the page begins with.
const ROWS: usize = 30;
/// Rules, groups and senders shown.
const TOP: usize = 8;
/// Points of the chart.
const POINTS: u32 = 60;
/// The seconds over which the busiest one is shown.
const PACE: Duration = Duration::from_mins(1);

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    state: Standing,
    filter: Filter,
    /// The filter as a part of an address.
    query: String,
    rows: Vec<Row>,
    /// The last message that was recorded when the page was made.
    latest: i64,
}

/// How it stands right now.
struct Standing {
    paused: Option<(Html, When)>,
    halted: Option<(Html, bool)>,
    tripped: Vec<(Html, String, Html)>,
    shadow: bool,
    queue: Vec<(&'static str, u64)>,
    /// The busiest second of the last minute, and what is allowed.
    calls: u32,
    limit: u32,
    per_cent: u32,
    missing: u64,
}

pub(super) async fn show(
    State(dashboard): State<Dashboard>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
) -> Response {
    let preferences = visitor.preferences;
    let page = async {
        let store = &dashboard.admin.store;
        let latest = store.latest().await?;
        let cases = store.recent(&filter.wanted(), ROWS).await?;
        let state = standing(&dashboard).await?;
        let rows = cases.iter().map(|case| Row::of(case, preferences.language)).collect();
        let query = filter.query();
        Ok(Overview { frame: visitor.frame("overview"), state, query, filter, rows, latest })
    };
    match page.await {
        Ok(page) => page::show(&page),
        Err(error) => Failed::store(preferences)(error).into_response(),
    }
}

#[derive(Template)]
#[template(path = "state.html")]
struct StatePart {
    frame: Frame,
    state: Standing,
}

/// The part of the page that tells how it stands, again and again.
pub(super) async fn state(State(dashboard): State<Dashboard>, visitor: Visitor) -> Response {
    let preferences = visitor.preferences;
    match standing(&dashboard).await {
        Ok(state) => page::show(&StatePart { frame: visitor.frame(""), state }),
        Err(error) => Failed::store(preferences)(error).into_response(),
    }
}

async fn standing(dashboard: &Dashboard) -> Result<Standing, Error> {
    let admin = &dashboard.admin;
    let worker = admin.operator.status();
    let unfinished = admin.store.unfinished_by_state().await?;
    let count = |state: JobState| {
        let count = unfinished.iter().find(|(name, _)| name == state.as_str());
        count.map_or(0, |(_, count)| u64::try_from(*count).unwrap_or_default())
    };
    let now = admin.clock.now();
    let seconds = admin.store.calls_per_second(now.before(PACE), now).await?;
    let calls = seconds.iter().map(|(_, calls)| *calls).max().unwrap_or(0);
    let limit = admin.operator.sweep_terms().calls_per_second;
    let tripped = admin.store.tripped().await?;
    let waiting = JobState::ALL.iter().filter(|state| !state.is_final());
    Ok(Standing {
        paused: admin.store.paused().await?.map(|pause| (id(&pause.by), When(pause.at))),
        halted: worker.halted.map(|halt| (id(&halt.why), halt.needs_person)),
        tripped: tripped
            .iter()
            .map(|t| (id(t.rule.as_str()), t.rule.as_str().to_owned(), id(&t.why)))
            .collect(),
        shadow: !admin.operator.enforces(),
        queue: waiting.map(|state| (state.as_str(), count(*state))).collect(),
        calls,
        limit,
        per_cent: (calls * 100 / limit.max(1)).min(100),
        missing: admin.store.open_sequences().await?,
    })
}

/// How far back the figures go, in minutes; stands in the address.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Stretch {
    minutes: u32,
}

/// The stretches that are offered, shortest first.
const STRETCHES: [u32; 4] = [15, 60, 360, 1_440];
/// Shown where nobody chose: it begins to be of use once there is something as old as that.
const USUAL: u32 = 360;

impl Stretch {
    /// What was chosen, or the shortest one that holds what the usual one would show; with its points.
    async fn exposures(&self, dashboard: &Dashboard) -> Result<(u32, Vec<Bucket>), Error> {
        if STRETCHES.contains(&self.minutes) {
            return Ok((self.minutes, exposures(dashboard, self.minutes).await?));
        }
        let usual = exposures(dashboard, USUAL).await?;
        let now = dashboard.admin.clock.now();
        let first = usual.iter().find(|bucket| bucket.asked > 0);
        let age = first.map_or(Duration::ZERO, |bucket| now.since(bucket.from));
        let fits = |minutes: &u32| span(*minutes) >= age;
        match STRETCHES.into_iter().find(fits) {
            Some(minutes) if minutes < USUAL => Ok((minutes, exposures(dashboard, minutes).await?)),
            _ => Ok((USUAL, usual)),
        }
    }
}

fn span(minutes: u32) -> Duration {
    Duration::from_secs(60 * u64::from(minutes))
}

#[derive(Template)]
#[template(path = "figures.html")]
struct Figures {
    frame: Frame,
    minutes: u32,
    stretches: Vec<(u32, String)>,
    p50: Option<String>,
    p99: Option<String>,
    recalled: String,
    ends: Vec<(String, u64)>,
    points: Vec<Point>,
    rules: Vec<Rule>,
    groups: Vec<Place>,
    senders: Vec<Place>,
    whole: bool,
}

/// A stretch of the chart, as a row of the table beside it.
struct Point {
    from: When,
    recalled: u64,
    p50: String,
    p99: String,
}

struct Rule {
    id: Html,
    link: String,
    live: String,
    shadow: u64,
    /// Hits as a share of those of the first rule, for the bar.
    share: u64,
    precision: Option<u64>,
    reviewed: u64,
}

struct Place {
    name: Html,
    link: String,
    recall: String,
    flag: u64,
    share: u64,
}

pub(super) async fn figures(
    State(dashboard): State<Dashboard>,
    visitor: Visitor,
    Query(stretch): Query<Stretch>,
) -> Response {
    let preferences = visitor.preferences;
    let language = preferences.language;
    let page = async {
        let store = &dashboard.admin.store;
        let now = dashboard.admin.clock.now();
        let (minutes, buckets) = stretch.exposures(&dashboard).await?;
        let since = now.before(span(minutes));
        // One bucket over the whole stretch: quantiles of quantiles would be wrong.
        let all = store.exposure(since, now, span(minutes)).await?.into_iter().next();
        let places = store.top_places(since, TOP).await?;
        let (rules, ends) =
            (store.top_rules(since, TOP).await?, store.recalls_by_state(since).await?);
        Ok(Figures {
            frame: visitor.frame(""),
            minutes,
            stretches: STRETCHES
                .iter()
                .map(|minutes| (*minutes, lasted(i64::from(*minutes) * 60_000, language)))
                .collect(),
            p50: all.and_then(|all| Some(lasted(all.p50_ms?, language))),
            p99: all.and_then(|all| Some(lasted(all.p99_ms?, language))),
            recalled: grouped(all.map_or(0, |all| all.recalled)),
            ends: ends.into_iter().filter(|(_, count)| *count > 0).collect(),
            points: buckets.iter().filter_map(|bucket| point(bucket, language)).collect(),
            rules: ranked_rules(&rules),
            groups: ranked(&places.groups),
            senders: ranked(&places.senders),
            whole: places.whole,
        })
    };
    match page.await {
        Ok(page) => page::show(&page),
        Err(error) => Failed::store(preferences)(error).into_response(),
    }
}

async fn exposures(dashboard: &Dashboard, minutes: u32) -> Result<Vec<Bucket>, Error> {
    let now = dashboard.admin.clock.now();
    let span = span(minutes);
    dashboard.admin.store.exposure(now.before(span), now, span / POINTS).await
}

fn point(bucket: &Bucket, language: Language) -> Option<Point> {
    Some(Point {
        from: When(bucket.from),
        recalled: bucket.recalled,
        p50: lasted(bucket.p50_ms?, language),
        p99: lasted(bucket.p99_ms?, language),
    })
}

fn ranked_rules(rules: &[RuleFigures]) -> Vec<Rule> {
    let most = rules.iter().map(|rule| rule.live_hits + rule.shadow_hits).max().unwrap_or(1);
    let rule = |rule: &RuleFigures| {
        let reviewed = rule.right + rule.wrong;
        Rule {
            id: id(rule.rule.as_str()),
            link: encoded(rule.rule.as_str()),
            live: grouped(rule.live_hits),
            shadow: rule.shadow_hits,
            share: (rule.live_hits + rule.shadow_hits) * 100 / most.max(1),
            precision: (reviewed > 0).then(|| rule.right * 100 / reviewed),
            reviewed,
        }
    };
    rules.iter().map(rule).collect()
}

fn ranked(places: &[Ranked]) -> Vec<Place> {
    let most = places.iter().map(|place| place.recall + place.flag).max().unwrap_or(1);
    let place = |place: &Ranked| Place {
        name: id(&place.name),
        link: encoded(&place.name),
        recall: grouped(place.recall),
        flag: place.flag,
        share: (place.recall + place.flag) * 100 / most.max(1),
    };
    places.iter().map(place).collect()
}

/// What the chart draws: seconds since 1970, and milliseconds of exposure.
pub(super) async fn exposure(
    State(dashboard): State<Dashboard>,
    visitor: Visitor,
    Query(stretch): Query<Stretch>,
) -> Response {
    match stretch.exposures(&dashboard).await {
        Ok((_, buckets)) => {
            let column = |value: fn(&Bucket) -> Value| buckets.iter().map(value).collect::<Value>();
            Json(json!([
                column(|bucket| bucket.from.secs().into()),
                column(|bucket| bucket.p50_ms.into()),
                column(|bucket| bucket.p99_ms.into()),
                column(|bucket| bucket.recalled.into()),
            ]))
            .into_response()
        }
        Err(error) => Failed::store(visitor.preferences)(error).into_response(),
    }
}
