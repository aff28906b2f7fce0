//! Asks the kernel whether threads still exist.
//!
//! A record has the ids of its thread in the initial pid namespace. In another namespace, nothing is
//! looked up.
//!
//! `tgkill` with signal 0 sends nothing, requires no privilege, and fails with `ESRCH` only if no
//! thread has both ids (`do_send_specific`, kernel/signal.c). /proc cannot answer this: with
//! `hidepid=2`, or `ProtectProc=invisible` in a unit, it hides the processes of other users. If
//! /proc shows the thread, it also shows whether the thread is a zombie, and whether another
//! process has its ids by now.

use std::{fs, path::PathBuf};

use profiler_common::wire::ThreadRecord;

use super::drain::departed::{Fate, Tasks};
use crate::proc_fields::{TICK_NS, start_ticks, state};

/// What is known about the process ids and clocks of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sight {
    /// Whether process ids in this namespace are those of the host.
    pub(super) has_host_ids: bool,
    /// Whether the start times of processes in /proc are those of the host. In another time
    /// namespace, they are not
    pub(super) has_host_clock: bool,
    /// Whether the kernel can skip programs.
    pub(super) skips_programs: bool,
}

/// Threads of the host.
pub(super) struct HostThreads<F> {
    pub(super) sight: Sight,
    /// Whether the end of an exec may have gone unreported. A thread that is not the leader takes the
    /// id of the leader then (`de_thread`, fs/exec.c), and its record has the old id.
    pub(super) may_have_missed_exec: F,
}

impl<F: Fn() -> bool> Tasks for HostThreads<F> {
    fn fate(&self, record: &ThreadRecord) -> Fate {
        let &ThreadRecord { tgid, tid, process_start_ns, .. } = record;
        if !self.sight.has_host_ids {
            return Fate::Lives;
        }
        if !exists(tgid, tid) {
            let has_its_id = tid == tgid || !exists(tgid, tgid) || !(self.may_have_missed_exec)();
            return if has_its_id { Fate::Gone } else { Fate::Lives };
        }
        let process = PathBuf::from(format!("/proc/{tgid}"));
        let stat = fs::read(process.join("stat")).unwrap_or_default();
        if self.sight.has_host_clock
            && process_start_ns != 0
            && start_ticks(&stat).is_some_and(|start| start != process_start_ns / TICK_NS)
        {
            return Fate::Gone;
        }
        let stat = fs::read(process.join(format!("task/{tid}/stat"))).unwrap_or_default();
        match state(&stat) {
            Some(b'Z' | b'X') => Fate::Zombie,
            _ => Fate::Lives,
        }
    }

    fn can_miss_any_end(&self) -> bool {
        self.sight.has_host_ids && self.sight.skips_programs
    }
}

/// Whether there is a thread `tid` in the process `tgid`, which may be a zombie. True if that cannot
/// be known.
fn exists(tgid: u32, tid: u32) -> bool {
    // SAFETY: passes three numbers. Signal 0 is not sent.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, tgid, tid, 0) };
    result == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::engine::kernel::tables::UNOWNED;

    const SIGHT: Sight = Sight { has_host_ids: true, has_host_clock: true, skips_programs: false };

    fn fate_of(tgid: u32, tid: u32, process_start_ns: u64, sight: Sight) -> Fate {
        let record = ThreadRecord { tgid, tid, process_start_ns, ..UNOWNED };
        HostThreads { sight, may_have_missed_exec: || false }.fate(&record)
    }

    #[test]
    fn a_process_lives_then_is_a_zombie_then_is_gone() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("it starts");
        let pid = child.id();
        let fate = |start_ns| fate_of(pid, pid, start_ns, SIGHT);
        let stat = fs::read(format!("/proc/{pid}/stat")).expect("it runs");
        let start_ns = start_ticks(&stat).expect("a start") * TICK_NS + 1;
        assert_eq!(fate(start_ns), Fate::Lives);
        assert_eq!(fate(0), Fate::Lives, "its start is unknown");
        assert_eq!(fate(start_ns + TICK_NS), Fate::Gone, "another process had its id");
        let elsewhere = Sight { has_host_clock: false, ..SIGHT };
        assert_eq!(fate_of(pid, pid, start_ns + TICK_NS, elsewhere), Fate::Lives);
        child.kill().expect("it runs");
        while fate(start_ns) == Fate::Lives {
            std::thread::yield_now();
        }
        assert_eq!(fate(start_ns), Fate::Zombie);
        child.wait().expect("a child of ours");
        assert_eq!(fate(start_ns), Fate::Gone);
        assert_eq!(fate_of(pid, pid, start_ns, Sight::default()), Fate::Lives, "not looked up");
    }

    #[test]
    fn a_thread_that_may_have_taken_the_id_of_the_leader_lives() {
        let own = std::process::id();
        let thread = std::thread::spawn(nix::unistd::gettid);
        let tid = thread.join().expect("it ends").as_raw().cast_unsigned();
        // The thread unregisters after it has been joined.
        while exists(own, tid) {
            std::thread::yield_now();
        }
        let record = ThreadRecord { tgid: own, tid, ..UNOWNED };
        let fate = |missed| {
            HostThreads { sight: SIGHT, may_have_missed_exec: move || missed }.fate(&record)
        };
        assert_eq!((fate(false), fate(true)), (Fate::Gone, Fate::Lives));
    }
}
