//! What the service manager is told: the protocol of sd_notify(3). Without a manager that
//! listens, nothing happens. A manager that does not read delays nothing.

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

/// Least time between two messages that say that we are alive.
const ALIVE_PAUSE: Duration = Duration::from_secs(1);
/// Messages about our state that wait for room in the socket. Of more, the oldest are
/// dropped: the latest say what is true now.
const MAX_WAITING: usize = 8;

/// The connection to the service manager.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<UnixDatagram>,
    /// Time within which the manager wants to hear that we are alive.
    watchdog: Option<Duration>,
    /// When that was last said.
    last_alive: Option<Instant>,
    waiting: VecDeque<String>,
}

impl Manager {
    /// The manager that the environment names. Connects at once, since privileges that the
    /// socket may require are dropped later.
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

    /// Up, and doing its work.
    pub fn ready(&mut self, status: &str) {
        self.tell(format!("READY=1\nSTATUS={status}\n"));
    }

    /// One line about the present state, which `systemctl status` shows.
    pub fn status(&mut self, status: &str) {
        self.tell(format!("STATUS={status}\n"));
    }

    /// About to read the configuration again; [`Self::ready`] is to follow.
    pub fn reloading(&mut self) {
        // There is this clock since Linux 2.6: it cannot fail.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.tell(format!("RELOADING=1\nMONOTONIC_USEC={}\n", now.as_micros()));
    }

    /// About to end.
    pub fn stopping(&mut self) {
        self.tell("STOPPING=1\nSTATUS=Detaching\n".into());
    }

    /// Alive. To be called by what the daemon is for, and not by a timer beside it. Says so
    /// at most once a second, and only if the manager wants to hear it.
    pub fn alive(&mut self) {
        self.send_waiting();
        let Some(pause) = self.alive_pause() else { return };
        if self.last_alive.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        // If it does not fit, the manager has unread messages that say the same.
        if self.send("WATCHDOG=1\n").is_ok() {
            self.last_alive = Some(Instant::now());
        }
    }

    /// How often [`Self::alive`] is to be called: twice as often as the manager asks, as
    /// sd_watchdog_enabled(3) recommends. `None` if it does not ask.
    pub fn alive_every(&self) -> Option<Duration> {
        self.watchdog.map(|timeout| timeout / 2)
    }

    /// A watchdog below four seconds has to hear from us more often than once a second.
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

    /// Sends what waits, in order, as far as there is room.
    fn send_waiting(&mut self) {
        while let Some(message) = self.waiting.front() {
            match self.send(message) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Told, or nobody is there to be told.
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

/// A path, or after `@` a name in the abstract namespace.
fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    // Before it connects: that waits too where the manager does not read.
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
