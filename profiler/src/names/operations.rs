//! Names of the operations of io_uring, as the kernel has them.

use std::borrow::Cow;

/// The names by opcode: `enum io_uring_op` (include/uapi/linux/io_uring.h, Linux 7.2) without
/// `IORING_OP_`.
const NAMES: [&str; 65] = [
    "NOP",
    "READV",
    "WRITEV",
    "FSYNC",
    "READ_FIXED",
    "WRITE_FIXED",
    "POLL_ADD",
    "POLL_REMOVE",
    "SYNC_FILE_RANGE",
    "SENDMSG",
    "RECVMSG",
    "TIMEOUT",
    "TIMEOUT_REMOVE",
    "ACCEPT",
    "ASYNC_CANCEL",
    "LINK_TIMEOUT",
    "CONNECT",
    "FALLOCATE",
    "OPENAT",
    "CLOSE",
    "FILES_UPDATE",
    "STATX",
    "READ",
    "WRITE",
    "FADVISE",
    "MADVISE",
    "SEND",
    "RECV",
    "OPENAT2",
    "EPOLL_CTL",
    "SPLICE",
    "PROVIDE_BUFFERS",
    "REMOVE_BUFFERS",
    "TEE",
    "SHUTDOWN",
    "RENAMEAT",
    "UNLINKAT",
    "MKDIRAT",
    "SYMLINKAT",
    "LINKAT",
    "MSG_RING",
    "FSETXATTR",
    "SETXATTR",
    "FGETXATTR",
    "GETXATTR",
    "SOCKET",
    "URING_CMD",
    "SEND_ZC",
    "SENDMSG_ZC",
    "READ_MULTISHOT",
    "WAITID",
    "FUTEX_WAIT",
    "FUTEX_WAKE",
    "FUTEX_WAITV",
    "FIXED_FD_INSTALL",
    "FTRUNCATE",
    "BIND",
    "LISTEN",
    "RECV_ZC",
    "EPOLL_WAIT",
    "READV_FIXED",
    "WRITEV_FIXED",
    "PIPE",
    "NOP128",
    "URING_CMD128",
];

/// The name for completions whose opcode is unknown.
pub const UNKNOWN: &str = "unknown";

/// The name of an opcode: `READ`, or `op 99` if the table lacks it.
pub fn name(opcode: Option<u8>) -> Cow<'static, str> {
    match opcode {
        None => Cow::Borrowed(UNKNOWN),
        Some(opcode) => NAMES
            .get(usize::from(opcode))
            .map_or_else(|| format!("op {opcode}").into(), |&name| Cow::Borrowed(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opcode_has_a_name() {
        assert_eq!(name(Some(0)), "NOP");
        assert_eq!(name(Some(22)), "READ");
        assert_eq!(name(Some(64)), "URING_CMD128");
        assert_eq!(name(Some(200)), "op 200");
        assert_eq!(name(None), "unknown");
    }

    /// The opcodes of the installed header, which may be older, in the same order.
    #[test]
    fn the_names_are_those_of_the_header() {
        let Ok(header) = std::fs::read_to_string("/usr/include/linux/io_uring.h") else { return };
        let lines = header.lines().map(|line| line.trim().trim_end_matches(','));
        let found: Vec<&str> = lines
            .filter(|line| line.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
            .filter_map(|line| line.strip_prefix("IORING_OP_"))
            .filter(|&name| name != "LAST")
            .collect();
        assert!(found.len() >= 32, "{found:?}");
        assert_eq!(found[..], NAMES[..found.len()]);
    }
}
