//! Who is logged in. Sessions live in memory, under a digest of what the browser holds, and end by
//! themselves; a restart ends them all.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::http::access::Role;

/// A working day.
pub(in crate::http) const LASTS: Duration = Duration::from_hours(12);
/// Sessions kept; the one that ends first makes room.
const MOST: usize = 1_000;

/// Somebody who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct Session {
    pub role: Role,
    /// The name that was given; acts are recorded under it.
    pub actor: String,
}

/// Everybody who is logged in.
#[derive(Debug, Default)]
pub(in crate::http) struct Sessions {
    open: Mutex<HashMap<[u8; 32], (Session, Instant)>>,
}

impl Sessions {
    /// Opens a session. Answers what the browser is to show from now on; nothing where the system
    /// has no randomness to give.
    pub(in crate::http) fn open(&self, session: Session) -> Option<String> {
        let mut random = [0; 32];
        OsRng.try_fill_bytes(&mut random).ok()?;
        let secret = random.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let now = Instant::now();
        let mut open = lock(&self.open);
        open.retain(|_, (_, until)| *until > now);
        if open.len() >= MOST {
            let first = open.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| *key);
            first.and_then(|key| open.remove(&key));
        }
        open.insert(digest(&secret), (session, now + LASTS));
        Some(secret)
    }

    /// Whose session it is, if it goes on.
    pub(in crate::http) fn find(&self, secret: &str) -> Option<Session> {
        let open = lock(&self.open);
        let (session, until) = open.get(&digest(secret))?;
        (*until > Instant::now()).then(|| session.clone())
    }

    pub(super) fn close(&self, secret: &str) {
        lock(&self.open).remove(&digest(secret));
    }
}

/// The table holds digests, so that neither its content nor the time of a look-up gives a session
/// away.
fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> Session {
        Session { role: Role::Operate, actor: "ada".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_by_itself_or_by_logging_out() {
        let sessions = Sessions::default();
        let (one, other) = (sessions.open(ada()).unwrap(), sessions.open(ada()).unwrap());
        assert_ne!(one, other);
        assert_eq!(sessions.find(&one), Some(ada()));
        assert_eq!(sessions.find("guessed"), None);
        sessions.close(&one);
        assert_eq!(sessions.find(&one), None);
        tokio::time::advance(LASTS).await;
        assert_eq!(sessions.find(&other), None);
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_bounded() {
        let sessions = Sessions::default();
        let first = sessions.open(ada()).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..MOST {
            sessions.open(ada()).unwrap();
        }
        assert_eq!(sessions.find(&first), None);
        assert_eq!(lock(&sessions.open).len(), MOST);
    }
}
