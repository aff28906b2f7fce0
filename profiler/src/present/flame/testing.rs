//! A profile for tests.

use profiler_common::call::CallKey;

use crate::model::stacks::{Frame, Method, Sampling, StackProfile, StackRow, Weight};

fn function(name: &str) -> Frame {
    Frame { function: Some(name.into()), module: Some("/bin/app".into()), ..Frame::default() }
}

/// A profile of `write`, by two callers and an unknown one.
pub(super) fn profile() -> StackProfile {
    let row = |user, weight, stacks, method| StackRow {
        pid: 7,
        comm: "app".into(),
        call: CallKey::new(1, false),
        user,
        kernel: Vec::new(),
        weight,
        stacks,
        variance: 9.0 * weight as f64,
        method,
        is_truncated: false,
    };
    let libc = Frame {
        module: Some("/lib/libc.so".into()),
        offset: 0x40,
        build_id: Some("ab12".into()),
        ..Frame::default()
    };
    let vfs = Frame { function: Some("vfs_write".into()), is_kernel: true, ..Frame::default() };
    let a = vec![function("main"), function("a::<[u8; 4]>")];
    let b = vec![function("b"), libc];
    StackProfile {
        weight: Weight::Calls,
        sampling: Sampling::Rate(1000),
        duration_ns: 2_000_000_000,
        rows: vec![
            StackRow { kernel: vec![vfs], ..row(a, 700, 70, Method::Unwound) },
            StackRow { is_truncated: true, ..row(b, 290, 29, Method::FramePointers) },
            StackRow { pid: 0, ..row(Vec::new(), 10, 0, Method::Lost) },
        ],
        total: 1000,
        calls: 1000,
        remarks: vec!["1 process had ended".into()],
    }
}
