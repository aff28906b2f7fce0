//! Finds the arguments of this kernel's tracepoints of io_uring from its type information.
//!
//! Their arguments have changed often (include/trace/events/io_uring.h), also within the series of
//! Linux 5.10. So the version is not sufficient.

use std::borrow::Cow;

use profiler_common::io_uring::completion;

use super::object::RingEvent;

/// The parameters of a tracepoint: whether each of them is a pointer. Empty if the kernel lacks the
/// tracepoint.
pub(super) type Parameters = Vec<bool>;

/// The tracepoints of io_uring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) submit: Parameters,
    pub(super) submit_old: Parameters,
    pub(super) fail: Parameters,
    pub(super) complete: Parameters,
    pub(super) overflow: Parameters,
    /// Whether the types of requests and of tasks are known.
    pub(super) has_layout: bool,
}

/// How to count operations on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    /// How a completion names its request: a constant of [`completion`].
    pub(super) completion: u32,
    /// Index of the request among the arguments of a submission.
    pub(super) submitted_at: u32,
    /// Index of the request among the arguments of a failure; `None` without that tracepoint.
    pub(super) failed_at: Option<u32>,
    is_renamed: bool,
    has_overflow: bool,
}

const POINTER: bool = true;
const VALUE: bool = false;

impl Rings {
    /// How to count operations with these tracepoints.
    ///
    /// # Errors
    /// What the kernel lacks, for people.
    pub(super) fn new(found: &Found) -> Result<Self, Cow<'static, str>> {
        if !found.has_layout {
            return Err("type information (BTF) about io_uring".into());
        }
        let is_renamed = !found.submit.is_empty();
        let submit = if is_renamed { &found.submit } else { &found.submit_old };
        // The request alone, or with a flag (Linux 6.0). Before: the ring, the request, and its
        // fields (Linux 5.13, and 5.10.162).
        let submitted_at = match submit[..] {
            [] => return Err("the tracepoints of io_uring".into()),
            [POINTER] | [POINTER, VALUE] => 0,
            [POINTER, POINTER, ..] => 1,
            _ => return Err("a request in the tracepoint io_uring_submit_sqe (Linux 5.13)".into()),
        };
        let completion = match found.complete[..] {
            [POINTER, VALUE, VALUE, VALUE] => completion::BY_DATA,
            [POINTER, POINTER, VALUE, VALUE, VALUE, ..] => completion::BY_REQUEST,
            [POINTER, POINTER, POINTER] => completion::BY_ENTRY,
            _ => return Err("a known form of the tracepoint io_uring_complete".into()),
        };
        let failed_at = match found.fail[..] {
            [POINTER, POINTER, VALUE] => Some(1),
            [POINTER, POINTER, POINTER, VALUE] => Some(2),
            _ => None,
        };
        let has_overflow = found.overflow[..] == [POINTER, VALUE, VALUE, VALUE, POINTER];
        Ok(Self { completion, submitted_at, failed_at, is_renamed, has_overflow })
    }

    /// Whether completions name their request.
    pub fn names_requests(self) -> bool {
        self.completion != completion::BY_DATA
    }

    /// Whether the program for an event is to be loaded.
    pub(super) fn has(self, event: RingEvent) -> bool {
        match event {
            RingEvent::Create | RingEvent::Complete => true,
            RingEvent::Submit => self.is_renamed,
            RingEvent::SubmitOld => !self.is_renamed,
            RingEvent::Fail => self.failed_at.is_some() && self.names_requests(),
            RingEvent::Overflow => self.has_overflow && self.names_requests(),
        }
    }
}

#[cfg(test)]
impl Rings {
    /// The tracepoints of Linux 6.12.
    pub(crate) fn of_6_12() -> Self {
        Self {
            completion: completion::BY_REQUEST,
            submitted_at: 0,
            failed_at: Some(1),
            is_renamed: true,
            has_overflow: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: bool = POINTER;
    const V: bool = VALUE;

    fn found(submit: &[bool], submit_old: &[bool], fail: &[bool], complete: &[bool]) -> Found {
        Found {
            submit: submit.into(),
            submit_old: submit_old.into(),
            fail: fail.into(),
            complete: complete.into(),
            overflow: vec![P, V, V, V, P],
            has_layout: true,
        }
    }

    /// The forms of Linux 5.10.162 (as 5.15), 5.18, 6.1, 6.12 and 6.18.
    #[test]
    fn every_form_is_recognised() {
        use completion::{BY_DATA, BY_ENTRY, BY_REQUEST};
        let forms = [
            (found(&[], &[P, P, V, V, V, V, V], &[], &[P, V, V, V]), BY_DATA, 1, None),
            (
                found(&[], &[P, P, V, V, V, V, V], &[P, P, P, V], &[P, P, V, V, V]),
                BY_REQUEST,
                1,
                Some(2),
            ),
            (found(&[], &[P, V], &[P, P, V], &[P, P, V, V, V, V, V]), BY_REQUEST, 0, Some(1)),
            (found(&[P], &[], &[P, P, V], &[P, P, V, V, V, V, V]), BY_REQUEST, 0, Some(1)),
            (found(&[P], &[], &[P, P, V], &[P, P, P]), BY_ENTRY, 0, Some(1)),
        ];
        for (found, completion, submitted_at, failed_at) in forms {
            let rings = Rings::new(&found).expect("a known form");
            assert_eq!(rings.completion, completion, "{found:?}");
            assert_eq!((rings.submitted_at, rings.failed_at), (submitted_at, failed_at));
            assert_eq!(rings.has(RingEvent::Submit), !found.submit.is_empty());
            assert_ne!(rings.has(RingEvent::Submit), rings.has(RingEvent::SubmitOld));
            assert_eq!(rings.has(RingEvent::Overflow), completion != BY_DATA);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |found: &Found| Rings::new(found).expect_err("something is missing");
        assert!(missing(&Found::default()).contains("BTF"));
        let none = found(&[], &[], &[], &[]);
        assert_eq!(missing(&none), "the tracepoints of io_uring");
        // Linux 5.10 before the import of io_uring from 5.15.
        let old = found(&[], &[P, V, V, V, V], &[], &[P, V, V]);
        assert!(missing(&old).contains("5.13"));
        let unknown = found(&[P], &[], &[], &[P]);
        assert!(missing(&unknown).contains("io_uring_complete"));
    }
}
