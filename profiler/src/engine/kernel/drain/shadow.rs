//! A copy of the pool of cells, as of the last reading.
//!
//! The copy stores each line of counts in the smallest form that fits (`packed.rs`). With 3,000
//! threads that make 20 calls each, the daemon's heap was 10 MiB, and the kernel's maps were 36
//! MiB. When lines with more than three counts took 64 bytes each, the heap was 16 MiB, and a drain
//! took the same time.

use profiler_common::wire::{CellIndex, LINES, Line};

use super::packed::{Form, Full, Half, Quarter};
use crate::engine::kernel::arch::prefetch;

/// Words per line.
pub(super) const WORDS: usize = size_of::<Line>() / size_of::<u32>();

const NOTHING: Line = [0; WORDS];

/// The copy of the pool of cells.
pub(super) struct Shadow {
    /// The [`Place`] of each line, as a plain integer. The kernel hands out zeroed memory, and a
    /// page takes memory only once it is written. So the list takes memory only for the part of the
    /// pool that is in use.
    places: Vec<u32>,
    quarters: Shelf<Quarter>,
    halves: Shelf<Half>,
    full: Shelf<Full>,
}

/// Where the copy of a line is: the form in which it is packed, and its number on the shelf of that
/// size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    form: Form,
    at: u32,
}

impl Place {
    /// The bits of a word that encode the form. The other bits encode the number. A pool has fewer
    /// than 2^26 lines, so they suffice.
    const FORM_BITS: u32 = 3;

    /// Decodes a place. Returns `None` for 0, which means that the line is all zeros and is not
    /// stored.
    const fn from_word(word: u32) -> Option<Self> {
        let form = match word % (1 << Self::FORM_BITS) {
            1 => Form::ThreeWords,
            2 => Form::Bytes,
            3 => Form::SevenWords,
            4 => Form::Shorts,
            5 => Form::Full,
            _ => return None,
        };
        Some(Self { form, at: word >> Self::FORM_BITS })
    }

    const fn to_word(self) -> u32 {
        let form = match self.form {
            Form::ThreeWords => 1,
            Form::Bytes => 2,
            Form::SevenWords => 3,
            Form::Shorts => 4,
            Form::Full => 5,
        };
        self.at << Self::FORM_BITS | form
    }
}

/// A list of numbered values. The number of a removed value is reused.
struct Shelf<T> {
    /// Values in blocks, so that no value moves when the list grows.
    blocks: Vec<Box<[T]>>,
    unused: Vec<u32>,
}

impl<T: Clone + Default> Shelf<T> {
    /// Values per block.
    const BLOCK: usize = 1_024;

    const fn new() -> Self {
        Self { blocks: Vec::new(), unused: Vec::new() }
    }

    fn get(&self, at: u32) -> Option<&T> {
        let at = at as usize;
        self.blocks.get(at / Self::BLOCK)?.get(at % Self::BLOCK)
    }

    fn prefetch(&self, at: u32) {
        if let Some(value) = self.get(at) {
            prefetch(value);
        }
    }

    fn replace(&mut self, at: u32, value: T) {
        let at = at as usize;
        let block = self.blocks.get_mut(at / Self::BLOCK);
        if let Some(place) = block.and_then(|block| block.get_mut(at % Self::BLOCK)) {
            *place = value;
        }
    }

    fn insert(&mut self, value: T) -> u32 {
        if self.unused.is_empty() {
            let first = self.blocks.len() * Self::BLOCK;
            self.blocks.push(vec![T::default(); Self::BLOCK].into());
            self.unused.extend((first..first + Self::BLOCK).rev().map(|at| at as u32));
        }
        let at = self.unused.pop().unwrap_or_default();
        self.replace(at, value);
        at
    }

    /// Stores a value at the number `at`, or, if `at` is `None`, at a new number. Returns the
    /// number.
    fn put(&mut self, at: Option<u32>, value: T) -> u32 {
        let Some(at) = at else { return self.insert(value) };
        self.replace(at, value);
        at
    }

    fn remove(&mut self, at: u32) {
        self.unused.push(at);
    }
}

impl Shadow {
    /// Creates a copy of a pool of `cells` cells, all zeros.
    pub(super) fn new(cells: usize) -> Self {
        Self {
            places: vec![0; cells * LINES],
            quarters: Shelf::new(),
            halves: Shelf::new(),
            full: Shelf::new(),
        }
    }

    fn place(&self, cell: CellIndex, line: usize) -> Option<Place> {
        Place::from_word(*self.places.get(cell as usize * LINES + line)?)
    }

    /// Returns a line of a cell, or all zeros if there is no such line.
    pub(super) fn line(&self, cell: CellIndex, line: usize) -> Line {
        self.place(cell, line).and_then(|place| self.unpacked(place)).unwrap_or(NOTHING)
    }

    fn unpacked(&self, Place { form, at }: Place) -> Option<Line> {
        Some(match form {
            Form::ThreeWords => self.quarters.get(at)?.three_words(),
            Form::Bytes => self.quarters.get(at)?.bytes(),
            Form::SevenWords => self.halves.get(at)?.seven_words(),
            Form::Shorts => self.halves.get(at)?.shorts(),
            Form::Full => self.full.get(at)?.0,
        })
    }

    /// Stores a line of a cell. Does nothing if there is no such line.
    pub(super) fn store(&mut self, cell: CellIndex, line: usize, new: &Line) {
        let index = cell as usize * LINES + line;
        let Some(&word) = self.places.get(index) else { return };
        let old = Place::from_word(word);
        // Counts only grow, until they wrap. So a line that needed the full form will need it
        // again.
        let is_full = old.is_some_and(|place| place.form == Form::Full);
        let form = if is_full { Form::Full } else { Form::of(new) };
        let kept = old.filter(|place| place.form.size() == form.size()).map(|place| place.at);
        if kept.is_none() {
            self.remove(old);
        }
        let at = match form {
            Form::ThreeWords => self.quarters.put(kept, Quarter::of_three_words(new)),
            Form::Bytes => self.quarters.put(kept, Quarter::of_bytes(new)),
            Form::SevenWords => self.halves.put(kept, Half::of_seven_words(new)),
            Form::Shorts => self.halves.put(kept, Half::of_shorts(new)),
            Form::Full => self.full.put(kept, Full(*new)),
        };
        self.places[index] = Place { form, at }.to_word();
    }

    fn remove(&mut self, place: Option<Place>) {
        let Some(Place { form, at }) = place else { return };
        match form {
            Form::ThreeWords | Form::Bytes => self.quarters.remove(at),
            Form::SevenWords | Form::Shorts => self.halves.remove(at),
            Form::Full => self.full.remove(at),
        }
    }

    /// Zeroes a cell.
    pub(super) fn clear(&mut self, cell: CellIndex) {
        for line in 0..LINES {
            let place = self.place(cell, line);
            if place.is_some() {
                self.remove(place);
                self.places[cell as usize * LINES + line] = 0;
            }
        }
    }

    /// Prefetches the places of a cell's lines, which [`Self::prefetch`] then reads.
    pub(super) fn prefetch_place(&self, cell: CellIndex) {
        if let Some(place) = self.places.get(cell as usize * LINES) {
            prefetch(place);
        }
    }

    /// Prefetches a line of a cell.
    pub(super) fn prefetch(&self, cell: CellIndex, line: usize) {
        let Some(Place { form, at }) = self.place(cell, line) else { return };
        match form {
            Form::ThreeWords | Form::Bytes => self.quarters.prefetch(at),
            Form::SevenWords | Form::Shorts => self.halves.prefetch(at),
            Form::Full => self.full.prefetch(at),
        }
    }

    /// Compares `new`, the current content of a line, with the copy. Calls `each` with the position
    /// and the increase of every count that grew, and returns whether any count grew. Counts wrap
    /// at 2^32. A thread takes many minutes to count that far, and the subtraction undoes one wrap
    /// between two readings.
    pub(super) fn each_new(
        &self,
        (cell, line): (CellIndex, usize),
        new: &Line,
        mut each: impl FnMut(usize, u64),
    ) -> bool {
        let old = self.line(cell, line);
        // Compares all counts without a branch per count, because usually only one has changed.
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

    /// Lines with few and with many counts, small and large.
    fn line() -> impl Strategy<Value = Line> {
        let count = prop_oneof![4 => Just(0), 1 => any::<u32>(), 1 => Just(u32::MAX)];
        let small = |most: u32| uniform16(0..=most);
        let all = uniform16(any::<u32>());
        prop_oneof![Just(NOTHING), uniform16(count), small(255), small(65_535), all]
    }

    /// A change of one of three cells, or of a cell that does not exist.
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
            shadow.store(cell, line, &[70_000; WORDS]);
        }
        for at in 0..3 {
            let full = shadow.full.get(at).expect("three lines");
            assert_eq!(full.0.as_ptr().align_offset(CACHE_LINE), 0, "{at}");
        }
    }

    /// Memory does not grow if cells are cleared and stored again many times.
    #[test]
    fn places_are_used_again() {
        let mut shadow = Shadow::new(2);
        for n in 1..5_000 {
            shadow.store(0, 0, &[n; WORDS]);
            let mut few = NOTHING;
            few[7] = n;
            shadow.store(0, 1, &few);
            // The line takes half the space of a full one, then all of it.
            shadow.store(1, 0, &[n % 60_000; WORDS]);
            shadow.store(1, 0, &[70_000; WORDS]);
            shadow.clear(0);
            shadow.clear(1);
        }
        let Shadow { quarters, halves, full, .. } = &shadow;
        let blocks = [quarters.blocks.len(), halves.blocks.len(), full.blocks.len()];
        assert_eq!(blocks, [1, 1, 1]);
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
