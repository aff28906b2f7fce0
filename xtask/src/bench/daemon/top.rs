//! How soon `top` shows something, on a terminal of its own.

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

/// What is in the first frame, before anything has been read, and ...
const FRAME: &str = "Processes";
/// ... in one with figures.
const FIGURES: &str = "COMM";

/// From its start to the first frame, and to the first with figures.
pub(super) fn frames(profiler: &Path) -> Result<(Duration, Duration)> {
    let size = nix::pty::Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None)?;
    let terminal = File::from(pty.slave);
    let mut command = Command::new(profiler);
    command.args(["top", "--interval", "1s"]).env("TERM", "xterm-256color");
    let stdio = || terminal.try_clone().map(Stdio::from);
    command.stdin(stdio()?).stdout(stdio()?).stderr(stdio()?);
    // SAFETY: both are system calls, which are safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            // From its standard input, which is the terminal by now.
            if libc::ioctl(0, libc::TIOCSCTTY, 0) == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let started = Instant::now();
    let mut child =
        command.spawn().with_context(|| format!("cannot run {}", profiler.display()))?;
    // Ours too, or the end of the other would not be seen.
    drop((terminal, command));
    let mut screen = File::from(pty.master);
    let mut shown = String::new();
    let mut wait_for = |what: &str| -> Result<Duration> {
        let mut bytes = [0; 65_536];
        while !shown.contains(what) {
            // The other end closed is an error of its own.
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
