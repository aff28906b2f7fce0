//! Child processes that end with this process, regardless of how it ends.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::{
        prctl,
        signal::{Signal, killpg},
    },
    unistd::Pid,
};

use crate::workspace::shown;

/// How long a child may take to end after a signal.
const GRACE: Duration = Duration::from_secs(10);

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Handles signals that end this process: [`check`] reports the first, and the second ends the
/// process at once.
pub(super) fn catch_signals() -> Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let flag = Arc::clone(&INTERRUPTED);
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))?;
        signal_hook::flag::register(signal, flag)?;
    }
    Ok(())
}

/// Fails once a signal has requested the end.
pub(super) fn check() -> Result<()> {
    ensure!(!INTERRUPTED.load(Relaxed), "interrupted");
    Ok(())
}

/// A process in its own process group. Dropping this value ends the process. Its output goes to
/// files, so that it never waits for a reader.
pub(super) struct Tied {
    child: Child,
    /// The files of standard output and standard error.
    said: [File; 2],
    shown: String,
}

impl Tied {
    pub(super) fn start(mut command: Command) -> Result<Self> {
        let said = [tempfile::tempfile()?, tempfile::tempfile()?];
        command.stdin(Stdio::null()).stdout(said[0].try_clone()?).stderr(said[1].try_clone()?);
        command.process_group(0);
        // SAFETY: between fork and exec, the closure makes one syscall, and allocates nothing.
        unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGTERM)?)) };
        let shown = shown(&command);
        let child = command.spawn().with_context(|| format!("cannot run {shown}"))?;
        Ok(Self { child, said, shown })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process is still running.
    pub(super) fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits until `ready` returns true, at most for `patience`. Fails if the process ends before.
    pub(super) fn until(
        &mut self,
        patience: Duration,
        what: &str,
        mut ready: impl FnMut(&Self) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !ready(self) {
            check()?;
            ensure!(self.runs()?, "ended at once: {}", self.last_words());
            ensure!(Instant::now() < deadline, "not {what} after {} s", patience.as_secs());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The output so far, with standard error last.
    pub(super) fn said(&mut self) -> String {
        self.said.each_mut().map(text).concat()
    }

    /// The end of standard error in one line. If standard error is empty, the end of standard
    /// output.
    pub(super) fn last_words(&mut self) -> String {
        let [said, errors] = self.said.each_mut().map(text);
        last_words(if errors.trim().is_empty() { &said } else { &errors })
    }

    /// Waits until the process ends by itself.
    pub(super) fn ended(mut self) -> Result<String> {
        let status = self.wait(Duration::from_secs(120))?;
        check()?;
        let last_words = self.last_words();
        ensure!(status.success(), "{} failed ({status}): {last_words}", self.shown);
        Ok(self.said())
    }

    /// Ends the process with a signal, waits for its end, and returns its output.
    pub(super) fn stop(mut self) -> Result<String> {
        self.end()?;
        Ok(self.said())
    }

    fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            check()?;
            ensure!(Instant::now() < deadline, "{} does not end", self.shown);
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn end(&mut self) -> Result<()> {
        let group = Pid::from_raw(i32::try_from(self.child.id())?);
        let deadline = Instant::now() + GRACE;
        // SIGINT, as from Ctrl-C, makes each tool print its summary.
        if self.runs()? {
            let _ = killpg(group, Signal::SIGINT);
        }
        while self.runs()? && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        // Also end processes that it started.
        let _ = killpg(group, Signal::SIGKILL);
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Tied {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn text(file: &mut File) -> String {
    let mut text = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut text));
    read.map_or_else(|error| error.to_string(), |_| String::from_utf8_lossy(&text).into_owned())
}

/// The last lines that are not empty, joined and truncated.
fn last_words(said: &str) -> String {
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(2)..].join("; ");
    if last.is_empty() { "no output".to_owned() } else { last.chars().take(200).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_fails_is_told_with_its_last_words() {
        let failed = Tied::start(shell("echo begin; echo no such device >&2; echo end; exit 3"))
            .and_then(Tied::ended);
        let message = failed.expect_err("it failed").to_string();
        assert!(message.ends_with("(exit status: 3): no such device"), "{message}");
    }

    #[test]
    fn nothing_is_left_of_a_group() {
        let mut tied = Tied::start(shell("sleep 1000 & echo $!; wait")).expect("it starts");
        tied.until(Duration::from_secs(10), "running", |_| true).expect("it runs");
        let child = loop {
            if let Ok(child) = tied.said().trim().parse::<u32>() {
                break child;
            }
            thread::sleep(Duration::from_millis(5));
        };
        drop(tied);
        // A background child of a shell ignores SIGINT, so this also checks the signal after it.
        // The process that inherits the ended child may take a moment to reap it.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                break;
            }
            assert!(Instant::now() < deadline, "{stat}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}
