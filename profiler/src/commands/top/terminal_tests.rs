//! The terminal is taken and given back, tried on a pseudo terminal by a child
//! process that runs the live view over snapshots of a host that is not there.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, tcgetattr},
    },
    unistd::Pid,
};

use super::{fixtures, live, people::Proc, state::App, style::Look, terminal::Screen};
use crate::{
    engine::Engine,
    model::{Detail, Snapshot, SortKey},
};

static SPAWNING: Mutex<()> = Mutex::new(());

const TAKE: &str = "\x1b[?1049h";
const GIVE_BACK: &str = "\x1b[?1049l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// What the child is to do is said here; its value is a [`Host`]'s.
const ROLE: &str = "PROFILER_TEST_SCREEN";

/// A host that the child watches.
struct Host {
    breaks: bool,
}

impl Engine for Host {
    fn snapshot(&mut self, _detail: Detail) -> Snapshot {
        assert!(!self.breaks, "the host broke");
        fixtures::busy_host()
    }

    fn read(&mut self) {}

    fn all_ended(&self) -> bool {
        false
    }

    fn stop(&mut self) {}

    fn finish(mut self, detail: Detail) -> Snapshot {
        self.snapshot(detail)
    }
}

/// The child. Without its role, as one test among the others, there is nothing
/// for it to do.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let mut app = App::new(Duration::from_millis(200), SortKey::Total, "");
    let mut screen = Screen::take(Look { colour: true, unicode: true }).unwrap();
    let mut host = Host { breaks: role == "break" };
    live::run(&mut host, &mut app, &mut screen, &mut Proc::default(), None).unwrap();
}

/// A pseudo terminal with the child on it.
struct Session {
    child: Child,
    /// Our end, until it hangs up.
    near: Option<File>,
    /// The child's end, to look at its modes.
    far: OwnedFd,
    /// All that the child has written, and how much of it was expected so far.
    output: String,
    seen: usize,
}

impl Session {
    fn start(role: &str) -> Self {
        // Nobody may fork before both ends are closed to children: one of another
        // test would keep our end open.
        let alone = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
        let pty = openpty(&size(80, 24), None).unwrap();
        for end in [&pty.master, &pty.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "commands::top::terminal_tests::child", "--nocapture", "--quiet"]);
        command.env(ROLE, role).env("RUST_BACKTRACE", "0");
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        // SAFETY: both are syscalls that may be made after a fork. The terminal
        // becomes the controlling one of a session of its own.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                nix::errno::Errno::result(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop(alone);
        let near = Some(File::from(pty.master));
        Self { child, near, far: pty.slave, output: String::new(), seen: 0 }
    }

    /// Reads until `text` has come after what was expected before.
    fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let new = &self.output[self.seen..];
            if let Some(at) = new.find(text) {
                self.seen += at + text.len();
                return;
            }
            assert!(Instant::now() < deadline, "no {text:?} in {new:?}");
            self.read();
        }
    }

    fn read(&mut self) {
        let Some(near) = &mut self.near else { return };
        let mut fds = [PollFd::new(near.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(50_u16)).unwrap() > 0 {
            let mut bytes = [0; 4096];
            let n = near.read(&mut bytes).unwrap();
            self.output.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    }

    fn type_keys(&mut self, keys: &str) {
        self.near.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn resize(&self, width: u16, height: u16) {
        let near = self.near.as_ref().unwrap();
        // SAFETY: TIOCSWINSZ reads the one Winsize it is given.
        let done = unsafe { libc::ioctl(near.as_raw_fd(), libc::TIOCSWINSZ, &size(width, height)) };
        assert_eq!(done, 0);
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.far).unwrap().local_flags.contains(LocalFlags::ICANON)
    }

    /// Waits until the child has ended: whether with success.
    fn end(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.read();
                return status.success();
            }
            assert!(Instant::now() < deadline, "does not end: {:?}", self.output);
            self.read();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What was written from the last time that the terminal was given back.
    fn after_giving_back(&self) -> &str {
        let at = self.output.rfind(GIVE_BACK).expect("the terminal was never given back");
        &self.output[at..]
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Already gone, unless a test failed.
        let _: io::Result<()> = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(ws_col: u16, ws_row: u16) -> Winsize {
    Winsize { ws_col, ws_row, ws_xpixel: 0, ws_ypixel: 0 }
}

#[test]
fn q_gives_the_terminal_back() {
    let mut session = Session::start("watch");
    session.expect(TAKE);
    session.expect("collecting");
    session.expect("nginx");
    assert!(session.is_raw());
    session.type_keys("q");
    assert!(session.end());
    assert!(session.after_giving_back().contains(SHOW_CURSOR));
    assert!(!session.is_raw());
}

#[test]
fn signals_that_end_give_the_terminal_back() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut session = Session::start("watch");
        session.expect("nginx");
        session.signal(signal);
        assert!(session.end(), "{signal}");
        assert!(session.after_giving_back().contains(SHOW_CURSOR), "{signal}");
        assert!(!session.is_raw(), "{signal}");
    }
}

#[test]
fn a_panic_is_printed_on_a_terminal_that_is_whole_again() {
    let mut session = Session::start("break");
    assert!(!session.end());
    assert!(session.after_giving_back().contains("the host broke"), "{:?}", session.output);
    assert!(!session.is_raw());
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_takes_it_again() {
    let mut session = Session::start("watch");
    session.expect("nginx");
    // The child's process group is an orphaned one, in which the kernel does not
    // stop anything: so it goes on at once.
    session.type_keys("\x1a");
    session.expect(GIVE_BACK);
    session.expect(TAKE);
    session.expect("nginx");
    assert!(session.is_raw());
    session.type_keys("q");
    assert!(session.end());
    assert!(!session.is_raw());
}

#[test]
fn another_size_is_drawn_at_once() {
    let mut session = Session::start("watch");
    session.expect("nginx");
    session.resize(20, 5);
    session.expect("20x5 is too small");
    session.resize(80, 24);
    session.expect("nginx");
    session.type_keys("q");
    assert!(session.end());
}

#[test]
fn a_terminal_that_goes_away_ends_it() {
    let mut session = Session::start("watch");
    session.expect("nginx");
    session.near = None;
    let deadline = Instant::now() + Duration::from_secs(20);
    while session.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "goes on without a terminal");
        std::thread::sleep(Duration::from_millis(5));
    }
}
