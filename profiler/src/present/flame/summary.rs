//! What the figures are of, how the stacks were obtained, and how exact they are.

use std::fmt::Write as _;

use crate::{
    model::stacks::{Method, Sampling, StackProfile, StackRow, Weight},
    present::units,
};

/// Sentences about a profile, one a line.
pub fn summary(profile: &StackProfile) -> String {
    let mut text = String::new();
    let percent =
        |is_part: &dyn Fn(&StackRow) -> bool| format!("{:.1} %", 100.0 * profile.share(is_part));
    let calls = units::count(profile.calls);
    let sum = match profile.weight {
        Weight::Calls => format!("{calls} calls"),
        Weight::Time => format!("{} in {calls} calls", units::time(profile.total)),
        Weight::Errors => format!("{calls} calls that failed"),
    };
    let seconds = profile.duration_ns as f64 / 1e9;
    // Writing to a `String` cannot fail.
    let _ =
        writeln!(text, "{sum} within {seconds:.2} s, {} stacks", units::count(profile.stacks()));
    if profile.total == 0 {
        return text;
    }
    let of = |method: Method| percent(&move |row| row.method == method);
    let _ = writeln!(
        text,
        "stacks: {} unwound, {} by frame pointers, {} without a user stack, {} without a stack",
        of(Method::Unwound),
        of(Method::FramePointers),
        of(Method::KernelOnly),
        of(Method::Lost),
    );
    let _ = writeln!(
        text,
        "{} truncated, {} with a function that has no name",
        percent(&|row| row.is_truncated),
        percent(&StackRow::is_unsymbolised),
    );
    let error = 100.0 * profile.greatest_standard_error();
    let _ = match profile.sampling {
        _ if profile.rows.iter().all(|row| row.variance == 0.0) => {
            writeln!(text, "exact: the stack of every call was taken")
        }
        Sampling::Every => writeln!(
            text,
            "every call is counted; shares of unwound stacks are sampled: the greatest share has a \
             standard error of {error:.2} %"
        ),
        Sampling::Rate(rate) => writeln!(
            text,
            "sampled, about {rate} stacks per second and CPU: the greatest share has a standard \
             error of {error:.2} %"
        ),
    };
    for remark in &profile.remarks {
        let _ = writeln!(text, "{remark}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::testing::profile, *};

    #[test]
    fn the_summary_says_how_exact_the_figures_are() {
        insta::assert_snapshot!(summary(&profile()), @"
        1000 calls within 2.00 s, 99 stacks
        stacks: 70.0 % unwound, 29.0 % by frame pointers, 0.0 % without a user stack, 1.0 % without a stack
        29.0 % truncated, 29.0 % with a function that has no name
        sampled, about 1000 stacks per second and CPU: the greatest share has a standard error of 4.35 %
        1 process had ended
        ");
        let nothing = StackProfile { rows: Vec::new(), total: 0, calls: 0, ..profile() };
        assert_eq!(summary(&nothing), "0 calls within 2.00 s, 0 stacks\n");
    }
}
