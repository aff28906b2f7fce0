//! Packs lines of counts, so that they take less memory.
//!
//! Most words of most lines are zero, because the latencies of a syscall are close to each other,
//! and a syscall fails with few errnos. Most counts are small, because most threads make most of
//! their syscalls rarely.

use profiler_common::wire::Line;

use super::shadow::WORDS;

/// A quarter of a line.
#[derive(Clone, Copy, Default)]
#[repr(align(16))]
pub(super) struct Quarter([u32; 4]);

/// Half a line.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
pub(super) struct Half([u32; 8]);

/// All words of a line, aligned to a cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Full(pub(super) Line);

/// The form in which a line is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A [`Quarter`] with at most three words that are not zero.
    ThreeWords,
    /// A [`Quarter`] with all words, each as one byte.
    Bytes,
    /// A [`Half`] with at most seven words that are not zero.
    SevenWords,
    /// A [`Half`] with all words, each as two bytes.
    Shorts,
    /// A [`Full`].
    Full,
}

impl Form {
    /// Returns the size of a packed line in bytes.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::ThreeWords | Self::Bytes => size_of::<Quarter>(),
            Self::SevenWords | Self::Shorts => size_of::<Half>(),
            Self::Full => size_of::<Full>(),
        }
    }

    /// Returns the smallest form that fits a line.
    pub(super) fn of(line: &Line) -> Self {
        let (mut all, mut used) = (0, 0);
        for &word in line {
            all |= word;
            used += u32::from(word != 0);
        }
        match used {
            0..=3 => Self::ThreeWords,
            _ if all <= u8::MAX.into() => Self::Bytes,
            4..=7 => Self::SevenWords,
            _ if all <= u16::MAX.into() => Self::Shorts,
            _ => Self::Full,
        }
    }
}

impl Quarter {
    /// Packs a line with at most three words that are not zero.
    pub(super) fn of_three_words(line: &Line) -> Self {
        Self(words(line))
    }

    /// The inverse of [`Self::of_three_words`].
    pub(super) fn three_words(self) -> Line {
        line(self.0)
    }

    /// Packs a line whose words are all below 2^8.
    pub(super) fn of_bytes(line: &Line) -> Self {
        let (words, _) = line.as_chunks();
        let mut packed = [0; 4];
        for (packed, words) in packed.iter_mut().zip(words) {
            *packed = u32::from_le_bytes(words.map(|word: u32| word as u8));
        }
        Self(packed)
    }

    /// The inverse of [`Self::of_bytes`].
    pub(super) fn bytes(self) -> Line {
        let mut line = [0; WORDS];
        let (words, _) = line.as_chunks_mut();
        for (words, packed) in words.iter_mut().zip(self.0) {
            *words = packed.to_le_bytes().map(u32::from);
        }
        line
    }
}

impl Half {
    /// Packs a line with at most seven words that are not zero.
    pub(super) fn of_seven_words(line: &Line) -> Self {
        Self(words(line))
    }

    /// The inverse of [`Self::of_seven_words`].
    pub(super) fn seven_words(self) -> Line {
        line(self.0)
    }

    /// Packs a line whose words are all below 2^16.
    pub(super) fn of_shorts(line: &Line) -> Self {
        let (words, _) = line.as_chunks::<2>();
        let mut packed = [0; 8];
        for (packed, words) in packed.iter_mut().zip(words) {
            *packed = words[0] | words[1] << 16;
        }
        Self(packed)
    }

    /// The inverse of [`Self::of_shorts`].
    pub(super) fn shorts(self) -> Line {
        let mut line = [0; WORDS];
        let (words, _) = line.as_chunks_mut::<2>();
        for (words, packed) in words.iter_mut().zip(self.0) {
            *words = [packed & 0xffff, packed >> 16];
        }
        line
    }
}

/// Packs the words of a line that are not zero. The last packed word has the positions of the
/// others in the line, four bits each. An unused word is zero, and has the position of a zero.
fn words<const N: usize>(line: &Line) -> [u32; N] {
    let bits = line.iter().enumerate().map(|(i, &word)| u32::from(word != 0) << i);
    let mut used = bits.fold(0, |bits, bit| bits | bit);
    let mut packed = [0; N];
    let mut positions = 0x1111_1111 * used.trailing_ones();
    for (n, packed) in packed.iter_mut().enumerate().take(N - 1) {
        if used == 0 {
            break;
        }
        let i = used.trailing_zeros();
        used &= used - 1;
        *packed = line[i as usize];
        positions = positions & !(0xf << (4 * n)) | i << (4 * n);
    }
    packed[N - 1] = positions;
    packed
}

/// The inverse of [`words`]. It has no branch per word, because the CPU would often predict such a
/// branch wrongly.
fn line<const N: usize>(packed: [u32; N]) -> Line {
    let mut line = [0; WORDS];
    let mut positions = packed[N - 1];
    for word in &packed[..N - 1] {
        line[positions as usize % WORDS] = *word;
        positions >>= 4;
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::{array::uniform16, prelude::*};

    use super::*;

    /// Lines at the limits of each form, in the number of words that are not zero and in the size
    /// of the counts, and lines beyond these limits.
    fn any_line() -> impl Strategy<Value = Line> {
        let word = prop_oneof![
            any::<u32>(),
            1..=u32::from(u8::MAX),
            1..=u32::from(u16::MAX),
            Just(u32::from(u8::MAX)),
            Just(u32::from(u16::MAX)),
            Just(u32::MAX)
        ];
        let count = prop_oneof![0..=3_usize, 6..=8_usize, Just(WORDS)];
        let at = Just((0..WORDS).collect::<Vec<_>>()).prop_shuffle();
        let small = prop_oneof![Just(u32::MAX), Just(u32::from(u8::MAX)), Just(0xffff)];
        (uniform16(word), count, at, small).prop_map(|(words, count, at, small)| {
            let mut line = [0; WORDS];
            at.into_iter().take(count).for_each(|at| line[at] = words[at] & small);
            line
        })
    }

    proptest! {
        #[test]
        fn a_packed_line_is_the_same_line(line in any_line()) {
            let used = line.iter().filter(|&&word| word != 0).count();
            let largest = line.iter().copied().max().unwrap_or_default();
            if used <= 3 {
                prop_assert_eq!(Quarter::of_three_words(&line).three_words(), line);
            }
            if used <= 7 {
                prop_assert_eq!(Half::of_seven_words(&line).seven_words(), line);
            }
            if largest <= 0xff {
                prop_assert_eq!(Quarter::of_bytes(&line).bytes(), line);
            }
            if largest <= 0xffff {
                prop_assert_eq!(Half::of_shorts(&line).shorts(), line);
            }
            let expected = match Form::of(&line) {
                Form::ThreeWords => used <= 3,
                Form::Bytes => used > 3 && largest <= 0xff,
                Form::SevenWords => (4..=7).contains(&used) && largest > 0xff,
                Form::Shorts => used > 7 && (0x100..=0xffff).contains(&largest),
                Form::Full => used > 7 && largest > 0xffff,
            };
            prop_assert!(expected, "{:?}", Form::of(&line));
        }
    }
}
