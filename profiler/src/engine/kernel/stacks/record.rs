//! Parses the records of the kernel side.

use profiler_common::stacks::{ABOUT_COPY, ABOUT_EXEC, ABOUT_FORK, StackKey, StackRecord};

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The memory of a stack.
    Copied(Copied),
    /// A process runs another program.
    Exec {
        /// The process.
        pid: u32,
        /// The number of the program.
        image: u32,
    },
    /// A process was forked.
    Fork {
        /// The process.
        pid: u32,
        /// The number of the program.
        image: u32,
        /// The process that forked it.
        parent: u32,
    },
}

/// The memory of a stack, and the registers of its innermost frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The row to which the stack was added.
    pub key: StackKey,
    /// The weight of the copy.
    pub weight: u64,
    /// The instruction pointer.
    pub ip: u64,
    /// The stack pointer, at which the memory begins.
    pub sp: u64,
    /// The frame pointer.
    pub bp: u64,
    /// The memory.
    pub memory: Vec<u8>,
}

/// Parses a record. `None` if it is malformed.
pub(super) fn parse(bytes: &[u8]) -> Option<Record> {
    let word = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let (about, length) = (word(0)?, word(4)?);
    let key = StackKey {
        tgid: word(8)?,
        image: word(12)?,
        call: word(16)?,
        reserved: word(20)?,
        user: long(24)?,
        kernel: long(32)?,
    };
    let (weight, ip, sp, bp) = (long(40)?, long(48)?, long(56)?, long(64)?);
    let memory = bytes.get(size_of::<StackRecord>()..)?;
    match about {
        ABOUT_COPY => {
            let memory = memory.get(..length as usize)?.to_vec();
            Some(Record::Copied(Copied { key, weight, ip, sp, bp, memory }))
        }
        ABOUT_EXEC => Some(Record::Exec { pid: key.tgid, image: key.image }),
        ABOUT_FORK => {
            Some(Record::Fork { pid: key.tgid, image: key.image, parent: u32::try_from(ip).ok()? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(about: u32, length: u32, memory: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [about, length, 7, 8, 9, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        for long in [11_u64, 12, 13, 14, 15, 16] {
            bytes.extend(long.to_ne_bytes());
        }
        bytes.extend(memory);
        bytes
    }

    #[test]
    fn records_are_parsed() {
        let key = StackKey { tgid: 7, image: 8, call: 9, reserved: 0, user: 11, kernel: 12 };
        let memory = vec![1, 2, 3];
        let copied = Copied { key, weight: 13, ip: 14, sp: 15, bp: 16, memory };
        assert_eq!(parse(&bytes(ABOUT_COPY, 3, &[1, 2, 3, 4])), Some(Record::Copied(copied)));
        assert_eq!(parse(&bytes(ABOUT_EXEC, 0, &[])), Some(Record::Exec { pid: 7, image: 8 }));
        let fork = Record::Fork { pid: 7, image: 8, parent: 14 };
        assert_eq!(parse(&bytes(ABOUT_FORK, 0, &[])), Some(fork));
    }

    #[test]
    fn malformed_records_are_refused() {
        assert_eq!(parse(&bytes(ABOUT_COPY, 5, &[1, 2, 3, 4])), None);
        assert_eq!(parse(&bytes(9, 0, &[])), None);
        let whole = bytes(ABOUT_EXEC, 0, &[]);
        assert!((0..whole.len()).all(|end| parse(&whole[..end]).is_none()));
    }
}
