//! Telling the service manager how the daemon stands (`sd_notify(3)`). Without one, nothing is told.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

use crate::app::App;

/// How long the writer may at least take to answer: behind another program's lock, some seconds.
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

/// Shows signs of life for ever, twice in the time that the manager waits for one. Where no watchdog
/// waits, shows none.
pub(super) async fn show_life(app: &App) {
    let watchdog = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero());
    let Some(watchdog) = watchdog else { return std::future::pending().await };
    let mut beats = tokio::time::interval(watchdog / 2);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        beat(app, PATIENCE.max(watchdog / 3)).await;
    }
}

/// A sign of life, if there is life: a writer that hangs must not look well.
async fn beat(app: &App, patience: Duration) {
    match tokio::time::timeout(patience, app.pulse()).await {
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
