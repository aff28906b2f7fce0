//! The terminal: taken, given back whatever happens, and listened to.

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
use ratatui::{Terminal, backend::CrosstermBackend};

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

/// Whether the terminal is ours, for the panic hook too.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Bytes that are written at once: as much as a frame usually takes.
const FRAME: usize = 16 * 1024;

/// The terminal, ours until this is dropped.
pub(super) struct Screen {
    /// Never dropped, since ratatui then prints to standard error what fails, which panics
    /// where that is the terminal that was hung up. [`give_back`] shows the cursor.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Stream>>>>,
    /// What keys come from.
    keyboard: OwnedFd,
    keys: Keys,
    signals: Signals,
    look: Look,
}

/// An error if there is no terminal to draw on.
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
        // Keys come from the terminal, also where the input is something else.
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

    /// Reads what keys have come; whether the terminal is still there.
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
        // To the whole group, as the terminal does it when it is not raw: a script
        // or a sudo that waits for us must stop with us.
        Ok(signal::kill(Pid::from_raw(0), Signal::SIGTSTP)?)
    }

    fn stop(&mut self) -> io::Result<()> {
        give_back();
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action is no function of ours, and what was there
        // before is put back unchanged.
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
        // First, so that taking it half is undone too.
        TAKEN.store(true, Ordering::Relaxed);
        // A shell that continues us has made the terminal cooked behind the back
        // of crossterm, which does nothing where it thinks that it is raw.
        disable_raw_mode()?;
        enable_raw_mode()?;
        execute!(Stream::Output, EnterAlternateScreen, cursor::Hide)?;
        // Also clears, and without asking the terminal where its cursor is, as
        // `Terminal::clear` does and then waits for an answer.
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }
}

/// Gives the terminal back, if it is ours. Nothing can be done about a failure,
/// which a terminal that has gone away brings.
fn give_back() {
    if TAKEN.swap(false, Ordering::Relaxed) {
        let _ = execute!(Stream::Output, LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}

/// The message of a panic is lost on a screen that is about to vanish.
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
