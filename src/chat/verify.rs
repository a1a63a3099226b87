//! Whether a callback comes from Chat: decided by its query alone, before the body is read.
//!
//! What a good signature says is little: Chat signs its token and a time, neither the body nor the
//! rest of the query (page `wh-overview`), so whoever saw one URL can forge bodies until it ages out. The
//! window is therefore short and open to both sides by the same width.

use std::borrow::Cow;
use std::time::Duration;

use memchr::memchr;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::model::{AppId, Timestamp};

/// What a [`Verifier`] checks callbacks against.
#[derive(Debug)]
pub struct VerifierOptions {
    pub app_id: AppId,
    /// The tokens that may have signed a callback, several while one takes another's place. Without
    /// any, signatures are not looked at.
    pub tokens: Vec<SecretString>,
    /// How far `RequestTime` may lie from now, in both directions. The provider advises one minute
    /// (page `wh-config`).
    pub tolerance: Duration,
}

/// A callback's query that was found to come from Chat. Made by [`Verifier::verify`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentic<'a> {
    /// `CallbackCommand`; the console's check of the URL sends none.
    pub command: Option<Cow<'a, str>>,
    /// `OptPlatform`, empty where nothing was said.
    pub platform: Cow<'a, str>,
    made_by: Verify,
}

/// Nameable in this module only, so that nothing else can make an [`Authentic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verify;

/// Why a callback is refused. Says nothing about how close a guess was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("a parameter stands twice in the query")]
    RepeatedParameter,
    #[error("SdkAppid is missing")]
    AppIdMissing,
    #[error("SdkAppid is not this application's")]
    AppIdWrong,
    #[error("Sign is missing")]
    SignMissing,
    #[error("RequestTime is missing")]
    RequestTimeMissing,
    #[error("RequestTime is not a number of seconds")]
    RequestTimeInvalid,
    #[error("RequestTime is too far from now")]
    RequestTimeOutside,
    #[error("Sign does not fit")]
    SignWrong,
}

impl Rejection {
    /// Every reason, so that a counter can show all of them from the start.
    pub const ALL: &'static [Self] = &[
        Self::RepeatedParameter,
        Self::AppIdMissing,
        Self::AppIdWrong,
        Self::SignMissing,
        Self::RequestTimeMissing,
        Self::RequestTimeInvalid,
        Self::RequestTimeOutside,
        Self::SignWrong,
    ];

    /// The reason as a metric's label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::RepeatedParameter => "repeated_parameter",
            Self::AppIdMissing => "app_id_missing",
            Self::AppIdWrong => "app_id_wrong",
            Self::SignMissing => "sign_missing",
            Self::RequestTimeMissing => "request_time_missing",
            Self::RequestTimeInvalid => "request_time_invalid",
            Self::RequestTimeOutside => "request_time_outside",
            Self::SignWrong => "sign_wrong",
        }
    }
}

/// Decides whether a query comes from Chat.
#[derive(Debug)]
pub struct Verifier {
    app_id: String,
    tokens: Vec<SecretString>,
    must_be_signed: bool,
    tolerance_seconds: u64,
}

impl Verifier {
    #[must_use]
    pub fn new(options: VerifierOptions) -> Self {
        let must_be_signed = !options.tokens.is_empty();
        // Anybody can sign with an empty token. The configuration refuses one; should one get here
        // all the same, it signs nothing, rather than opening the door.
        let tokens = options.tokens.into_iter().filter(|token| !token.expose_secret().is_empty());
        Self {
            app_id: options.app_id.to_string(),
            tokens: tokens.collect(),
            must_be_signed,
            tolerance_seconds: options.tolerance.as_secs(),
        }
    }

    /// Judges the raw query of a callback: what stands behind the `?`, percent-encoded as it came.
    pub fn verify<'a>(&self, query: &'a str, now: Timestamp) -> Result<Authentic<'a>, Rejection> {
        let query = Query::read(query)?;
        match &query.app_id {
            None => return Err(Rejection::AppIdMissing),
            Some(app_id) if *app_id != self.app_id => return Err(Rejection::AppIdWrong),
            Some(_) => {}
        }
        if self.must_be_signed {
            self.verify_signature(&query, now)?;
        }
        Ok(Authentic {
            command: query.command.filter(|command| !command.is_empty()),
            platform: query.platform.unwrap_or_default(),
            made_by: Verify,
        })
    }

    fn verify_signature(&self, query: &Query<'_>, now: Timestamp) -> Result<(), Rejection> {
        let sign = query.sign.as_deref().ok_or(Rejection::SignMissing)?;
        let time = query.request_time.as_deref().ok_or(Rejection::RequestTimeMissing)?;
        let seconds = digits(time).ok_or(Rejection::RequestTimeInvalid)?;
        let sign = from_hex(sign).ok_or(Rejection::SignWrong)?;
        // Every token is tried, whichever fits: the time taken tells nothing about them.
        let fits = self.tokens.iter().fold(Choice::from(0), |fits, token| {
            fits | sign.ct_eq(&digest(token.expose_secret(), time))
        });
        if !bool::from(fits) {
            return Err(Rejection::SignWrong);
        }
        // Whole seconds on both sides, as RequestTime has no finer ones.
        if now.secs().abs_diff(seconds) > self.tolerance_seconds {
            return Err(Rejection::RequestTimeOutside);
        }
        Ok(())
    }
}

/// `Sign` for a token and a `RequestTime`: lower-case hex of SHA-256 over one directly followed by
/// the other (page `wh-overview`).
#[must_use]
pub fn sign(token: &str, request_time: &str) -> String {
    use std::fmt::Write as _;
    digest(token, request_time).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn digest(token: &str, request_time: &str) -> [u8; 32] {
    Sha256::new().chain_update(token).chain_update(request_time).finalize().into()
}

/// The parameters that mean something here. Names are case-sensitive; others are ignored.
#[derive(Default)]
struct Query<'a> {
    app_id: Option<Cow<'a, str>>,
    command: Option<Cow<'a, str>>,
    content_type: Option<Cow<'a, str>>,
    client_ip: Option<Cow<'a, str>>,
    platform: Option<Cow<'a, str>>,
    sign: Option<Cow<'a, str>>,
    request_time: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    fn read(query: &'a str) -> Result<Self, Rejection> {
        let mut this = Self::default();
        // Hardly anything that Chat sends is encoded. A plus sign is itself: this is no form.
        let encoded = memchr(b'%', query.as_bytes()).is_some();
        let decoded = |text: &'a str| if encoded { decoded(text) } else { Cow::Borrowed(text) };
        let mut next = Some(query);
        while let Some(pairs) = next {
            let pair;
            (pair, next) = split_once(pairs, b'&');
            let (name, value) = split_once(pair, b'=');
            let value = value.unwrap_or("");
            let slot = match &*decoded(name) {
                "SdkAppid" => &mut this.app_id,
                "CallbackCommand" => &mut this.command,
                "contenttype" => &mut this.content_type,
                "ClientIP" => &mut this.client_ip,
                "OptPlatform" => &mut this.platform,
                "Sign" => &mut this.sign,
                "RequestTime" => &mut this.request_time,
                _ => continue,
            };
            // Two readers that pick different ones of two values can be played off against each
            // other, so there is no right one to pick.
            if slot.replace(decoded(value)).is_some() {
                return Err(Rejection::RepeatedParameter);
            }
        }
        Ok(this)
    }
}

/// What stands before and behind an ASCII character; nothing behind one that is not there.
fn split_once(text: &str, at: u8) -> (&str, Option<&str>) {
    match memchr(at, text.as_bytes()) {
        Some(place) => (&text[..place], Some(&text[place + 1..])),
        None => (text, None),
    }
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    let mut wrong = 0;
    for (byte, pair) in bytes.iter_mut().zip(text.as_chunks::<2>().0) {
        let (high, low) = (hex_digit(pair[0]), hex_digit(pair[1]));
        wrong |= high | low;
        *byte = high << 4 | low & 0xf;
    }
    (wrong <= 0xf).then_some(bytes)
}

/// 0 to 15, or more where it is no digit.
fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => u8::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_669_872_112;
    const SIGN: &str = "17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061";

    fn check<'a>(tokens: &[&str], query: &'a str, now: i64) -> Result<Authentic<'a>, Rejection> {
        let tokens = tokens.iter().map(|token| SecretString::from(*token)).collect();
        let tolerance = Duration::from_mins(1);
        Verifier::new(VerifierOptions { app_id: 1_400_000_001, tokens, tolerance })
            .verify(query, Timestamp::from_secs(now))
    }

    fn signed(sign: &str) -> String {
        format!("SdkAppid=1400000001&CallbackCommand=X.Y&Sign={sign}&RequestTime={NOW}")
    }

    #[test]
    fn the_published_vector_is_accepted() {
        assert_eq!(sign("xxxxyyyy", "1669872112"), SIGN);
        let query = signed(SIGN);
        let authentic = check(&["xxxxyyyy"], &query, NOW).unwrap();
        assert_eq!(authentic.command.as_deref(), Some("X.Y"));
    }

    #[test]
    fn upper_case_hex_is_accepted_and_any_token_may_fit() {
        assert!(check(&["old", "xxxxyyyy"], &signed(&SIGN.to_uppercase()), NOW).is_ok());
        assert!(check(&["xxxxyyyy", "new"], &signed(SIGN), NOW).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let query = signed(SIGN);
        let without = |part: &str| query.replace(part, "");
        let table = [
            (query.replace("0001", "0002"), Rejection::AppIdWrong),
            (query.replace("=14000", "=+14000"), Rejection::AppIdWrong),
            (query.replace("SdkAppid", "sdkappid"), Rejection::AppIdMissing),
            (without("SdkAppid=1400000001&"), Rejection::AppIdMissing),
            (without(&format!("&Sign={SIGN}")), Rejection::SignMissing),
            (without(&format!("&RequestTime={NOW}")), Rejection::RequestTimeMissing),
            (query.replace("Time=", "Time=+"), Rejection::RequestTimeInvalid),
            (query.replace("Time=1", "Time=99999999999999999999"), Rejection::RequestTimeInvalid),
            (query.replace("&Sign=1", "&Sign=2"), Rejection::SignWrong),
            (query.replace("&Sign=17", "&Sign="), Rejection::SignWrong),
            (query.replace("&Sign=17", "&Sign=zz"), Rejection::SignWrong),
            (format!("{query}&SdkAppid=1400000001"), Rejection::RepeatedParameter),
            (format!("{query}&%53ign=1"), Rejection::RepeatedParameter),
            (String::new(), Rejection::AppIdMissing),
        ];
        for (query, expected) in table {
            assert_eq!(check(&["xxxxyyyy"], &query, NOW), Err(expected), "{query}");
        }
    }

    #[test]
    fn the_time_may_be_a_minute_off_either_way() {
        for (off, fine) in [(-61, false), (-60, true), (0, true), (60, true), (61, false)] {
            let query = signed(SIGN);
            let found = check(&["xxxxyyyy"], &query, NOW + off);
            assert_eq!(found.is_ok(), fine, "{off}");
        }
    }

    #[test]
    fn without_a_token_signatures_are_not_looked_at() {
        let found = check(&[], "Sign=nonsense&SdkAppid=1400000001&OptPlatform=i%4fS", NOW).unwrap();
        assert_eq!((found.command, &*found.platform), (None, "iOS"));
        // An empty token is no token that could fit, and no reason to stop looking either.
        let made = sign("", &NOW.to_string());
        assert_eq!(check(&[""], &signed(&made), NOW), Err(Rejection::SignWrong));
    }

    #[test]
    fn unknown_parameters_may_repeat_and_values_are_decoded() {
        let query = "SdkAppid=%31400000001&RequestId=1&RequestId=2&OptPlatform=%3A%3A1&x";
        assert_eq!(check(&[], query, NOW).unwrap().platform, "::1");
        let table =
            [("a+b", "a+b"), ("a%2bb", "a+b"), ("%", "%"), ("%zz", "%zz"), ("%e4", "\u{fffd}")];
        for (sent, read) in table {
            let query = format!("SdkAppid=1400000001&OptPlatform={sent}");
            assert_eq!(check(&[], &query, NOW).unwrap().platform, read, "{sent}");
        }
    }

    #[test]
    fn hex_is_read_whole_or_not_at_all() {
        let hex = SIGN.to_owned();
        let read = from_hex(&hex).unwrap();
        assert_eq!((read[0], read[1], read[31]), (0x17, 0x77, 0x61));
        for odd in ['g', 'G', '/', ':', '@', '`', ' ', '+'] {
            for at in [0, 1, 63] {
                let mut odd_one = hex.clone();
                odd_one.replace_range(at..=at, odd.encode_utf8(&mut [0; 4]));
                assert_eq!(from_hex(&odd_one), None, "{odd_one}");
            }
        }
        assert_eq!(from_hex(&hex[1..]), None);
        assert_eq!(from_hex(&format!("{}é", &hex[..62])), None);
    }

    #[test]
    fn the_vectors_of_the_fixture_fit() {
        let file = include_str!("../../tests/fixtures/webhook_sign_vectors.json");
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        for vector in file["vectors"].as_array().unwrap() {
            let text = |name: &str| vector[name].as_str().unwrap().to_owned();
            assert_eq!(sign(&text("token"), &text("request_time")), text("sign"));
        }
    }
}
