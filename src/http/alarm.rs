//! Time-outs that hardly ever run out, at little cost.
//!
//! To set one of tokio's timers takes a lock that all threads share, and so does taking it back. A timer
//! that is left as it is, and set anew when it runs out too early, takes it once in a long while in
//! place of twice a request.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A timer for deadlines that mostly move later before they are met.
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(super) fn new(deadline: Instant) -> Self {
        Self(Box::pin(tokio::time::sleep_until(deadline)))
    }

    /// Whether a deadline, which may be another with each call, is past; else wakes the task then.
    pub(super) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.0.deadline() > deadline {
                self.0.as_mut().reset(deadline);
            }
            ready!(self.0.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(deadline);
        }
    }
}

/// A time-out of one length, for many things at once.
pub(super) struct Timeout {
    after: Duration,
    /// Alarms that nobody waits for: not more than ever were waited for at once.
    spare: Mutex<Vec<Alarm>>,
}

impl Timeout {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, spare: Mutex::default() }
    }

    /// What a future answers; nothing where it is not done in time, counted from when it first has to
    /// wait.
    pub(super) async fn within<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut wait = Wait { timeout: self, until: None };
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => wait.poll(cx).map(|()| None),
        })
        .await
    }

    fn spare(&self) -> std::sync::MutexGuard<'_, Vec<Alarm>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Wait<'a> {
    timeout: &'a Timeout,
    /// From when it first has to wait.
    until: Option<(Instant, Alarm)>,
}

impl Wait<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.timeout;
        let (deadline, alarm) = self.until.get_or_insert_with(|| {
            let deadline = Instant::now() + timeout.after;
            let spare = timeout.spare().pop();
            (deadline, spare.unwrap_or_else(|| Alarm::new(deadline)))
        });
        alarm.poll(*deadline, cx)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some((_, alarm)) = self.until.take() {
            self.timeout.spare().push(alarm);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{advance, sleep};

    use super::*;

    const AFTER: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_given_up_after_just_so_long() {
        let timeout = Timeout::new(AFTER);
        for _ in 0..3 {
            let began = Instant::now();
            assert_eq!(timeout.within(pending::<()>()).await, None);
            assert_eq!(began.elapsed().as_secs(), AFTER.as_secs());
            // An alarm that is used again runs out too early by this.
            assert_eq!(timeout.within(sleep(Duration::from_secs(3))).await, Some(()));
        }
        assert_eq!(timeout.spare().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_at_once_needs_no_alarm() {
        let timeout = Timeout::new(AFTER);
        assert_eq!(timeout.within(async { 7 }).await, Some(7));
        assert!(timeout.spare().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn each_waits_for_its_own_deadline() {
        let timeout = Timeout::new(AFTER);
        let began = Instant::now();
        let first = async {
            timeout.within(pending::<()>()).await;
            began.elapsed().as_secs()
        };
        let second = async {
            sleep(Duration::from_secs(2)).await;
            timeout.within(pending::<()>()).await;
            began.elapsed().as_secs()
        };
        assert_eq!(tokio::join!(first, second), (5, 7));
        // Two alarms by now; both waits end with what they waited for.
        let both =
            async { tokio::join!(timeout.within(sleep(AFTER / 2)), timeout.within(async {})) };
        assert_eq!(both.await, (Some(()), Some(())));
        assert_eq!(timeout.spare().len(), 2);
        advance(AFTER * 2).await;
        let began = Instant::now();
        assert_eq!(timeout.within(pending::<()>()).await, None);
        assert_eq!(began.elapsed().as_secs(), AFTER.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_move_to_either_side() {
        let began = Instant::now();
        let mut alarm = Alarm::new(began + AFTER);
        let mut until = |seconds| {
            let deadline = began + Duration::from_secs(seconds);
            let reached = poll_fn(|cx| alarm.poll(deadline, cx));
            futures_util::FutureExt::now_or_never(reached)
        };
        assert_eq!((until(5), until(9), until(2)), (None, None, None));
        advance(Duration::from_secs(3)).await;
        assert_eq!((until(9), until(2), until(4)), (None, Some(()), None));
        advance(Duration::from_secs(9)).await;
        assert_eq!((until(13), until(12)), (None, Some(())));
    }
}
