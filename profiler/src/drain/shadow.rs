//! A copy of the pool, as it was read last.

use profiler_common::wire::{Cell, CellIndex, LINES, Line};

use crate::prefetch::prefetch;

/// Of plain integers, which the allocator takes zeroed from the kernel: what nobody
/// touched then takes no memory, and this is as large as what is in use rather than as the
/// pool.
pub(super) struct Shadow(Vec<u32>);

impl Shadow {
    const WORDS: usize = size_of::<Cell>() / size_of::<u32>();

    /// Of a pool of so many cells, all zeros.
    pub(super) fn new(cells: usize) -> Self {
        Self(vec![0; cells * Self::WORDS])
    }

    /// A line of a cell; `None` for an index that is none.
    pub(super) fn line(&self, cell: CellIndex, line: usize) -> Option<&Line> {
        self.0.as_chunks().0.get(cell as usize * LINES + line)
    }

    /// Likewise, to change it.
    pub(super) fn line_mut(&mut self, cell: CellIndex, line: usize) -> Option<&mut Line> {
        self.0.as_chunks_mut().0.get_mut(cell as usize * LINES + line)
    }

    /// Has a line on its way.
    pub(super) fn prefetch(&self, cell: CellIndex, line: usize) {
        if let Some(line) = self.line(cell, line) {
            prefetch(line);
        }
    }

    /// Forgets what a cell held.
    pub(super) fn clear(&mut self, cell: CellIndex) {
        for line in 0..LINES {
            if let Some(known) = self.line_mut(cell, line) {
                *known = [0; _];
            }
        }
    }

    /// Calls `each` with the place in the line and the increase of every count in a line of
    /// counts that grew to `new`, and remembers them. The counts wrap at 2^32, which takes a
    /// thread many minutes between two readings, and is undone by the subtraction.
    pub(super) fn each_new(
        &mut self,
        (cell, line): (CellIndex, usize),
        new: &Line,
        mut each: impl FnMut(usize, u64),
    ) {
        let Some(old) = self.line_mut(cell, line) else { return };
        // All at once, and without a branch at each: mostly one has changed.
        let changed = new.iter().zip(&*old).enumerate();
        let mut changed =
            changed.fold(0_u32, |bits, (i, (new, old))| bits | u32::from(new != old) << i);
        while changed != 0 {
            let i = changed.trailing_zeros() as usize;
            changed &= changed - 1;
            each(i, u64::from(new[i].wrapping_sub(old[i])));
            old[i] = new[i];
        }
    }
}
