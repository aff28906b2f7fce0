//! A call that is being decoded: its arguments, and the memory that was copied.

use profiler_common::{
    call::Abi,
    trace::{self, AT_ENTRY, AT_FAILURE, AT_SUCCESS, Plan},
};

use super::{Argument, Decoded, Known, Outcome, Style, Value, calls, kinds, plans, signature};
use crate::{
    model::{Call, Copied},
    names::{syscalls, table::Table},
};

/// A call that is being decoded.
pub(super) struct Context<'a> {
    pub(super) call: &'a Call,
    pub(super) abi: Abi,
    pub(super) style: &'a Style,
    plan: Plan,
}

/// Copied memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory<'a> {
    /// The bytes, and how many there were to copy.
    Bytes(&'a [u8], u64),
    /// The memory could not be read.
    Fault,
    /// Nothing was copied.
    Missing,
}

impl<'a> Memory<'a> {
    /// The bytes, if there are any.
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes, _) => Some(bytes),
            Self::Fault | Self::Missing => None,
        }
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(call: &'a Call, style: &'a Style) -> Self {
        let abi = call.key.abi().unwrap_or(Abi::X86_64);
        Self { call, abi, style, plan: plans::of(call.key, true) }
    }

    /// An argument as the kernel reads it: 32 bits on i386.
    pub(super) fn arg(&self, index: usize) -> u64 {
        let number = self.call.args.get(index).copied().unwrap_or(0);
        if self.abi == Abi::I386 { number & 0xffff_ffff } else { number }
    }

    /// Whether the kernel reads the lower half of an argument only.
    pub(super) fn is_int(&self, index: u8) -> bool {
        signature::of(self.call.key).is_some_and(|signature| signature.is_int(index, self.abi))
    }

    /// The lower half of an argument.
    pub(super) fn uint(&self, index: usize) -> u32 {
        kinds::low(self.arg(index))
    }

    /// An argument as a signed number of the width of a pointer.
    pub(super) fn long(&self, index: usize) -> i64 {
        kinds::signed(self.arg(index), if self.abi == Abi::I386 { 4 } else { 8 })
    }

    /// The result; `None` while the call is in flight.
    pub(super) fn result(&self) -> Option<i64> {
        let result = self.call.left?.result;
        Some(if self.abi == Abi::I386 {
            i64::from(kinds::low(result.cast_unsigned()).cast_signed())
        } else {
            result
        })
    }

    /// The result, if the call succeeded.
    pub(super) fn success(&self) -> Option<i64> {
        self.result().filter(|result| !(-4095..0).contains(result))
    }

    /// What an argument pointed to at the entry.
    pub(super) fn entry(&self, arg: usize) -> Memory<'a> {
        self.memory(arg, AT_ENTRY, 0)
    }

    /// What an argument pointed to at the exit.
    pub(super) fn exit(&self, arg: usize) -> Memory<'a> {
        let when = if self.success().is_some() { AT_SUCCESS } else { AT_FAILURE };
        self.memory(arg, when, 0)
    }

    /// What an argument pointed to: the smallest part with at least `wanted` bytes. If all parts
    /// are shorter, the longest one.
    pub(super) fn memory(&self, arg: usize, when: u8, wanted: usize) -> Memory<'a> {
        let mut best = Memory::Missing;
        for part in self.call.parts.iter().filter(|part| part.index == 0) {
            let Some(capture) = self.plan.get(part.capture) else { continue };
            let is_file = capture.kind >= trace::Kind::File as u8;
            if usize::from(capture.arg) != arg || capture.when & when == 0 || is_file {
                continue;
            }
            match (&part.copied, best) {
                (Copied::Bytes(bytes), Memory::Bytes(other, _)) => {
                    let (is_enough, was_enough) = (bytes.len() >= wanted, other.len() >= wanted);
                    let is_better = match (is_enough, was_enough) {
                        (true, true) => bytes.len() < other.len(),
                        (true, false) => true,
                        (false, true) => false,
                        (false, false) => bytes.len() > other.len(),
                    };
                    if is_better {
                        best = Memory::Bytes(bytes, part.wanted);
                    }
                }
                (Copied::Bytes(bytes), _) => best = Memory::Bytes(bytes, part.wanted),
                (Copied::Fault, Memory::Missing) => best = Memory::Fault,
                _ => {}
            }
        }
        best
    }

    /// Part `index` of what an argument pointed to.
    pub(super) fn part(&self, arg: usize, when: u8, index: usize) -> Memory<'a> {
        let part = self.call.parts.iter().find(|part| {
            part.index == index
                && self.plan.get(part.capture).is_some_and(|capture| {
                    usize::from(capture.arg) == arg
                        && capture.when & when != 0
                        && capture.kind < trace::Kind::File as u8
                })
        });
        match part.map(|part| (&part.copied, part.wanted)) {
            Some((Copied::Bytes(bytes), wanted)) => Memory::Bytes(bytes, wanted),
            Some((Copied::Fault, _)) => Memory::Fault,
            _ => Memory::Missing,
        }
    }

    /// The file that a descriptor names, if it was copied. `None` as argument stands for the
    /// result.
    pub(super) fn file(&self, arg: Option<usize>) -> Option<Vec<u8>> {
        if !self.style.with_files {
            return None;
        }
        let part = self.call.parts.iter().find(|part| {
            self.plan.get(part.capture).is_some_and(|capture| match arg {
                Some(arg) => {
                    capture.kind == trace::Kind::File as u8 && usize::from(capture.arg) == arg
                }
                None => capture.kind == trace::Kind::FileOfResult as u8,
            })
        })?;
        match &part.copied {
            Copied::Bytes(bytes) if !bytes.is_empty() => Some(bytes.clone()),
            _ => None,
        }
    }

    /// The call, decoded.
    pub(super) fn decoded(&self) -> Decoded {
        let key = self.call.key;
        let signature = signature::of(key);
        let call = syscalls::known(key).and_then(|name| Table::get().named(name));
        let names = call.and_then(|call| call.on(self.abi)?.arguments.as_deref());
        let name_of = |register: usize| {
            let named = names.and_then(|names| names.get(register)).map(|argument| argument.name);
            named.unwrap_or_else(|| NAMES.get(register).copied().unwrap_or("arg"))
        };
        let mut arguments = Vec::new();
        let is_gone = call.is_none()
            || (names.is_none() && signature.is_none_or(|signature| signature.kinds.is_empty()));
        if is_gone && self.call.key.abi().is_some() && signature.is_none() {
            // strace shows all registers of a call that it does not know.
            let all = (0..6).map(|at| Argument {
                name: name_of(at),
                label: None,
                value: Value::Hex(self.arg(at)),
                known: Known::AtEntry,
            });
            arguments.extend(all);
        }
        let mut register = 0;
        for kind in signature.map_or(&[][..], |signature| &signature.kinds) {
            if let Some((value, known)) = kinds::argument(self, kind, register) {
                arguments.push(Argument { name: name_of(register), label: None, value, known });
            }
            register += kind.of.registers(self.abi);
        }
        let outcome = self.result().map(Outcome::of);
        let mut decoded = Decoded { name: super::name(key), arguments, outcome };
        if matches!(&*decoded.name, "exit" | "exit_group") {
            decoded.outcome = Some(Outcome::Nothing);
        }
        if let Some(notation) = signature.and_then(|signature| signature.result) {
            kinds::set_notation(self, notation, &mut decoded);
        }
        if let Some(special) = signature.and_then(|signature| signature.special)
            && let Some(function) = calls::find(special)
        {
            function(self, &mut decoded);
        }
        if self.style.is_raw {
            for argument in &mut decoded.arguments {
                argument.value.make_raw();
            }
        }
        decoded
    }
}

/// Names of arguments that the table of calls does not know.
const NAMES: [&str; 6] = ["arg1", "arg2", "arg3", "arg4", "arg5", "arg6"];
