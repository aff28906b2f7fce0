//! Calls whose arguments depend on each other.
//!
//! A function of this module changes a call that was decoded by its signature: it replaces or
//! removes arguments, and adds notes to the result. [`captures`] lists the memory that a function
//! needs beyond what the signature says.

mod control;
mod files;
mod futex;
mod ipc;
mod memory;
mod messages;
mod options;
mod processes;
mod ptrace;
mod sockets;
mod system;
mod waits;

use profiler_common::trace::{AT_ENTRY, AT_SUCCESS};

pub(super) use self::messages::{message, messages};
use super::{Decoded, Outcome, Value, context::Context, kinds, structs};

/// Changes a call that was decoded by its signature.
pub(super) type Special = fn(&Context<'_>, &mut Decoded);

/// The function of this name.
pub(super) fn find(name: &str) -> Option<Special> {
    Some(match name {
        "open" => |context, decoded| files::open(context, decoded, 1),
        "openat" => |context, decoded| files::open(context, decoded, 2),
        "mq_open" => files::mq_open,
        "mknod" => |context, decoded| files::mknod(context, decoded, 1),
        "mknodat" => |context, decoded| files::mknod(context, decoded, 2),
        "mount" => files::mount,
        "fsconfig" => files::fsconfig,
        "fcntl" => files::fcntl,
        "ioctl" => files::ioctl,
        "fanotify_mark" => files::fanotify_mark,
        "getdents" => files::getdents,
        "getrandom" => system::getrandom,
        "poll" | "ppoll" => waits::poll,
        "select" | "pselect6" => waits::select,
        "epoll_ctl" => waits::epoll_ctl,
        "mmap" => memory::mmap,
        "mmap2" => memory::mmap2,
        "old_mmap" => memory::old_mmap,
        "mremap" => memory::mremap,
        "set_mempolicy" => memory::set_mempolicy,
        "mbind" => memory::mbind,
        "migrate_pages" => memory::migrate_pages,
        "xattr" => files::xattr,
        "clone" => processes::clone,
        "clone3" => processes::clone3,
        "wait4" => processes::wait4,
        "prctl" => processes::prctl,
        "arch_prctl" => processes::arch_prctl,
        "kcmp" => processes::kcmp,
        "ptrace" => ptrace::ptrace,
        "seccomp" => processes::seccomp,
        "rt_sigreturn" => processes::sigreturn,
        "rt_sigtimedwait" => processes::sigtimedwait,
        "restart_syscall" => processes::restart_syscall,
        "reboot" => system::reboot,
        "syslog" => system::syslog,
        "sysfs" => system::sysfs,
        "bpf" => system::bpf,
        "quotactl" => |context, decoded| system::quotactl(context, decoded, 0),
        "quotactl_fd" => |context, decoded| system::quotactl(context, decoded, 1),
        "keyctl" => system::keyctl,
        "ioprio_get" => system::ioprio_get,
        "ioprio_set" => system::ioprio_set,
        "futex" => futex::futex,
        "socket" => sockets::socket,
        "setsockopt" => options::setsockopt,
        "getsockopt" => options::getsockopt,
        "socketcall" => sockets::socketcall,
        "recvmmsg" => messages::recvmmsg,
        "semctl" => ipc::semctl,
        "msgsnd" => ipc::msgsnd,
        "msgrcv" => ipc::msgrcv,
        "msgctl" => ipc::msgctl,
        "shmctl" => ipc::shmctl,
        "ipc" => ipc::ipc,
        _ => return None,
    })
}

/// In place of a number of bytes: text that ends with NUL.
pub(super) const TEXT: usize = usize::MAX;

/// In place of a number of bytes: the number that argument 0 has, which is at least as many as a set
/// of so many bits has.
pub(super) const BITS: usize = usize::MAX - 1;

/// What a function needs beyond what the signature says: the argument, the bytes, and when.
pub(super) fn captures(name: &str) -> &'static [(u8, usize, u8)] {
    match name {
        // struct flock is the longest.
        "fcntl" => &[(2, 8, AT_ENTRY), (2, 32, AT_ENTRY), (2, 8, AT_SUCCESS), (2, 32, AT_SUCCESS)],
        // Requests do not say for sure how long the memory is, and what lies behind it may not be
        // mapped.
        "ioctl" => &[
            (2, 8, AT_ENTRY),
            (2, 64, AT_ENTRY),
            (2, 256, AT_ENTRY),
            (2, 8, AT_SUCCESS),
            (2, 64, AT_SUCCESS),
            (2, 256, AT_SUCCESS),
        ],
        "select" => &[
            (1, BITS, AT_ENTRY),
            (2, BITS, AT_ENTRY),
            (3, BITS, AT_ENTRY),
            (1, BITS, AT_SUCCESS),
            (2, BITS, AT_SUCCESS),
            (3, BITS, AT_SUCCESS),
            (4, 16, AT_SUCCESS),
        ],
        "pselect6" => &[
            (1, BITS, AT_ENTRY),
            (2, BITS, AT_ENTRY),
            (3, BITS, AT_ENTRY),
            (1, BITS, AT_SUCCESS),
            (2, BITS, AT_SUCCESS),
            (4, 16, AT_SUCCESS),
        ],
        "poll" => &[(0, 8, AT_SUCCESS), (0, 256, AT_SUCCESS)],
        "ppoll" => &[(0, 8, AT_SUCCESS), (0, 256, AT_SUCCESS), (2, 16, AT_SUCCESS)],
        "prctl" => {
            &[(1, TEXT, AT_ENTRY), (1, 4, AT_SUCCESS), (1, 16, AT_SUCCESS), (2, 16, AT_ENTRY)]
        }
        "setsockopt" => {
            &[(3, 4, AT_ENTRY), (3, 8, AT_ENTRY), (3, 20, AT_ENTRY), (3, 136, AT_ENTRY)]
        }
        "arch_prctl" => &[(1, 8, AT_SUCCESS)],
        "recvmmsg" => &[(4, 16, AT_SUCCESS)],
        // 512 nodes.
        "set_mempolicy" => &[(1, 64, AT_ENTRY)],
        "mbind" => &[(3, 64, AT_ENTRY)],
        "migrate_pages" => &[(2, 64, AT_ENTRY), (3, 64, AT_ENTRY)],
        "clone3" => &[],
        "seccomp" => &[(2, 16, AT_ENTRY), (2, 4, AT_ENTRY)],
        "bpf" => &[(1, 128, AT_ENTRY), (1, 64, AT_ENTRY), (1, 32, AT_ENTRY)],
        "semctl" | "shmctl" | "msgctl" => {
            &[(2, 112, AT_ENTRY), (2, 112, AT_SUCCESS), (3, 104, AT_ENTRY), (3, 104, AT_SUCCESS)]
        }
        "msgsnd" => &[(1, 8, AT_ENTRY), (1, 64, AT_ENTRY)],
        "msgrcv" => &[(1, 8, AT_SUCCESS), (1, 64, AT_SUCCESS)],
        "keyctl" => &[(1, 32, AT_ENTRY), (2, 32, AT_ENTRY), (3, 32, AT_ENTRY)],
        "ptrace" => {
            &[(2, 16, AT_ENTRY), (3, 128, AT_ENTRY), (3, 8, AT_SUCCESS), (3, 128, AT_SUCCESS)]
        }
        "kcmp" => &[(4, 12, AT_ENTRY)],
        _ => &[],
    }
}

/// Replaces the value of the argument at `index`.
fn set(decoded: &mut Decoded, index: usize, value: Value) {
    if let Some(argument) = decoded.arguments.get_mut(index) {
        argument.value = value;
    }
}

/// Removes the arguments from `index` on.
fn truncate(decoded: &mut Decoded, index: usize) {
    decoded.arguments.truncate(index);
}

/// Adds a note to the result of a call that succeeded.
fn note(decoded: &mut Decoded, text: String) {
    if let Some(Outcome::Returned { note, .. }) = &mut decoded.outcome
        && !text.is_empty()
    {
        *note = Some(text);
    }
}

/// Decodes the structure to which an argument points.
fn structure(context: &Context<'_>, name: &str, at: usize, when: u8) -> Value {
    let pointer = kinds::address(context.arg(at));
    let Some(found) = structs::find(name) else { return pointer };
    let size = (found.bytes)(context.abi);
    let bytes = context.memory(at, when, size).bytes().and_then(|bytes| bytes.get(..size));
    bytes.map_or(pointer, |bytes| (found.decode)(bytes, context.abi, context.style))
}

/// The number of so many bytes to which an argument points.
fn pointed(context: &Context<'_>, at: usize, when: u8, width: usize) -> Option<u64> {
    kinds::number(context.memory(at, when, width).bytes()?, width)
}

/// A list of one value.
fn boxed(value: Value) -> Value {
    Value::Array { items: vec![value], is_cut: false }
}
