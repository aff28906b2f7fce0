//! Translates the counters of the programs into the loss accounting of the model.

use profiler_common::wire::Counters;

use crate::model::{ENTRY, EXIT, KernelDetail, Losses, Pool, Use};

/// How often the kernel skipped each program, by name.
pub(crate) type Misses = [(&'static str, u64)];

/// Returns the losses that left a trace.
pub(crate) fn losses(counters: &Counters, misses: &Misses) -> Losses {
    let (of_operations, of_others): (Vec<_>, Vec<_>) =
        misses.iter().partition(|(name, _)| counts_operations(name));
    let of_lives = of_others.iter().filter(|(name, _)| !counts_calls(name) && !splits_time(name));
    Losses {
        no_task_state: counters.lost_entries,
        missed_entries: counters.missed_entries,
        missed_exits: counters.lost_exits,
        unfollowed_children: counters.lost_children,
        missed_life_events: of_lives.map(|(_, misses)| misses).sum(),
        missed_operations: of_operations.iter().map(|(_, misses)| misses).sum(),
    }
}

/// Returns an upper bound of the losses that left no trace: the number of entries and exits that
/// the kernel skipped, minus those in [`losses`]. There are three ways to leave no trace:
///
/// - Both the entry and the exit of the call were skipped.
/// - The call counts as denied.
/// - The process is out of scope.
pub(crate) fn unseen(counters: &Counters, misses: &Misses) -> u64 {
    let seen = |name: &str| match name {
        ENTRY => counters.missed_entries,
        _ => counters.lost_exits,
    };
    let of_calls = misses.iter().filter(|(name, _)| counts_calls(name));
    of_calls.map(|(name, misses)| misses.saturating_sub(seen(name))).sum()
}

/// Whether a program follows the time off the CPU. No call is lost if the kernel skips it.
fn splits_time(program: &str) -> bool {
    program == "sched_switch" || program == "sched_waking"
}

/// Whether a program counts operations of io_uring.
fn counts_operations(program: &str) -> bool {
    program.starts_with("uring_")
}

/// Whether a program counts calls. The other programs count operations, or follow threads,
/// processes, or the time off the CPU.
fn counts_calls(program: &str) -> bool {
    program == ENTRY || program == EXIT
}

/// Returns the pools: records, and extents of 1 KiB.
pub(crate) fn pools(counters: &Counters, records: Use, extents: Use) -> Vec<Pool> {
    vec![
        Pool {
            name: "records".into(),
            usage: records,
            exhausted: counters.records_exhausted,
            withheld: counters.records_withheld,
        },
        Pool {
            name: "extents".into(),
            usage: extents,
            exhausted: counters.extents_exhausted,
            withheld: counters.extents_withheld,
        },
    ]
}

/// Returns the figures that only the kernel engine has. The caller fills in `mode`, `copies` and
/// `memory_bytes`.
pub(crate) fn detail(counters: &Counters, misses: &Misses) -> KernelDetail {
    KernelDetail {
        program_misses: misses.iter().map(|&(name, misses)| (name.into(), misses)).collect(),
        entries_taken_over: counters.entries_taken_over,
        exits_taken_over: counters.exits_taken_over,
        in_flight_at_attach: counters.in_flight_at_attach,
        births: counters.births,
        denied_unrecorded: counters.denied_unrecorded,
        denied_presumed: counters.denied_presumed,
        unreported_returns: counters.unreported_returns,
        unreported_ns: counters.unreported_ns,
        ..KernelDetail::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_runs_that_left_a_trace_are_lost_and_the_others_are_unseen() {
        let counters = Counters {
            lost_entries: 12,
            missed_entries: 20,
            lost_exits: 3,
            lost_children: 5,
            ..Counters::default()
        };
        let misses = [
            ("sys_enter", 30),
            ("sys_exit", 2),
            ("process_exit", 10),
            ("task_rename", 7),
            ("uring_submit", 4),
        ];
        let losses = losses(&counters, &misses);
        let expected = Losses {
            no_task_state: 12,
            missed_entries: 20,
            missed_exits: 3,
            unfollowed_children: 5,
            missed_life_events: 17,
            missed_operations: 4,
        };
        assert_eq!((losses, losses.total()), (expected, 61));
        // Twenty of the thirty skipped entries left a trace, and all skipped exits did.
        assert_eq!(unseen(&counters, &misses), 10);
    }

    #[test]
    fn every_counter_has_its_place() {
        let counters = Counters {
            in_flight_at_attach: 1,
            births: 2,
            denied_unrecorded: 3,
            denied_presumed: 4,
            unreported_returns: 12,
            unreported_ns: 13,
            records_exhausted: 5,
            extents_exhausted: 6,
            records_withheld: 7,
            extents_withheld: 8,
            entries_taken_over: 9,
            exits_taken_over: 10,
            ..Counters::default()
        };
        let [records, extents] = [21, 22].map(|used| Use { used, capacity: 100 });
        let pool = |name: &'static str, usage, exhausted, withheld| Pool {
            name: name.into(),
            usage,
            exhausted,
            withheld,
        };
        let expected = [pool("records", records, 5, 7), pool("extents", extents, 6, 8)];
        assert_eq!(pools(&counters, records, extents), expected);
        let expected = KernelDetail {
            program_misses: vec![("sys_exit".into(), 11)],
            in_flight_at_attach: 1,
            births: 2,
            denied_unrecorded: 3,
            denied_presumed: 4,
            unreported_returns: 12,
            unreported_ns: 13,
            entries_taken_over: 9,
            exits_taken_over: 10,
            ..KernelDetail::default()
        };
        assert_eq!(detail(&counters, &[("sys_exit", 11)]), expected);
    }
}
