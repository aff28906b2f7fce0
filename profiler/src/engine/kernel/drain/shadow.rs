//! A copy of the pool of cells, as it was read last.

use std::ops::Range;

use profiler_common::{
    limits::CACHE_LINE,
    wire::{CellIndex, LINES, Line},
};

use crate::engine::kernel::arch::prefetch;

/// Words per line.
pub(super) const WORDS: usize = size_of::<Line>() / size_of::<u32>();

/// The copy of the pool of cells.
pub(super) struct Shadow {
    /// Plain integers, which the allocator gets zeroed from the kernel. Untouched pages use no memory,
    /// so the copy is as large as what is in use, not as the pool.
    words: Vec<u32>,
    /// The words in use. They start where a line is aligned like a cache line, which the allocator
    /// does not guarantee.
    lines: Range<usize>,
}

impl Shadow {
    /// The copy of a pool of `cells` cells, all zeros.
    pub(super) fn new(cells: usize) -> Self {
        let len = cells * LINES * WORDS;
        let words = vec![0; len + WORDS];
        let first = words.as_ptr().align_offset(CACHE_LINE).min(WORDS);
        Self { words, lines: first..first + len }
    }

    /// A line of a cell; `None` if there is no such line.
    pub(super) fn line(&self, cell: CellIndex, line: usize) -> Option<&Line> {
        self.words[self.lines.clone()].as_chunks().0.get(cell as usize * LINES + line)
    }

    /// Same as [`Self::line`], but mutable.
    pub(super) fn line_mut(&mut self, cell: CellIndex, line: usize) -> Option<&mut Line> {
        self.words[self.lines.clone()].as_chunks_mut().0.get_mut(cell as usize * LINES + line)
    }

    /// Prefetches a line of a cell.
    pub(super) fn prefetch(&self, cell: CellIndex, line: usize) {
        if let Some(line) = self.line(cell, line) {
            prefetch(line);
        }
    }

    /// Zeroes a cell.
    pub(super) fn clear(&mut self, cell: CellIndex) {
        for line in 0..LINES {
            if let Some(known) = self.line_mut(cell, line) {
                *known = [0; _];
            }
        }
    }

    /// Calls `each` for every count that grew in a line that now is `new`, with its position and its
    /// increase. Returns whether any count grew. Counts wrap at 2^32, which takes a thread many
    /// minutes, and the subtraction undoes one wrap between two readings.
    pub(super) fn each_new(
        &self,
        (cell, line): (CellIndex, usize),
        new: &Line,
        mut each: impl FnMut(usize, u64),
    ) -> bool {
        let Some(old) = self.line(cell, line) else { return false };
        // All at once, without a branch per count: usually one has changed.
        let changed = new.iter().zip(old).enumerate();
        let mut changed =
            changed.fold(0_u32, |bits, (i, (new, old))| bits | u32::from(new != old) << i);
        let grew = changed != 0;
        while changed != 0 {
            let i = changed.trailing_zeros() as usize;
            changed &= changed - 1;
            each(i, u64::from(new[i].wrapping_sub(old[i])));
        }
        grew
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_of_the_cache() {
        let shadow = Shadow::new(3);
        for (cell, line) in [(0, 0), (0, 1), (2, 1)] {
            let place = shadow.line(cell, line).expect("there are three cells");
            assert_eq!(place.as_ptr().align_offset(CACHE_LINE), 0, "cell {cell}, line {line}");
        }
        assert_eq!(shadow.line(3, 0), None);
    }

    #[test]
    fn what_grew_is_told_and_wraps() {
        let mut shadow = Shadow::new(1);
        let mut told = |new: Line| {
            let mut told = Vec::new();
            let grew = shadow.each_new((0, 1), &new, |place, count| told.push((place, count)));
            assert_eq!(grew, !told.is_empty());
            *shadow.line_mut(0, 1).expect("a cell") = new;
            told
        };
        let mut counts = [0; WORDS];
        (counts[0], counts[15]) = (7, u32::MAX);
        assert_eq!(told(counts), [(0, 7), (15, u64::from(u32::MAX))]);
        assert_eq!(told(counts), []);
        counts[15] = 4;
        assert_eq!(told(counts), [(15, 5)]);
    }
}
