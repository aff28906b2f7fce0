//! Two drains as one refresh. The kernel side may want a drain before the screen
//! wants its next refresh; what that drain brought belongs to the refresh.

use std::collections::HashMap;

use crate::snapshot::{CallRow, Snapshot};

use super::view::ProcessId;

/// `later` with all that `earlier`, the drain before, brought in its interval.
pub(super) fn join(earlier: Snapshot, mut later: Snapshot) -> Snapshot {
    later.interval += earlier.interval;
    join_calls(&earlier.calls, &mut later.calls);
    let mut at: HashMap<ProcessId, usize> = HashMap::with_capacity(later.processes.len());
    for (row, process) in later.processes.iter().enumerate() {
        at.insert(ProcessId::from(&*process.process), row);
    }
    for row in earlier.processes {
        match at.get(&ProcessId::from(&*row.process)) {
            Some(&at) => join_calls(&row.calls, &mut later.processes[at].calls),
            // It ended and was delisted in between, yet its calls are of this
            // interval.
            None if row.calls.iter().any(|call| !call.recent.is_empty()) => {
                later.processes.push(row);
            }
            None => {}
        }
    }
    later
}

fn join_calls(earlier: &[CallRow], later: &mut Vec<CallRow>) {
    for row in earlier.iter().filter(|row| !row.recent.is_empty()) {
        match later.iter_mut().find(|call| call.key == row.key) {
            Some(call) => call.recent.merge(&row.recent),
            None => later.push(row.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tui::fixtures::{self, call, process, row};

    #[test]
    fn figures_of_both_intervals_add_up_and_totals_are_the_later() {
        let nginx = process(1234, "nginx");
        let earlier =
            fixtures::snapshot(2, vec![(nginx.clone(), vec![row(call("read"), 100, 1_000)])]);
        let later = fixtures::snapshot(3, vec![(nginx, vec![row(call("read"), 40, 9_000)])]);
        let total = later.processes[0].calls[0].total.clone();
        let joined = join(earlier, later);
        assert_eq!(joined.interval, Duration::from_secs(2));
        assert_eq!(joined.sequence, 3);
        for calls in [&joined.calls, &joined.processes[0].calls] {
            assert_eq!(calls[0].recent.calls, 140);
            assert_eq!(calls[0].recent.latency.count(), 140);
        }
        assert_eq!(joined.processes[0].calls[0].total, total);
    }

    #[test]
    fn a_process_that_was_delisted_in_between_stays_if_it_was_active() {
        let short_lived = process(77, "true");
        let idle = process(78, "idle");
        let earlier = fixtures::snapshot(
            2,
            vec![
                (short_lived.clone(), vec![row(call("execve"), 1, 500_000)]),
                (idle, vec![row(call("read"), 0, 1_000)]),
            ],
        );
        let joined = join(earlier, fixtures::snapshot(3, vec![]));
        let names: Vec<&str> = joined.processes.iter().map(|p| p.process.comm.as_str()).collect();
        assert_eq!(names, ["true"]);
        assert_eq!(joined.calls[0].recent.calls, 1);
    }
}
