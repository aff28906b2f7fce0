//! The kernel's statistics of the profiler's programs: their size and, while the statistics are on,
//! the number and the time of their runs.
//!
//! Statistics cost two clock readings per run of every BPF program of the host, ours or not. So the
//! profiler requests them only on request.
//!
//! An open descriptor requests them from the kernel. `Options::time_programs` requests them before
//! anything attaches, so that every run is counted. `Engine::time_programs` requests them at any
//! time.
//!
//! The sysctl does not show whether the statistics are on: it ignores the descriptors of other
//! processes, and a hardened service cannot read it. The profiler's own calls run the programs. So
//! if the count of runs does not change between two reads, the statistics are off.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::Duration,
};

use aya::{
    Ebpf,
    sys::{Stats, enable_stats},
};

use super::{
    fd_info::{self, FdInfo},
    object::{ENTRY, SYSCALL_PROGRAMS, program_named},
};
use crate::model::{Program, Runs, Untimed};

/// The kernel's statistics of our programs.
pub struct Statistics {
    programs: Vec<(Program, Vec<FdInfo>)>,
    /// While this descriptor is open, the kernel's statistics are on.
    kept: Option<OwnedFd>,
}

/// Requests statistics from the kernel for as long as the descriptor is open
/// (`bpf_enable_stats`, kernel/bpf/syscall.c; Linux 5.8).
pub(super) fn keep() -> Result<OwnedFd, Untimed> {
    enable_stats(Stats::RunTime).map_err(|error| untimed(&error.io_error))
}

fn untimed(error: &io::Error) -> Untimed {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Untimed::Privilege,
        code => Untimed::Refused(code.unwrap_or(0)),
    }
}

/// Checks that this process may request statistics, by a request that ends at once.
///
/// # Errors
/// Why the kernel refuses.
pub fn can_be_kept() -> Result<(), Untimed> {
    keep().map(drop)
}

impl Statistics {
    /// The statistics of all loaded programs of these objects.
    pub(super) fn of<'a>(objects: impl Iterator<Item = &'a Ebpf>, kept: Option<OwnedFd>) -> Self {
        let mut programs: Vec<(Program, Vec<FdInfo>)> = Vec::new();
        for (name, loaded) in objects.flat_map(Ebpf::programs) {
            let Ok(fd) = loaded.fd() else { continue };
            let fd = fd.as_fd().as_raw_fd();
            let name = name_of(name);
            let at = programs.iter().position(|(of, _)| of.name == name).unwrap_or_else(|| {
                let new = Program { name: name.to_owned(), ..Program::default() };
                programs.push((new, Vec::new()));
                programs.len() - 1
            });
            let (program, fds) = &mut programs[at];
            fds.push(FdInfo::open(fd));
            program.copies += 1;
            // Read once, because the size requires CAP_BPF, which the daemon drops.
            if let Ok(info) = loaded.info() {
                program.jited_bytes += u64::from(info.size_jitted());
                let verified = info.verified_instruction_count();
                program.verified_instructions = program.verified_instructions.max(verified);
            }
        }
        programs.sort_by_key(|(program, _)| rank(&program.name));
        Self { programs, kept }
    }

    /// The programs. Those that run at each call come first.
    pub fn programs(&self) -> Vec<Program> {
        self.programs.iter().map(|(program, _)| program.clone()).collect()
    }

    /// The runs of each of [`Self::programs`] while the statistics were on.
    pub fn runs(&self) -> Vec<Runs> {
        self.programs.iter().map(|(_, fds)| runs(fds)).collect()
    }

    /// Requests statistics from now on.
    ///
    /// # Errors
    /// Why the kernel refuses.
    pub fn keep(&mut self) -> Result<(), Untimed> {
        if self.kept.is_none() {
            self.kept = Some(keep()?);
        }
        Ok(())
    }

    /// Ends the request. Other processes may still request statistics.
    pub fn release(&mut self) {
        self.kept = None;
    }

    /// Whether the kernel's statistics are on, requested by this or another process.
    ///
    /// The answer is right only while the programs are attached, because it looks for runs that
    /// its own calls cause.
    pub fn are_kept(&self) -> bool {
        let entries = self.programs.iter().find(|(program, _)| program.name == ENTRY.name);
        self.kept.is_some()
            || entries.is_some_and(|(_, fds)| {
                let before = runs(fds).count;
                runs(fds).count > before
            })
    }
}

fn runs(infos: &[FdInfo]) -> Runs {
    let mut sum = Runs::default();
    for text in infos.iter().filter_map(FdInfo::read) {
        let of = |key| fd_info::number(&text, key).unwrap_or(0);
        let count = of("run_cnt");
        sum.count += count;
        sum.events = sum.events.max(count);
        sum.time += Duration::from_nanos(of("run_time_ns"));
    }
    sum
}

/// The name for people of a program that has this name in its object: that of its first copy.
fn name_of(in_object: &str) -> &str {
    program_named(in_object).map_or(in_object, |spec| spec.name)
}

/// Sorts programs: entries, exits, and then those that run less often.
fn rank(name: &str) -> usize {
    let known = SYSCALL_PROGRAMS.iter().rev().position(|spec| spec.name == name);
    known.unwrap_or(SYSCALL_PROGRAMS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_one_program() {
        assert_eq!(name_of("sys_enter"), "sys_enter");
        assert_eq!(name_of("sys_exit_8"), "sys_exit");
        assert_eq!(name_of("calls_before"), "calls_before");
        let mut names = ["calls_before", "task_rename", "sys_exit", "sys_enter"];
        names.sort_by_key(|name| rank(name));
        assert_eq!(names, ["sys_enter", "sys_exit", "task_rename", "calls_before"]);
    }

    #[test]
    fn a_refusal_says_what_it_takes() {
        let of = |code| untimed(&io::Error::from_raw_os_error(code));
        assert_eq!(of(libc::EPERM), Untimed::Privilege);
        assert!(of(libc::EPERM).to_string().contains("CAP_SYS_ADMIN"));
        assert_eq!(of(libc::EBUSY), Untimed::Refused(libc::EBUSY));
    }
}
