//! What the kernel says that our own programs cost: their size, and while it keeps
//! statistics how often each ran and for how long.
//!
//! Keeping them costs two readings of a clock at every run of every BPF program of the
//! host, ours or not. So they are kept only while somebody asks.
//!
//! A descriptor held open asks the kernel for them. `Options::time_programs` asks before anything
//! attaches, so that every run is counted; `Engine::time_programs` asks at any time.
//!
//! The sysctl does not tell whether the kernel keeps statistics: it ignores descriptors of others, and a
//! hardened service cannot see it. Our own calls run the programs. So if the count does not move while
//! we read it twice, nobody keeps statistics.

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
    FdInfo, field,
    programs::{ENTRY, PROGRAMS},
};
use crate::model::{Program, Runs, Untimed};

/// The kernel's statistics of our programs.
pub struct Statistics {
    programs: Vec<(Program, Vec<FdInfo>)>,
    /// While this is open, the kernel keeps them.
    kept: Option<OwnedFd>,
}

/// Asks the kernel to keep statistics for as long as the descriptor is open
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

/// Whether this process could have the kernel keep them. Tried, and undone at once.
///
/// # Errors
/// Why not.
pub fn can_be_kept() -> Result<(), Untimed> {
    keep().map(drop)
}

impl Statistics {
    /// Of the programs that are loaded by now.
    pub(super) fn of(ebpf: &Ebpf, kept: Option<OwnedFd>) -> Self {
        let mut programs: Vec<(Program, Vec<FdInfo>)> = Vec::new();
        for (name, loaded) in ebpf.programs() {
            let Ok(fd) = loaded.fd() else { continue };
            let fd = fd.as_fd().as_raw_fd();
            let name = name_of(name);
            let at = programs.iter().position(|(of, _)| of.name == name).unwrap_or_else(|| {
                let new = Program { name: name.to_owned(), ..Program::default() };
                programs.push((new, Vec::new()));
                programs.len() - 1
            });
            let (program, fds) = &mut programs[at];
            fds.push(FdInfo::of(fd));
            program.copies += 1;
            // Asked once: the size needs CAP_BPF, which the daemon gives up.
            if let Ok(info) = loaded.info() {
                program.jited_bytes += u64::from(info.size_jitted());
                let verified = info.verified_instruction_count();
                program.verified_instructions = program.verified_instructions.max(verified);
            }
        }
        programs.sort_by_key(|(program, _)| place(&program.name));
        Self { programs, kept }
    }

    /// The programs: those that run at each call first.
    pub fn programs(&self) -> Vec<Program> {
        self.programs.iter().map(|(program, _)| program.clone()).collect()
    }

    /// How often each of [`Self::programs`] ran while the kernel kept statistics.
    pub fn runs(&self) -> Vec<Runs> {
        self.programs.iter().map(|(_, fds)| runs(fds)).collect()
    }

    /// Has the kernel keep statistics from now on.
    ///
    /// # Errors
    /// Why it does not.
    pub fn keep(&mut self) -> Result<(), Untimed> {
        if self.kept.is_none() {
            self.kept = Some(keep()?);
        }
        Ok(())
    }

    /// No longer has the kernel keep statistics. Others may.
    pub fn release(&mut self) {
        self.kept = None;
    }

    /// Whether the kernel keeps statistics now, whoever asked for them.
    ///
    /// Only while the programs are attached: to look makes calls, of which the runs show.
    /// The sysctl would not tell of descriptors, nor is it in sight of a hardened service.
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
    for text in infos.iter().filter_map(FdInfo::text) {
        let of = |key| field(&text, key).unwrap_or(0);
        let count = of("run_cnt");
        sum.count += count;
        sum.events = sum.events.max(count);
        sum.time += Duration::from_nanos(of("run_time_ns"));
    }
    sum
}

/// What a program is called that has this name in the object: as its first copy.
fn name_of(in_object: &str) -> &str {
    let of_copy = |spec: &&crate::engine::kernel::programs::ProgramSpec| {
        spec.copies(true).contains(&in_object)
    };
    PROGRAMS.iter().find(of_copy).map_or(in_object, |spec| spec.name)
}

/// Entries, exits, then what runs less and less often.
fn place(name: &str) -> usize {
    let known = PROGRAMS.iter().rev().position(|spec| spec.name == name);
    known.unwrap_or(PROGRAMS.len())
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
        names.sort_by_key(|name| place(name));
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
