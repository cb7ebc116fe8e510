//! What the service manager is told: that the daemon is ready, reads its configuration again, is alive, and ends.
//!
//! This is systemd's notification protocol, see sd_notify(3). Where nobody listens for it, nothing is told.

use std::future::pending;

use sd_notify::NotifyState;
use tokio::time::sleep;

use super::handle::Engine;

/// Tells that the configuration is loaded and clients are served; `sentence` is what `systemctl status` shows.
pub(crate) fn ready(sentence: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(sentence)]);
}

/// Tells that the configuration is read again, until [`ready`] or [`unchanged`].
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Tells that a reload has ended and everything is as it was.
pub(crate) fn unchanged() {
    tell(&[NotifyState::Ready]);
}

/// Tells that SAs are being deleted, after which the daemon ends.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Shows the watchdog, if there is one, that the engine answers; an engine that hangs is thus found and started anew.
pub(crate) async fn keep_alive(engine: &Engine) {
    if let Some(period) = sd_notify::watchdog_enabled() {
        while engine.pulse().await.is_ok() {
            tell(&[NotifyState::Watchdog]);
            sleep(period / 2).await;
        }
    }
    pending().await
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told how the daemon fares");
    }
}
