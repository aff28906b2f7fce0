//! Takes the terminal, reads its keys, and releases it in any case.

use std::{
    env,
    fs::File,
    io::{self, BufWriter, IsTerminal},
    mem::ManuallyDrop,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use crossterm::{
    cursor, execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use nix::{
    errno::Errno,
    sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, Signal},
    unistd::{self, Pid},
};
use ratatui_core::terminal::Terminal;
use ratatui_crossterm::CrosstermBackend;

use super::{
    feed::{Clock, Event},
    keys::Keys,
    live::Console,
    render,
    signals::{Signals, readable},
    state::App,
    style::Look,
};
use crate::{environment, streams::Stream};

/// Whether the profiler holds the terminal. The panic hook reads it too.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Size of the output buffer in bytes: the usual size of a frame.
const FRAME: usize = 16 * 1024;

/// The terminal. Dropping the value releases the terminal.
pub(super) struct Screen {
    /// Never dropped: on an error, ratatui's destructor prints to standard error, which panics if
    /// that is a terminal that has hung up. [`give_back`] shows the cursor instead.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Stream>>>>,
    /// The file that keys come from.
    keyboard: OwnedFd,
    keys: Keys,
    signals: Signals,
    look: Look,
}

/// Checks that there is a terminal to draw on.
pub(super) fn check() -> io::Result<()> {
    if !Stream::Output.as_fd().is_terminal() {
        return Err(io::Error::other("standard output is not a terminal"));
    }
    if !environment::takes_escapes(|name| env::var_os(name)) {
        return Err(io::Error::other("TERM is not set, or says that it takes no escape sequences"));
    }
    Ok(())
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take(look: Look) -> io::Result<Self> {
        // Keys come from the terminal, even if standard input is another file.
        let keyboard = if io::stdin().is_terminal() {
            io::stdin().as_fd().try_clone_to_owned()?
        } else {
            File::open("/dev/tty")?.into()
        };
        let signals = Signals::for_screen()?;
        let out = BufWriter::with_capacity(FRAME, Stream::Output);
        let terminal = ManuallyDrop::new(Terminal::new(CrosstermBackend::new(out))?);
        give_back_before_panic_messages();
        let mut screen = Self { terminal, keyboard, keys: Keys::default(), signals, look };
        screen.take_again()?;
        Ok(screen)
    }

    /// Reads pending keys. Returns whether the terminal still exists.
    fn read_keys(&mut self) -> bool {
        let mut bytes = [0; 1024];
        match unistd::read(&self.keyboard, &mut bytes) {
            Ok(0) => false,
            Ok(n) => {
                self.keys.feed(&bytes[..n]);
                true
            }
            Err(Errno::EINTR | Errno::EAGAIN) => true,
            Err(_) => false,
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

impl Clock for Screen {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait(&mut self, until: Instant, wake: Option<BorrowedFd<'_>>) -> io::Result<Event> {
        loop {
            if let Some(event) = self.signals.take() {
                return Ok(event);
            }
            if let Some(key) = self.keys.next() {
                return Ok(Event::Key(key));
            }
            let [keys, woken] = {
                let keyboard = readable(self.keyboard.as_fd());
                self.signals.wait([Some(keyboard), wake.map(readable)], until)?
            };
            if !keys.is_empty() && !self.read_keys() {
                return Ok(Event::End);
            }
            if !woken.is_empty() {
                return Ok(Event::ReadWanted);
            }
            if keys.is_empty() && Instant::now() >= until {
                return Ok(Event::Due);
            }
        }
    }
}

impl Console for Screen {
    fn draw(&mut self, app: &mut App) -> io::Result<()> {
        let look = self.look;
        self.terminal.draw(|frame| render::draw(frame, app, look))?;
        Ok(())
    }

    fn ask_to_stop(&mut self) -> io::Result<()> {
        // To the whole group, as a terminal does that is not raw: a script or a sudo that waits for
        // the profiler must stop too.
        Ok(signal::kill(Pid::from_raw(0), Signal::SIGTSTP)?)
    }

    fn stop(&mut self) -> io::Result<()> {
        give_back();
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action is not a function of this program, and the previous action is
        // restored unchanged.
        let ours = unsafe { signal::sigaction(Signal::SIGTSTP, &default) }?;
        // Stops here, until SIGCONT.
        let stopped = signal::raise(Signal::SIGTSTP);
        // SAFETY: `ours` was installed until just now.
        unsafe { signal::sigaction(Signal::SIGTSTP, &ours) }?;
        stopped?;
        self.signals.forget(Event::Continued);
        self.take_again()
    }

    fn take_again(&mut self) -> io::Result<()> {
        // Set first, so that a partial success is undone too.
        TAKEN.store(true, Ordering::Relaxed);
        // A shell that continues the process has left raw mode without crossterm. crossterm does
        // nothing if it believes that the terminal is still raw.
        disable_raw_mode()?;
        enable_raw_mode()?;
        execute!(Stream::Output, EnterAlternateScreen, cursor::Hide)?;
        // Also clears the screen. `Terminal::clear` would ask the terminal for the position of the
        // cursor, and wait for an answer.
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }
}

/// Releases the terminal, if the profiler holds it. Ignores failures, which occur if the terminal
/// has hung up.
fn give_back() {
    if TAKEN.swap(false, Ordering::Relaxed) {
        let _ = execute!(Stream::Output, LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}

/// Without this hook, the message of a panic is lost together with the alternate screen.
fn give_back_before_panic_messages() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            print(panic);
        }));
    });
}
