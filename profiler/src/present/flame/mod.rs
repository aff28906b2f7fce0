//! Renders stacks: as a tree for people, as folded text, as a picture and as JSON.

pub mod folded;
pub mod json;
mod summary;
pub mod svg;
#[cfg(test)]
mod testing;
pub mod text;

pub use summary::summary;

use crate::{
    model::stacks::{Frame, Method, StackRow},
    names::syscalls,
};

/// The name of a function, for people. A function without a name has its file and offset.
pub fn label(frame: &Frame) -> String {
    let function = match (&frame.function, &frame.module) {
        (Some(function), _) => function.to_string(),
        (None, Some(module)) => {
            let module = module.to_string();
            let file = module.rsplit('/').next().unwrap_or_default();
            format!("{file}+{:#x}", frame.offset)
        }
        (None, None) => format!("{:#x}", frame.offset),
    };
    if frame.is_kernel { format!("{function}_[k]") } else { function }
}

/// What of the user stack of a row is missing, in place of the functions.
fn missing(row: &StackRow) -> Option<&'static str> {
    match row.method {
        Method::Lost => Some("[no stack]"),
        Method::KernelOnly => Some("[no user stack]"),
        Method::Unwound | Method::FramePointers => row.is_truncated.then_some("[truncated]"),
    }
}

/// The labels of a row, the outermost first: the process, the functions that call, the syscall, and
/// the functions of the kernel.
fn labels(row: &StackRow) -> Vec<String> {
    let mut labels = vec![process(row)];
    labels.extend(missing(row).map(Into::into));
    labels.extend(row.user.iter().map(label));
    labels.push(call(row));
    labels.extend(row.kernel.iter().map(label));
    labels
}

/// The process of a row.
fn process(row: &StackRow) -> String {
    if row.pid == 0 { "[not sampled]".into() } else { format!("{} ({})", row.comm, row.pid) }
}

/// The syscall of a row.
fn call(row: &StackRow) -> String {
    format!("[{}]", syscalls::name_with_abi(row.call))
}
