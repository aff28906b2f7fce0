//! Reads the ring of one thread while the thread writes it, and selects its last calls. Pure: the
//! ring may be shared memory, or that of a test.

use profiler_common::{
    recorder::{Ring, Slot},
    trace::About,
};

/// A ring that its thread may write at this moment.
pub(super) trait Source {
    /// The description.
    fn ring(&self) -> Ring;
    /// The number of the event in a slot.
    fn seq(&self, place: u32) -> u64;
    /// A copy of a slot, whose number is copied first.
    fn slot(&self, place: u32) -> Slot;
}

/// Copies the events of `owner` in a ring of `slots` slots, the oldest one first. An event that is
/// overwritten meanwhile is missing.
pub(super) fn copy(source: &impl Source, slots: u32, owner: u32) -> Vec<Slot> {
    let head = source.ring().head;
    let capacity = u64::from(slots);
    let first = head.saturating_sub(capacity) + 1;
    let copied = (first..=head).filter_map(|seq| {
        let place = ((seq - 1) % capacity) as u32;
        let slot = source.slot(place);
        let is_whole = slot.head.mark.seq == seq && source.seq(place) == seq;
        (is_whole && slot.head.mark.owner == owner).then_some(slot)
    });
    copied.collect()
}

/// Up to where a thread's calls are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// All of them.
    End,
    /// Those that had left at this time, nanoseconds of `CLOCK_MONOTONIC`.
    Time(u64),
    /// Those up to the event with this number, at which there were so many calls.
    Event {
        /// [`Mark::seq`](profiler_common::recorder::Mark::seq).
        seq: u64,
        /// [`Mark::calls`](profiler_common::recorder::Mark::calls).
        calls: u32,
    },
}

impl Until {
    fn includes(self, slot: &Slot) -> bool {
        match self {
            Self::End => true,
            Self::Time(at_ns) => slot.head.header.exit_ns <= at_ns,
            Self::Event { seq, .. } => slot.head.mark.seq <= seq,
        }
    }

    /// How many calls the thread had made then. Between two calls that were overwritten, the
    /// greatest number possible.
    fn calls(self, slots: &[Slot]) -> u32 {
        if let Self::Event { calls, .. } = self {
            return calls;
        }
        let included = slots.iter().rev().find(|slot| self.includes(slot));
        let after =
            || slots.first().map_or(0, |slot| slot.head.mark.calls - u32::from(is_call(slot)));
        included.map_or_else(after, |slot| slot.head.mark.calls)
    }
}

/// What was printed of an owner before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Printed {
    /// The owner.
    pub(super) owner: u32,
    /// The number of its last call that was printed.
    pub(super) calls: u32,
    /// The number of its last event that was printed.
    pub(super) seq: u64,
}

/// The events to print of a thread.
#[derive(Debug, Default)]
pub(super) struct Selected<'a> {
    /// The events.
    pub(super) slots: Vec<&'a Slot>,
    /// How many calls are missing because they were overwritten.
    pub(super) overwritten: u64,
}

/// Selects the last `last` calls before each of the places `untils`, and the other events among
/// them. Skips what was printed before, and notes what is printed now. `slots` are those of one
/// owner, as [`copy`] returns them.
pub(super) fn select<'a>(
    slots: &'a [Slot],
    last: u32,
    untils: &[Until],
    printed: &mut Printed,
) -> Selected<'a> {
    // Ranges of calls: after the first number, up to the second one.
    let mut windows: Vec<(u32, u32)> = Vec::new();
    for until in untils {
        let end = until.calls(slots);
        windows.push((end.saturating_sub(last), end));
    }
    let is_wanted = |slot: &&Slot| {
        let mark = &slot.head.mark;
        let in_window = |&(start, end): &(u32, u32)| match is_call(slot) {
            true => start < mark.calls && mark.calls <= end,
            false => (start < mark.calls || start == 0) && mark.calls <= end,
        };
        let is_new = mark.seq > printed.seq;
        is_new
            && windows.iter().zip(untils).any(|(of, until)| in_window(of) && until.includes(slot))
    };
    let chosen: Vec<_> = slots.iter().filter(is_wanted).collect();
    let found = chosen.iter().filter(|slot| is_call(slot)).count() as u64;
    let wanted = size_of_union(&mut windows, printed.calls);
    if let Some(mark) = chosen.last().map(|slot| &slot.head.mark) {
        printed.seq = mark.seq;
    }
    let end = windows.iter().map(|window| window.1).max().unwrap_or(0);
    printed.calls = printed.calls.max(end);
    Selected { slots: chosen, overwritten: wanted.saturating_sub(found) }
}

/// How many numbers greater than `after` are in at least one of the ranges.
fn size_of_union(ranges: &mut [(u32, u32)], after: u32) -> u64 {
    ranges.sort_unstable();
    let (mut size, mut counted) = (0, after);
    for &(start, end) in ranges.iter() {
        let start = start.max(counted);
        if end > start {
            size += u64::from(end - start);
            counted = end;
        }
    }
    size
}

/// Whether a slot has a call.
pub(super) fn is_call(slot: &Slot) -> bool {
    slot.head.header.about == About::Call as u8
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use profiler_common::{
        recorder::{Head, Mark, SLOT_DATA, slots_of_ring},
        trace::Header,
    };
    use proptest::prelude::*;

    use super::*;

    /// A writer that goes on while it is read.
    struct Writer {
        state: RefCell<State>,
        /// How many steps it makes at each reading, in turn.
        pace: Vec<u32>,
    }

    struct State {
        ring: Ring,
        slots: Vec<Slot>,
        /// Events to write: whether each is a call.
        events: Vec<bool>,
        written: usize,
        /// Steps of the event that is written.
        step: u32,
        readings: usize,
    }

    const EMPTY: Slot = Slot {
        head: Head {
            mark: Mark { seq: 0, calls: 0, ring: 0, owner: 0, reserved: 0 },
            header: Header {
                about: 0,
                flags: 0,
                parts: 0,
                bytes: 0,
                tid: 0,
                tgid: 0,
                nr: 0,
                dropped: 0,
                entry_ns: 0,
                exit_ns: 0,
                result: 0,
                args: [0; 6],
                comm: [0; 16],
            },
        },
        data: [0; SLOT_DATA],
    };

    impl State {
        /// One step of `write` of the kernel side.
        fn step(&mut self) {
            let Some(&is_call) = self.events.get(self.written) else { return };
            let place = self.written % self.slots.len();
            let seq = self.written as u64 + 1;
            let slot = &mut self.slots[place];
            match self.step {
                0 => slot.head.mark.seq = 0,
                1 => {
                    self.ring.calls += u32::from(is_call);
                    slot.head.mark.calls = self.ring.calls;
                    slot.head.mark.owner = self.ring.owner;
                }
                2 => {
                    slot.head.header.about =
                        if is_call { About::Call as u8 } else { About::Signal as u8 };
                    slot.head.header.exit_ns = seq * 10;
                    slot.head.header.result = seq.cast_signed();
                }
                3 => slot.data = [(seq % 251) as u8; SLOT_DATA],
                4 => slot.head.mark.seq = seq,
                _ => {
                    self.ring.head = seq;
                    (self.written, self.step) = (self.written + 1, 0);
                    return;
                }
            }
            self.step += 1;
        }

        fn write_all(&mut self) {
            while self.written < self.events.len() {
                self.step();
            }
        }
    }

    impl Writer {
        fn new(slots: u32, events: Vec<bool>, before: usize, pace: Vec<u32>) -> Self {
            let mut state = State {
                ring: Ring { owner: 1, ..Ring::default() },
                slots: vec![EMPTY; slots as usize],
                events,
                written: 0,
                step: 0,
                readings: 0,
            };
            while state.written < before {
                state.step();
            }
            Self { state: RefCell::new(state), pace }
        }

        fn advance(&self) {
            let mut state = self.state.borrow_mut();
            let turn = state.readings;
            state.readings += 1;
            let steps = self.pace.get(turn % self.pace.len().max(1)).copied().unwrap_or(0);
            (0..steps).for_each(|_| state.step());
        }
    }

    impl Source for Writer {
        fn ring(&self) -> Ring {
            let ring = self.state.borrow().ring;
            self.advance();
            ring
        }

        fn seq(&self, place: u32) -> u64 {
            self.advance();
            self.state.borrow().slots[place as usize].head.mark.seq
        }

        /// The writer goes on between the two halves of the copy.
        fn slot(&self, place: u32) -> Slot {
            let mark = self.state.borrow().slots[place as usize].head.mark;
            self.advance();
            let header = self.state.borrow().slots[place as usize].head.header;
            self.advance();
            let data = self.state.borrow().slots[place as usize].data;
            Slot { head: Head { mark, header }, data }
        }
    }

    fn numbers(selected: &Selected<'_>) -> Vec<u64> {
        selected.slots.iter().map(|slot| slot.head.mark.seq).collect()
    }

    fn calls(count: usize) -> Vec<bool> {
        vec![true; count]
    }

    #[test]
    fn the_last_calls_are_selected_once() {
        let writer = Writer::new(slots_of_ring(3), calls(10), 8, vec![0]);
        let slots = copy(&writer, slots_of_ring(3), 1);
        let mut printed = Printed { owner: 1, ..Printed::default() };
        let selected = select(&slots, 3, &[Until::End], &mut printed);
        assert_eq!((numbers(&selected), selected.overwritten), (vec![6, 7, 8], 0));
        writer.state.borrow_mut().write_all();
        let slots = copy(&writer, slots_of_ring(3), 1);
        let selected = select(&slots, 3, &[Until::End], &mut printed);
        assert_eq!((numbers(&selected), selected.overwritten), (vec![9, 10], 0));
        let selected = select(&slots, 3, &[Until::End], &mut printed);
        assert_eq!((numbers(&selected), selected.overwritten), (vec![], 0));
    }

    /// The calls after an event are not printed, and those that they overwrote are counted.
    #[test]
    fn what_was_overwritten_after_the_event_is_counted() {
        let slots = slots_of_ring(4);
        let writer = Writer::new(slots, calls(100), 22, vec![0]);
        let copied = copy(&writer, slots, 1);
        for until in [Until::Event { seq: 5, calls: 5 }, Until::Time(50)] {
            let selected = select(&copied, 4, &[until], &mut Printed::default());
            assert_eq!((numbers(&selected), selected.overwritten), (vec![3, 4, 5], 1));
        }
        writer.state.borrow_mut().write_all();
        let copied = copy(&writer, slots, 1);
        let until = Until::Event { seq: 5, calls: 5 };
        let selected = select(&copied, 4, &[until], &mut Printed::default());
        assert_eq!((numbers(&selected), selected.overwritten), (vec![], 4));
    }

    #[test]
    fn several_events_select_the_union() {
        let slots = slots_of_ring(16);
        let writer = Writer::new(slots, calls(30), 30, vec![0]);
        let copied = copy(&writer, slots, 1);
        let at = |seq: u64| Until::Event { seq, calls: seq as u32 };
        let mut printed = Printed::default();
        let selected = select(&copied, 2, &[at(10), at(11), at(20)], &mut printed);
        assert_eq!((numbers(&selected), selected.overwritten), (vec![9, 10, 11, 19, 20], 0));
        let selected = select(&copied, 2, &[at(22)], &mut printed);
        assert_eq!(numbers(&selected), [21, 22]);
    }

    /// A ring that another thread had before.
    #[test]
    fn events_of_an_earlier_owner_are_left_out() {
        let writer = Writer::new(20, calls(30), 8, vec![0]);
        {
            let mut state = writer.state.borrow_mut();
            (state.ring.owner, state.ring.calls) = (2, 0);
            while state.written < 10 {
                state.step();
            }
        }
        let copied = copy(&writer, 20, 2);
        let selected = select(&copied, 5, &[Until::End], &mut Printed::default());
        assert_eq!((numbers(&selected), selected.overwritten), (vec![9, 10], 0));
        assert_eq!(copy(&writer, 20, 1).len(), 8);
    }

    proptest! {
        /// However the writer goes on, each event that is selected is whole, no call is selected
        /// that is not among the last ones, and those that are missing are counted.
        #[test]
        fn a_ring_is_read_while_it_is_written(
            last in 1..40_u32,
            events in prop::collection::vec(prop::bool::weighted(0.8), 1..400),
            before in 0.0..=1.0_f64,
            pace in prop::collection::vec(0..40_u32, 1..8),
        ) {
            let slots = slots_of_ring(last);
            let before = (events.len() as f64 * before) as usize;
            let made = |count: usize| events[..count].iter().filter(|call| **call).count() as u32;
            let until = Until::Event { seq: before as u64, calls: made(before) };
            let writer = Writer::new(slots, events.clone(), before, pace);
            let copied = copy(&writer, slots, 1);
            let selected = select(&copied, last, &[until], &mut Printed::default());
            let mut previous = 0;
            for slot in &selected.slots {
                let seq = slot.head.mark.seq;
                prop_assert!(seq > previous && seq <= before as u64);
                previous = seq;
                prop_assert_eq!(slot.head.header.result, seq.cast_signed());
                prop_assert!(slot.data.iter().all(|byte| u64::from(*byte) == seq % 251));
                prop_assert_eq!(slot.head.mark.calls, made(seq as usize));
                prop_assert!(made(before) - slot.head.mark.calls <= last);
            }
            let found = selected.slots.iter().filter(|slot| is_call(slot)).count() as u64;
            let wanted = u64::from(made(before).min(last));
            prop_assert_eq!(found + selected.overwritten, wanted);
        }

        /// If the writer rests, all of the last calls are there, however often the ring has wrapped.
        #[test]
        fn nothing_is_missing_of_a_ring_at_rest(last in 1..60_u32, count in 0..500_usize) {
            let slots = slots_of_ring(last);
            let writer = Writer::new(slots, calls(count), count, vec![0]);
            let copied = copy(&writer, slots, 1);
            let selected = select(&copied, last, &[Until::End], &mut Printed::default());
            let first = count.saturating_sub(last as usize) as u64 + 1;
            let wanted: Vec<u64> = (first..=count as u64).collect();
            prop_assert_eq!(numbers(&selected), wanted);
            prop_assert_eq!(selected.overwritten, 0);
        }
    }
}
