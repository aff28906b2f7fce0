//! `profiler top` in a terminal, with random keys.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::pty::{Winsize, openpty};

use super::random::Random;
use crate::run::{PROFILER, wait_until};

/// After any keys, two of these and a `q` quit.
const ESCAPE: &[u8] = b"\x1b";

/// Keys that neither quit nor suspend.
const KEYS: [&[u8]; 22] = [
    b"1", b"2", b"3", b"\t", b"j", b"k", b"\r", b"h", ESCAPE, b"<", b">", b"r", b"t", b"p", b"+",
    b"-", b"i", b"w", b"n", b"H", b"F", b"?",
];

pub(super) struct LiveView {
    child: Child,
    keyboard: File,
    done: Arc<AtomicBool>,
    fingers: Option<JoinHandle<()>>,
}

impl LiveView {
    pub(super) fn start(seed: u64) -> Self {
        let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None).expect("a terminal");
        let end = || terminal.slave.try_clone().expect("a descriptor");
        let mut command = Command::new(PROFILER);
        command.args(["top", "--interval", "500ms"]).env("TERM", "xterm-256color");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the profiler");
        let mut screen = File::from(terminal.master);
        let keyboard = screen.try_clone().expect("a descriptor");
        let mut keys = screen.try_clone().expect("a descriptor");
        // Read the output, so that `top` can write. The thread ends with the terminal.
        thread::spawn(move || while screen.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {});
        let done = Arc::<AtomicBool>::default();
        let stop = Arc::clone(&done);
        let mut random = Random::new(seed ^ 0x746f_7020);
        let fingers = thread::spawn(move || {
            while !stop.load(Relaxed) {
                keys.write_all(random.one_of(&KEYS)).expect("a terminal");
                thread::sleep(Duration::from_millis(random.between(50, 500)));
            }
        });
        Self { child, keyboard, done, fingers: Some(fingers) }
    }

    /// Checks that `top` is still running, and quits it.
    pub(super) fn quit(&mut self) {
        self.done.store(true, Relaxed);
        if let Some(fingers) = self.fingers.take() {
            fingers.join().expect("no panic");
        }
        assert!(self.child.try_wait().expect("a child of ours").is_none(), "it has ended before");
        for key in [ESCAPE, ESCAPE, b"q"] {
            self.keyboard.write_all(key).expect("a terminal");
            // An escape that another key follows at once would be a sequence.
            thread::sleep(Duration::from_millis(300));
        }
        let mut status = None;
        wait_until("the live view quits", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }
}

impl Drop for LiveView {
    fn drop(&mut self) {
        self.done.store(true, Relaxed);
        // Only if the soak failed before `quit`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
