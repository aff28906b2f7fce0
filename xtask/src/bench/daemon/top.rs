//! Measures how soon `top` shows its first frames, on a pseudo-terminal.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{pty::openpty, unistd::setsid};

/// Text of the first frame, before any figures were read.
const FRAME: &str = "Processes";
/// Text of a frame with figures.
const FIGURES: &str = "COMM";

/// The time from the start to the first frame, and to the first frame with figures.
pub(super) fn frames(profiler: &Path) -> Result<(Duration, Duration)> {
    let size = nix::pty::Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None)?;
    let terminal = File::from(pty.slave);
    let mut command = Command::new(profiler);
    command.args(["top", "--interval", "1s"]).env("TERM", "xterm-256color");
    let stdio = || terminal.try_clone().map(Stdio::from);
    command.stdin(stdio()?).stdout(stdio()?).stderr(stdio()?);
    // SAFETY: both are syscalls, which are safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            // Standard input is the terminal here.
            if libc::ioctl(0, libc::TIOCSCTTY, 0) == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let started = Instant::now();
    let mut child =
        command.spawn().with_context(|| format!("cannot run {}", profiler.display()))?;
    // Closes the copy of this process. Otherwise, the read would not fail when the child ends.
    drop((terminal, command));
    let mut screen = File::from(pty.master);
    let mut shown = String::new();
    let mut wait_for = |what: &str| -> Result<Duration> {
        let mut bytes = [0; 65_536];
        while !shown.contains(what) {
            // If the other end is closed, the read fails.
            match screen.read(&mut bytes).unwrap_or(0) {
                0 => bail!("top ended without {what:?}:\n{shown}"),
                n => shown += &String::from_utf8_lossy(&bytes[..n]),
            }
        }
        Ok(started.elapsed())
    };
    let frames = wait_for(FRAME).and_then(|frame| Ok((frame, wait_for(FIGURES)?)));
    child.kill()?;
    child.wait()?;
    frames
}
