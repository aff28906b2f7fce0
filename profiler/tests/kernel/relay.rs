//! Which signals a command receives and how often, and what it inherits.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use nix::pty::openpty;

use crate::run::{PROFILER, wait_until, workload_args};

/// Longer than the profiler waits before it passes a signal on: up to 200 ms.
const A_WHILE: Duration = Duration::from_millis(500);

/// Longer than the time within which a second interrupt ends the run.
const LONG: Duration = Duration::from_millis(1_300);

/// A command under the profiler that counts signals.
struct Counting {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    command: i32,
}

/// Signals that a command received.
#[derive(Debug, Default, PartialEq, Eq)]
struct Received {
    hup: u32,
    int: u32,
    quit: u32,
    term: u32,
    usr1: u32,
    usr2: u32,
}

impl Counting {
    /// Starts the command by `wrapper`, in a separate process group.
    fn start(wrapper: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let words = wrapper.iter().map(|word| (*word).into());
        let profiler = [PROFILER, "stat", "--output", "/dev/null", "--"].map(Into::into);
        let line: Vec<_> = words.chain(profiler).chain(workload_args(&["received"])).collect();
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        prepare(&mut command);
        let mut child = command.spawn().expect("the profiler");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let pid = line.trim_end().strip_prefix("ready ").expect("it is ready");
        let command = pid.parse().expect("a pid");
        Self { input: child.stdin.take(), child, output, command }
    }

    fn signal(&self, pid: i32, signal: libc::c_int) {
        // SAFETY: a child of ours that has not been waited for, or its group.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        sleep(A_WHILE);
    }

    /// Sends a signal to the profiler only.
    fn signal_alone(&self, signal: libc::c_int) {
        self.signal(self.child.id().cast_signed(), signal);
    }

    /// Sends a signal to the process group.
    fn signal_group(&self, signal: libc::c_int) {
        self.signal(-self.child.id().cast_signed(), signal);
    }

    fn received(mut self, expected_code: i32) -> Received {
        // On a busy host, the last signal can be late.
        sleep(LONG);
        self.input = None;
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        let counts: Vec<u32> =
            line.split_whitespace().map(|n| n.parse().expect("a number")).collect();
        let &[hup, int, quit, term, usr1, usr2] = &counts[..] else { panic!("{line}") };
        assert_eq!(self.child.wait().expect("a child of ours").code(), Some(expected_code));
        Received { hup, int, quit, term, usr1, usr2 }
    }
}

pub(crate) fn each_signal_reaches_the_command_once() {
    let command = Counting::start(&[], |command| {
        command.process_group(0);
    });
    for signal in [libc::SIGHUP, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2] {
        command.signal_alone(signal);
        command.signal_group(signal);
        command.signal_alone(signal);
    }
    for to_group in [false, true] {
        if to_group {
            command.signal_group(libc::SIGINT);
        } else {
            command.signal_alone(libc::SIGINT);
        }
        sleep(LONG);
    }
    // To the command only. The profiler has nothing to do.
    command.signal(command.command, libc::SIGTERM);
    command.signal_alone(libc::SIGTERM);
    let expected = Received { hup: 3, int: 2, quit: 3, term: 5, usr1: 3, usr2: 3 };
    assert_eq!(command.received(0), expected);
}

/// timeout(1) sends a signal to its child, and then to its process group.
pub(crate) fn a_signal_of_timeout_reaches_the_command_once() {
    for wrapper in [&["timeout", "600"][..], &["timeout", "--foreground", "600"]] {
        let command = Counting::start(wrapper, |_| {});
        command.signal_alone(libc::SIGTERM);
        command.signal_alone(libc::SIGINT);
        let expected = Received { term: 1, int: 1, ..Received::default() };
        assert_eq!(command.received(0), expected, "{wrapper:?}");
    }
}

/// At Ctrl-C, the terminal signals the foreground process group.
pub(crate) fn ctrl_c_reaches_the_command_once_and_twice_ends_the_run() {
    let pty = openpty(None, None).expect("a terminal");
    let (mut keyboard, terminal) = (std::fs::File::from(pty.master), pty.slave);
    let fd = terminal.as_raw_fd();
    let on_terminal = |command: &mut Command| {
        // SAFETY: both calls are safe between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::setsid();
                if libc::ioctl(fd, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
    };
    let mut command = Counting::start(&[], on_terminal);
    let mut press = |pause: Duration| {
        keyboard.write_all(b"\x03").expect("a terminal");
        sleep(pause);
    };
    press(LONG);
    press(LONG);
    press(LONG);
    assert!(command.child.try_wait().expect("a child of ours").is_none(), "it ended too soon");
    press(Duration::from_millis(300));
    press(Duration::from_millis(300));
    wait_until("the second one ends the run", || {
        command.child.try_wait().expect("a child of ours").is_some()
    });
    // SIGHUP comes from the kernel, because the session leader of the terminal has ended.
    let expected = Received { int: 5, hup: 1, ..Received::default() };
    assert_eq!(command.received(0), expected, "the command goes on");
}

/// The blocked, ignored and caught signals of a command.
fn inherited(words: &[&str], ignored: &'static [i32], blocked: &'static [i32]) -> String {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]);
    // SAFETY: all are safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for &signal in ignored {
                libc::signal(signal, libc::SIG_IGN);
            }
            let mut mask = std::mem::zeroed();
            libc::sigemptyset(&raw mut mask);
            for &signal in blocked {
                libc::sigaddset(&raw mut mask, signal);
            }
            libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut());
            Ok(())
        });
    }
    let output = command.output().expect("a program");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

pub(crate) fn a_command_inherits_signals_as_without_the_profiler() {
    let cases: [(&[i32], &[i32]); 5] = [
        (&[], &[]),
        (&[libc::SIGPIPE], &[]),
        (&[libc::SIGCHLD, libc::SIGHUP], &[]),
        (&[libc::SIGPIPE, libc::SIGCHLD, libc::SIGINT, libc::SIGQUIT], &[libc::SIGUSR1]),
        (&[], &[libc::SIGTERM, libc::SIGCHLD, libc::SIGPIPE, 40, 64]),
    ];
    for (ignored, blocked) in cases {
        let profiler = [PROFILER, "stat", "--output", "/dev/null", "--"];
        let with = inherited(&profiler, ignored, blocked);
        assert_eq!(with, inherited(&["env"], ignored, blocked), "{ignored:?}, {blocked:?}");
    }
}

pub(crate) fn a_command_inherits_closed_streams() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("streams");
    let links = |prefix: &str, redirections: &str| {
        let script = format!(
            "{prefix} sh -c 'for n in 0 1 2; do readlink /proc/$$/fd/$n >&3 || echo closed >&3; \
             done' 3>{} {redirections}",
            file.display()
        );
        let ended = Command::new("sh").args(["-c", &script]).status().expect("a shell");
        assert!(ended.success(), "{ended}");
        std::fs::read_to_string(&file).expect("a file")
    };
    let profiler = format!("{PROFILER} stat --output /dev/null --");
    for redirections in ["<&- >/dev/null 2>/dev/null", "</dev/null >&- 2>&-", "<&- >&- 2>&-"] {
        assert_eq!(links(&profiler, redirections), links("", redirections), "{redirections}");
    }
}
