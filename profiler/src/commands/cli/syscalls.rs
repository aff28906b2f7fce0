//! Flags of `profiler syscalls`.

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use profiler_common::call::{ABIS, Abi};

use super::{Format, candidates};
use crate::names::find::Query;

/// `profiler syscalls`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct SyscallsArgs {
    /// A name, number, errno, pattern, class, category or group [default: all syscalls]
    ///
    /// A name such as openat, or i386:openat for one ABI. A number such as 257, or i386:257.
    /// An errno such as ENOENT, errno:2 or -2. A pattern such as 'open*', with *, ? and [...].
    /// A class of strace or a category, such as %file or %file-management. A group of systemd,
    /// such as @system-service.
    #[arg(value_name = "CALL", allow_negative_numbers = true, add = candidates::queries())]
    pub queries: Vec<Query>,
    /// Show only this ABI
    #[arg(long, value_name = "ABI", value_parser = abis())]
    pub abi: Option<Abi>,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

const AFTER_HELP: &str = "\
Examples:
  profiler syscalls                    every syscall and its numbers
  profiler syscalls openat             arguments, registers, classes, errnos
  profiler syscalls 257                the syscall with this number, on each ABI
  profiler syscalls ENOENT             an errno, and the syscalls that document it
  profiler syscalls 'open*' close      patterns and several names
  profiler syscalls %network           a class of strace
  profiler syscalls @system-service    a group of systemd
  profiler syscalls -f json | jq -r '.syscalls[]|select(.docker.allowed==\"no\").syscall'

The command requires neither privilege nor network. Its table is part of the binary, and does not
depend on the running kernel. JSON names the source of each kind of fact, with its version.";

/// An ABI by its name.
fn abis() -> impl TypedValueParser<Value = Abi> {
    let named = |name: String| ABIS.into_iter().find(|abi| abi.name() == name);
    PossibleValuesParser::new(ABIS.map(Abi::name))
        .try_map(move |name| named(name).ok_or("there is no such ABI"))
}
