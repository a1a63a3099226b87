//! A wall clock that is set, forwards or back, changes neither how fast calls leave nor whether.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quell::app::App;
use quell::model::{Clock, SystemClock, Timestamp};

use crate::support::daemon::{Callbacks, Home};

/// The machine's clock, set by some milliseconds.
#[derive(Debug, Default)]
struct Stepped(AtomicI64);

impl Clock for Stepped {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.load(Ordering::SeqCst))
    }
}

const HOUR_MS: i64 = 3_600_000;
const RATE: usize = 20;
const GROUPS: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_holds_recalls_up_nor_lets_more_of_them_go() {
    let home = Home::new().await;
    let clock = Arc::new(Stepped::default());
    let config = home.config(&[&format!("recall.calls_per_second={RATE}")]);
    let app = App::start(&config, Arc::clone(&clock) as _).await.unwrap();
    let callbacks = Callbacks::to(&format!("http://{}", app.callback_address()));
    app.worker().pause(true);
    for group in 0..GROUPS {
        assert_eq!(callbacks.say(&format!("g{group}"), 1, "bad").await, 200);
    }
    // What was recorded so far is due an hour from now.
    clock.0.store(-HOUR_MS, Ordering::SeqCst);
    app.worker().pause(false);
    let mut status = app.worker().watch();
    for (left, step) in [(40, HOUR_MS), (20, -HOUR_MS), (0, 0)] {
        let going = status.wait_for(|status| status.waiting + status.in_flight <= left);
        tokio::time::timeout(Duration::from_mins(1), going).await.unwrap().unwrap();
        clock.0.store(step, Ordering::SeqCst);
    }
    app.stop().await;
    assert_eq!(home.recall_calls() as u64, GROUPS);
    assert_eq!(home.sim.recalled().len() as u64, GROUPS);
    // Twice the setting leaves room for whatever holds this machine up; a limiter that went by the
    // wall clock would let all of them go at once.
    let most = home.sim.max_calls_in_one_second();
    assert!(most <= 2 * RATE, "{most} calls in a second");
}
