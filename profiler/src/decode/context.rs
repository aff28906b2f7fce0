//! A call that is being decoded.

use profiler_common::call::Abi;

use super::{Argument, Decoded, Known, Outcome, Style, Value};
use crate::{
    model::Call,
    names::{syscalls, table::Table},
};

/// A call that is being decoded.
pub(super) struct Context<'a> {
    call: &'a Call,
    abi: Abi,
    #[expect(dead_code, reason = "used by the kinds of arguments")]
    style: &'a Style,
}

impl<'a> Context<'a> {
    pub(super) fn new(call: &'a Call, style: &'a Style) -> Self {
        Self { call, abi: call.key.abi().unwrap_or(Abi::X86_64), style }
    }

    pub(super) fn decoded(&self) -> Decoded {
        let names = syscalls::known(self.call.key)
            .and_then(|name| Table::get().named(name)?.on(self.abi)?.arguments.as_deref());
        let arguments = names.unwrap_or_default().iter().zip(self.call.args);
        Decoded {
            name: super::name(self.call.key),
            arguments: arguments
                .map(|(argument, number)| Argument {
                    name: argument.name,
                    value: Value::Hex(number),
                    known: Known::AtEntry,
                })
                .collect(),
            outcome: self.call.left.map(|left| Outcome::of(left.result)),
        }
    }
}
