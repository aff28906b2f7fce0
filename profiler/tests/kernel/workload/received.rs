//! Counts the signals that it receives until its input ends, and prints the number of each.

use std::{
    io::Write as _,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{READY, raw, wait_for_end_of_input};

/// The number of received signals, by signal number.
static RECEIVED: [AtomicU32; 65] = [const { AtomicU32::new(0) }; 65];

extern "C" fn count(signal: libc::c_int) {
    RECEIVED[signal as usize].fetch_add(1, Ordering::Relaxed);
}

pub(super) fn run() -> ! {
    let signals =
        [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];
    for signal in signals {
        // SAFETY: the handler only increments an atomic number.
        unsafe { libc::signal(signal, count as *const () as libc::sighandler_t) };
    }
    println!("{READY} {}", std::process::id());
    wait_for_end_of_input();
    let counts: Vec<_> =
        signals.iter().map(|&s| RECEIVED[s as usize].load(Ordering::Relaxed)).collect();
    let text: Vec<_> = counts.iter().map(ToString::to_string).collect();
    writeln!(std::io::stdout(), "{}", text.join(" ")).expect("an output");
    raw::end(0)
}
