//! `UserSig`: the credential of a REST call, made by the provider's algorithm (`TLSSigAPI` v2).
//!
//! Checked against the vectors of the official packages in `tests/fixtures/usersig_vectors.json`.
//! Packages differ in the order and spacing of the JSON inside, and in the deflate stream around
//! it, so two right ones need not be equal byte by byte. It is a bearer credential that travels in
//! the query string: never log it, nor a URL that holds it.

use std::io::{Read, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::model::{AppId, Timestamp};

/// The inflated JSON of a real one is about 250 bytes; more than this is not one.
const MAX_INFLATED_BYTES: u64 = 8 * 1024;

/// What a `UserSig` says. `expire` is a duration from `time`, both in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    #[serde(rename = "TLS.ver")]
    pub version: String,
    #[serde(rename = "TLS.identifier")]
    pub identifier: String,
    #[serde(rename = "TLS.sdkappid")]
    pub app_id: AppId,
    #[serde(rename = "TLS.expire")]
    pub expire: u64,
    #[serde(rename = "TLS.time")]
    pub time: i64,
    /// Base64 of bytes that the signer adds; quell adds none.
    #[serde(rename = "TLS.userbuf", default, skip_serializing_if = "Option::is_none")]
    pub user_buf: Option<String>,
    #[serde(rename = "TLS.sig")]
    pub sig: String,
}

/// What is given is no `UserSig`: not base64, not deflated, or not the JSON that belongs inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UserSig")]
pub struct NotUserSig;

impl Claims {
    /// Claims signed with the application's secret key. The key is used as the text that the
    /// console shows, not hex-decoded.
    #[must_use]
    pub fn signed(
        app_id: AppId,
        identifier: &str,
        key: &SecretString,
        now: Timestamp,
        life: Duration,
    ) -> Self {
        let mut claims = Self {
            version: "2.0".to_owned(),
            identifier: identifier.to_owned(),
            app_id,
            expire: life.as_secs(),
            time: now.secs(),
            user_buf: None,
            sig: String::new(),
        };
        claims.sig = STANDARD.encode(claims.mac(key).finalize().into_bytes());
        claims
    }

    /// Whether the key signed these claims.
    #[must_use]
    pub fn is_signed_with(&self, key: &SecretString) -> bool {
        STANDARD.decode(&self.sig).is_ok_and(|sig| self.mac(key).verify_slice(&sig).is_ok())
    }

    /// Whether the claims no longer hold at this time.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        let end = self.time.saturating_add(i64::try_from(self.expire).unwrap_or(i64::MAX));
        now.secs() > end
    }

    /// The claims as they travel in the query.
    #[must_use]
    pub fn encoded(&self) -> String {
        let json = serde_json::to_vec(self).expect("strings and numbers always serialise");
        let mut zlib = ZlibEncoder::new(Vec::with_capacity(256), Compression::default());
        zlib.write_all(&json).expect("writing to memory does not fail");
        let zlib = zlib.finish().expect("writing to memory does not fail");
        let sig = STANDARD.encode(zlib);
        sig.replace('+', "*").replace('/', "-").replace('=', "_")
    }

    /// Reads what [`Claims::encoded`], or an official package, wrote. Says nothing about whether it
    /// is signed.
    pub fn decode(user_sig: &str) -> Result<Self, NotUserSig> {
        let base64 = user_sig.replace('*', "+").replace('-', "/").replace('_', "=");
        let zlib = STANDARD.decode(base64).map_err(|_| NotUserSig)?;
        let mut json = Vec::new();
        let mut inflate = ZlibDecoder::new(&*zlib).take(MAX_INFLATED_BYTES);
        inflate.read_to_end(&mut json).map_err(|_| NotUserSig)?;
        serde_json::from_slice(&json).map_err(|_| NotUserSig)
    }

    fn mac(&self, key: &SecretString) -> Hmac<Sha256> {
        let mut content = format!(
            "TLS.identifier:{}\nTLS.sdkappid:{}\nTLS.time:{}\nTLS.expire:{}\n",
            self.identifier, self.app_id, self.time, self.expire
        );
        if let Some(user_buf) = &self.user_buf {
            content.push_str("TLS.userbuf:");
            content.push_str(user_buf);
            content.push('\n');
        }
        let key = key.expose_secret().as_bytes();
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key);
        mac.expect("HMAC takes a key of any length").chain_update(content)
    }
}

/// Makes `UserSig`s and keeps the newest until four fifths of its life are over.
#[derive(Debug)]
pub struct UserSig {
    app_id: AppId,
    identifier: String,
    key: SecretString,
    life: Duration,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    user_sig: SecretString,
    made_at: Timestamp,
}

impl UserSig {
    /// For an administrator account of the application. The provider advises a life of at least a
    /// day (pages `errors`, at 70001, and `limits`).
    #[must_use]
    pub fn new(app_id: AppId, identifier: &str, key: SecretString, life: Duration) -> Self {
        Self { app_id, identifier: identifier.to_owned(), key, life, kept: Mutex::new(None) }
    }

    /// The account that it speaks for.
    #[must_use]
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// One that is good now.
    #[must_use]
    pub fn current(&self, now: Timestamp) -> SecretString {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &*kept
            && !self.is_due(kept, now)
        {
            return kept.user_sig.clone();
        }
        let claims = Claims::signed(self.app_id, &self.identifier, &self.key, now, self.life);
        let user_sig = SecretString::from(claims.encoded());
        *kept = Some(Kept { user_sig: user_sig.clone(), made_at: now });
        user_sig
    }

    /// Forgets the one that Chat refused, so that the next call makes another.
    pub fn renew(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A clock that went back makes it due as well: Chat may take it for one from the future.
    fn is_due(&self, kept: &Kept, now: Timestamp) -> bool {
        now < kept.made_at || now.since(kept.made_at) >= self.life.mul_f64(0.8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn the_official_vectors_come_out_the_same() {
        let file = include_str!("../../tests/fixtures/usersig_vectors.json");
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        for vector in file["vectors"].as_array().unwrap() {
            let text = |name: &str| vector[name].as_str().unwrap();
            let number = |name: &str| vector[name].as_u64().unwrap();
            let key = SecretString::from(text("key"));
            let now = Timestamp::from_secs(vector["time"].as_i64().unwrap());
            let life = Duration::from_secs(number("expire"));
            let ours = Claims::signed(number("sdkappid"), text("identifier"), &key, now, life);
            assert_eq!(ours.sig, text("sig_b64"), "{}", text("note"));

            let theirs = Claims::decode(text("usersig")).unwrap();
            assert_eq!(theirs, ours);
            assert_eq!(theirs, serde_json::from_str(text("inflated_json")).unwrap());
            assert!(theirs.is_signed_with(&key));
            assert!(!theirs.is_signed_with(&SecretString::from("another")));
            assert_eq!(Claims::decode(&ours.encoded()).unwrap(), ours);
        }
    }

    #[test]
    fn it_is_renewed_at_four_fifths_of_its_life_or_when_told() {
        let maker = UserSig::new(1, "administrator", SecretString::from("k"), DAY);
        let made_at = |now: i64| {
            let user_sig = maker.current(Timestamp::from_secs(now));
            Claims::decode(user_sig.expose_secret()).unwrap().time
        };
        assert_eq!(made_at(1_000_000), 1_000_000);
        assert_eq!(made_at(1_000_000 + 69_119), 1_000_000);
        assert_eq!(made_at(1_000_000 + 69_120), 1_069_120);
        assert_eq!(made_at(1_069_000), 1_069_000, "the clock went back");
        maker.renew();
        assert_eq!(made_at(1_069_001), 1_069_001);
    }

    #[test]
    fn what_is_none_is_refused_and_a_bomb_is_not_inflated() {
        for text in ["", "x", "eJyr", "****", "AAAA"] {
            assert_eq!(Claims::decode(text), Err(NotUserSig));
        }
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(&vec![b' '; 10 << 20]).unwrap();
        let bomb = STANDARD.encode(zlib.finish().unwrap());
        assert_eq!(Claims::decode(&bomb.replace('+', "*").replace('/', "-")), Err(NotUserSig));
    }

    #[test]
    fn it_holds_until_time_and_expire_are_over() {
        let key = SecretString::from("k");
        let claims = Claims::signed(1, "a", &key, Timestamp::from_secs(100), DAY);
        assert!(!claims.is_expired(Timestamp::from_secs(86_500)));
        assert!(claims.is_expired(Timestamp::from_secs(86_501)));
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let maker = UserSig::new(1, "a", SecretString::from("canary-key"), DAY);
        let user_sig = maker.current(Timestamp::from_secs(1));
        let shown = format!("{maker:?}");
        assert!(!shown.contains("canary-key") && !shown.contains(user_sig.expose_secret()));
    }
}
