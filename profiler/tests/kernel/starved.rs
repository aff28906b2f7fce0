//! A daemon on a host with busy CPUs answers, reports late drains, and counts exactly.

use std::{
    os::unix::process::CommandExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    run::{Held, Mode, profiler_command},
    service::{Daemon, METRICS_PAUSE, Name, RARE},
};

/// Threads that compete for the CPUs.
const SPINNING: usize = 100;

/// `Nice=` of deploy/systemd/profiler.service.
const NICE: libc::c_int = -10;

/// At least three of four answers arrive within this time. On two CPUs that also compiled, a debug
/// build answered in 0.13 s in the median and in 2.3 s at worst. The rest is a margin for other
/// load.
const MOST_IN_TIME: Duration = Duration::from_secs(5);

/// Threads that use all of the CPU time that they get, until this is dropped.
struct Spinning(Arc<AtomicBool>);

impl Spinning {
    fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..SPINNING {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(over)
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sets the priority of the calling thread.
fn set_priority(nice: libc::c_int) -> Result<(), Errno> {
    // SAFETY: takes numbers only.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

/// Scrapes are answered beside [`SPINNING`] threads. A daemon that does not run for two seconds
/// says that drains did not take place, and then has counted every call.
pub(crate) fn a_daemon_beside_spinning_threads() {
    let name = Name::new();
    let mut command = profiler_command();
    // SAFETY: one syscall, which is safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            set_priority(NICE)?;
            Ok(())
        });
    }
    let daemon = Daemon::start_command(command, Mode::Main, "200ms", &name.filter());
    let before = daemon.metrics();
    let spinning = Spinning::start();
    // Raise the priority of this client, so that it does not wait for a CPU itself.
    set_priority(NICE).expect("root may");
    let mut times: Vec<_> = (0..20)
        .map(|_| {
            let asked = Instant::now();
            daemon.metrics();
            asked.elapsed().saturating_sub(METRICS_PAUSE)
        })
        .collect();
    set_priority(0).expect("root may");
    times.sort_unstable();
    println!("answers took {:?} in the median, {:?} at most", times[10], times[19]);
    assert!(times[14] < MOST_IN_TIME, "{times:?}");

    let held = Held::start(&["counts", "threads=8", "calls=500", &name.arg()]);
    let pid = Pid::from_raw(daemon.pid().cast_signed());
    kill(pid, Signal::SIGSTOP).expect("it runs");
    let statement = held.go();
    thread::sleep(Duration::from_secs(2));
    kill(pid, Signal::SIGCONT).expect("it is stopped");
    daemon.assert_adds(&before, &statement, &RARE);
    let missed = daemon.metrics()["profiler_missed_drains_total"];
    // Ten drains were due in two seconds. The first one is late, and does not count as missed.
    assert!(missed >= 9.0, "{missed} missed drains");
    drop(spinning);
    daemon.end();
}
