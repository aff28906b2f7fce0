//! A copy of the pool of cells, as it was read last.
//!
//! Most lines of counts have few counts that are not zero: the latencies of a syscall are close to
//! each other, and a syscall fails with few errnos. So the copy keeps such a line as a list of counts.
//! With 20,000 threads that make 20 calls each, all of the daemon's heap was 97 MiB beside 226 MiB of
//! the kernel's maps (`cargo xtask bench daemon --only growth`).

use profiler_common::wire::{CellIndex, LINES, Line};

use crate::engine::kernel::arch::prefetch;

/// Words per line.
pub(super) const WORDS: usize = size_of::<Line>() / size_of::<u32>();

const NOTHING: Line = [0; WORDS];

/// The copy of the pool of cells.
pub(super) struct Shadow {
    /// Where the copy of each line is. Plain integers, which the allocator gets zeroed from the
    /// kernel: the list takes memory as far as the pool is in use.
    places: Vec<u32>,
    full: Shelf<Full>,
    sparse: Shelf<Sparse>,
}

/// Where the copy of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nowhere: the line is all zeros.
    Nowhere,
    Full(u32),
    Sparse(u32),
}

impl Place {
    const fn from_word(word: u32) -> Self {
        match (word.checked_sub(1), word % 2) {
            (None, _) => Self::Nowhere,
            (Some(before), 1) => Self::Full(before / 2),
            (Some(before), _) => Self::Sparse(before / 2),
        }
    }

    /// A pool has fewer than 2^31 lines.
    const fn to_word(self) -> u32 {
        match self {
            Self::Nowhere => 0,
            Self::Full(at) => 2 * at + 1,
            Self::Sparse(at) => 2 * at + 2,
        }
    }
}

/// All words of a line, aligned like a line of the cache.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Full(Line);

/// The words of a line that are not zero.
#[derive(Clone, Copy, Default)]
#[repr(align(16))]
struct Sparse {
    counts: [u32; SPARSE_WORDS],
    /// The position of each count in the line, plus one; 0 if there are no more.
    positions: [u8; SPARSE_WORDS],
}

/// The most words of a line that are kept apart.
const SPARSE_WORDS: usize = 3;

impl Sparse {
    /// `None` if too many words are not zero.
    fn from_line(line: &Line) -> Option<Self> {
        let mut sparse = Self::default();
        let words = (1..).zip(line).filter(|&(_, &count)| count != 0);
        for (i, (position, &count)) in words.enumerate() {
            *sparse.counts.get_mut(i)? = count;
            sparse.positions[i] = position;
        }
        Some(sparse)
    }

    fn to_line(self) -> Line {
        let mut line = NOTHING;
        for (count, position) in self.counts.into_iter().zip(self.positions) {
            if let Some(word) = usize::from(position).checked_sub(1).and_then(|i| line.get_mut(i)) {
                *word = count;
            }
        }
        line
    }
}

/// Values by number, of which the numbers of removed ones are used again.
struct Shelf<T> {
    /// Blocks, so that no value is moved when more are needed.
    blocks: Vec<Box<[T]>>,
    unused: Vec<u32>,
}

impl<T: Clone + Default> Shelf<T> {
    /// How many values a block has.
    const BLOCK: usize = 1_024;

    const fn new() -> Self {
        Self { blocks: Vec::new(), unused: Vec::new() }
    }

    fn get(&self, at: u32) -> Option<&T> {
        let at = at as usize;
        self.blocks.get(at / Self::BLOCK)?.get(at % Self::BLOCK)
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        let at = at as usize;
        self.blocks.get_mut(at / Self::BLOCK)?.get_mut(at % Self::BLOCK)
    }

    fn insert(&mut self, value: T) -> u32 {
        if self.unused.is_empty() {
            let first = self.blocks.len() * Self::BLOCK;
            self.blocks.push(vec![T::default(); Self::BLOCK].into());
            self.unused.extend((first..first + Self::BLOCK).rev().map(|at| at as u32));
        }
        let at = self.unused.pop().unwrap_or_default();
        if let Some(place) = self.get_mut(at) {
            *place = value;
        }
        at
    }

    fn remove(&mut self, at: u32) {
        self.unused.push(at);
    }
}

impl Shadow {
    /// The copy of a pool of `cells` cells, all zeros.
    pub(super) fn new(cells: usize) -> Self {
        Self { places: vec![0; cells * LINES], full: Shelf::new(), sparse: Shelf::new() }
    }

    fn place(&self, cell: CellIndex, line: usize) -> Place {
        let place = self.places.get(cell as usize * LINES + line);
        place.map_or(Place::Nowhere, |&word| Place::from_word(word))
    }

    /// A line of a cell; all zeros if there is no such line.
    pub(super) fn line(&self, cell: CellIndex, line: usize) -> Line {
        match self.place(cell, line) {
            Place::Nowhere => NOTHING,
            Place::Full(at) => self.full.get(at).map_or(NOTHING, |full| full.0),
            Place::Sparse(at) => self.sparse.get(at).map_or(NOTHING, |sparse| sparse.to_line()),
        }
    }

    /// Stores a line of a cell. Does nothing if there is no such line.
    pub(super) fn store(&mut self, cell: CellIndex, line: usize, new: &Line) {
        let place = self.place(cell, line);
        if let Place::Full(at) = place {
            if let Some(full) = self.full.get_mut(at) {
                full.0 = *new;
            }
            return;
        }
        let Some(word) = self.places.get_mut(cell as usize * LINES + line) else { return };
        match (place, Sparse::from_line(new)) {
            (Place::Sparse(at), Some(new)) => {
                if let Some(sparse) = self.sparse.get_mut(at) {
                    *sparse = new;
                }
            }
            (_, Some(new)) => *word = Place::Sparse(self.sparse.insert(new)).to_word(),
            (_, None) => {
                if let Place::Sparse(at) = place {
                    self.sparse.remove(at);
                }
                *word = Place::Full(self.full.insert(Full(*new))).to_word();
            }
        }
    }

    /// Zeroes a cell.
    pub(super) fn clear(&mut self, cell: CellIndex) {
        for line in 0..LINES {
            match self.place(cell, line) {
                Place::Nowhere => continue,
                Place::Full(at) => self.full.remove(at),
                Place::Sparse(at) => self.sparse.remove(at),
            }
            if let Some(word) = self.places.get_mut(cell as usize * LINES + line) {
                *word = Place::Nowhere.to_word();
            }
        }
    }

    /// Prefetches where the copy of a cell is, for [`Self::prefetch`].
    pub(super) fn prefetch_place(&self, cell: CellIndex) {
        if let Some(place) = self.places.get(cell as usize * LINES) {
            prefetch(place);
        }
    }

    /// Prefetches a line of a cell.
    pub(super) fn prefetch(&self, cell: CellIndex, line: usize) {
        match self.place(cell, line) {
            Place::Nowhere => {}
            Place::Full(at) => {
                if let Some(full) = self.full.get(at) {
                    prefetch(full);
                }
            }
            Place::Sparse(at) => {
                if let Some(sparse) = self.sparse.get(at) {
                    prefetch(sparse);
                }
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
        let old = self.line(cell, line);
        // All at once, without a branch per count: usually one has changed.
        let changed = new.iter().zip(&old).enumerate();
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
    use std::collections::HashMap;

    use profiler_common::limits::CACHE_LINE;
    use proptest::{array::uniform16, collection::vec, prelude::*};

    use super::*;

    /// Lines with few counts and with many.
    fn line() -> impl Strategy<Value = Line> {
        let count = prop_oneof![4 => Just(0), 1 => any::<u32>(), 1 => Just(u32::MAX)];
        prop_oneof![Just(NOTHING), uniform16(count), uniform16(any::<u32>())]
    }

    /// A change of one of three cells, and of one that is not there.
    #[derive(Clone, Debug)]
    enum Change {
        Store(CellIndex, usize, Line),
        Clear(CellIndex),
    }

    fn change() -> impl Strategy<Value = Change> {
        let store = (0..4_u32, 0..LINES, line()).prop_map(|(c, l, new)| Change::Store(c, l, new));
        prop_oneof![4 => store, 1 => (0..4_u32).prop_map(Change::Clear)]
    }

    proptest! {
        #[test]
        fn lines_are_as_they_were_stored(changes in vec(change(), 0..200)) {
            let mut shadow = Shadow::new(3);
            let mut stored: HashMap<(CellIndex, usize), Line> = HashMap::new();
            for change in changes {
                match change {
                    Change::Store(cell, line, new) => {
                        shadow.store(cell, line, &new);
                        if cell < 3 {
                            stored.insert((cell, line), new);
                        }
                    }
                    Change::Clear(cell) => {
                        shadow.clear(cell);
                        stored.retain(|&(stored, _), _| stored != cell);
                    }
                }
                for (cell, line) in (0..4).flat_map(|cell| (0..LINES).map(move |l| (cell, l))) {
                    let expected = stored.get(&(cell, line)).copied().unwrap_or(NOTHING);
                    prop_assert_eq!(shadow.line(cell, line), expected, "{} {}", cell, line);
                }
            }
        }
    }

    #[test]
    fn a_full_line_is_one_of_the_cache() {
        let mut shadow = Shadow::new(3);
        for (cell, line) in [(0, 0), (0, 1), (2, 1)] {
            shadow.store(cell, line, &[1; WORDS]);
        }
        for at in 0..3 {
            let full = shadow.full.get(at).expect("three lines");
            assert_eq!(full.0.as_ptr().align_offset(CACHE_LINE), 0, "{at}");
        }
    }

    /// Cells that are cleared and stored again, for ever, take no more memory.
    #[test]
    fn places_are_used_again() {
        let mut shadow = Shadow::new(2);
        for n in 1..5_000 {
            shadow.store(0, 0, &[n; WORDS]);
            let mut few = NOTHING;
            few[7] = n;
            shadow.store(0, 1, &few);
            shadow.clear(0);
        }
        assert_eq!((shadow.full.blocks.len(), shadow.sparse.blocks.len()), (1, 1));
    }

    #[test]
    fn what_grew_is_told_and_wraps() {
        let mut shadow = Shadow::new(1);
        let mut told = |new: Line| {
            let mut told = Vec::new();
            let grew = shadow.each_new((0, 1), &new, |place, count| told.push((place, count)));
            assert_eq!(grew, !told.is_empty());
            shadow.store(0, 1, &new);
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
