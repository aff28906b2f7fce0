//! Decodes calls: which memory of a call to copy, and what arguments and results mean.
//!
//! Pure: the input is an [`Event`](crate::model::Event) with the copied memory, the output is text
//! or JSON. The text is strace's: a line that strace prints with its default options, this module
//! prints to the letter.
//!
//! `signatures.txt` says what the arguments of each call are. [`plan`] derives from a signature
//! what the kernel side copies, and [`decode`] what the copied memory means. Calls whose arguments
//! depend on each other, such as fcntl(2), have a function in `calls`.

mod calls;
pub mod constants;
mod context;
mod errors;
mod events;
mod json;
mod kinds;
mod outcome;
mod plans;
mod scalars;
mod signature;
pub mod structs;
pub mod targets;
#[cfg(test)]
mod tests;
mod value;
mod write;

use std::borrow::Cow;

use profiler_common::{
    call::{Abi, CallKey},
    trace::Plan,
};

pub use self::{
    events::{ended_text, signal_name, signal_text},
    outcome::Outcome,
    value::{Field, Value},
};
use crate::{model::Call, names::syscalls, text};

/// How to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Bytes of a string that are shown, and elements of an array (`-s`).
    pub string_limit: usize,
    /// Whether structures and arrays are shown in full (`-v`).
    pub is_verbose: bool,
    /// Whether descriptors are shown with the file that they name (`-y`).
    pub with_files: bool,
    /// Whether numbers are shown instead of names (`-X raw`).
    pub is_raw: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { string_limit: 32, is_verbose: false, with_files: false, is_raw: false }
    }
}

/// When an argument is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// At the entry.
    AtEntry,
    /// At the exit: the call writes the memory to which the argument points.
    AtExit,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Its name in the kernel's source.
    pub name: &'static str,
    /// What strace prints before its value: `flags` in `flags=SIGCHLD`.
    pub label: Option<&'static str>,
    /// Its value.
    pub value: Value,
    /// When the value is known.
    pub known: Known,
}

/// A decoded call.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The name, or `syscall_0x1ff` if the number is unknown.
    pub name: Cow<'static, str>,
    /// The arguments, in order.
    pub arguments: Vec<Argument>,
    /// The result; `None` while the call is in flight.
    pub outcome: Option<Outcome>,
}

/// What the kernel side has to copy of a call.
pub fn plan(key: CallKey) -> Plan {
    plans::of(key, false)
}

/// As [`plan`], and the open files that the descriptors of the call name.
pub fn plan_with_files(key: CallKey) -> Plan {
    plans::of(key, true)
}

/// Decodes a call.
pub fn decode(call: &Call, style: &Style) -> Decoded {
    context::Context::new(call, style).decoded()
}

/// The name of a call, or `syscall_0x1ff` if its number is unknown.
pub fn name(key: CallKey) -> Cow<'static, str> {
    match syscalls::known(key) {
        Some(name) => Cow::Borrowed(name),
        None => {
            let bit = if key.abi() == Some(Abi::X32) { crate::names::table::X32_BIT } else { 0 };
            Cow::Owned(format!("syscall_{:#x}", key.nr() | bit))
        }
    }
}

impl Decoded {
    /// The line of the call: `name(arguments) = result`. Of a call in flight, the line ends after
    /// the arguments that are known at the entry.
    pub fn text(&self) -> String {
        match self.outcome {
            Some(_) => format!("{} {}", self.call_text(), self.result_text()),
            None => self.text_before_exit(),
        }
    }

    /// The call without its result: `name(arguments)`.
    pub fn call_text(&self) -> String {
        let mut line = format!("{}(", self.name);
        write::arguments(&mut line, &self.arguments);
        line.push(')');
        text::harmless(&line).into_owned()
    }

    /// The result: `= result`.
    pub fn result_text(&self) -> String {
        let line = match &self.outcome {
            Some(outcome) => format!("= {outcome}"),
            None => "= ?".to_owned(),
        };
        text::harmless(&line).into_owned()
    }

    /// The beginning of the call, up to the first argument that is known at the exit only.
    pub fn text_before_exit(&self) -> String {
        let mut line = format!("{}(", self.name);
        let (before, after) = self.arguments.split_at(self.at_exit());
        write::arguments(&mut line, before);
        if !before.is_empty() && !after.is_empty() {
            line.push_str(", ");
        }
        text::harmless(&line).into_owned()
    }

    /// The rest of the call, after [`Decoded::text_before_exit`], without its result.
    pub fn rest_text(&self) -> String {
        let mut line = String::new();
        write::arguments(&mut line, &self.arguments[self.at_exit()..]);
        line.push(')');
        text::harmless(&line).into_owned()
    }

    /// Index of the first argument that is known at the exit only.
    fn at_exit(&self) -> usize {
        let first = self.arguments.iter().position(|argument| argument.known == Known::AtExit);
        first.unwrap_or(self.arguments.len())
    }
}
