//! Starts the command to watch, and stops its process before `execve` until the kernel side watches
//! it.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::{
            fs::PermissionsExt,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    thread::JoinHandle,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use seccompiler::BpfProgram;

use super::{LaunchError, confine, user::User};
use crate::{inherited, text::Untrusted};

/// A command whose process exists, and waits before its `execve`.
pub(crate) struct Prepared {
    name: Untrusted,
    pid: u32,
    /// The pipe that the process reads: a byte lets the process continue.
    gate: Option<File>,
    /// The thread that calls `Command::spawn`, which returns only after the `execve`.
    spawning: Option<JoinHandle<io::Result<Child>>>,
    child: Option<Child>,
    status: Option<ExitStatus>,
}

impl Prepared {
    /// Creates the process, which runs as `user`, or as the user of the profiler. The process has
    /// not executed the command yet.
    ///
    /// # Errors
    /// [`LaunchError::CommandNotFound`], and [`LaunchError::CommandFailed`] if the process cannot be
    /// created.
    pub(crate) fn new(
        program: &OsStr,
        arguments: &[OsString],
        user: Option<User>,
    ) -> Result<Self, LaunchError> {
        Self::confined(program, arguments, user, Vec::new())
    }

    /// Same as [`Self::new`], with seccomp filters that the process installs, in this order, when it
    /// is started.
    ///
    /// # Errors
    /// See [`Self::new`].
    pub(crate) fn confined(
        program: &OsStr,
        arguments: &[OsString],
        user: Option<User>,
        filters: Vec<BpfProgram>,
    ) -> Result<Self, LaunchError> {
        let name = Untrusted::from(program);
        let failed = |source| LaunchError::CommandFailed { command: name.clone(), source };
        // Search PATH here. Otherwise, the figures of the command would include failed calls of
        // execve.
        let path = find(program)?;
        let (gate_read, gate_write) = pipe().map_err(failed)?;
        let (mut pid_read, pid_write) = pipe().map_err(failed)?;
        let mut command = Command::new(path);
        command.arg0(program).args(arguments);
        if let Some(user) = &user {
            command.envs(user.environment());
        }
        let gate_write_fd = gate_write.as_raw_fd();
        let held = move || {
            // The process is not watched yet, so these calls are not counted.
            user.as_ref().map_or(Ok(()), User::become_it)?;
            hold(&pid_write, &gate_read, gate_write_fd)?;
            confine::install(&filters)
        };
        // SAFETY: between fork and exec, the closure makes only async-signal-safe calls: those of
        // `become_it`, of `install`, and close, signal, sigprocmask, getpid, write and read on
        // descriptors that exist.
        unsafe { command.pre_exec(held) };
        let spawning = std::thread::spawn(move || command.spawn());
        let mut pid = [0_u8; 4];
        if pid_read.read_exact(&mut pid).is_err() {
            // The process was not created. The result of the spawn says why.
            drop(gate_write);
            let source = match spawning.join() {
                Ok(Err(source)) => source,
                _ => io::Error::other("its process ended before it began"),
            };
            return Err(failed(source));
        }
        Ok(Self {
            name,
            pid: u32::from_ne_bytes(pid),
            gate: Some(gate_write),
            spawning: Some(spawning),
            child: None,
            status: None,
        })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the process execute the command.
    ///
    /// # Errors
    /// [`LaunchError::CommandFailed`] if its `execve` fails.
    pub(crate) fn start(&mut self) -> Result<(), LaunchError> {
        let failed =
            |name: &Untrusted, source| LaunchError::CommandFailed { command: name.clone(), source };
        if let Some(mut gate) = self.gate.take() {
            // The write fails if the process has ended, for example after Ctrl-C. The result of the
            // spawn and the exit status then say so.
            let _ = gate.write_all(&[GO]);
        }
        if let Some(spawning) = self.spawning.take() {
            let child = spawning
                .join()
                .map_err(|_| failed(&self.name, io::Error::other("its thread failed")))?
                .map_err(|e| failed(&self.name, e))?;
            self.child = Some(child);
        }
        Ok(())
    }

    /// Whether the command has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        if self.status.is_none()
            && let Some(child) = &mut self.child
        {
            match child.try_wait() {
                Ok(status) => self.status = status,
                // Another thread has reaped the child, so its exit status is unknown.
                Err(_) => self.status = Some(ExitStatus::from_raw(UNKNOWN_END)),
            }
        }
        self.status.is_some()
    }

    /// Sends a signal to the command.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.status.is_none()
            && let Ok(pid) = i32::try_from(self.pid)
        {
            // The command may have ended meanwhile, which is not an error.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// The exit code of the command. If a signal ended the command: 128 plus the number of the
    /// signal, as in shells. 0 if the command is still running.
    pub(crate) fn exit_code(&mut self) -> u8 {
        self.status.map_or(0, code_of)
    }
}

/// Converts an exit status to an exit code, as shells do.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // The command was not started, because something else failed. The process ends when it
        // reads the end of the pipe. Without CAP_KILL, only this ends a process of another user.
        // The signal is for a process that has not closed its own copy of the pipe yet.
        if let Some(spawning) = self.spawning.take() {
            drop(self.gate.take());
            self.signal(Signal::SIGKILL);
            if let Ok(Ok(mut child)) = spawning.join() {
                let _ = child.wait();
            }
        }
    }
}

/// The wait status of exit code 1.
const UNKNOWN_END: i32 = 1 << 8;

/// The byte that lets the process continue.
const GO: u8 = b'g';

/// Runs in the new process: sends the process id to the profiler, and waits.
fn hold(pid_write: &File, gate_read: &File, gate_write: RawFd) -> io::Result<()> {
    // Close the copy that the fork made. Otherwise, the pipe would never be closed. SAFETY: an open
    // descriptor that this process does not use otherwise.
    unsafe { libc::close(gate_write) };
    inherited::pass_on()?;
    let (mut pid_write, mut gate_read) = (pid_write, gate_read);
    pid_write.write_all(&std::process::id().to_ne_bytes())?;
    let mut go = [0];
    gate_read.read_exact(&mut go)
}

/// Creates a pipe that is closed on exec.
fn pipe() -> io::Result<(File, File)> {
    let (read, write) = io::pipe()?;
    Ok((File::from(OwnedFd::from(read)), File::from(OwnedFd::from(write))))
}

/// Finds the file that `execvp` would execute.
fn find(program: &OsStr) -> Result<PathBuf, LaunchError> {
    let not_found = || LaunchError::CommandNotFound(Untrusted::from(program));
    if program.is_empty() {
        return Err(not_found());
    }
    if program.as_encoded_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return if path.exists() { Ok(path) } else { Err(not_found()) };
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| {
            candidate
                .metadata()
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(not_found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_looked_up_as_a_shell_does() {
        let sh = find(OsStr::new("sh")).expect("every host has one");
        assert!(sh.is_absolute() && sh.ends_with("sh"));
        assert!(matches!(
            find(OsStr::new("no-such-command")),
            Err(LaunchError::CommandNotFound(_))
        ));
        assert!(matches!(find(OsStr::new("./no-such")), Err(LaunchError::CommandNotFound(_))));
        assert!(matches!(find(OsStr::new("")), Err(LaunchError::CommandNotFound(_))));
    }

    #[test]
    fn a_command_waits_until_it_is_started() {
        let marker = tempfile::tempdir().expect("a directory");
        let file = marker.path().join("ran");
        let arguments = [OsString::from(&file)];
        let mut command = Prepared::new(OsStr::new("touch"), &arguments, None).expect("touch");
        assert!(command.pid() > 0 && !file.exists());
        command.start().expect("an execve");
        while !command.has_ended() {
            std::thread::yield_now();
        }
        assert!(file.exists());
        assert_eq!(command.exit_code(), 0);
    }

    #[test]
    fn a_command_that_is_not_started_never_runs() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ran");
        drop(Prepared::new(OsStr::new("touch"), &[OsString::from(&file)], None).expect("touch"));
        assert!(!file.exists());
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        let code = |script: &str| {
            let arguments = [OsString::from("-c"), OsString::from(script)];
            let mut command = Prepared::new(OsStr::new("sh"), &arguments, None).expect("sh");
            command.start().expect("an execve");
            while !command.has_ended() {
                std::thread::yield_now();
            }
            command.exit_code()
        };
        assert_eq!(code("exit 7"), 7);
        assert_eq!(code("kill -TERM $$"), 128 + 15);
    }

    #[test]
    fn every_exit_code_and_signal_has_its_own_code() {
        for code in 0..=255 {
            assert_eq!(code_of(ExitStatus::from_raw(i32::from(code) << 8)), code);
        }
        for signal in 1..=64 {
            let code = 128 + u8::try_from(signal).expect("a small number");
            assert_eq!(code_of(ExitStatus::from_raw(signal)), code);
            // With a core dump.
            assert_eq!(code_of(ExitStatus::from_raw(signal | 0x80)), code);
        }
    }

    #[test]
    fn what_cannot_be_run_says_so() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("text");
        std::fs::write(&file, "no program").expect("a file");
        let mut command = Prepared::new(file.as_os_str(), &[], None).expect("a process");
        assert!(matches!(command.start(), Err(LaunchError::CommandFailed { .. })));
    }
}
