//! Reads consistent figures of one slot, even while its thread makes calls.
//!
//! The figures of a slot are in several cache lines, which cannot be read at one moment. So the
//! reader reads the activity of the thread before and after the figures, as with a seqlock. If no
//! program ran for the thread in between, the figures are those of one moment. Otherwise the reader
//! reads them again. After [`TRIES`] attempts, the reader leaves the whole slot to the next drain.
//! The figures are then late, but they never contradict each other.
//!
//! At the last reading, the programs are detached. So the last reading leaves no slot.

use std::{collections::HashMap, iter::once};

use profiler_common::{
    limits::ERRNOS_PER_PAGE,
    sampling::sampler::Sampler,
    wire::{CellIndex, LINES, Line, RecordState, Slot, ThreadRecord},
};

use super::{
    batch::{self, Changed, HistogramLine, SUMS, Visit},
    off_cpu,
    shadow::{Shadow, WORDS},
};
use crate::{
    engine::kernel::tables::{Activity, SlotCounts, Tables},
    model::{Extremes, Figures, OffCpu, Timed},
};

/// How often a slot is read at most while its thread makes calls. A reading takes about as long as
/// the shortest syscalls. So even if a thread makes only such calls, one of a few readings
/// succeeds.
const TRIES: usize = 64;

/// A reading of a slot. It is reused for each slot.
#[derive(Default)]
pub(super) struct SlotReading {
    /// The figures since the last reading.
    pub(super) figures: Figures,
    /// The time off the CPU of all calls that left, since the start.
    pub(super) off_cpu: OffCpu,
    /// The lines of counts that have changed: cell, line, and new content.
    lines: Vec<(CellIndex, usize, Line)>,
    /// The sampler of the slot.
    sampler: Sampler,
}

/// How to read slots.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// Which calls the programs time.
    pub(super) timed: Timed,
    /// Whether the programs follow the time off the CPU.
    pub(super) off_cpu: bool,
    /// Whether there is no next drain, because the programs are detached.
    pub(super) last: bool,
}

/// The samplers at the last reading. Only slots with untimed calls have an entry.
pub(super) type Samplers = HashMap<CellIndex, Sampler>;

impl SlotReading {
    /// Reads a slot that has changed, and stores its content in `known`. Returns the counts of the
    /// slot that are now reported, or `None` if the slot has to be left to the next drain.
    pub(super) fn read(
        &mut self,
        tables: &impl Tables,
        (known, samplers): (&mut Shadow, &mut Samplers),
        visit: &Visit,
        changed: &Changed,
        how: How,
    ) -> Option<SlotCounts> {
        let sampler = samplers.get(&changed.index).copied().unwrap_or_default();
        let old = batch::sums(&changed.known);
        let ended = RecordState::is_final(visit.before.state);
        let mut changed = *changed;
        let mut before = visit.before;
        for _ in 0..TRIES {
            let new = batch::sums(&changed.sums);
            if matches!(how.timed, Timed::Adaptive(_)) {
                self.sampler = tables.sampler(changed.index);
            }
            self.collect(tables, known, &changed, (&new, &old), &sampler);
            let off_cpu = if how.off_cpu {
                let thread = (&before, &visit.record);
                off_cpu::of_slot(tables, (visit.index, changed.index), thread)
            } else {
                Some(OffCpu::default())
            };
            let after = tables.activity(visit.index);
            let is_settled = before == after && is_between_programs(&before, &visit.record);
            if let Some(off_cpu) = off_cpu
                && (ended || how.last || is_settled)
            {
                self.off_cpu = off_cpu;
                self.finish(&new, how.timed);
                self.remember(known, &changed);
                if self.sampler.extra_ns != sampler.extra_ns || self.sampler.extra != sampler.extra
                {
                    samplers.insert(changed.index, self.sampler);
                }
                let Slot { entered, returned, restarted, denied, .. } = new;
                return Some(SlotCounts { entered, returned, restarted, denied });
            }
            before = after;
            changed.read_again(tables);
        }
        None
    }

    /// Collects the increases since the last reading.
    fn collect(
        &mut self,
        tables: &impl Tables,
        known: &Shadow,
        changed: &Changed,
        (new, old): (&Slot, &Slot),
        sampler: &Sampler,
    ) {
        let Self { figures, lines, .. } = self;
        let extra = self.sampler.extra.wrapping_sub(sampler.extra);
        figures.clear();
        lines.clear();
        figures.calls = new.entered.wrapping_sub(old.entered);
        figures.returned = new.returned.wrapping_sub(old.returned);
        figures.restarted = new.restarted.wrapping_sub(old.restarted);
        figures.denied = u64::from(new.denied.wrapping_sub(old.denied));
        figures.errors_unlisted = u64::from(new.errors_unlisted.wrapping_sub(old.errors_unlisted));
        figures.total_ns = new.total_ns.wrapping_sub(old.total_ns);
        figures.extra = extra.into();
        figures.extra_ns = self.sampler.extra_ns.wrapping_sub(sampler.extra_ns);
        figures.squares = self.sampler.squares.wrapping_sub(sampler.squares);
        // Without weights, there are as many new latencies as calls that left. Once all are found,
        // the remaining lines have no new latency. With weights, there can be more.
        let left = if extra == 0 { figures.left() } else { u64::MAX };
        let mut found = 0;
        let others = HistogramLine::all().filter(|&other| other != changed.likely);
        for counts in once(changed.likely).chain(others) {
            let cell = changed.chunks()[counts.chunk];
            if cell == 0 {
                continue;
            }
            let line = tables.line(cell, counts.line);
            let grew = known.each_new((cell, counts.line), &line, |i, count| {
                found += count;
                figures.latency.add(counts.first_bucket() + i, count);
            });
            if grew {
                lines.push((cell, counts.line, line));
            }
            if found >= left {
                break;
            }
        }
        let errors = new.errors.wrapping_sub(old.errors);
        if errors != 0 {
            self.collect_errnos(tables, known, changed.errno_pages(), errors);
        }
    }

    /// Collects the errnos of `errors` errors.
    fn collect_errnos(
        &mut self,
        tables: &impl Tables,
        known: &Shadow,
        pages: &[CellIndex],
        errors: u64,
    ) {
        let Self { figures, lines, .. } = self;
        let mut found = figures.errors_unlisted;
        for (page, &cell) in pages.iter().enumerate().filter(|&(_, &cell)| cell != 0) {
            for at in 0..LINES {
                let first = page * ERRNOS_PER_PAGE + at * WORDS;
                let line = tables.line(cell, at);
                let grew = known.each_new((cell, at), &line, |i, count| {
                    found += count;
                    figures.add_errno((first + i) as u16, count);
                });
                if grew {
                    lines.push((cell, at, line));
                }
                if found >= errors {
                    return;
                }
            }
        }
    }

    /// Computes the figures that follow from the counts.
    fn finish(&mut self, new: &Slot, timed: Timed) {
        let figures = &mut self.figures;
        figures.errors =
            figures.errnos.iter().map(|&(_, count)| count).sum::<u64>() + figures.errors_unlisted;
        figures.untimed = untimed(figures, timed);
        // The program stores the extremes before it counts the first timed call as left.
        if new.min_ns != u64::MAX {
            figures.extremes = Some(Extremes { min_ns: new.min_ns, max_ns: new.max_ns });
        }
    }

    /// Stores what was read in `known`.
    fn remember(&self, known: &mut Shadow, changed: &Changed) {
        for (cell, at, line) in self.lines.iter().chain(once(&(changed.index, SUMS, changed.sums)))
        {
            known.store(*cell, *at, line);
        }
    }
}

/// Whether no program was writing figures for the thread when its activity was read. The exit
/// program clears the call in flight first, and counts the call that left last. The entry program
/// changes only the number of entered calls.
fn is_between_programs(activity: &Activity, record: &ThreadRecord) -> bool {
    let is_in_call = ThreadRecord { in_flight_key: activity.in_flight_key, ..*record }.in_call();
    is_in_call || activity.entered == activity.left.wrapping_add(record.missed_exits)
}

/// Returns how many of the calls that left were not timed, and are therefore in no bucket.
pub(super) fn untimed(figures: &Figures, timed: Timed) -> u64 {
    match timed {
        Timed::All => 0,
        Timed::OneIn(_) | Timed::None => figures.left().wrapping_sub(figures.latency.count()),
        // Buckets count weights.
        Timed::Adaptive(_) => {
            let timed = figures.latency.count().wrapping_sub(figures.extra);
            figures.left().wrapping_sub(timed)
        }
    }
}
