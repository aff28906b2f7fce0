//! What the service manager is told: systemd's notification protocol. Without a
//! manager that listens, nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

/// Up, and doing its work.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line about the present state, which `systemctl status` shows.
pub fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// About to read the configuration again; [`ready`] is to follow.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("cannot read the monotonic clock: {error}"),
    }
}

/// About to end.
pub fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("Detaching")]);
}

/// Alive. To be called by what the daemon is for, and not by a timer beside it.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How often [`alive`] is to be called: twice as often as the manager asks, as
/// sd_watchdog_enabled(3) recommends. `None` where it does not ask.
pub fn alive_every() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 2).filter(|half| !half.is_zero())
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("cannot notify the service manager: {error}");
    }
}
