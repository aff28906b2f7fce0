//! Calls that are dangerous to allow, and why: a reviewed list.
//!
//! Sources: "Seccomp security profiles for Docker" (docs.docker.com/engine/security/seccomp), the
//! manual pages of section 2, and the kernel's own documentation. A call is listed if it lets a
//! process leave its confinement, reach memory of other processes or the kernel, or change the host;
//! or if the kernel code behind it is large and has been a frequent way to escape.

/// Why a call is dangerous, or `None` if it is not listed.
pub fn reason(name: &str) -> Option<&'static str> {
    let at = ALL.iter().find(|(names, _)| names.contains(&name))?;
    Some(at.1)
}

const ALL: &[(&[&str], &str)] = &[
    (&["bpf"], "loads programs into the kernel; the verifier has been a way to escape (bpf(2))"),
    (
        &["perf_event_open"],
        "observes other processes and the kernel (perf_event_open(2), perf_event_paranoid)",
    ),
    (
        &["ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "process_madvise"],
        "reads, changes or compares other processes (ptrace(2)); before Linux 4.8 ptrace bypasses \
         seccomp (seccomp(2))",
    ),
    (&["pidfd_getfd"], "takes descriptors of other processes (pidfd_getfd(2))"),
    (
        &[
            "mount",
            "umount",
            "umount2",
            "pivot_root",
            "move_mount",
            "open_tree",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "mount_setattr",
            "open_tree_attr",
            "chroot",
        ],
        "changes what paths mean, and parses file systems in the kernel (mount(2), user_namespaces(7))",
    ),
    (
        &["unshare", "setns", "clone3"],
        "makes or enters namespaces, which gives all capabilities within them (user_namespaces(7)); \
         the flags of clone3 are in memory, so that a filter cannot see them (seccomp_unotify(2))",
    ),
    (
        &[
            "init_module",
            "finit_module",
            "delete_module",
            "create_module",
            "query_module",
            "get_kernel_syms",
        ],
        "loads and removes code of the kernel (init_module(2))",
    ),
    (
        &["kexec_load", "kexec_file_load", "reboot"],
        "replaces or restarts the kernel (kexec_load(2), reboot(2))",
    ),
    (
        &["open_by_handle_at"],
        "opens files past the root of a container: the escape of 2014 (open_by_handle_at(2))",
    ),
    (
        &["keyctl", "add_key", "request_key"],
        "reaches keyrings, which namespaces do not separate (keyrings(7))",
    ),
    (
        &["userfaultfd"],
        "stops the kernel at a page fault, which makes races exploitable (userfaultfd(2), sysctl \
         vm.unprivileged_userfaultfd)",
    ),
    (
        &["io_uring_setup", "io_uring_enter", "io_uring_register"],
        "makes operations that no filter sees, by code that has often been a way to escape \
         (io_uring_setup(2), sysctl kernel.io_uring_disabled)",
    ),
    (&["iopl", "ioperm"], "reaches the ports of devices (iopl(2))"),
    (
        &["modify_ldt", "vm86", "vm86old"],
        "reaches rarely used code for 16-bit programs (modify_ldt(2), vm86(2))",
    ),
    (
        &["settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "stime"],
        "changes the clock of the host, which namespaces do not separate (clock_settime(2))",
    ),
    (&["swapon", "swapoff"], "changes the swap space of the host (swapon(2))"),
    (
        &[
            "acct",
            "quotactl",
            "quotactl_fd",
            "syslog",
            "lookup_dcookie",
            "nfsservctl",
            "uselib",
            "ustat",
            "_sysctl",
            "sysfs",
        ],
        "manages the host, reads its log, or is obsolete (Docker's list)",
    ),
    (&["personality"], "can turn off the randomisation of addresses (personality(2))"),
    (
        &["sethostname", "setdomainname"],
        "renames the host, unless it has a UTS namespace of its own (sethostname(2))",
    ),
    (
        &["move_pages", "migrate_pages", "mbind", "set_mempolicy"],
        "moves memory between nodes, also of other processes (move_pages(2))",
    ),
    (
        &["process_mrelease", "pidfd_send_signal"],
        "acts on other processes by descriptor (pidfd_send_signal(2))",
    ),
    (
        &["fanotify_init", "fanotify_mark"],
        "observes and delays accesses to whole file systems (fanotify(7))",
    ),
    (
        &["name_to_handle_at"],
        "gives the handles that open_by_handle_at opens (open_by_handle_at(2))",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::table::Table;

    #[test]
    fn every_name_is_a_call_and_is_listed_once() {
        let mut all: Vec<_> = ALL.iter().flat_map(|(names, _)| names.iter()).collect();
        for name in &all {
            assert!(Table::get().named(name).is_some(), "{name}");
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
