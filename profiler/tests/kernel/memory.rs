//! In a memory cgroup, the profiler fits its tables into the limit, and the kernel never kills it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    run::{Held, Mode, PROFILER, Stat},
    service::{Daemon, Name, RARE, threads_alive},
};

const MIB: u64 = 1024 * 1024;

/// The minimum limit in the documents, on a host with some hundred threads, MiB.
const LEAST: u64 = 28;

/// The memory of a further thread of the host in the documents, bytes.
const TASK: u64 = 640;

/// The memory of the host's threads beyond the first few hundred, MiB. Other tests and programs may
/// have thousands of threads.
fn beyond() -> u64 {
    (threads_alive().saturating_sub(500) * TASK).div_ceil(MIB)
}

/// A memory cgroup with a limit, below the root of its hierarchy.
struct Limited {
    directory: PathBuf,
    file: &'static str,
}

impl Limited {
    /// Creates the cgroup. `None` if this host has no usable memory controller.
    fn new(mode: Mode, mib: u64) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let mount = |kind: &str, option: &str| {
            let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            let found = lines.find(|f| f[2] == kind && f[3].split(',').any(|o| o == option))?;
            Some(PathBuf::from(found[1]))
        };
        let name = format!("profiler-test-{}-{mode:?}-{mib}", std::process::id());
        let (directory, file) = if let Some(v1) = mount("cgroup", "memory") {
            (v1.join(name), "memory.limit_in_bytes")
        } else {
            let v2 = mount("cgroup2", "rw")?;
            // Fails if the controller is already enabled, or is unavailable.
            let _ = fs::write(v2.join("cgroup.subtree_control"), "+memory");
            (v2.join(name), "memory.max")
        };
        fs::create_dir(&directory).ok()?;
        let limited = Self { directory, file };
        limited.set(mib).ok()?;
        Some(limited)
    }

    fn set(&self, mib: u64) -> io::Result<()> {
        fs::write(self.directory.join(self.file), (mib * MIB).to_string())
    }

    fn path(&self) -> &Path {
        &self.directory
    }

    /// A command that enters the cgroup and then executes the profiler.
    fn profiler(&self) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", ENTER]).arg(self.path()).arg(PROFILER);
        command
    }

    /// How many of its processes the kernel has killed for exceeding the limit, as
    /// `memory.oom_control` of version 1 and `memory.events` of version 2 say.
    fn killed(&self) -> u64 {
        let read = |file| fs::read_to_string(self.directory.join(file));
        let text = read("memory.oom_control").or_else(|_| read("memory.events")).expect("a file");
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.parse().ok()).expect("a count")
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // The last process may not have left the cgroup yet.
        for _ in 0..100 {
            if fs::remove_dir(&self.directory).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A shell script that enters a cgroup, and then executes a command.
const ENTER: &str = "echo $$ >\"$0\"/cgroup.procs && exec \"$@\"";

/// Each task of the host takes some memory, so only one test at a time starts this many threads.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// With each limit in the documents, and with few or 6,000 threads, every count is exact. Calls
/// without space in the tables are in the totals.
pub(crate) fn within_a_limit(mode: Mode) {
    let _alone = alone();
    for (mib, threads) in [(LEAST, 10), (LEAST, 6_000), (64, 6_000), (96, 6_000)] {
        let args = [format!("threads={threads}"), "calls=3".to_owned()];
        let held = Held::start(&["counts", &args[0], &args[1], "alike=1"]);
        // These threads exist before the profiler starts. Another test may start threads meanwhile.
        let meanwhile = (6_000 * TASK).div_ceil(MIB);
        let beyond = if mib == LEAST { beyond() + meanwhile } else { 0 };
        let Some(limited) = Limited::new(mode, mib + beyond) else {
            println!("no memory cgroups: nothing to show");
            return;
        };
        let args = ["--pid", &held.pid().to_string()];
        let running = Stat::of(limited.profiler(), mode).args(args).start().attached();
        let statement = held.go();
        let ended = running.end();
        assert_eq!(ended.code(), Some(0), "at {mib} MiB: {:?}", ended.output);
        let report = ended.report();
        report.totals_are(&statement);
        assert!(threads > 10 || report.overflowed == 0, "room for a few threads at {mib} MiB");
    }
}

/// `doctor` reports a limit that is too low for the default tables.
pub(crate) fn doctor_says_what_fits() {
    let _alone = alone();
    // Another test may start threads between doctor's check and its trial.
    let meanwhile = (6_000 * TASK).div_ceil(MIB);
    for mib in [LEAST + beyond() + meanwhile, 64] {
        // No other test uses this name.
        let Some(limited) = Limited::new(Mode::Main, 1_000 + mib) else { return };
        limited.set(mib).expect("a limit");
        let output = limited.profiler().arg("doctor").output().expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "at {mib} MiB: {output:?}");
        assert!(
            text.contains(&format!("is limited to {mib} MiB: the tables have space for")),
            "{text}"
        );
    }
}

/// Memory is touched only when it is used. So the largest tables take no time and little memory. If
/// the host has too little memory, the tables are reduced.
pub(crate) fn the_greatest_sizes_start_at_once() {
    let run = |sizes: &[&str]| {
        let begun = Instant::now();
        let ended =
            Stat::new(Mode::Main).args(["--all", "--duration", "1s"]).args(sizes).start().end();
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr());
        begun.elapsed()
    };
    // Touching all memory took fifteen seconds more on a quiet host.
    let defaults = run(&[]);
    let greatest = run(&["--max-threads", "4194304", "--max-memory", "2560"]);
    let most = 2 * defaults + Duration::from_secs(5);
    assert!(greatest < most, "{greatest:?} beside {defaults:?} by default");
}

/// If the minimum tables do not fit, the profiler refuses to start before it attaches anything, and
/// says why.
pub(crate) fn below_the_least(mode: Mode) {
    let Some(limited) = Limited::new(mode, 16) else { return };
    let ended = Stat::of(limited.profiler(), mode).args(["--all"]).start().end();
    assert_eq!(ended.code(), Some(3), "{}", ended.stderr());
    assert!(ended.stderr().contains("is limited to 16 MiB"), "{}", ended.stderr());
}

/// With each limit in the documents and any number of threads, a daemon is never killed, keeps
/// answering, and its totals are exact.
pub(crate) fn a_daemon_within_a_limit(mode: Mode) {
    let _alone = alone();
    let limits = [(32, &[1_000, 6_000][..]), (64, &[1_000, 3_000, 6_000]), (96, &[6_000])];
    // The minimum is the hardest case. Starting many threads takes seconds.
    let limits = if mode == Mode::Main { &limits[..] } else { &limits[..1] };
    // The filter by name takes more memory with the fallback.
    let filter = if mode == Mode::Fallback { 4 } else { 0 };
    for &(mib, crowds) in limits {
        let mib = if mib == 32 { mib + filter + beyond() } else { mib };
        let Some(limited) = Limited::new(mode, mib) else {
            println!("no memory cgroups: nothing to show");
            return;
        };
        daemon_counts_within(&limited, mode, &[], crowds);
    }
}

/// The largest sizes in the configuration fit into the memory limit of the systemd unit.
pub(crate) fn the_greatest_sizes_fit_into_the_unit_s_limit(mode: Mode) {
    let _alone = alone();
    let unit = include_str!("../../../deploy/systemd/profiler.service");
    let max = unit.lines().find_map(|line| line.strip_prefix("MemoryMax=")).expect("a limit");
    let mib = max.strip_suffix('M').and_then(|mib| mib.parse().ok()).expect("MiB");
    let Some(limited) = Limited::new(mode, mib) else { return };
    let sizes = ["--max-threads", "4194304", "--max-memory", "2560"];
    daemon_counts_within(&limited, mode, &sizes, &[1_000]);
}

/// Counts several crowds of threads in succession with a daemon within the limit.
fn daemon_counts_within(limited: &Limited, mode: Mode, flags: &[&str], crowds: &[u32]) {
    let name = Name::new();
    let flags = [&name.filter(), flags].concat();
    let daemon = Daemon::start_command(limited.profiler(), mode, "200ms", &flags);
    for threads in crowds {
        let before = daemon.metrics();
        let threads = format!("threads={threads}");
        let held = Held::start(&["counts", &threads, "calls=3", "alike=1", &name.arg()]);
        // The daemon answers while the threads exist.
        daemon.metrics();
        let statement = held.go();
        daemon.assert_adds(&before, &statement, &RARE);
    }
    assert_eq!(limited.killed(), 0);
    daemon.end();
}

/// A daemon that does not fit says so, and exits with the documented code.
pub(crate) fn a_daemon_below_the_least(mode: Mode) {
    for mib in [4, 16, 24] {
        let Some(limited) = Limited::new(mode, 2_000 + mib) else { return };
        limited.set(mib).expect("a limit");
        let mut command = limited.profiler();
        command.args(["daemon", "--listen", "127.0.0.1:0"]).args(mode.flags());
        let output = command.output().expect("a shell");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "at {mib} MiB: {stderr}");
        assert!(stderr.contains(&format!("is limited to {mib} MiB")), "{stderr}");
        assert_eq!(limited.killed(), 0);
    }
}
