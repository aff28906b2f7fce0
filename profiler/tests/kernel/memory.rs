//! In a memory cgroup: the profiler sizes itself to the limit, and is never killed for it.

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

/// The least limit that the documents name, MiB, on a host with some hundred threads.
const LEAST: u64 = 28;

/// What the documents say that a further thread of the host takes, bytes.
const TASK: u64 = 640;

/// What the host's threads take beyond the first few hundred, MiB: other tests and other
/// programs may have thousands.
fn beyond() -> u64 {
    (threads_alive().saturating_sub(500) * TASK).div_ceil(MIB)
}

/// A memory cgroup with a limit, below the root of its hierarchy.
struct Limited {
    directory: PathBuf,
    file: &'static str,
}

impl Limited {
    /// `None` where this host has no controller for memory that can be used.
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
            // Fails if it is on already, or cannot be had.
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

    /// A command that enters it and becomes the profiler.
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
        // Its last process may still be on its way out.
        for _ in 0..100 {
            if fs::remove_dir(&self.directory).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Has a shell enter a cgroup, and become a command.
const ENTER: &str = "echo $$ >\"$0\"/cgroup.procs && exec \"$@\"";

/// Each task of the host takes some memory: so many threads once, and not in each mode.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Each limit that the documents name, with few threads and with 6,000: every count is exact,
/// and what finds no room is in the totals.
pub(crate) fn within_a_limit(mode: Mode) {
    let _alone = alone();
    for (mib, threads) in [(LEAST, 10), (LEAST, 6_000), (64, 6_000), (96, 6_000)] {
        let args = [format!("threads={threads}"), "calls=3".to_owned()];
        let held = Held::start(&["counts", &args[0], &args[1], "alike=1"]);
        // These threads are there before the profiler.
        let beyond = if mib == LEAST { beyond() } else { 0 };
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

/// `doctor` tries out what it says, and tells of a limit that is too low for the defaults.
pub(crate) fn doctor_says_what_fits() {
    let _alone = alone();
    // Threads of another test that come between doctor's check and its trial.
    let meanwhile = (6_000 * TASK).div_ceil(MIB);
    for mib in [LEAST + beyond() + meanwhile, 64] {
        // Not the name of another test's.
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

/// Nothing is touched before it is used: the greatest sizes take no time and little memory,
/// or are made smaller where the host has too little memory.
pub(crate) fn the_greatest_sizes_start_at_once() {
    let run = |sizes: &[&str]| {
        let begun = Instant::now();
        let ended =
            Stat::new(Mode::Main).args(["--all", "--duration", "1s"]).args(sizes).start().end();
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr());
        begun.elapsed()
    };
    // To touch all of it took fifteen seconds more, on a quiet host.
    let defaults = run(&[]);
    let greatest = run(&["--max-threads", "4194304", "--max-memory", "2560"]);
    let most = 2 * defaults + Duration::from_secs(5);
    assert!(greatest < most, "{greatest:?} beside {defaults:?} by default");
}

/// What cannot fit is refused: with words, and before anything is attached.
pub(crate) fn below_the_least(mode: Mode) {
    let Some(limited) = Limited::new(mode, 16) else { return };
    let ended = Stat::of(limited.profiler(), mode).args(["--all"]).start().end();
    assert_eq!(ended.code(), Some(3), "{}", ended.stderr());
    assert!(ended.stderr().contains("is limited to 16 MiB"), "{}", ended.stderr());
}

/// A daemon lives within each limit that the documents name, however many threads come: it is
/// never killed, it answers while they are there, and every count is exact in total.
pub(crate) fn a_daemon_within_a_limit(mode: Mode) {
    let _alone = alone();
    let limits = [(32, &[1_000, 6_000][..]), (64, &[1_000, 3_000, 6_000]), (96, &[6_000])];
    // The least is the hardest, and a crowd takes seconds.
    let limits = if mode == Mode::Main { &limits[..] } else { &limits[..1] };
    // The filter by name of these daemons, which takes more with the fallback.
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

/// The greatest sizes that the configuration takes are bounded by the limit of the systemd unit.
pub(crate) fn the_greatest_sizes_fit_into_the_unit_s_limit(mode: Mode) {
    let _alone = alone();
    let unit = include_str!("../../../deploy/systemd/profiler.service");
    let max = unit.lines().find_map(|line| line.strip_prefix("MemoryMax=")).expect("a limit");
    let mib = max.strip_suffix('M').and_then(|mib| mib.parse().ok()).expect("MiB");
    let Some(limited) = Limited::new(mode, mib) else { return };
    let sizes = ["--max-threads", "4194304", "--max-memory", "2560"];
    daemon_counts_within(&limited, mode, &sizes, &[1_000]);
}

/// A daemon within the limit counts threads that come, a crowd after another.
fn daemon_counts_within(limited: &Limited, mode: Mode, flags: &[&str], crowds: &[u32]) {
    let name = Name::new();
    let flags = [&name.filter(), flags].concat();
    let daemon = Daemon::start_command(limited.profiler(), mode, "200ms", &flags);
    for threads in crowds {
        let before = daemon.metrics();
        let threads = format!("threads={threads}");
        let held = Held::start(&["counts", &threads, "calls=3", "alike=1", &name.arg()]);
        // It answers while they are there.
        daemon.metrics();
        let statement = held.go();
        daemon.assert_adds(&before, &statement, &RARE);
    }
    assert_eq!(limited.killed(), 0);
    daemon.end();
}

/// A daemon that cannot fit says so, and ends with the code that the documents name.
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
