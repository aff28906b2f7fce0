//! Runs the profiler, and the workloads that it watches.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    report::Report,
    workload::{IDLE, READY, Statement, WORKLOAD},
};

/// The profiler.
pub(crate) const PROFILER: &str = env!("CARGO_BIN_EXE_profiler");

/// This variable bounds the capabilities of the profiler and its children, for example
/// `bpf,perfmon`. Unset means all of root's.
const CAPABILITIES: &str = "PROFILER_TEST_CAPABILITIES";

/// Whether [`profiler_command`] has fewer capabilities than root.
pub(crate) fn capabilities_are_bounded() -> bool {
    std::env::var_os(CAPABILITIES).is_some()
}

/// A command that runs the profiler.
pub(crate) fn profiler_command() -> Command {
    let mut command = bounded_command();
    // cargo sets the path. The loader of a workload would look for its libraries there in vain.
    command.env_remove("LD_LIBRARY_PATH");
    command
}

/// The same, with the capabilities that the variable allows.
fn bounded_command() -> Command {
    let Some(capabilities) = std::env::var_os(CAPABILITIES) else { return Command::new(PROFILER) };
    let capabilities = capabilities.into_string().expect("text");
    let bounds: Vec<_> = capabilities.split(',').map(|name| format!("+{name}")).collect();
    let mut command = Command::new("setpriv");
    // A program that root executes gets the capabilities of the bounding set.
    command.arg(format!("--bounding-set=-all,{}", bounds.join(","))).arg(PROFILER);
    command
}

/// The timeout of every wait: longer than any test takes, also on an emulated processor.
const PATIENCE: Duration = Duration::from_secs(180);

/// The object to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The best object for this kernel: an arena and task storage, if the kernel has them.
    Main,
    /// The object for kernels without arenas.
    Arrays,
    /// The object for kernels without task storage.
    Fallback,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Main, Self::Arrays, Self::Fallback];

    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Main => &[],
            Self::Arrays => &["--force-arrays"],
            Self::Fallback => &["--force-fallback"],
        }
    }
}

/// A builder for a run of `profiler stat`.
pub(crate) struct Stat {
    command: Command,
    directory: TempDir,
}

impl Stat {
    pub(crate) fn new(mode: Mode) -> Self {
        Self::of(profiler_command(), mode)
    }

    /// A run with all of root's capabilities, for commands that require them: for namespaces,
    /// chosen thread ids, or probes.
    pub(crate) fn with_privileged_command(mode: Mode) -> Self {
        Self::of(Command::new(PROFILER), mode)
    }

    /// A run of this command, to which flags are added.
    pub(crate) fn of(mut command: Command, mode: Mode) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        command.args(["stat", "--format", "json", "--output"]);
        command.arg(directory.path().join("report")).args(mode.flags());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, directory }
    }

    pub(crate) fn args<T: Into<OsString>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.command.args(args.into_iter().map(Into::into));
        self
    }

    /// Rows by process and syscall.
    pub(crate) fn by_process_and_call(self) -> Self {
        self.args(["--by", "process,syscall"])
    }

    /// Runs a command under the profiler, which has to exit with 0.
    #[track_caller]
    pub(crate) fn command<T: Into<OsString>>(
        self,
        command: impl IntoIterator<Item = T>,
    ) -> (Report, Output) {
        let ended = self.args(["--"]).args(command).start().end();
        assert!(ended.output.status.success(), "{:?}", ended.output);
        (ended.report(), ended.output)
    }

    /// Runs a workload under the profiler.
    #[track_caller]
    pub(crate) fn workload(self, args: &[&str]) -> (Report, Statement) {
        let (report, output) = self.command(workload_args(args));
        let stated = String::from_utf8(output.stdout).expect("text");
        (report, statement(&stated))
    }

    /// Starts the profiler.
    pub(crate) fn start(mut self) -> Running {
        let child = self.command.spawn().expect("the profiler");
        Running {
            child: Guarded(Some(child)),
            report: self.directory.path().join("report"),
            _directory: self.directory,
        }
    }
}

/// A child that is killed if the test fails. A profiler that is left behind would slow down every
/// call of the host.
struct Guarded(Option<Child>);

impl Guarded {
    fn wait_with_output(mut self) -> Output {
        let child = self.0.take().expect("it is taken once, here");
        child.wait_with_output().expect("a child of ours")
    }
}

impl Deref for Guarded {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.0.as_ref().expect("it has not been taken")
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut Child {
        self.0.as_mut().expect("it has not been taken")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A running profiler.
pub(crate) struct Running {
    child: Guarded,
    report: PathBuf,
    _directory: TempDir,
}

/// The minimum number of links: `sys_enter`, `sys_exit`, fork, exec, exit and rename. If the kernel
/// can skip programs, each has several links.
pub(crate) const LINKS: usize = 6;

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until every program is attached: the kernel shows a link for each.
    pub(crate) fn attached(mut self) -> Self {
        wait_until("the profiler attaches", || {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                let mut text = String::new();
                let stderr = self.child.stderr.as_mut().expect("a pipe");
                stderr.read_to_string(&mut text).expect("text");
                panic!("the profiler ended with {status}: {text}");
            }
            kernel_ids(self.child.id(), "link_id").len() >= LINKS
        });
        // The profiler does this last before it waits.
        wait_until("the profiler waits", || {
            let call = std::fs::read_to_string(format!("/proc/{}/syscall", self.child.id()));
            call.is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_poll)))
        });
        self
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: a child of ours that has not been waited for.
        let sent = unsafe { libc::kill(self.child.id().cast_signed(), signal) };
        assert_eq!(sent, 0, "the profiler runs");
    }

    /// Number of printed intervals so far.
    pub(crate) fn intervals(&self) -> usize {
        std::fs::read(&self.report).map_or(0, |text| text.iter().filter(|&&b| b == b'\n').count())
    }

    /// Reads a line that the command printed.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.child.stdout.as_mut().expect("a pipe");
        // Byte by byte, because the following output is for other readers.
        while !line.ends_with('\n') {
            let mut byte = [0];
            stdout.read_exact(&mut byte).expect("a whole line");
            line.push(byte[0].into());
        }
        line.trim_end().to_owned()
    }

    /// The reports that were printed so far, with `--interval`.
    #[track_caller]
    pub(crate) fn reports_so_far(&self) -> Vec<Report> {
        let text = std::fs::read_to_string(&self.report).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(Report::parse_interval).collect()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(self) -> Ended {
        let output = self.child.wait_with_output();
        let report = std::fs::read_to_string(self.report).unwrap_or_default();
        Ended { output, report }
    }

    /// Waits for the end of the profiler, and kills the command that continues, because it has the
    /// pipes open.
    #[track_caller]
    pub(crate) fn end_beside(mut self, command: i32) -> Ended {
        self.child.wait().expect("a child of ours");
        // SAFETY: kills a process that the caller started.
        unsafe { libc::kill(command, libc::SIGKILL) };
        self.end()
    }

    /// Interrupts the profiler, as Ctrl-C does, and returns its report.
    #[track_caller]
    pub(crate) fn interrupt(self) -> Report {
        self.signal(libc::SIGINT);
        let ended = self.end();
        assert!(ended.output.status.success(), "{:?}", ended.output);
        ended.report()
    }
}

/// A profiler that has ended.
pub(crate) struct Ended {
    pub(crate) output: Output,
    report: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn report(&self) -> Report {
        assert!(!self.report.is_empty(), "it printed no report: {:?}", self.output);
        Report::parse(&self.report)
    }

    /// The unparsed output.
    pub(crate) fn text(&self) -> &str {
        &self.report
    }

    /// One report for each interval.
    #[track_caller]
    pub(crate) fn reports(&self) -> Vec<Report> {
        self.report.lines().map(Report::parse_interval).collect()
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

/// A workload that runs beside the profiler, and waits for a command to begin.
pub(crate) struct Held {
    child: Child,
    go: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Held {
    /// Starts a workload, and waits until it is ready.
    pub(crate) fn start(args: &[&str]) -> Self {
        let args = workload_args(args);
        let mut command = Command::new(&args[0]);
        command.args(&args[1..]).arg("hold=1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this executable");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line.trim_end(), READY);
        Self { go: child.stdin.take(), child, output }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets the workload continue, and waits for its end.
    #[track_caller]
    pub(crate) fn go(mut self) -> Statement {
        self.go = None;
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("text");
        assert!(self.child.wait().expect("a child of ours").success());
        statement(&text)
    }
}

impl Held {
    /// Lets a crowd make its calls, and waits until all of its threads are idle.
    pub(crate) fn fill(&mut self) {
        self.go.as_mut().expect("not let go").write_all(b"\n").expect("it reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        assert_eq!(line.trim_end(), IDLE);
    }

    /// Lets a workload continue, and returns its next line of output.
    pub(crate) fn tell(&mut self) -> String {
        self.go.as_mut().expect("not let go").write_all(b"\n").expect("it reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line
    }

    /// Ends a workload that has no statement.
    pub(crate) fn stop(self) {
        let statement = self.go();
        assert!(statement.processes.is_empty(), "what it states has to be compared");
    }
}

impl Held {
    /// Kills a running workload.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Only if a test failed before `go`.
        self.go = None;
        let _ = self.child.wait();
    }
}

/// The command line of a workload.
pub(crate) fn workload_args(args: &[&str]) -> Vec<OsString> {
    let own = std::env::current_exe().expect("an executable");
    let mut line = vec![own.into_os_string(), WORKLOAD.into()];
    line.extend(args.iter().map(OsString::from));
    line
}

#[track_caller]
pub(crate) fn statement(text: &str) -> Statement {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in the statement {text:?}"))
}

/// Polls a condition until it is true. Panics after a timeout.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ids of the kernel objects of a process: `prog_id`, `map_id` or `link_id` of its descriptors.
pub(crate) fn kernel_ids(pid: u32, kind: &str) -> Vec<u32> {
    let Ok(infos) = Path::new("/proc").join(pid.to_string()).join("fdinfo").read_dir() else {
        return Vec::new();
    };
    infos
        .filter_map(|info| std::fs::read_to_string(info.ok()?.path()).ok())
        .filter_map(|info| {
            // A link's descriptor names its program too, so that one counts as well.
            let line = info.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'))?;
            line.trim().parse().ok()
        })
        .collect()
}
