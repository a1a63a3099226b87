//! How fast calls may leave.
//!
//! Chat allows 200 calls of one command in a second and answers what is above with an error. The
//! limiter lets at most `calls_per_second` attempts leave in *any* sliding second: governor's cell
//! rate algorithm admits its rate plus its burst less one in the worst second, so the rate is set
//! that much lower. The small burst makes up for timers that wake late; without it, every late wake
//! would be a call that never leaves.
//!
//! When Chat says that it is too much all the same (another system may share the limit), the pace is
//! halved and creeps back by [`CREEP`] calls a second for every second without complaint.

use std::num::NonZeroU32;
use std::ops::Add;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// The window that Chat counts in.
const WINDOW: Duration = Duration::from_secs(1);
/// Slower than this it never gets because of complaints.
const SLOWEST: u32 = 10;
/// So long a limit that Chat told is heeded.
const TOLD_FOR: Duration = Duration::from_hours(1);
/// Calls a second won back by each second without complaint.
const CREEP: u32 = 5;
/// Complaints closer together than this are about the same burst.
const SAME_COMPLAINT: Duration = Duration::from_millis(500);
/// One call of credit for this many calls a second: 190 gives a burst of 4, which forgives timers
/// that wake up to 16 ms late and costs 1.6 % of the pace.
const CALLS_A_CREDIT: u32 = 50;

type Governor = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<TokioInstant>>;

/// Lets calls leave at no more than a set pace.
pub struct Limiter {
    calls_per_second: u32,
    /// Holds at all times; never replaced, so that no change of pace can open a gap in it.
    ceiling: Governor,
    pace: Mutex<Pace>,
}

/// What Chat's complaints made of the pace.
struct Pace {
    /// What Chat says that it takes.
    told: Option<Told>,
    /// Nothing leaves before.
    not_before: Option<Instant>,
    slowed: Option<Slowed>,
}

/// A limit that Chat told. Callbacks are not signed as a whole, so it is believed for a while only.
struct Told {
    rate: u32,
    until: Instant,
}

struct Slowed {
    /// Calls a second right after the latest complaint.
    rate: u32,
    since: Instant,
    /// The rate that `governor` was made for.
    current: u32,
    governor: std::sync::Arc<Governor>,
}

impl Limiter {
    /// With at most so many calls in any sliding second.
    #[must_use]
    pub fn new(calls_per_second: u32) -> Self {
        Self {
            calls_per_second: calls_per_second.max(1),
            ceiling: governor(calls_per_second),
            pace: Mutex::new(Pace { told: None, not_before: None, slowed: None }),
        }
    }

    /// Waits until a call may leave. The call must leave right then.
    pub async fn permit(&self) {
        loop {
            let held = self.pace().not_before.filter(|until| *until > Instant::now());
            match held {
                Some(until) => tokio::time::sleep_until(until).await,
                None => break,
            }
        }
        if let Some(slower) = self.slower() {
            ready(&slower).await;
        }
        ready(&self.ceiling).await;
    }

    /// Lets nothing leave for a while, such as until what an earlier process sent has left Chat's
    /// window.
    pub fn hold(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut pace = self.pace();
        pace.not_before = pace.not_before.max(Some(until));
    }

    /// Chat complained: halves the pace, and lets nothing leave for as long as Chat asked.
    pub fn slow_down(&self, wait: Duration) {
        if !wait.is_zero() {
            self.hold(wait);
        }
        let now = Instant::now();
        let mut pace = self.pace();
        if let Some(slowed) = &pace.slowed
            && now.duration_since(slowed.since) < SAME_COMPLAINT
        {
            return;
        }
        let rate = (self.rate_at(&pace, now) / 2).max(SLOWEST).min(self.calls_per_second);
        pace.slowed = Some(Slowed::new(rate, now));
    }

    /// Chat told how many calls it takes in a second: goes no faster from now on, where that is less
    /// than the setting.
    pub fn limit_to(&self, calls_per_second: u32) {
        let now = Instant::now();
        let mut pace = self.pace();
        // 0 is what a field that could not be read looks like.
        let lower = (1..self.calls_per_second).contains(&calls_per_second);
        pace.told = lower.then(|| Told {
            rate: calls_per_second.max(SLOWEST).min(self.calls_per_second),
            until: now + TOLD_FOR,
        });
        if pace.told.is_some() && pace.slowed.is_none() {
            pace.slowed = Some(Slowed::new(self.calls_per_second, now));
        }
    }

    /// Calls a second at the moment.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate_at(&self.pace(), Instant::now())
    }

    fn rate_at(&self, pace: &Pace, now: Instant) -> u32 {
        let told = pace.told.as_ref().filter(|told| now < told.until);
        let most = told.map_or(self.calls_per_second, |told| told.rate);
        pace.slowed.as_ref().map_or(most, |slowed| {
            let clean = now.saturating_duration_since(slowed.since).as_secs();
            let won_back = CREEP.saturating_mul(u32::try_from(clean).unwrap_or(u32::MAX));
            slowed.rate.saturating_add(won_back).min(most)
        })
    }

    /// The governor that complaints put in place, brought up to the pace won back since.
    fn slower(&self) -> Option<std::sync::Arc<Governor>> {
        let mut pace = self.pace();
        let rate = self.rate_at(&pace, Instant::now());
        if rate >= self.calls_per_second {
            pace.slowed = None;
        }
        let slowed = pace.slowed.as_mut()?;
        if slowed.current != rate {
            slowed.current = rate;
            slowed.governor = std::sync::Arc::new(governor(rate));
        }
        Some(std::sync::Arc::clone(&slowed.governor))
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slowed {
    fn new(rate: u32, since: Instant) -> Self {
        Self { rate, since, current: rate, governor: std::sync::Arc::new(governor(rate)) }
    }
}

async fn ready(governor: &Governor) {
    while let Err(not_until) = governor.check() {
        tokio::time::sleep(not_until.wait_time_from(TokioClock.now())).await;
    }
}

fn governor(calls_per_second: u32) -> Governor {
    let calls = calls_per_second.max(1);
    let burst = 1 + calls / CALLS_A_CREDIT;
    let rate = calls - (burst - 1);
    // A hair longer than the even spacing, so that call `rate + 1` falls behind the window's end.
    let spacing = WINDOW / rate + Duration::from_nanos(1);
    let quota = Quota::with_period(spacing)
        .expect("a second divided by a rate is above zero")
        .allow_burst(NonZeroU32::new(burst).expect("one and more"));
    RateLimiter::direct_with_clock(quota, TokioClock)
}

/// tokio's clock, so that tests can move it. Monotonic: steps of the wall clock do not matter.
#[derive(Clone, Copy, Debug)]
struct TokioClock;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TokioInstant(Instant);

impl Clock for TokioClock {
    type Instant = TokioInstant;
    fn now(&self) -> TokioInstant {
        TokioInstant(Instant::now())
    }
}

impl Add<Nanos> for TokioInstant {
    type Output = Self;
    fn add(self, nanos: Nanos) -> Self {
        Self(self.0 + Duration::from(nanos))
    }
}

impl Reference for TokioInstant {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_duration_since(earlier.0).into()
    }
    fn saturating_sub(&self, nanos: Nanos) -> Self {
        Self(self.0.checked_sub(nanos.into()).unwrap_or(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Most instants within any sliding second, both ends included.
    fn most_in_a_second(times: &[Instant]) -> usize {
        let mut first = 0;
        let mut most = 0;
        for (last, time) in times.iter().enumerate() {
            while *time - times[first] >= WINDOW {
                first += 1;
            }
            most = most.max(last - first + 1);
        }
        most
    }

    /// Takes permits for a while, each wake-up late by what `late` says.
    async fn permits(
        limiter: &Limiter,
        seconds: u64,
        mut late: impl FnMut() -> u64,
    ) -> Vec<Instant> {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut times = Vec::new();
        loop {
            limiter.permit().await;
            let now = Instant::now();
            if now >= end {
                return times;
            }
            times.push(now);
            tokio::time::sleep(Duration::from_micros(late())).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_sliding_second_holds_more_than_the_setting() {
        for calls in [1, 2, 7, 50, 99, 100, 190, 199, 200] {
            let limiter = Limiter::new(calls);
            let times = permits(&limiter, 20, || 0).await;
            let most = most_in_a_second(&times);
            assert!(most <= calls as usize, "{most} of {calls} in a second");
            // Idle for long, then at full speed: the saved credit must not add up.
            tokio::time::sleep(Duration::from_mins(1)).await;
            let times = permits(&limiter, 5, || 0).await;
            assert!(most_in_a_second(&times) <= calls as usize);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_used_while_stopped_is_not_made_up_for() {
        let limiter = std::sync::Arc::new(Limiter::new(190));
        let (left, mut times) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..1_000 {
            let (limiter, left) = (std::sync::Arc::clone(&limiter), left.clone());
            tokio::spawn(async move {
                limiter.permit().await;
                let _ = left.send(Instant::now());
            });
        }
        let mut all = Vec::new();
        for stopped in [0, 700, 3_000, 60_000] {
            // All timers are overdue at once, as after SIGCONT.
            tokio::time::advance(Duration::from_millis(stopped)).await;
            for _ in 0..250 {
                all.push(times.recv().await.unwrap());
            }
        }
        all.sort();
        assert!(most_in_a_second(&all) <= 190, "{}", most_in_a_second(&all));
    }

    #[tokio::test(start_paused = true)]
    async fn late_timers_cost_little() {
        let limiter = Limiter::new(190);
        let mut seed = 7_u64;
        let jitter = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % 9_000
        };
        let times = permits(&limiter, 20, jitter).await;
        assert!(times.len() >= 190 * 20 * 97 / 100, "{} calls in 20 s", times.len());
        assert!(most_in_a_second(&times) <= 190);
    }

    #[tokio::test(start_paused = true)]
    async fn a_complaint_halves_the_pace_and_it_creeps_back() {
        let limiter = Limiter::new(190);
        limiter.slow_down(Duration::ZERO);
        limiter.slow_down(Duration::ZERO);
        assert_eq!(limiter.rate(), 95);
        assert!(permits(&limiter, 1, || 0).await.len() <= 95);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(limiter.rate(), 115);
        limiter.slow_down(Duration::ZERO);
        assert_eq!(limiter.rate(), 57);
        for _ in 0..10 {
            tokio::time::sleep(SAME_COMPLAINT).await;
            limiter.slow_down(Duration::ZERO);
        }
        assert_eq!(limiter.rate(), SLOWEST);
        tokio::time::sleep(Duration::from_mins(2)).await;
        assert_eq!(limiter.rate(), 190);
        let times = permits(&limiter, 5, || 0).await;
        assert!(times.len() > 190 * 5 * 97 / 100);
    }

    #[tokio::test(start_paused = true)]
    async fn the_ceiling_holds_while_the_pace_changes() {
        let limiter = Limiter::new(190);
        let mut times = Vec::new();
        for _ in 0..12 {
            times.extend(permits(&limiter, 1, || 0).await);
            limiter.slow_down(Duration::ZERO);
            tokio::time::sleep(Duration::from_secs(40)).await;
        }
        assert!(most_in_a_second(&times) <= 190);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_chat_tells_is_heeded() {
        let limiter = Limiter::new(190);
        limiter.limit_to(500);
        assert_eq!(limiter.rate(), 190);
        limiter.limit_to(100);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(most_in_a_second(&permits(&limiter, 10, || 0).await) <= 100);
        limiter.slow_down(Duration::ZERO);
        assert_eq!(limiter.rate(), 50);
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(limiter.rate(), 100);
        limiter.limit_to(1);
        assert_eq!(limiter.rate(), SLOWEST);
        tokio::time::sleep(TOLD_FOR).await;
        assert_eq!(limiter.rate(), 190);
        limiter.limit_to(0);
        assert_eq!(limiter.rate(), 190);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_leaves_while_held() {
        let limiter = Limiter::new(190);
        let start = Instant::now();
        limiter.slow_down(Duration::from_mins(1));
        limiter.hold(Duration::from_secs(1));
        limiter.permit().await;
        assert!(start.elapsed() >= Duration::from_mins(1));
    }
}
