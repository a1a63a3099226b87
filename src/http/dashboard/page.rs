//! What all pages have in common: language, colours, who looks at them, and how an error looks.

use std::fmt;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::Extension;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use super::words::Language;
use super::{assets, go};
use crate::http::access::{Caller, Role};
use crate::model::Timestamp;
use crate::store;

const LANGUAGE: &str = "quell_language";
const THEME: &str = "quell_theme";
/// A year, in seconds.
const REMEMBERED: u32 = 31_536_000;

/// How somebody wants pages shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Preferences {
    pub language: Language,
    pub theme: Theme,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Theme {
    /// As the system says.
    #[default]
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

impl Preferences {
    /// From cookies, and from what the browser prefers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let language = cookie(headers, LANGUAGE)
            .and_then(Language::from_word)
            .or_else(|| accepted.and_then(Language::accepted))
            .unwrap_or_default();
        let theme = match cookie(headers, THEME) {
            Some("light") => Theme::Light,
            Some("dark") => Theme::Dark,
            _ => Theme::Auto,
        };
        Self { language, theme }
    }
}

/// The value of a cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// What a page's frame shows.
pub(super) struct Frame {
    pub preferences: Preferences,
    pub operates: bool,
    pub actor: String,
    /// Whether there is a session that can be ended.
    pub logged_in: bool,
    /// The page's place in the navigation.
    pub here: &'static str,
    /// Path and query, to come back to.
    pub path: String,
    /// What an act that led here did.
    pub done: Option<String>,
}

impl Frame {
    pub(super) fn say<'a>(&self, key: &'a str) -> &'a str {
        self.preferences.language.say(key)
    }
    pub(super) fn fill(&self, key: &str, values: &[&str]) -> String {
        self.preferences.language.fill(key, values)
    }
    pub(super) fn word(&self, kind: &str, word: &str) -> String {
        self.preferences.language.word(kind, word)
    }
    pub(super) fn tag(&self) -> &'static str {
        self.preferences.language.tag()
    }
    pub(super) fn theme(&self) -> &'static str {
        self.preferences.theme.word()
    }
    #[expect(clippy::unused_self, reason = "templates know the frame and no module")]
    pub(super) fn asset(&self, name: &str) -> &'static str {
        assets::address(name)
    }
}

/// A moment in a page: rendered in UTC; scripts show it in the reader's own zone.
#[derive(Clone, Copy)]
pub(super) struct When(pub Timestamp);

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(at) = jiff::Timestamp::from_millisecond(self.0.millis()) else { return Ok(()) };
        let (machine, people) =
            (at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ"), at.strftime("%Y-%m-%d %H:%M:%S"));
        write!(f, "<time datetime=\"{machine}\">{people}</time>")
    }
}
impl HtmlSafe for When {}

/// Who asks for a page and how they want it, taken out of the request.
pub(super) struct Visitor {
    pub preferences: Preferences,
    pub caller: Caller,
    path: String,
    done: Option<String>,
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Visitor {
    type Rejection = Response;
    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Response> {
        let caller = Extension::<Caller>::from_request_parts(parts, state).await;
        let Extension(caller) = caller.map_err(IntoResponse::into_response)?;
        let query = parts.uri.query().unwrap_or_default();
        let done = query.split('&').find_map(|pair| pair.strip_prefix("done="));
        let known =
            |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let done = done.filter(known).map(str::to_owned);
        let kept: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("done=")).collect();
        let path = match kept.join("&") {
            query if query.is_empty() => parts.uri.path().to_owned(),
            query => format!("{}?{query}", parts.uri.path()),
        };
        Ok(Self { preferences: Preferences::of(&parts.headers), caller, path, done })
    }
}

impl Visitor {
    pub(super) fn frame(self, here: &'static str) -> Frame {
        let said = self.done.map(|done| self.preferences.language.word("done", &done));
        Frame {
            preferences: self.preferences,
            operates: self.caller.role == Role::Operate,
            logged_in: self.caller.by_cookie,
            actor: self.caller.actor,
            here,
            path: self.path,
            done: said,
        }
    }
}

/// A page that was filled.
pub(super) fn show(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Why a page cannot be shown.
pub(super) struct Failed {
    preferences: Preferences,
    status: StatusCode,
    detail: String,
}

impl Failed {
    pub(super) fn new(
        preferences: Preferences,
        status: StatusCode,
        detail: impl Into<String>,
    ) -> Self {
        Self { preferences, status, detail: detail.into() }
    }

    pub(super) fn not_found(preferences: Preferences) -> Self {
        let why = preferences.language.say("error.not_found");
        Self::new(preferences, StatusCode::NOT_FOUND, why)
    }

    /// What a refusal of the store means for a page.
    pub(super) fn store(preferences: Preferences) -> impl Fn(store::Error) -> Self {
        move |error| match error {
            store::Error::Invalid(why) => {
                Self::new(preferences, StatusCode::UNPROCESSABLE_ENTITY, why)
            }
            other => {
                tracing::error!(error = %other, "a page failed in the store");
                let why = preferences.language.say("error.store");
                Self::new(preferences, StatusCode::SERVICE_UNAVAILABLE, why)
            }
        }
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        failure(self.preferences, self.status, &self.detail)
    }
}

#[derive(Template)]
#[template(path = "failure.html")]
struct Failure<'a> {
    frame: Frame,
    status: u16,
    detail: &'a str,
}

/// A page that says what is wrong.
pub(super) fn failure(preferences: Preferences, status: StatusCode, detail: &str) -> Response {
    let frame = bare(preferences, "/");
    let page = Failure { frame, status: status.as_u16(), detail };
    (status, show(&page)).into_response()
}

/// The frame of a page for nobody in particular.
pub(super) fn bare(preferences: Preferences, path: &str) -> Frame {
    Frame {
        preferences,
        operates: false,
        actor: String::new(),
        logged_in: false,
        here: "",
        path: path.to_owned(),
        done: None,
    }
}

/// A form that was sent; what it does not know is an error.
pub(super) fn read<T: serde::de::DeserializeOwned>(
    preferences: Preferences,
    body: &[u8],
) -> Result<T, Failed> {
    serde_urlencoded::from_bytes(body).map_err(|error| {
        Failed::new(preferences, StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
    })
}

#[derive(Deserialize)]
struct Chosen {
    language: Option<String>,
    theme: Option<String>,
    #[serde(default)]
    back: String,
}

/// Remembers language and colours. Changes nothing but the browser's own cookies.
pub(super) async fn set_preferences(headers: HeaderMap, body: Bytes) -> Response {
    let chosen: Chosen = match read(Preferences::of(&headers), &body) {
        Ok(chosen) => chosen,
        Err(failed) => return failed.into_response(),
    };
    let mut response = go(local(&chosen.back));
    let known = [
        (LANGUAGE, chosen.language.filter(|word| Language::from_word(word).is_some())),
        (THEME, chosen.theme.filter(|word| ["auto", "light", "dark"].contains(&word.as_str()))),
    ];
    for (name, value) in known {
        let Some(value) = value else { continue };
        let cookie = format!("{name}={value}; Path=/; Max-Age={REMEMBERED}; SameSite=Strict");
        if let Ok(cookie) = cookie.parse() {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    response
}

/// A path of this listener to go back to, or the overview: never another host's address.
pub(super) fn local(path: &str) -> &str {
    let inside = path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if inside { path } else { "/" }
}

/// A path with what was done added to its query.
pub(super) fn after(path: &str, done: &str) -> String {
    let path = local(path);
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}done={done}")
}

/// A value as a part of a query.
pub(super) fn encoded(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_back_never_leads_elsewhere() {
        assert_eq!(local("/queue?rule=a%20b"), "/queue?rule=a%20b");
        for path in ["//evil.example", "https://evil.example", "/\\evil.example", "", "/a\r\nb"] {
            assert_eq!(local(path), "/", "{path:?}");
        }
        assert_eq!(after("/queue?rule=a", "released"), "/queue?rule=a&done=released");
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        let line = "a=1; quell_theme=dark;quell_language=zh; xquell_theme=light";
        headers.insert(header::COOKIE, line.parse().unwrap());
        let preferences = Preferences::of(&headers);
        assert_eq!(preferences, Preferences { language: Language::Zh, theme: Theme::Dark });
    }
}
