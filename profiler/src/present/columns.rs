//! The columns of every table: of `stat`, of `top` on the screen, and of `top` as plain text.
//!
//! A column has its titles, alignment, unit, sort key and meaning here. A table chooses columns
//! and lays them out.

mod cell;

use crate::model::{Dimension, Grouping, SortKey, Timed};

pub(super) use cell::share;
pub use cell::{Form, Source, Whole};

/// A column of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Column {
    /// Process id.
    Pid,
    /// Thread id.
    Tid,
    /// The user of a process.
    User,
    /// Process name, or command line.
    Comm,
    /// The thread's own name.
    Thread,
    /// The cgroup.
    Cgroup,
    /// The systemd unit.
    Unit,
    /// The container.
    Container,
    /// The pod.
    Pod,
    /// The ABI of syscalls.
    Abi,
    /// The category of syscalls.
    Category,
    /// The classes of syscalls.
    Class,
    /// Syscall.
    Call,
    /// Calls.
    Calls,
    /// Calls that failed.
    Errors,
    /// Time in calls.
    Time,
    /// Time on a CPU in calls.
    OnCpu,
    /// Time blocked in calls.
    Waiting,
    /// Time in calls waiting for a CPU.
    Runnable,
    /// A bar of the parts of the time.
    Where,
    /// Share of the time of all rows.
    Share,
    /// Share of the calls of all rows.
    CallShare,
    /// Mean latency.
    Mean,
    /// Median latency.
    P50,
    /// 99th percentile of the latency.
    P99,
    /// Maximum latency.
    Max,
    /// Calls that were refused.
    Denied,
    /// Calls that have not returned.
    InFlight,
    /// Calls that the kernel restarted.
    Restarted,
    /// Calls in which their thread ended.
    NoReturn,
    /// Calls whose exit was missed.
    Lost,
    /// Errors by name.
    ErrorsByName,
    /// The operation of io_uring.
    Operation,
    /// Requests of io_uring that were submitted.
    Submitted,
    /// Requests of io_uring that completed.
    Completed,
    /// Further completions of io_uring.
    Posted,
    /// The syscall with the largest figure of the sort key.
    TopCall,
    /// A sparkline of the distribution of latencies.
    Spread,
    /// How long a call has been in flight.
    Age,
    /// The kind of a call in flight.
    Kind,
}

/// The type and unit of the cells of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// An id.
    Id,
    /// A name.
    Name,
    /// A count.
    Count,
    /// A sum of times, nanoseconds.
    Time,
    /// A latency, nanoseconds; unknown if no call was timed.
    Latency,
    /// A share of the sum of all rows.
    Share,
    /// The age of a call in flight, nanoseconds.
    Age,
    /// The kind of a call in flight, sorted by urgency.
    Kind,
    /// A drawing.
    Drawing,
}

/// The properties of a column in every table.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The title in a report.
    pub title: &'static str,
    /// The title on a screen.
    pub heading: &'static str,
    /// The title on a screen if figures are per second.
    pub per_second: &'static str,
    /// The type and unit of the cells.
    pub unit: Unit,
    /// The value of `--sort` that sorts by this column.
    pub sort: Option<SortKey>,
    /// The meaning: for manual pages.
    pub help: &'static str,
    /// The minimum and maximum width on a screen, characters.
    pub widths: (usize, usize),
    /// The order in which a report that is too wide omits columns: the greatest value first, 0
    /// never. If the value is not 0, cells with a count of 0 are empty.
    pub(super) expendable: u8,
    /// The order in which a screen that is too narrow omits columns: the greatest value first, 0
    /// never.
    pub expendable_on_screen: u8,
}

/// Characters of [`Column::Spread`] on a screen.
pub const SPREAD_CELLS: usize = 14;

/// Characters of [`Column::Where`] on a screen.
pub const WHERE_CELLS: usize = 10;

/// The widths of a column that screens never have.
const ONLY_IN_REPORTS: (usize, usize) = (0, 0);

/// The widths of a figure whose heading is wide.
const WIDE_FIGURE: (usize, usize) = (8, 8);

const fn spec(
    (title, heading): (&'static str, &'static str),
    unit: Unit,
    widths: (usize, usize),
    (expendable, expendable_on_screen): (u8, u8),
    help: &'static str,
) -> Spec {
    let (sort, per_second) = (None, heading);
    Spec { title, heading, per_second, unit, sort, help, widths, expendable, expendable_on_screen }
}

/// A column of names that identify rows. Rows can be sorted by it.
const fn name(
    titles: (&'static str, &'static str),
    widths: (usize, usize),
    help: &'static str,
) -> Spec {
    spec(titles, Unit::Name, widths, (0, 0), help).sorts(SortKey::Name)
}

/// A column of a part of the time, with `--where`.
const fn part_of_time(titles: (&'static str, &'static str), help: &'static str) -> Spec {
    spec(titles, Unit::Time, WIDE_FIGURE, (0, 0), help)
}

/// A column of counts that only reports have. A report that is too wide omits the column with the
/// greatest `expendable` first. Cells with a count of 0 are empty.
const fn only_in_reports(
    titles: (&'static str, &'static str),
    expendable: u8,
    help: &'static str,
) -> Spec {
    spec(titles, Unit::Count, ONLY_IN_REPORTS, (expendable, 0), help)
}

impl Spec {
    const fn sorts(self, key: SortKey) -> Self {
        Self { sort: Some(key), ..self }
    }

    const fn per_second(self, heading: &'static str) -> Self {
        Self { per_second: heading, ..self }
    }
}

impl Column {
    /// The properties of the column.
    pub const fn spec(self) -> Spec {
        // A figure takes at most seven characters, and a sort arrow stands after a heading.
        const FIGURE: (usize, usize) = (7, 7);
        // The longest name of a syscall has 23 characters, the longest ABI shown 7 with its
        // parentheses and space.
        const SYSCALL: (usize, usize) = (14, 30);
        // The longest category is information-maintenance.
        const CATEGORY: (usize, usize) = (14, 23);
        // A name of a container or unit, with a mark if it was removed.
        const PLACE: (usize, usize) = (14, 40);
        const PATH: (usize, usize) = (14, 100);
        match self {
            Self::Pid => spec(("pid", "PID"), Unit::Id, FIGURE, (1, 3), "Process id."),
            Self::Tid => spec(("tid", "TID"), Unit::Id, FIGURE, (3, 10), "Thread id."),
            Self::User => {
                let help = "Real user of the process.";
                spec(("user", "USER"), Unit::Name, WIDE_FIGURE, (0, 13), help)
            }
            // TASK_COMM_LEN (include/linux/sched.h) without its NUL.
            Self::Comm => name(("process", "COMM"), (10, 15), "Name of the process."),
            Self::Thread => {
                let help = "Name of the thread, with `--by thread`.";
                spec(("thread", "THREAD"), Unit::Name, (10, 15), (0, 0), help)
            }
            Self::Cgroup => {
                let help = "Path of the cgroup, with `--by cgroup`.";
                name(("cgroup", "CGROUP"), PATH, help)
            }
            Self::Unit => {
                let help = "systemd unit, with `--by unit`.";
                name(("unit", "UNIT"), PLACE, help)
            }
            Self::Container => {
                let help = "Name of the container, or its id, with `--by container`.";
                name(("container", "CONTAINER"), PLACE, help)
            }
            Self::Pod => {
                let help = "Namespace and name of the pod, or its UID, with `--by pod`.";
                name(("pod", "POD"), PLACE, help)
            }
            Self::Abi => {
                let help = "ABI of the syscalls, with `--by abi`.";
                spec(("abi", "ABI"), Unit::Name, ONLY_IN_REPORTS, (0, 0), help)
            }
            Self::Category => {
                let help = "Category of the syscalls, with `--by category`.";
                name(("category", "CATEGORY"), CATEGORY, help)
            }
            Self::Class => {
                let help = "All classes of the syscalls, with `--by class`: a syscall in several \
                            classes is in the row that lists them all, so that no call is in two \
                            rows.";
                name(("class", "CLASS"), SYSCALL, help)
            }
            Self::Call => {
                let help = "Name of the syscall, with its ABI unless that is x86_64.";
                name(("syscall", "SYSCALL"), SYSCALL, help)
            }
            Self::Calls => {
                spec(("calls", "CALLS"), Unit::Count, WIDE_FIGURE, (0, 1), "Calls that entered.")
                    .per_second("CALLS/S")
                    .sorts(SortKey::Calls)
            }
            Self::Errors => {
                let help = "Calls that returned an errno.";
                spec(("errors", "ERRORS"), Unit::Count, FIGURE, (2, 4), help)
                    .per_second("ERR/S")
                    .sorts(SortKey::Errors)
            }
            Self::Time => {
                let help = "Wall time of all calls in the kernel.";
                spec(("total", "TIME"), Unit::Time, WIDE_FIGURE, (0, 2), help)
                    .per_second("TIME/S")
                    .sorts(SortKey::Total)
            }
            Self::OnCpu => {
                let help = "With --where: the part of `total` for which threads ran on a CPU.";
                part_of_time(("on cpu", "ON CPU"), help).per_second("ON CPU/S")
            }
            Self::Waiting => {
                let help = "With --where: the part of `total` for which threads were blocked.";
                part_of_time(("waiting", "WAITING"), help).per_second("WAITING/S")
            }
            Self::Runnable => {
                let help = "With --where: the part of `total` for which threads could have run, \
                            and waited for a CPU.";
                part_of_time(("runnable", "RUNNABLE"), help).per_second("RUNNABLE/S")
            }
            Self::Where => {
                let help = "With --where: the parts of the time on a CPU, runnable and waiting.";
                let widths = (WHERE_CELLS, WHERE_CELLS);
                spec(("where", "WHERE"), Unit::Drawing, widths, (0, 2), help)
            }
            Self::Share => {
                let help = "Share of the total time of all rows. With --no-waits, share of the \
                            time without the calls that wait by nature.";
                spec(("% time", "TIME%"), Unit::Share, FIGURE, (0, 12), help)
            }
            Self::CallShare => {
                let help = "Share of all calls. It replaces `% time` with --no-latency.";
                spec(("% calls", "CALLS%"), Unit::Share, ONLY_IN_REPORTS, (0, 0), help)
            }
            Self::Mean => spec(("mean", "MEAN"), Unit::Latency, FIGURE, (1, 5), "Mean latency.")
                .sorts(SortKey::Mean),
            Self::P50 => spec(("p50", "P50"), Unit::Latency, FIGURE, (4, 9), "Median latency.")
                .sorts(SortKey::P50),
            Self::P99 => {
                let help = "99th percentile of the latency.";
                spec(("p99", "P99"), Unit::Latency, FIGURE, (3, 6), help).sorts(SortKey::P99)
            }
            Self::Max => spec(("max", "MAX"), Unit::Latency, FIGURE, (5, 8), "Maximum latency.")
                .sorts(SortKey::Max),
            Self::Denied => {
                let help = "Calls that seccomp or ptrace refused; not part of `calls`.";
                spec(("denied", "DENIED"), Unit::Count, FIGURE, (6, 3), help).per_second("DENY/S")
            }
            Self::InFlight => {
                let help = "Calls that have not left the kernel yet.";
                only_in_reports(("in flight", "IN FLIGHT"), 7, help)
            }
            Self::Restarted => {
                let help = "Calls that a signal interrupted and the kernel restarted.";
                only_in_reports(("restarted", "RESTARTED"), 8, help)
            }
            Self::NoReturn => {
                let help = "Calls in which their thread ended, as exit and exit_group do.";
                only_in_reports(("no return", "NO RETURN"), 9, help)
            }
            Self::Lost => {
                let help = "Calls whose exit was missed.";
                only_in_reports(("lost", "LOST"), 1, help)
            }
            Self::ErrorsByName => {
                let help = "With --show-errno: the errors of the row, the most frequent first. On \
                            a terminal they are in a line of their own below the row.";
                let titles = ("errors by name", "ERRORS BY NAME");
                spec(titles, Unit::Name, ONLY_IN_REPORTS, (0, 0), help)
            }
            Self::Operation => {
                let help = "Opcode of io_uring.";
                spec(("operation", "OPERATION"), Unit::Name, (10, 17), (0, 0), help)
            }
            Self::Submitted => {
                let help = "Requests of io_uring that were submitted.";
                spec(("submitted", "SUBMIT"), Unit::Count, WIDE_FIGURE, (0, 1), help)
                    .per_second("SUBM/S")
                    .sorts(SortKey::Calls)
            }
            Self::Completed => {
                let help = "Requests of io_uring that completed.";
                spec(("completed", "COMPLETE"), Unit::Count, (9, 9), (0, 3), help)
                    .per_second("COMPL/S")
            }
            Self::Posted => {
                let help = "Further completions of multishot requests, and messages of rings.";
                spec(("posted", "POSTED"), Unit::Count, FIGURE, (0, 8), help).per_second("POST/S")
            }
            Self::TopCall => {
                let help = "The syscall with most calls or errors if sorted by that, or most time.";
                spec(("top syscall", "TOP SYSCALL"), Unit::Name, (12, 30), (0, 7), help)
            }
            Self::Spread => {
                let help = "Distribution of the latencies: two octaves in each character.";
                let widths = (SPREAD_CELLS, SPREAD_CELLS);
                spec(("latencies", "LATENCIES"), Unit::Drawing, widths, (0, 11), help)
            }
            Self::Age => {
                let help = "How long the call has lasted; `>` means at least.";
                spec(("age", "AGE"), Unit::Age, WIDE_FIGURE, (0, 0), help)
            }
            Self::Kind => {
                let help = "Whether the call works, may wait or waits by nature.";
                spec(("kind", "KIND"), Unit::Kind, WIDE_FIGURE, (2, 1), help)
            }
        }
    }

    /// The column of a sort key in a table of syscalls.
    pub(super) const fn sorted_by(key: SortKey) -> Self {
        match key {
            SortKey::Total => Self::Time,
            SortKey::Calls => Self::Calls,
            SortKey::Errors => Self::Errors,
            SortKey::Mean => Self::Mean,
            SortKey::P50 => Self::P50,
            SortKey::P99 => Self::P99,
            SortKey::Max => Self::Max,
            SortKey::Name => Self::Call,
        }
    }

    /// Whether cells are aligned to the left.
    pub const fn is_text(self) -> bool {
        matches!(self.spec().unit, Unit::Name | Unit::Kind | Unit::Drawing)
    }

    /// Whether sorting by the column is descending.
    pub const fn descends(self) -> bool {
        !matches!(self.spec().unit, Unit::Id | Unit::Name)
    }

    /// Whether the column has no figures with `--no-latency`.
    const fn needs_times(self) -> bool {
        matches!(self.spec().unit, Unit::Time | Unit::Latency)
    }
}

const FIGURES: [Column; 16] = {
    use Column::*;
    [
        Share, Time, OnCpu, Waiting, Runnable, Calls, Errors, Mean, P50, P99, Max, Denied,
        InFlight, Restarted, NoReturn, Lost,
    ]
};

/// The columns of the parts of the time.
pub const TIME_PARTS: [Column; 3] = [Column::OnCpu, Column::Waiting, Column::Runnable];

/// The columns that identify a row of `stat`.
const SUBJECTS: [Column; 13] = {
    use Column::*;
    [Pod, Container, Unit, Cgroup, User, Pid, Comm, Tid, Thread, Category, Class, Abi, Call]
};

/// The columns of the table of `stat` with a row per `by`. `off_cpu` says whether the time off the
/// CPU is measured.
pub(super) fn of_report(by: Grouping, timed: Timed, off_cpu: bool) -> Vec<Column> {
    let mut columns: Vec<Column> = FIGURES.into();
    columns.retain(|column| off_cpu || !TIME_PARTS.contains(column));
    if timed == Timed::None {
        columns.retain(|column| !column.needs_times());
        columns[0] = Column::CallShare;
    }
    let by_thread = by.has(Dimension::Thread);
    let by_process = by.has(Dimension::Process) || by_thread;
    let shown = [
        by.has(Dimension::Pod),
        by.has(Dimension::Container),
        by.has(Dimension::Unit),
        by.has(Dimension::Cgroup),
        by.has(Dimension::User),
        by_process,
        by_process || by.has(Dimension::Comm),
        by_thread,
        by_thread,
        by.has(Dimension::Category),
        by.has(Dimension::Class),
        by.has(Dimension::Abi) && !by.has(Dimension::Syscall),
        by.has(Dimension::Syscall),
    ];
    columns.extend(SUBJECTS.into_iter().zip(shown).filter_map(|(column, is)| is.then_some(column)));
    columns
}

/// Titles and meanings of all columns of `stat`, in their order: for the manual page.
pub fn help() -> impl Iterator<Item = (&'static str, &'static str)> {
    let others = [Column::CallShare, Column::ErrorsByName];
    let all = FIGURES.into_iter().chain(SUBJECTS).chain(others);
    all.map(|column| (column.spec().title, column.spec().help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sort_key_has_its_column() {
        use SortKey::*;
        for key in [Total, Calls, Errors, Mean, P50, P99, Max, Name] {
            assert_eq!(Column::sorted_by(key).spec().sort, Some(key));
        }
    }

    #[test]
    fn without_times_a_report_has_counts_only() {
        use Column::*;
        let columns = of_report(Grouping::PROCESS, Timed::None, false);
        let counts = [CallShare, Calls, Errors, Denied, InFlight, Restarted, NoReturn, Lost];
        assert_eq!(columns, [&counts[..], &[Pid, Comm]].concat());
    }
}
