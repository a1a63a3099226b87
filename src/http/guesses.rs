//! Wrong tokens cost time. Whoever shows one again and again waits longer and longer for being told so;
//! whoever has the right one is let in at once, whatever others at the same address did.
//!
//! That makes guessing slow and lets nobody lock others out. It does not make a short token safe: what
//! keeps guessers out is the length of a token, and quell warns of short ones.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Wrong tokens of an address without a wait.
const FREE: u32 = 5;
/// The wait after them, doubled with every further one up to the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(16);
/// An address that was quiet for so long begins anew.
const FORGOTTEN: Duration = Duration::from_mins(15);
/// Addresses that are remembered; the one that was quiet for longest makes room.
const ADDRESSES: usize = 1_024;
/// Answers that wait at a time. More are not held back: connections are worth more than their time.
const WAITING: usize = 64;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Wrong tokens by address.
#[derive(Clone, Debug)]
pub(super) struct Guesses {
    wrong: Arc<Mutex<HashMap<IpAddr, (u32, Instant)>>>,
    waiting: Arc<Semaphore>,
}

impl Default for Guesses {
    fn default() -> Self {
        Self { wrong: Arc::default(), waiting: Arc::new(Semaphore::new(WAITING)) }
    }
}

impl Guesses {
    /// A token was wrong: waits as long as its address has to. Answers whether it could wait.
    pub(super) async fn wrong(&self, peer: Option<Peer>, headers: &HeaderMap) -> bool {
        let Some(address) = address(peer, headers) else { return true };
        let wait = self.count(address);
        if wait.is_zero() {
            return true;
        }
        let Ok(_room) = self.waiting.try_acquire() else { return false };
        tokio::time::sleep(wait).await;
        true
    }

    fn count(&self, address: IpAddr) -> Duration {
        let now = Instant::now();
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= ADDRESSES && !wrong.contains_key(&address) {
            let quiet = wrong.iter().min_by_key(|(_, (_, at))| *at).map(|(address, _)| *address);
            quiet.and_then(|quiet| wrong.remove(&quiet));
        }
        let (count, at) = wrong.entry(address).or_insert((0, now));
        if now.duration_since(*at) >= FORGOTTEN {
            *count = 0;
        }
        (*count, *at) = (count.saturating_add(1), now);
        let beyond = count.checked_sub(FREE + 1);
        beyond
            .map_or(Duration::ZERO, |beyond| FIRST.saturating_mul(1 << beyond.min(8)).min(LONGEST))
    }
}

/// Whom a wrong token is counted for: a proxy on this machine says whom it speaks for, and the last
/// address of its list is the one that it added itself. Who is on this machine is not held up.
fn address(peer: Option<Peer>, headers: &HeaderMap) -> Option<IpAddr> {
    let Peer(peer) = peer?;
    if !peer.to_canonical().is_loopback() {
        return Some(network(peer));
    }
    let named = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let last = named.rsplit(',').next()?.trim().parse().ok()?;
    Some(network(last))
}

/// Whoever has one address of version 6 has all of its network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Peer {
        Peer(address.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_cost_their_address_more_and_more_time() {
        let guesses = Guesses::default();
        let headers = HeaderMap::new();
        let took = async |address: &str| {
            let began = Instant::now();
            assert!(guesses.wrong(Some(of(address)), &headers).await);
            began.elapsed().as_secs()
        };
        let mut waits = Vec::new();
        for _ in 0..11 {
            waits.push(took("203.0.113.7").await);
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 16]);
        assert_eq!(took("203.0.113.8").await, 0, "others do not pay for it");
        tokio::time::advance(FORGOTTEN).await;
        assert_eq!(took("203.0.113.7").await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_and_waits_are_bounded() {
        let guesses = Guesses::default();
        for n in 0..5_000_u32 {
            guesses.count(IpAddr::from(n.to_be_bytes()));
        }
        assert_eq!(guesses.wrong.lock().unwrap().len(), ADDRESSES);
        let one = Some(of("203.0.113.7"));
        for _ in 0..FREE {
            assert!(guesses.wrong(one, &HeaderMap::new()).await);
        }
        let mut at_once = tokio::task::JoinSet::new();
        for _ in 0..WAITING + 10 {
            let guesses = guesses.clone();
            at_once.spawn(async move { guesses.wrong(one, &HeaderMap::new()).await });
        }
        let waited = at_once.join_all().await;
        assert_eq!(waited.iter().filter(|waited| !**waited).count(), 10);
    }

    #[test]
    fn a_proxy_here_says_whom_it_speaks_for() {
        let named = |peer: &str, lists: &[&str]| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append("x-forwarded-for", list.parse().unwrap());
            }
            address(Some(of(peer)), &headers).map(|address| address.to_string())
        };
        assert_eq!(named("127.0.0.1", &[]), None);
        assert_eq!(named("::1", &["nonsense"]), None);
        assert_eq!(named("127.0.0.1", &["6.6.6.6, 203.0.113.7"]).unwrap(), "203.0.113.7");
        assert_eq!(named("::ffff:127.0.0.1", &["6.6.6.6", "203.0.113.7"]).unwrap(), "203.0.113.7");
        assert_eq!(named("203.0.113.7", &["6.6.6.6"]).unwrap(), "203.0.113.7");
        assert_eq!(named("2001:db8:1:2:3:4:5:6", &[]).unwrap(), "2001:db8:1:2::");
    }
}
