//! JSON of stacks.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    model::stacks::{Frame, Method, Sampling, StackProfile, StackRow, Weight},
    names::syscalls,
    text::{Untrusted, json},
};

#[derive(Serialize)]
struct Profile<'a> {
    schema: u32,
    weight: &'static str,
    total: u64,
    calls: u64,
    duration_ns: u64,
    /// Stacks per second and CPU; null if the stack of every call was taken.
    sampled_rate: Option<u32>,
    stacks: u64,
    shares: Shares,
    remarks: &'a [String],
    rows: Vec<Row<'a>>,
}

/// Shares of the sum, as parts of 1.
#[derive(Serialize)]
struct Shares {
    unwound: f64,
    frame_pointers: f64,
    kernel_only: f64,
    lost: f64,
    truncated: f64,
    unsymbolised: f64,
}

#[derive(Serialize)]
struct Row<'a> {
    pid: Option<u32>,
    comm: &'a Untrusted,
    abi: Option<String>,
    syscall: &'static str,
    weight: u64,
    share: f64,
    standard_error: f64,
    stacks: u64,
    method: &'static str,
    truncated: bool,
    user: Vec<Function<'a>>,
    kernel: Vec<Function<'a>>,
}

#[derive(Serialize)]
struct Function<'a> {
    function: Option<&'a Untrusted>,
    module: Option<&'a Untrusted>,
    offset: u64,
    build_id: Option<&'a str>,
}

/// Writes the profile, with a newline at its end.
///
/// # Errors
/// The error of `out`.
pub fn write(out: &mut impl Write, profile: &StackProfile) -> io::Result<()> {
    let of = |method: Method| profile.share(move |row| row.method == method);
    let document = Profile {
        schema: 1,
        weight: match profile.weight {
            Weight::Calls => "calls",
            Weight::Time => "time",
            Weight::Errors => "errors",
        },
        total: profile.total,
        calls: profile.calls,
        duration_ns: profile.duration_ns,
        sampled_rate: match profile.sampling {
            Sampling::Every => None,
            Sampling::Rate(rate) => Some(rate),
        },
        stacks: profile.stacks(),
        shares: Shares {
            unwound: of(Method::Unwound),
            frame_pointers: of(Method::FramePointers),
            kernel_only: of(Method::KernelOnly),
            lost: of(Method::Lost),
            truncated: profile.share(|row| row.is_truncated),
            unsymbolised: profile.share(StackRow::is_unsymbolised),
        },
        remarks: &profile.remarks,
        rows: rows(profile),
    };
    json::write(out, &document)?;
    writeln!(out)
}

fn rows(profile: &StackProfile) -> Vec<Row<'_>> {
    let total = profile.total.max(1) as f64;
    let all: f64 = profile.rows.iter().map(|row| row.variance).sum();
    let row = |row: &'_ StackRow| -> (f64, f64) {
        let share = row.weight as f64 / total;
        let outside = (all - row.variance).max(0.0);
        let variance = (1.0 - share).powi(2) * row.variance + share.powi(2) * outside;
        (share, variance.sqrt() / total)
    };
    let shown = profile.rows.iter().map(|of| {
        let (share, standard_error) = row(of);
        Row {
            pid: (of.pid != 0).then_some(of.pid),
            comm: &of.comm,
            abi: of.call.abi().map(|abi| abi.to_string()),
            syscall: syscalls::name(of.call),
            weight: of.weight,
            share,
            standard_error,
            stacks: of.stacks,
            method: of.method.name(),
            truncated: of.is_truncated,
            user: of.user.iter().map(function).collect(),
            kernel: of.kernel.iter().map(function).collect(),
        }
    });
    shown.collect()
}

fn function(frame: &Frame) -> Function<'_> {
    Function {
        function: frame.function.as_ref(),
        module: frame.module.as_ref(),
        offset: frame.offset,
        build_id: frame.build_id.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::profile, *};

    #[test]
    fn json_has_all_figures() {
        let mut out = Vec::new();
        write(&mut out, &profile()).expect("written");
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(value["schema"], 1);
        assert_eq!(value["total"], 1000);
        assert_eq!(value["shares"]["unwound"], 0.7);
        assert_eq!(value["rows"][0]["user"][1]["function"], "a::<[u8; 4]>");
        assert_eq!(value["rows"][0]["syscall"], "write");
        assert_eq!(value["rows"][1]["user"][1]["build_id"], "ab12");
        assert_eq!(value["rows"][2]["pid"], serde_json::Value::Null);
    }
}
