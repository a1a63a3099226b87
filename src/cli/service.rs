//! Telling the service manager how the daemon stands (`sd_notify(3)`). Without one, nothing is told.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior};

use crate::app::App;

/// How long the writer may take to show that it writes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Callbacks are taken in.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The rules file is being read again; [`ready`] says when that is over.
pub(super) fn reloading() {
    // The manager wants to know which reload it is, by the clock that never steps.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
    }
}

/// The daemon stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// When to show signs of life: twice in the time that the manager waits for one.
pub(super) fn watchdog() -> Option<Interval> {
    let patience = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero())?;
    let mut beats = tokio::time::interval(patience / 2);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(beats)
}

/// Waits for the next beat; for ever where no watchdog waits.
pub(super) async fn beat(beats: &mut Option<Interval>) {
    match beats {
        Some(beats) => drop(beats.tick().await),
        None => std::future::pending().await,
    }
}

/// A sign of life, if there is life: a daemon that cannot write must not look well.
pub(super) async fn show_life(app: &App) {
    match tokio::time::timeout(PATIENCE, app.pulse()).await {
        Ok(Ok(())) => tell(&[NotifyState::Watchdog]),
        Ok(Err(why)) => tracing::error!(why, "no sign of life for the watchdog"),
        Err(_) => tracing::error!("no sign of life for the watchdog: the writer hangs"),
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
