//! In a memory cgroup: the profiler sizes itself to the limit, and is never killed for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::run::{Held, Mode, PROFILER, Stat};

const MIB: u64 = 1024 * 1024;

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

/// A run of the profiler in a cgroup, to be.
fn stat_within(mode: Mode, cgroup: &Path) -> Stat {
    let mut command = Command::new("sh");
    command.args(["-c", ENTER]).arg(cgroup).arg(PROFILER);
    Stat::of(command, mode)
}

/// Each limit that the documents name, with few threads and with 6,000: every count is exact,
/// and what finds no room is in the totals.
pub(crate) fn within_a_limit(mode: Mode) {
    // Each task of the host takes some memory: so many threads once, and not in each mode.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for (mib, threads) in [(48, 10), (48, 6_000), (64, 6_000), (96, 6_000)] {
        let Some(limited) = Limited::new(mode, mib) else {
            println!("no memory cgroups: nothing to show");
            return;
        };
        let args = [format!("threads={threads}"), "calls=3".to_owned()];
        let held = Held::start(&["counts", &args[0], &args[1]]);
        let args = ["--pid", &held.pid().to_string()];
        let running = stat_within(mode, limited.path()).args(args).start().attached();
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
    for mib in [48, 64] {
        // Not the name of another test's.
        let Some(limited) = Limited::new(Mode::Main, 1_000 + mib) else { return };
        limited.set(mib).expect("a limit");
        let mut command = Command::new("sh");
        command.args(["-c", ENTER]).arg(limited.path()).args([PROFILER, "doctor"]);
        let output = command.output().expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "at {mib} MiB: {output:?}");
        assert!(text.contains(&format!("is limited to {mib} MiB: room for")), "{text}");
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
    let ended = stat_within(mode, limited.path()).args(["--all"]).start().end();
    assert_eq!(ended.code(), Some(3), "{}", ended.stderr());
    assert!(ended.stderr().contains("is limited to 16 MiB"), "{}", ended.stderr());
}
