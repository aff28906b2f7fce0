//! The conformance suite: one case for each known pitfall of syscall profilers. Each case runs a
//! small workload that states its counts, and compares the report with the statement exactly.
//!
//! A case has the name of its pitfall, and a description in one line, which `cargo xtask
//! conformance` prints.

mod attach;
mod attribution;
mod births;
mod bounds;
mod deaths;
mod denials;
mod drain;
mod execs;
pub(crate) mod filters;
mod i386_program;
mod identity;
mod metric_groups;
mod names;
mod numbers;
mod places;
mod signals;
mod text;

use std::{fmt, process::ExitCode};

use crate::{in_flight, in_flight_stopped, run::Mode};

pub(crate) use filters::Cgroups;
pub(crate) use i386_program::{I386Program, asked_to_compile, compile};

/// A pitfall, and the test of it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pitfall: &'static str,
    run: fn(Mode) -> Result<(), Skip>,
}

/// The cases that test only user space: both objects give the same result.
const OF_USER_SIDE: &[&str] = &[
    "containers_by_name",
    "containers_that_start_later",
    "groups_of_metrics",
    "hostile_cgroup_name",
    "hostile_process_name",
    "names_of_later_containers",
    "too_many_ended",
    "unit_that_restarts",
];

impl Case {
    /// Whether the case tests only user space, where both objects give the same result.
    pub(crate) fn is_of_user_side(&self) -> bool {
        OF_USER_SIDE.contains(&self.name)
    }

    /// Runs the case with an object.
    ///
    /// # Errors
    /// Why the case cannot run here.
    pub(crate) fn run(&self, mode: Mode) -> Result<(), Skip> {
        (self.run)(mode)
    }
}

/// Why a case cannot run.
#[derive(Debug)]
pub(crate) enum Skip {
    /// The host cannot build the 32-bit program, with the compiler's message.
    NoI386Compiler(String),
    /// The kernel is older than this call.
    NoCall(&'static str),
    /// The kernel has the call, but implements probes by breakpoints.
    ProbesByBreakpoint,
    /// Calls that entered before the attach cannot be listed: before Linux 5.15, or with the
    /// fallback.
    NothingBefore,
    /// Cgroups of version 2 are not mounted.
    NoCgroups,
    /// No hierarchy of version 1 names the cgroups of this process.
    NoVersion1,
    /// The freezer of cgroups of version 1 is not mounted.
    NoFreezer,
}

impl Skip {
    /// Whether the reason is a missing program, which CI installs, and not the kernel.
    pub(crate) fn can_be_mended(&self) -> bool {
        match self {
            Self::NoI386Compiler(_) => true,
            Self::NoCall(_) | Self::ProbesByBreakpoint | Self::NothingBefore => false,
            Self::NoCgroups | Self::NoVersion1 | Self::NoFreezer => false,
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoI386Compiler(said) => {
                write!(f, "gcc -m32 fails; gcc-multilib may be missing: {said}")
            }
            Self::NoCall(name) => write!(f, "this kernel has no {name}"),
            Self::NothingBefore => {
                f.write_str("needs Linux 5.15 and its BTF, and the object with task storage")
            }
            Self::NoFreezer => f.write_str("the freezer of cgroups v1 is not mounted"),
            Self::NoVersion1 => f.write_str("processes are in no hierarchy of cgroups v1"),
            Self::NoCgroups => f.write_str("cgroups of version 2 are not mounted"),
            Self::ProbesByBreakpoint => f.write_str("this kernel probes by breakpoints alone"),
        }
    }
}

/// What a case's function returns.
trait Ends {
    fn ends(self) -> Result<(), Skip>;
}

impl Ends for () {
    fn ends(self) -> Result<(), Skip> {
        Ok(())
    }
}

impl Ends for Result<(), Skip> {
    fn ends(self) -> Self {
        self
    }
}

macro_rules! cases {
    ($($module:ident { $($name:ident: $pitfall:literal,)+ })+) => {
        &[$($(Case {
            name: stringify!($name),
            pitfall: $pitfall,
            run: |mode| $module::$name(mode).ends(),
        }),+),+]
    };
}

/// Every case.
pub(crate) const CASES: &[Case] = cases! {
    signals {
        rt_sigreturn: "rt_sigreturn leaves as number -1, with the interrupted code's register",
        sa_restart: "a call that a signal breaks and that enters again is no failure",
        restart_syscall: "a call that was stopped comes back under another number",
        signals_in_waits: "signals in nanosleep, poll and futex: no errors, and no failures",
    }
    births {
        fork: "fork, vfork and clone return twice, and are one call each",
        process_storm: "thousands of processes, some at a time, by fork and clone3",
        clone3_storm: "thousands of threads, whose ids and room are used again",
        vfork_in_flight: "a parent is in vfork until its child execs",
    }
    execs {
        execveat: "execveat leaves under the number of execve",
        exec_by_int_0x80: "an exec that enters by the i386 table and leaves in 64-bit code",
        exec_by_a_thread: "a thread that execs takes its leader's id, and ends it in its call",
        exec_by_a_thread_by_process: "a process stays one though a thread execs, under its last program's name",
        exec_fails_late: "an exec that fails when the old program is gone",
        exec_by_a_thread_fails_late: "an exec by a thread that fails when the thread has its leader's id",
    }
    deaths {
        killed_in_flight: "threads killed in a call leave it, and leave nothing behind",
        exit_group_in_flight: "a process ends while 64 of its threads are in calls",
    }
    denials {
        seccomp_errno: "a call that is denied leaves, and never entered",
        seccomp_before: "threads with a seccomp filter are older than the profiler, and all their calls are denied",
        seccomp_before_the_daemon: "the same, as the daemon counts them",
        seccomp_trap: "a denied call that makes a signal's handler run",
        seccomp_kill: "a process that seccomp ends leaves its call; a thread among others does not, and its call is denied all the same",
        seccomp_kill_before: "the first call of a thread that is older than the profiler ends it by seccomp",
        seccomp_trace: "a call for which there is no tracer to be asked",
        seccomp_user_notif: "a call that another process answers, or lets go on",
        ptrace_result_at_exit: "a call that a tracer answers is made all the same, as number -1",
        ptrace_result_at_entry: "a call that a tracer answers at its entry leaves with that, an errno or not",
        ptrace_result_in_32_bits: "a 32-bit tracer's errno is one for a 32-bit call",
        ptrace_other_result: "a result that a tracer changes at the exit is changed too late",
        ptrace_other_number: "a tracer has another call made, and that is the one that enters",
        ptrace_sysemu: "a tracer answers, and no call is made",
        ptrace_skip_for_seccomp: "a tracer that seccomp asks takes a denied call's number away",
        ptrace_kill_at_entry: "a process is killed while its tracer holds it before a call",
    }
    numbers {
        int_0x80: "i386 and x32 numbers from 64-bit code mean other calls",
        results_like_errnos: "an offset or an id looks like an errno, or like a code by which a call is restarted",
        bogus_numbers: "numbers that no table has, negative and huge ones among them",
        uretprobe: "uretprobe leaves with what the probed function returned",
        uprobe: "uprobe leaves with the register of the function that is probed",
        uretprobe_called: "a program that calls uretprobe itself",
    }
    i386_program {
        exec_of_a_32_bit_program: "an exec that enters by one table and leaves by another",
    }
    names {
        rename: "a process that renames itself, and ends before it is reported",
        rename_by_exec: "an exec renames a process",
        rename_by_a_thread_s_exec: "an exec by a thread that is not the leader renames its process",
        thread_names: "a thread's name is not its process's",
        thread_seen_first: "a thread that is seen before its leader does not name the process",
        rename_by_a_thread: "a thread renames its leader",
        rename_of_an_idle_leader: "a thread renames its leader, which sleeps or is a zombie",
    }
    bounds {
        too_few_records: "many more threads than records",
        one_record: "one record for the threads of many processes",
        too_small_a_pool: "a pool that is used up between one call and the next",
        too_little_of_everything: "too few records and too small a pool",
        every_outcome_without_room: "calls of every outcome, without room for any",
        no_room_for_a_latency: "a call that has room, and its latency none",
        room_is_given_back: "a hundred times as many processes as records, a few at a time",
        too_many_ended: "more ended processes than are kept apart",
    }
    places {
        unit: "a process is moved into a unit and out of it, with calls in flight",
        unit_that_restarts: "a unit is removed and made again, each time for a millisecond",
        containers_that_start_later: "containers by id, each of which lives for a millisecond",
        containers_by_name: "containers by name, which their runtime has in a file, within a pod",
        places_together: "a container within a unit, and each of them elsewhere",
        units_under_load: "units are made, removed and moved to while calls are made",
    }
    identity {
        reused_pid: "an id is given to another process when its own has ended",
        reused_tid: "a thread's id is given to a process, and back",
        reused_pid_in_scope: "the id of a watched process is given to a stranger",
        clone_vm: "what shares its parent's memory is a process or a thread",
        pid_namespace: "a process has another id in its own namespace",
    }
    attribution {
        cgroup_of_a_moved_process: "a process moves to another cgroup while its threads are in calls",
        cgroups_of_moved_threads: "a thread that moves to another cgroup is still one thread",
        cgroup_of_a_moved_thread: "a thread moves to a threaded cgroup, and its process does not",
        cgroups_that_are_removed: "a process lives for a millisecond in a cgroup that is removed at once",
        cgroups_that_are_renamed: "a cgroup is renamed after its processes have ended",
        cgroups_of_version_1_alone: "cgroups of version 2 are not mounted",
        cgroups_under_load: "a process moves between cgroups all the time",
    }
    metric_groups {
        groups_of_metrics: "metrics by cgroup and container sum up to those of the host at each scrape",
        names_of_later_containers: "a container starts after the daemon has dropped its privileges",
    }
    attach {
        attach_under_load: "attached and detached twenty times while others make calls",
    }
    in_flight {
        in_flight_before: "a call that has not returned since before the profiler came",
        in_flight_before_and_killed: "a thread is killed in a call from before the profiler came",
        in_flight_before_an_exec: "a thread execs that was in a call when the profiler came",
        in_flight_before_a_thread_s_exec: "a thread takes the id of its leader, which was in a call when the profiler came",
        in_flight_before_user_time: "a thread leaves a call from before, and makes no other",
        in_flight_before_the_daemon: "a call from before is in the gauges, and in no counter",
    }
    in_flight_stopped {
        in_flight_before_and_traced: "tracees that are stopped within a call, and outside of one",
        in_flight_before_and_frozen: "threads that a freezer has frozen within a call, and outside of one",
        held_by_a_supervisor: "a call that waits for a supervisor of seccomp has not entered",
    }
    filters {
        syscalls: "only some calls count, and the others leave no mark",
        syscalls_excluded: "all calls but some count",
        syscalls_by_abi: "a call is named by each table, or by one",
        syscalls_denied: "a call that is denied counts if it is among those that do",
        syscalls_before: "calls from before the profiler came are filtered too",
        cgroup: "a process is moved into a cgroup and out of it, with calls in flight",
        cgroup_of_the_host: "the same, of all processes of the host",
        cgroup_of_a_thread: "a thread is moved into a threaded cgroup, without its process",
        cgroup_under_load: "a process is moved again and again while it makes calls",
        comm: "a process is renamed into the filter and out of it, with calls in flight",
        comm_by_exec: "a process comes into the filter by an exec, or leaves it",
        comm_by_a_thread_s_exec: "the same by an exec of a thread, whose own name decides nothing",
        filters_together: "of several filters all have to agree",
    }
    text {
        hostile_process_name: "a process names itself so that a terminal obeys, and programs get the name whole",
        hostile_cgroup_name: "so is a cgroup named, in headers, refusals and the daemon's log",
    }
    drain {
        rows_agree_at_every_moment: "read every 10 ms in the middle of calls: no row contradicts itself",
        drained_under_saturation: "read every 10 ms while two threads do nothing but make calls",
    }
};

/// The argument with which this executable lists the cases.
const LIST: &str = "conformance-cases";

/// Whether the argument is given.
pub(crate) fn asked_to_list() -> bool {
    std::env::args().nth(1).as_deref() == Some(LIST)
}

/// Prints the name and the pitfall of each case, separated by a tab.
pub(crate) fn list() -> ExitCode {
    for case in CASES {
        let objects = if case.is_of_user_side() { "main" } else { "main,fallback" };
        println!("{}\t{}\t{objects}", case.name, case.pitfall);
    }
    ExitCode::SUCCESS
}
