//! A copy of the pool, as it was read last.

use profiler_common::wire::{Cell, CellIndex};

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

    /// A cell; `None` for an index that is none.
    pub(super) fn get(&self, cell: CellIndex) -> Option<&Cell> {
        self.0.as_chunks().0.get(cell as usize)
    }

    /// Likewise, to change it.
    pub(super) fn get_mut(&mut self, cell: CellIndex) -> Option<&mut Cell> {
        self.0.as_chunks_mut().0.get_mut(cell as usize)
    }

    /// Calls `each` with the place and the increase of every count in a cell of counts that
    /// grew to `new`, and remembers them. The counts wrap at 2^32, which takes a thread many
    /// minutes between two readings, and is undone by the subtraction.
    pub(super) fn each_new(
        &mut self,
        cell: CellIndex,
        new: &Cell,
        mut each: impl FnMut(usize, u64),
    ) {
        let Some(old) = self.get_mut(cell) else { return };
        if old == new {
            return;
        }
        for (i, (new, old)) in new.iter().zip(old.iter_mut()).enumerate() {
            if new != old {
                each(i, u64::from(new.wrapping_sub(*old)));
                *old = *new;
            }
        }
    }
}
