//! The order of lines: by the time at which calls entered.
//!
//! The kernel side sends a call when it leaves, so a call that lasts arrives after calls that
//! entered later. A reading therefore says up to which time everything is known (its horizon), and
//! which calls are in flight then. Lines wait until all that belongs before them is known.
//!
//! A call that has been in flight for [`PATIENCE`] is not waited for: it gets a line when it
//! entered, and another one when it leaves.

use std::collections::HashSet;

use crate::{
    model::{Event, Happened},
    names::syscalls,
};

/// How long the lines after a call in flight wait for it, nanoseconds.
pub(super) const PATIENCE: u64 = 100_000_000;

/// More events do not wait for a call in flight, so that memory stays bounded.
const MOST_HELD: usize = 1_000_000;

/// What to print next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// An event with one line.
    Whole(Event),
    /// A call that is in flight.
    Begun(Event),
    /// The end of a call whose beginning was printed, or that entered before the start.
    Resumed(Event),
}

/// What one reading found.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Events since the last reading.
    pub(super) events: Vec<Event>,
    /// The calls in flight.
    pub(super) in_flight: Vec<Event>,
    /// Every call that entered earlier is in `events`, of this or an earlier reading, or in
    /// `in_flight`. Nanoseconds of `CLOCK_MONOTONIC`.
    pub(super) horizon_ns: u64,
}

/// Puts events in order.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Whether results decide which calls have a line. Whether a call in flight will have one is
    /// then unknown, so the order is that in which calls leave.
    by_exit: bool,
    held: Vec<Event>,
    begun: HashSet<CallId>,
}

/// Identifies a call in flight: its thread, and the time of its entry.
type CallId = (u32, u64);

impl Order {
    /// The order by entry, or by exit if results decide which calls have a line.
    pub(super) fn new(by_exit: bool) -> Self {
        Self { by_exit, ..Self::default() }
    }

    /// The steps that are known after `reading`, in order.
    pub(super) fn add(&mut self, mut reading: Reading) -> Vec<Step> {
        if self.by_exit {
            reading.in_flight.clear();
        }
        let Reading { events, in_flight, horizon_ns } = reading;
        let oldest_awaited = self.awaited(&events, &in_flight, horizon_ns);
        self.held.extend(events);
        if self.held.len() > MOST_HELD {
            return self.take(&in_flight, u64::MAX);
        }
        let limit = oldest_awaited.unwrap_or(u64::MAX).min(horizon_ns.saturating_add(1));
        self.take(&in_flight, limit)
    }

    /// The remaining steps: nothing is waited for any more.
    pub(super) fn finish(&mut self, mut reading: Reading) -> Vec<Step> {
        if self.by_exit {
            reading.in_flight.clear();
        }
        self.held.extend(reading.events);
        self.take(&reading.in_flight, u64::MAX)
    }

    /// The calls in flight of the last reading that are shown: none, if results decide that.
    pub(super) fn shown_in_flight(&self, reading: &Reading) -> Vec<Event> {
        if self.by_exit { Vec::new() } else { reading.in_flight.clone() }
    }

    /// The entry of the oldest call in flight that is waited for.
    fn awaited(&self, events: &[Event], in_flight: &[Event], horizon_ns: u64) -> Option<u64> {
        let has_left = left(events);
        let waiting = in_flight.iter().filter_map(call_id).filter(|id| {
            horizon_ns.saturating_sub(id.1) < PATIENCE
                && !has_left.contains(id)
                && !self.begun.contains(id)
        });
        waiting.map(|id| id.1).min()
    }

    /// Takes what is before `limit`.
    fn take(&mut self, in_flight: &[Event], limit: u64) -> Vec<Step> {
        let has_left = left(&self.held);
        let mut steps = Vec::new();
        for event in in_flight {
            let Some(id) = call_id(event) else { continue };
            if id.1 < limit && !has_left.contains(&id) && !self.begun.contains(&id) {
                steps.push((id.1, Step::Begun(event.clone())));
            }
        }
        self.begun.extend(steps.iter().filter_map(|(_, step)| match step {
            Step::Begun(event) => call_id(event),
            Step::Whole(_) | Step::Resumed(_) => None,
        }));
        // A thread's events keep their order: what follows an event that waits, waits too.
        let mut kept = Vec::new();
        for event in std::mem::take(&mut self.held) {
            let begun = self.begun_as(&event);
            let at = time_of(&event, begun.is_some() || self.by_exit);
            if at >= limit {
                kept.push(event);
                continue;
            }
            let entered_before = matches!(&event.happened, Happened::Call(call)
                if call.entry_ns.is_none() && !call.is_denied);
            if let Some(id) = begun {
                self.begun.remove(&id);
            }
            if matches!(event.happened, Happened::Ended { .. }) {
                // The record of a call that has begun may have been dropped.
                self.begun.retain(|(tid, _)| *tid != event.tid);
            }
            let step = if begun.is_some() || entered_before { Step::Resumed } else { Step::Whole };
            steps.push((at, step(event)));
        }
        self.held = kept;
        // Stable, so that events of the same time keep the order in which the kernel side sent them.
        steps.sort_by_key(|(at, _)| *at);
        steps.into_iter().map(|(_, step)| step).collect()
    }
}

impl Order {
    /// The call of which this event is the end, if a line shows its entry.
    ///
    /// An exec by a thread that is not the leader changes the id of the thread within the call: the
    /// thread becomes the leader.
    fn begun_as(&self, event: &Event) -> Option<CallId> {
        let id = call_id(event)?;
        if self.begun.contains(&id) {
            return Some(id);
        }
        let Happened::Call(call) = &event.happened else { return None };
        let is_exec = syscalls::known(call.key).is_some_and(|name| name.starts_with("execve"));
        self.begun.iter().copied().find(|of| is_exec && of.1 == id.1)
    }
}

fn call_id(event: &Event) -> Option<CallId> {
    match &event.happened {
        Happened::Call(call) => Some((event.tid, call.entry_ns?)),
        Happened::Signal(_) | Happened::Ended { .. } => None,
    }
}

fn left(events: &[Event]) -> HashSet<CallId> {
    events.iter().filter_map(call_id).collect()
}

/// When the line of an event belongs. `begun` says whether the call has a line for its entry.
fn time_of(event: &Event, begun: bool) -> u64 {
    match &event.happened {
        Happened::Call(call) => {
            let exit = call.over_ns();
            let entry = call.entry_ns.filter(|_| !begun);
            entry.or(exit).or(call.entry_ns).unwrap_or(0)
        }
        Happened::Signal(signal) => signal.at_ns,
        Happened::Ended { at_ns, .. } => *at_ns,
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::call::CallKey;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Call, Left};

    const MS: u64 = 1_000_000;

    fn call(tid: u32, entry: u64, exit: Option<u64>) -> Event {
        call_of(0, tid, entry, exit)
    }

    fn call_of(key: u32, tid: u32, entry: u64, exit: Option<u64>) -> Event {
        let left = exit.map(|exit_ns| Left { exit_ns, result: 0 });
        let happened = Happened::Call(Call {
            key: CallKey(key),
            args: [0; 6],
            entry_ns: Some(entry),
            left,
            thread_ended_ns: None,
            is_denied: false,
            is_cut: false,
            parts: Vec::new(),
        });
        Event { tid, tgid: 1, comm: "a".into(), dropped: 0, happened }
    }

    /// Thread, entry or exit, and the kind of step.
    fn shown(steps: &[Step]) -> Vec<(u32, u64, char)> {
        let of = |event: &Event, begun, kind| (event.tid, time_of(event, begun), kind);
        let shown = steps.iter().map(|step| match step {
            Step::Whole(event) => of(event, false, '='),
            Step::Begun(event) => of(event, false, '<'),
            Step::Resumed(event) => of(event, true, '>'),
        });
        shown.collect()
    }

    #[test]
    fn a_call_that_lasts_a_little_is_before_the_calls_that_entered_within_it() {
        let mut order = Order::default();
        let first = order.add(Reading {
            events: vec![call(2, 20 * MS, Some(21 * MS))],
            in_flight: vec![call(1, 10 * MS, None)],
            horizon_ns: 50 * MS,
        });
        assert!(first.is_empty(), "{first:?}");
        let then = order.add(Reading {
            events: vec![call(1, 10 * MS, Some(60 * MS))],
            in_flight: Vec::new(),
            horizon_ns: 80 * MS,
        });
        assert_eq!(shown(&then), [(1, 10 * MS, '='), (2, 20 * MS, '=')]);
    }

    #[test]
    fn a_call_that_lasts_has_a_line_at_each_end() {
        let mut order = Order::default();
        let first = order.add(Reading {
            events: vec![call(2, 20 * MS, Some(21 * MS))],
            in_flight: vec![call(1, 10 * MS, None)],
            horizon_ns: 110 * MS,
        });
        assert_eq!(shown(&first), [(1, 10 * MS, '<'), (2, 20 * MS, '=')]);
        // It is not begun twice.
        let again = order.add(Reading {
            events: Vec::new(),
            in_flight: vec![call(1, 10 * MS, None)],
            horizon_ns: 210 * MS,
        });
        assert!(again.is_empty());
        let end = order.add(Reading {
            events: vec![call(1, 10 * MS, Some(220 * MS)), call(1, 230 * MS, Some(231 * MS))],
            in_flight: Vec::new(),
            horizon_ns: 300 * MS,
        });
        assert_eq!(shown(&end), [(1, 220 * MS, '>'), (1, 230 * MS, '=')]);
    }

    /// The reader may see a call in flight, and then its end.
    #[test]
    fn a_call_that_left_meanwhile_is_whole() {
        let mut order = Order::default();
        let steps = order.add(Reading {
            events: vec![call(1, 10 * MS, Some(200 * MS))],
            in_flight: vec![call(1, 10 * MS, None)],
            horizon_ns: 201 * MS,
        });
        assert_eq!(shown(&steps), [(1, 10 * MS, '=')]);
    }

    #[test]
    fn at_the_end_nothing_waits() {
        let mut order = Order::default();
        let steps = order.finish(Reading {
            events: vec![call(2, 20 * MS, Some(900 * MS))],
            in_flight: vec![call(1, 10 * MS, None)],
            horizon_ns: 30 * MS,
        });
        assert_eq!(shown(&steps), [(1, 10 * MS, '<'), (2, 20 * MS, '=')]);
    }

    #[test]
    fn an_exec_that_takes_the_id_of_the_leader_is_resumed() {
        const EXECVE: u32 = 59;
        let mut order = Order::default();
        order.add(Reading {
            events: Vec::new(),
            in_flight: vec![call_of(EXECVE, 2, 10 * MS, None)],
            horizon_ns: 200 * MS,
        });
        let end = order.finish(Reading {
            events: vec![call_of(EXECVE, 1, 10 * MS, Some(300 * MS))],
            ..Reading::default()
        });
        assert_eq!(shown(&end), [(1, 300 * MS, '>')]);
    }

    #[test]
    fn calls_that_are_chosen_by_their_result_are_in_the_order_of_their_ends() {
        let mut order = Order::new(true);
        let steps = order.add(Reading {
            events: vec![call(2, 20 * MS, Some(21 * MS)), call(1, 10 * MS, Some(30 * MS))],
            in_flight: vec![call(3, 5 * MS, None)],
            horizon_ns: 300 * MS,
        });
        assert_eq!(shown(&steps), [(2, 20 * MS, '='), (1, 10 * MS, '=')]);
    }

    /// Calls of some threads, one after another in each thread.
    fn histories() -> impl Strategy<Value = Vec<Vec<(u64, u64)>>> {
        let call = (1..300_u64, 1..300_u64);
        let thread = prop::collection::vec(call, 0..12).prop_map(|gaps| {
            let mut now = 1_000;
            gaps.into_iter()
                .map(|(idle, busy)| {
                    let entry = now + idle;
                    now = entry + busy;
                    (entry * MS, now * MS)
                })
                .collect()
        });
        prop::collection::vec(thread, 1..4)
    }

    proptest! {
        /// However the readings fall, each call is printed once, whole or in two lines, each
        /// thread's calls are in order, and all lines are in the order of their times.
        #[test]
        fn lines_are_in_order(threads in histories(), period in 1..150_u64) {
            let all: Vec<Event> = threads.iter().zip(1..).flat_map(|(calls, tid)| {
                calls.iter().map(move |&(entry, exit)| call(tid, entry, Some(exit)))
            }).collect();
            let exit = |event: &Event| time_of(event, true);
            let entry = |event: &Event| time_of(event, false);
            let last = all.iter().map(exit).max().unwrap_or(0);
            let (mut order, mut steps, mut now) = (Order::default(), Vec::new(), 0);
            while now <= last {
                let until = now + period * MS;
                let mut events: Vec<_> = all.iter()
                    .filter(|e| (now..until).contains(&exit(e))).cloned().collect();
                events.sort_by_key(exit);
                let in_flight = all.iter()
                    .filter(|e| entry(e) < until && exit(e) >= until)
                    .map(|e| call(e.tid, entry(e), None)).collect();
                steps.extend(order.add(Reading { events, in_flight, horizon_ns: until - 1 }));
                now = until;
            }
            steps.extend(order.finish(Reading::default()));
            let lines = shown(&steps);
            prop_assert!(lines.is_sorted_by_key(|line| line.1), "{lines:?}");
            for event in &all {
                let of = |kind, at| lines.iter()
                    .filter(|line| **line == (event.tid, at, kind)).count();
                let whole = of('=', entry(event));
                let split = (of('<', entry(event)), of('>', exit(event)));
                prop_assert!(matches!((whole, split), (1, (0, 0)) | (0, (1, 1))), "{lines:?}");
            }
        }
    }
}
