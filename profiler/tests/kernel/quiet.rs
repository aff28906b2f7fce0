//! Repeats measurements until the host is quiet, for tests that require an idle host.

use std::{fs, time::Duration};

/// Maximum number of attempts.
const ATTEMPTS: u32 = 8;

/// Attempts on a quiet host that have to fail before the test does. A disturbance of
/// milliseconds spoils a measurement and does not show in what the host did in seconds.
const QUIET_FAILURES: usize = 3;

/// Time between two attempts, longer each time.
const PAUSE: Duration = Duration::from_millis(500);

/// Repeats a measurement until an attempt succeeds. A failure while the host was busy does not
/// count.
///
/// # Errors
/// What kept the host busy, if it was rarely quiet. The test is then ignored.
///
/// # Panics
/// With the message of the last attempt, if several attempts failed on a quiet host.
pub(crate) fn wait_for(mut attempt: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let (mut quiet, mut last) = (0, String::new());
    for number in 1..=ATTEMPTS {
        let before = Host::now();
        let Err(failure) = attempt() else { return Ok(()) };
        let busy = before.busy_since();
        let host = busy.as_deref().unwrap_or("the host was quiet");
        println!("note: attempt {number} of {ATTEMPTS} proved nothing: {host}; {failure}");
        quiet += usize::from(busy.is_none());
        assert!(quiet < QUIET_FAILURES, "the host was quiet, and yet: {failure}");
        if let Some(busy) = busy {
            last = busy;
        }
        std::thread::sleep(PAUSE * number);
    }
    Err(format!("{ATTEMPTS} attempts, and the host was busy: {last}"))
}

/// The kernel's figures about all CPUs at one moment.
pub(crate) struct Host {
    /// CPU time of all CPUs, in clock ticks.
    ticks: Ticks,
    /// Time during which some thread waited for a CPU, microseconds
    /// (/proc/pressure/cpu). `None` where the kernel does not keep it.
    waited_us: Option<u64>,
}

#[derive(Clone, Copy)]
struct Ticks {
    all: u64,
    idle: u64,
    /// Time that the hypervisor gave to other machines, in clock ticks.
    stolen: u64,
}

/// Shares of the CPUs' time that a quiet host does not exceed. The test's own threads are
/// included; they sleep most of the time.
const BUSY: f64 = 0.25;
const WAITED: f64 = 0.05;

impl Host {
    pub(crate) fn now() -> Self {
        Self { ticks: Ticks::now(), waited_us: waited_us() }
    }

    /// What has kept the host busy since this moment. `None` if it was quiet.
    pub(crate) fn busy_since(&self) -> Option<String> {
        let now = Self::now();
        let all = (now.ticks.all - self.ticks.all).max(1) as f64;
        let stolen = now.ticks.stolen.saturating_sub(self.ticks.stolen);
        let busy = 1.0 - now.ticks.idle.saturating_sub(self.ticks.idle) as f64 / all;
        if stolen > 0 {
            return Some(format!("the hypervisor took {stolen} clock ticks of CPU time"));
        }
        if busy > BUSY {
            return Some(format!("the CPUs were {:.0} % busy", busy * 100.0));
        }
        // SAFETY: always safe to call.
        let ticks_a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let elapsed_us = all / cpus / ticks_a_second * 1e6;
        let waited = now.waited_us?.saturating_sub(self.waited_us?) as f64 / elapsed_us;
        (waited > WAITED).then(|| format!("threads waited for a CPU {:.0} % of it", waited * 100.0))
    }
}

impl Ticks {
    fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").expect("/proc/stat");
        let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).expect("CPUs");
        let fields: Vec<u64> =
            line.split_whitespace().map(|field| field.parse().expect("a number")).collect();
        // user nice system idle iowait irq softirq steal; guest time is in user (proc(5)).
        let (idle, stolen) = (fields[3] + fields[4], fields[7]);
        Self { all: fields[..8].iter().sum(), idle, stolen }
    }
}

fn waited_us() -> Option<u64> {
    let text = fs::read_to_string("/proc/pressure/cpu").ok()?;
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.rsplit_once("total=")?.1.trim().parse().ok()
}
