//! Operations of io_uring, which bypass syscalls: what was submitted, and how it completed.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use profiler_common::hist::{self, BUCKETS};
use serde::{Deserialize, Serialize};

use super::{ENDED_COMM, Latency, Process, latency};

/// What an engine knows about io_uring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoUring {
    /// Whether operations are counted.
    pub coverage: Coverage,
    /// Operations by process and opcode, in no order.
    pub rows: Vec<OperationRow>,
}

/// Whether operations of io_uring are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Coverage {
    /// The engine does not observe io_uring.
    #[default]
    NotObserved,
    /// The kernel lacks something, or refuses the programs: what, for people.
    Missing(Cow<'static, str>),
    /// The kernel does not say which request a completion belongs to. The opcode of a completion is
    /// known only if no request with another opcode and the same `user_data` was in flight.
    ByUserData,
    /// Each completion names its request.
    ByRequest,
}

impl Coverage {
    /// Whether operations are counted.
    pub fn is_counted(&self) -> bool {
        matches!(self, Self::ByUserData | Self::ByRequest)
    }
}

/// The operations of one process with one opcode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRow {
    /// The process that submitted them.
    pub process: Arc<Process>,
    /// The opcode (`IORING_OP_*`). `None` for completions whose opcode is unknown.
    pub opcode: Option<u8>,
    /// Since the programs were attached.
    pub total: Operations,
    /// Within [`Snapshot::interval`](super::Snapshot::interval).
    pub recent: Operations,
}

impl OperationRow {
    /// Operations since the programs were attached, and none in the interval.
    pub fn new(process: impl Into<Arc<Process>>, opcode: Option<u8>, total: Operations) -> Self {
        Self { process: process.into(), opcode, total, recent: Operations::default() }
    }
}

/// The figures of a set of operations.
///
/// `submitted + unmatched = completed + unreported + in flight`, except that requests in `silent`
/// end without a trace if they succeed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operations {
    /// Requests submitted.
    pub submitted: u64,
    /// Requests among them that ask for no completion if they succeed
    /// (`IOSQE_CQE_SKIP_SUCCESS`).
    pub silent: u64,
    /// Requests that completed. A multishot request completes once, with its last completion.
    pub completed: u64,
    /// Completed requests whose submission was not seen: those submitted before the attach.
    pub unmatched: u64,
    /// Completed requests that are in `silent`.
    pub silent_completed: u64,
    /// Requests that ended without a completion that names them, such as those whose completion
    /// overflowed. The engine notices this when the kernel uses the memory of the request again.
    pub unreported: u64,
    /// Further completions: those of a multishot request before its last one, and messages of
    /// other rings.
    pub posted: u64,
    /// Completions that found the completion queue full. The kernel does not say which request
    /// they belong to.
    pub overflowed: u64,
    /// Sum of the latencies of timed requests, nanoseconds.
    pub total_ns: u64,
    /// Completions with an errno, by errno, ascending, no count being zero.
    pub errnos: Vec<(u16, u64)>,
    /// Completions whose errno has no counter of its own.
    pub errors_unlisted: u64,
    /// Latencies of timed requests, from the submission to the completion.
    pub latency: Latency,
}

impl Operations {
    /// Completions with an errno.
    pub fn errors(&self) -> u64 {
        self.errnos.iter().map(|&(_, count)| count).sum::<u64>() + self.errors_unlisted
    }

    /// Requests whose latency is known.
    pub fn timed(&self) -> u64 {
        self.latency.count()
    }

    /// Mean latency in nanoseconds, rounded down; 0 if none is known.
    pub fn mean_ns(&self) -> u64 {
        self.total_ns.checked_div(self.timed()).unwrap_or(0)
    }

    /// The latencies at these quantiles (0 to 1), nanoseconds; 0 if none is known. See
    /// [`Latency::quantiles`].
    pub fn quantiles<const N: usize>(&self, quantiles: [f64; N]) -> [u64; N] {
        let (Some((first, _)), Some((last, _))) =
            (self.latency.iter().next(), self.latency.iter().next_back())
        else {
            return [0; N];
        };
        let greatest = if last == BUCKETS - 1 { u64::MAX } else { hist::upper(last) };
        self.latency.quantiles(quantiles, hist::lower(first), greatest)
    }

    /// Requests that have not completed. Those that ask for no completion are not among them.
    pub fn in_flight(&self) -> u64 {
        let begun =
            (self.submitted + self.unmatched + self.silent_completed).saturating_sub(self.silent);
        begun.saturating_sub(self.completed + self.unreported)
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        [self.submitted, self.completed, self.posted, self.overflowed, self.unreported] == [0; 5]
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.submitted += other.submitted;
        self.silent += other.silent;
        self.completed += other.completed;
        self.unmatched += other.unmatched;
        self.silent_completed += other.silent_completed;
        self.unreported += other.unreported;
        self.posted += other.posted;
        self.overflowed += other.overflowed;
        self.total_ns += other.total_ns;
        self.errors_unlisted += other.errors_unlisted;
        for &(errno, count) in &other.errnos {
            latency::add(&mut self.errnos, errno, count);
        }
        self.latency.merge(&other.latency);
    }

    /// What these figures gained after they were `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let gained = |of: fn(&Self) -> u64| of(self).saturating_sub(of(before));
        Self {
            submitted: gained(|o| o.submitted),
            silent: gained(|o| o.silent),
            completed: gained(|o| o.completed),
            unmatched: gained(|o| o.unmatched),
            silent_completed: gained(|o| o.silent_completed),
            unreported: gained(|o| o.unreported),
            posted: gained(|o| o.posted),
            overflowed: gained(|o| o.overflowed),
            total_ns: gained(|o| o.total_ns),
            errors_unlisted: gained(|o| o.errors_unlisted),
            errnos: latency::gained(&self.errnos, &before.errnos),
            latency: self.latency.since(&before.latency),
        }
    }
}

impl<'a> FromIterator<&'a Operations> for Operations {
    fn from_iter<I: IntoIterator<Item = &'a Operations>>(all: I) -> Self {
        let mut sum = Self::default();
        all.into_iter().for_each(|operations| sum.merge(operations));
        sum
    }
}

/// What names a row for good. Only rows of no process have a name in it.
type Key = (Option<u32>, u64, String, Option<u8>);

fn key(row: &OperationRow) -> Key {
    let process = &row.process;
    let comm = if process.tgid.is_none() { process.comm.raw() } else { "" };
    (process.tgid, process.start_ns, comm.to_owned(), row.opcode)
}

impl IoUring {
    /// The sum of all rows.
    pub fn total(&self) -> Operations {
        self.rows.iter().map(|row| &row.total).collect()
    }

    /// Sets what is recent in each row: what it gained since `previous`, or all of it without
    /// one. A row that has left the list since `previous` was added to the row of ended processes
    /// with the same opcode.
    pub(super) fn set_recent(&mut self, previous: Option<&Self>) {
        let rows = previous.map_or(&[][..], |previous| &previous.rows);
        let mut before: HashMap<Key, &Operations> =
            rows.iter().map(|row| (key(row), &row.total)).collect();
        let (ended, listed): (Vec<_>, Vec<_>) =
            self.rows.iter_mut().partition(|row| is_ended_row(&row.process));
        for row in listed {
            // A row that left the list and came back starts again.
            let key = key(row);
            let old = before.get(&key).copied().filter(|old| is_later(old, &row.total));
            if old.is_some() {
                before.remove(&key);
            }
            row.recent = old.map_or_else(|| row.total.clone(), |old| row.total.since(old));
        }
        for row in ended {
            let left = before.iter().filter(|((.., opcode), _)| *opcode == row.opcode);
            let old: Operations = left.map(|(_, total)| *total).collect();
            row.recent = row.total.since(&old);
        }
    }
}

fn is_ended_row(process: &Process) -> bool {
    process.tgid.is_none() && process.comm.raw() == ENDED_COMM
}

fn is_later(old: &Operations, new: &Operations) -> bool {
    new.submitted >= old.submitted && new.completed >= old.completed && new.posted >= old.posted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(submitted: u64, errno: u64) -> Operations {
        let errnos = if errno > 0 { vec![(9, errno)] } else { Vec::new() };
        let mut latency = Latency::default();
        latency.add(7, submitted);
        Operations { submitted, completed: submitted, errnos, latency, ..Operations::default() }
    }

    fn row(tgid: Option<u32>, opcode: u8, total: Operations) -> OperationRow {
        let process =
            tgid.map_or_else(|| Process::nobody(ENDED_COMM), |tgid| Process::new(tgid, 1, "a"));
        OperationRow::new(process, Some(opcode), total)
    }

    fn io_uring(rows: Vec<OperationRow>) -> IoUring {
        IoUring { coverage: Coverage::ByRequest, rows }
    }

    #[test]
    fn in_flight_is_what_was_submitted_and_has_not_ended() {
        let figures = Operations {
            submitted: 10,
            silent: 3,
            completed: 5,
            unmatched: 1,
            silent_completed: 1,
            unreported: 1,
            ..Operations::default()
        };
        // Of seven that report their end, three did, and one was overwritten.
        assert_eq!(figures.in_flight(), 3);
        assert_eq!(Operations { completed: 2, ..Operations::default() }.in_flight(), 0);
    }

    #[test]
    fn an_interval_has_what_came_in_it() {
        let mut first = io_uring(vec![row(Some(1), 0, operations(3, 1))]);
        first.set_recent(None);
        assert_eq!(first.rows[0].recent, operations(3, 1));
        let mut second =
            io_uring(vec![row(Some(1), 0, operations(5, 3)), row(Some(1), 22, operations(4, 0))]);
        second.set_recent(Some(&first));
        assert_eq!(second.rows[0].recent, operations(2, 2));
        assert_eq!(second.rows[1].recent, operations(4, 0));
    }

    #[test]
    fn what_left_the_list_counts_in_the_row_of_the_ended() {
        let first = io_uring(vec![
            row(Some(1), 0, operations(3, 1)),
            row(Some(2), 7, operations(9, 0)),
            row(None, 0, operations(10, 0)),
        ]);
        // Process 1 did two more before it left the list.
        let mut second =
            io_uring(vec![row(Some(2), 7, operations(9, 0)), row(None, 0, operations(15, 1))]);
        second.set_recent(Some(&first));
        assert!(second.rows[0].recent.is_empty());
        assert_eq!(second.rows[1].recent, operations(2, 0));
    }

    #[test]
    fn quantiles_are_within_the_buckets() {
        let mut figures = Operations::default();
        assert_eq!(figures.quantiles([0.5]), [0]);
        figures.latency.record(100);
        figures.latency.record(1_000_000);
        let [low, high] = figures.quantiles([0.1, 1.0]);
        assert!(low.abs_diff(100) <= 8 && high.abs_diff(1_000_000) <= 62_500, "{low} {high}");
    }
}
