//! Notifies the service manager by the protocol of sd_notify(3). Does nothing without a manager. A
//! manager that does not read never delays the daemon.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

/// Minimum time between two watchdog messages.
const ALIVE_PAUSE: Duration = Duration::from_secs(1);
/// Maximum number of messages that wait for space in the socket. Beyond that, the oldest are
/// dropped, because the latest have the current state.
const MAX_WAITING: usize = 8;

/// The connection to the service manager.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<UnixDatagram>,
    /// The watchdog timeout of the manager.
    watchdog: Option<Duration>,
    /// The time of the last watchdog message.
    last_alive: Option<Instant>,
    waiting: VecDeque<String>,
}

impl Manager {
    /// Connects to the manager in the environment variables. Connects at once, because the daemon
    /// later drops privileges that the socket may require.
    pub fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|path| {
            connect(&path)
                .inspect_err(|error| {
                    tracing::warn!("cannot connect to the service manager's socket: {error}");
                })
                .ok()
        });
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|&usec| ours && usec > 0);
        Self { socket, watchdog: watchdog.map(Duration::from_micros), ..Self::default() }
    }

    /// Notifies that the daemon is ready.
    pub fn ready(&mut self, status: &str) {
        self.tell(format!("READY=1\nSTATUS={status}\n"));
    }

    /// Sends one line about the current state, which `systemctl status` shows.
    pub fn status(&mut self, status: &str) {
        self.tell(format!("STATUS={status}\n"));
    }

    /// Notifies that the daemon reloads its configuration. The caller calls [`Self::ready`]
    /// afterwards.
    pub fn reloading(&mut self) {
        // Linux has had this clock since 2.6, so this cannot fail.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.tell(format!("RELOADING=1\nMONOTONIC_USEC={}\n", now.as_micros()));
    }

    /// Notifies that the daemon is stopping.
    pub fn stopping(&mut self) {
        self.tell("STOPPING=1\nSTATUS=Detaching\n".into());
    }

    /// Notifies the watchdog, at most once per second, if the manager has one. The drain loop
    /// itself calls this, and not a separate timer.
    pub fn alive(&mut self) {
        self.send_waiting();
        let Some(pause) = self.alive_pause() else { return };
        if self.last_alive.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        // If the message does not fit, the manager has not read earlier messages with the same
        // content.
        if self.send("WATCHDOG=1\n").is_ok() {
            self.last_alive = Some(Instant::now());
        }
    }

    /// How often to call [`Self::alive`]: at half of the watchdog timeout, as
    /// sd_watchdog_enabled(3) recommends. `None` without a watchdog.
    pub fn alive_every(&self) -> Option<Duration> {
        self.watchdog.map(|timeout| timeout / 2)
    }

    /// The time between two watchdog messages. Shorter than a second if the watchdog timeout is
    /// below four seconds.
    fn alive_pause(&self) -> Option<Duration> {
        self.watchdog.map(|timeout| ALIVE_PAUSE.min(timeout / 4))
    }

    fn tell(&mut self, message: String) {
        if self.socket.is_none() {
            return;
        }
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(message);
        self.send_waiting();
    }

    /// Sends waiting messages in order, as far as there is space.
    fn send_waiting(&mut self) {
        while let Some(message) = self.waiting.front() {
            match self.send(message) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The message was sent, or the manager is gone.
                Ok(()) | Err(_) => self.waiting.pop_front(),
            };
        }
    }

    fn send(&self, message: &str) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let sent = socket.send(message.as_bytes());
        sent.map(drop).inspect_err(|error| {
            if error.kind() != io::ErrorKind::WouldBlock {
                tracing::debug!("cannot notify the service manager: {error}");
            }
        })
    }
}

/// Connects to a path or, after `@`, to a name in the abstract namespace.
fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    // Make the socket non-blocking before the connect, which could block too if the manager does
    // not read.
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(watchdog: Option<Duration>) -> (Manager, UnixDatagram) {
        let (socket, theirs) = UnixDatagram::pair().expect("a pair");
        socket.set_nonblocking(true).expect("non-blocking");
        theirs.set_nonblocking(true).expect("non-blocking");
        (Manager { socket: Some(socket), watchdog, ..Manager::default() }, theirs)
    }

    fn received(theirs: &UnixDatagram) -> Vec<String> {
        let mut bytes = [0; 512];
        std::iter::from_fn(|| theirs.recv(&mut bytes).ok().map(|n| bytes[..n].to_vec()))
            .map(|bytes| String::from_utf8(bytes).expect("text"))
            .collect()
    }

    #[test]
    fn a_manager_that_does_not_read_delays_nothing_and_hears_the_latest() {
        let (mut manager, theirs) = manager(None);
        let started = Instant::now();
        for number in 0..10_000 {
            manager.status(&number.to_string());
        }
        assert!(started.elapsed() < Duration::from_secs(5), "it waited");
        received(&theirs);
        manager.alive();
        let last = received(&theirs).pop();
        assert_eq!(last.as_deref(), Some("STATUS=9999\n"));
    }

    #[test]
    fn it_says_once_a_second_that_it_is_alive() {
        let (mut manager, theirs) = manager(Some(Duration::from_secs(20)));
        for _ in 0..100 {
            manager.alive();
        }
        assert_eq!(received(&theirs), ["WATCHDOG=1\n"]);
        manager.last_alive = Instant::now().checked_sub(ALIVE_PAUSE);
        manager.alive();
        assert_eq!(received(&theirs).len(), 1);
        assert_eq!(manager.alive_every(), Some(Duration::from_secs(10)));
    }

    #[test]
    fn a_manager_that_does_not_ask_hears_nothing() {
        let (mut manager, theirs) = manager(None);
        manager.alive();
        assert!(received(&theirs).is_empty());
        assert_eq!(manager.alive_every(), None);
    }
}
