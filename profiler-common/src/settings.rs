//! Settings: the constants in the objects that the user side sets before it loads them.
//!
//! The verifier knows the value of a setting, and drops the branches that the value rules out.
//! Each setting is a `u32`, and each object has all of them.
//!
//! This file has the only two lists. [`for_each_option!`] lists what the user side decides.
//! [`for_each_field!`] lists where the fields of kernel types are. The kernel side defines its
//! constants from these lists, and the user side looks up their names and the fields here.

/// Calls `$callback!` with the list of options: settings that the user side decides.
#[macro_export]
macro_rules! for_each_option {
    ($callback:ident) => {
        $callback! {
            /// Host process id of the profiler, whose calls do not count; 0 if they do.
            OWN_TGID,
            /// Host process id of the profiler, to recognise signals to it; 0 without a command.
            PROFILER_TGID,
            /// Host process id of the command, to recognise signals to it; 0 without a command.
            COMMAND_TGID,
            /// 1 if only the processes in `TARGETS` and their children count.
            TARGETS_ONLY,
            /// Which calls are timed: a threshold of `sampling`.
            TIMED,
            /// `sampling::adaptive::Limit::cost`. Only for adaptive sampling.
            SAMPLING_COST,
            /// `sampling::adaptive::Limit::budget`. Only for adaptive sampling.
            SAMPLING_BUDGET,
            /// 1 if the scope is less than the whole host.
            SCOPE_IS_NARROW,
            /// 1 if a task can enter and leave the scope.
            SCOPE_CHANGES,
            /// 1 if only processes in the cgroups in `CGROUPS` count.
            CGROUPS_ONLY,
            /// 1 if only processes in the cgroups in `PLACES` count.
            PLACES_ONLY,
            /// 1 if only processes with a name in `COMMS` count.
            COMMS_ONLY,
            /// 1 if only the calls in `CALLS` count.
            CALLS_ONLY,
            /// 1 if each record has the cgroup of its owner.
            CGROUPS_KNOWN,
            /// Index in `css_set.subsys` of the controller of version 1 whose hierarchy has the
            /// cgroups of tasks that are in the root of version 2, plus one; 0 if there is none.
            V1_CONTROLLER,
            /// The id of that hierarchy, as `/proc/PID/cgroup` has it.
            V1_HIERARCHY,
            /// How many of the syscalls `uretprobe` and `uprobe`, in this order, the kernel has.
            PROBE_CALLS,
            /// 1 if the kernel may skip the entry program, so that an entry can be missed.
            ENTRIES_CAN_BE_MISSED,
            /// 1 if the kernel has the helper `bpf_task_pt_regs` (Linux 5.15, with BTF).
            HAS_TASK_REGS,
            /// Byte offset of the records in the arena: `arena::records`. Only for the arena.
            RECORDS_AT,
            /// Byte offset of the identities in the arena: `arena::identities`. Only for the arena.
            IDENTITIES_AT,
            /// Byte offset of the samplers in the arena: `arena::samplers`. Only for the arena.
            SAMPLERS_AT,
            /// How `io_uring_complete` names the request, as in
            /// [`completion`](crate::io_uring::completion); 0 if the programs are not loaded.
            URING_COMPLETION,
            /// Index of the request among the arguments of the tracepoint of submissions.
            URING_SUBMITTED_AT,
            /// Index of the request among the arguments of `io_uring_req_failed`.
            URING_FAILED_AT,
            /// Bytes of text that a trace copies, at most.
            TEXT_LIMIT,
            /// Size of the ring buffer of a trace, bytes.
            RING_BYTES,
            /// 1 if a trace has only calls that failed.
            FAILED_ONLY,
            /// 1 if a trace has only calls that failed with an errno in `ERRNOS`.
            ERRNOS_ONLY,
            /// A trace has only calls that took at least this long: the lower half of a number of
            /// nanoseconds.
            SLOWER_LOW,
            /// The upper half of the number in `SLOWER_LOW`.
            SLOWER_HIGH,
            /// 1 if a trace names the open files that calls use.
            FILES_KNOWN,
            /// What a call adds to the sums of stacks: `stacks::WEIGHT_CALLS` or another one.
            STACK_WEIGHT,
            /// 1 if the stack of every call is taken.
            STACK_OF_EVERY,
            /// 1 if the stack of the kernel is taken where calls wait.
            STACK_OF_KERNEL,
            /// Stacks that are taken per CPU and second, about. With `STACK_OF_EVERY`: copies.
            STACK_RATE,
            /// 1 if the memory of stacks is copied.
            STACK_COPIED,
            /// 1 if the targets of calls that fail are noted.
            FAILURES_NOTED,
            /// Slots of each ring of a flight recorder; 0 if a trace sends each call.
            RING_SLOTS,
            /// 1 if a flight recorder reports the failure of a process.
            REPORTS_FAILURES,
            /// 1 if a trace reads kernel memory by `bpf_rdonly_cast`.
            CASTS,
        }
    };
}

/// Calls `$callback!` with the list of fields of kernel types: the setting that has the value, what
/// the value is, the type and the member, the [`FieldGroup`], the [`Presence`], and which kernels
/// have the field, if not all that we support.
#[macro_export]
macro_rules! for_each_field {
    ($callback:ident) => {
        $callback! {
            STATUS_OFFSET         Offset "task_struct"    "thread_info.status"       Task       Required;
            PID_OFFSET            Offset "task_struct"    "pid"                      Task       Required;
            TGID_OFFSET           Offset "task_struct"    "tgid"                     Task       Required;
            LEADER_OFFSET         Offset "task_struct"    "group_leader"             Task       Required;
            START_OFFSET          Offset "task_struct"    "start_boottime"           Task       Required;
            COMM_OFFSET           Offset "task_struct"    "comm"                     Task       Required;
            PTRACE_OFFSET         Offset "task_struct"    "ptrace"                   Task       Required;
            WORK_OFFSET           Offset "task_struct"    "thread_info.syscall_work" Task       Optional    from (5, 11);

            SECCOMP_MODE_OFFSET   Offset "task_struct"    "seccomp.mode"             Seccomp    Required;
            SECCOMP_FILTER_OFFSET Offset "task_struct"    "seccomp.filter"           Seccomp    Required;
            ALLOWED_OFFSET        Offset "seccomp_filter" "cache.allow_native"       Seccomp    Required    from (5, 11);
            ALLOWED_NATIVE_BYTES  Size   "action_cache"   "allow_native"             Seccomp    Required    from (5, 11);
            ALLOWED_COMPAT_BYTES  Size   "action_cache"   "allow_compat"             Seccomp    Optional    from (5, 11);

            FILTER_PREV_OFFSET    Offset "seccomp_filter" "prev"                     Supervisor Required;
            FILTER_NOTIF_OFFSET   Offset "seccomp_filter" "notif"                    Supervisor Required;
            NOTIFICATIONS_OFFSET  Offset "notification"   "notifications"            Supervisor Required;
            KNOTIF_LIST_OFFSET    Offset "seccomp_knotif" "list"                     Supervisor Required;
            KNOTIF_TASK_OFFSET    Offset "seccomp_knotif" "task"                     Supervisor Required;

            STATE_OFFSET          Offset "task_struct"    "__state"                  Sleep      Required    from (5, 14);
            FLAGS_OFFSET          Offset "task_struct"    "flags"                    Sleep      Required;
            ON_CPU_OFFSET         Offset "task_struct"    "on_cpu"                   Sleep      Required;
            JOBCTL_OFFSET         Offset "task_struct"    "jobctl"                   Sleep      Required;
            NVCSW_OFFSET          Offset "task_struct"    "nvcsw"                    Sleep      Required;
            NIVCSW_OFFSET         Offset "task_struct"    "nivcsw"                   Sleep      Required;
            LAST_SIGINFO_OFFSET   Offset "task_struct"    "last_siginfo"             Sleep      Required;
            SI_CODE_OFFSET        Offset "kernel_siginfo" "si_code"                  Sleep      Required;

            SIGNAL_OFFSET         Offset "task_struct"    "signal"                   Threads    Required;
            NR_THREADS_OFFSET     Offset "signal_struct"  "nr_threads"               Threads    Required;
            THREAD_HEAD_OFFSET    Offset "signal_struct"  "thread_head"              Threads    Required;
            THREAD_NODE_OFFSET    Offset "task_struct"    "thread_node"              Threads    Required;
            STACK_OFFSET          Offset "task_struct"    "stack"                    Threads    Required;

            CGROUPS_OFFSET        Offset "task_struct"    "cgroups"                  Cgroup     Required;
            DFL_CGRP_OFFSET       Offset "css_set"        "dfl_cgrp"                 Cgroup     Required;
            LEVEL_OFFSET          Offset "cgroup"         "level"                    Cgroup     Required;
            ANCESTOR_IDS_OFFSET   Offset "cgroup"         "ancestor_ids"             Cgroup     Alternative to (6, 1);
            ANCESTORS_OFFSET      Offset "cgroup"         "ancestors"                Cgroup     Alternative from (6, 1);
            KN_OFFSET             Offset "cgroup"         "kn"                       Cgroup     Required;
            KN_ID_OFFSET          Offset "kernfs_node"    "id"                       Cgroup     Required;
            ROOT_OFFSET           Offset "cgroup"         "root"                     Cgroup     Required;
            HIERARCHY_OFFSET      Offset "cgroup_root"    "hierarchy_id"             Cgroup     Required;
            SUBSYS_OFFSET         Offset "css_set"        "subsys"                   Cgroup     Required;
            CSS_CGROUP_OFFSET     Offset "cgroup_subsys_state" "cgroup"              Cgroup     Required;

            REQ_OPCODE_OFFSET     Offset "io_kiocb"       "opcode"                   IoUring    Required;
            REQ_FLAGS_OFFSET      Offset "io_kiocb"       "flags"                    IoUring    Required;
            REQ_CTX_OFFSET        Offset "io_kiocb"       "ctx"                      IoUring    Required;
            REQ_DATA_OFFSET       Offset "io_kiocb"       "user_data"                IoUring    Alternative to (5, 19);
            REQ_CQE_OFFSET        Offset "io_kiocb"       "cqe"                      IoUring    Alternative from (5, 19);
            REQ_TASK_OFFSET       Offset "io_kiocb"       "task"                     IoUring    Optional to (6, 13);
            REQ_TCTX_OFFSET       Offset "io_kiocb"       "tctx"                     IoUring    Optional from (6, 13);
            TCTX_TASK_OFFSET      Offset "io_uring_task"  "task"                     IoUring    Optional from (6, 13);

            EXIT_CODE_OFFSET      Offset "task_struct"    "exit_code"                Trace      Required;
            LIVE_OFFSET           Offset "signal_struct"  "live"                     Trace      Required;
            GROUP_FLAGS_OFFSET    Offset "signal_struct"  "flags"                    Trace      Required;

            FILES_OFFSET          Offset "task_struct"    "files"                    Files      Required;
            FDT_OFFSET            Offset "files_struct"   "fdt"                      Files      Required;
            MAX_FDS_OFFSET        Offset "fdtable"        "max_fds"                  Files      Required;
            FD_OFFSET             Offset "fdtable"        "fd"                       Files      Required;
            F_INODE_OFFSET        Offset "file"           "f_inode"                  Files      Required;
            F_PATH_OFFSET         Offset "file"           "f_path"                   Files      Required;
            F_PRIVATE_OFFSET      Offset "file"           "private_data"             Files      Required;
            PATH_DENTRY_OFFSET    Offset "path"           "dentry"                   Files      Required;
            PATH_MNT_OFFSET       Offset "path"           "mnt"                      Files      Required;
            I_MODE_OFFSET         Offset "inode"          "i_mode"                   Files      Required;
            I_INO_OFFSET          Offset "inode"          "i_ino"                    Files      Required;
            I_SB_OFFSET           Offset "inode"          "i_sb"                     Files      Required;
            S_MAGIC_OFFSET        Offset "super_block"    "s_magic"                  Files      Required;
            D_HASH_OFFSET         Offset "dentry"         "d_hash"                   Files      Required;
            D_PARENT_OFFSET       Offset "dentry"         "d_parent"                 Files      Required;
            D_NAME_OFFSET         Offset "dentry"         "d_name"                   Files      Required;
            QSTR_NAME_OFFSET      Offset "qstr"           "name"                     Files      Required;
            MOUNT_MNT_OFFSET      Offset "mount"          "mnt"                      Files      Required;
            MOUNT_PARENT_OFFSET   Offset "mount"          "mnt_parent"               Files      Required;
            MOUNT_POINT_OFFSET    Offset "mount"          "mnt_mountpoint"           Files      Required;
            MNT_ROOT_OFFSET       Offset "vfsmount"       "mnt_root"                 Files      Required;
            SOCKET_SK_OFFSET      Offset "socket"         "sk"                       Files      Required;
            SOCKET_FILE_OFFSET    Offset "socket"         "file"                     Files      Required;
            SK_SOCKET_OFFSET      Offset "sock"           "sk_socket"                Files      Required;
            SKC_FAMILY_OFFSET     Offset "sock_common"    "skc_family"               Files      Required;
            SKC_PROT_OFFSET       Offset "sock_common"    "skc_prot"                 Files      Required;
            PROT_NAME_OFFSET      Offset "proto"          "name"                     Files      Required;
            SKC_NUM_OFFSET        Offset "sock_common"    "skc_num"                  Files      Required;
            SKC_DPORT_OFFSET      Offset "sock_common"    "skc_dport"                Files      Required;
            SKC_RCV_SADDR_OFFSET  Offset "sock_common"    "skc_rcv_saddr"            Files      Required;
            SKC_DADDR_OFFSET      Offset "sock_common"    "skc_daddr"                Files      Required;
            SKC_V6_RCV_SADDR_OFFSET Offset "sock_common"  "skc_v6_rcv_saddr"         Files      Optional;
            SKC_V6_DADDR_OFFSET   Offset "sock_common"    "skc_v6_daddr"             Files      Optional;
            UNIX_PEER_OFFSET      Offset "unix_sock"      "peer"                     Files      Optional;

            FS_OFFSET             Offset "task_struct"    "fs"                       Directory  Required;
            PWD_OFFSET            Offset "fs_struct"      "pwd"                      Directory  Required;
            D_INODE_OFFSET        Offset "dentry"         "d_inode"                  Directory  Required;
            S_DEV_OFFSET          Offset "super_block"    "s_dev"                    Directory  Required;
        }
    };
}

/// The oldest kernel that we support, as major and minor version.
pub const OLDEST_KERNEL: (u32, u32) = (5, 10);

/// A field of a kernel type, and the setting that tells the programs about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name of the setting.
    pub setting: &'static str,
    /// What the value of the setting is.
    pub measure: Measure,
    /// Name of the kernel's structure, without `struct`.
    pub structure: &'static str,
    /// Path of the member in the structure: `a.b` is member `b` of the structure that is `a`.
    pub member: &'static str,
    /// The feature that needs the field.
    pub group: FieldGroup,
    /// Whether the group can do without the field.
    pub presence: Presence,
    /// First of the supported kernels that has the field, as major and minor version.
    pub from: (u32, u32),
    /// First kernel that no longer has the field, if there is one.
    pub to: Option<(u32, u32)>,
}

/// What the value of a setting says about a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Its offset in the structure, bytes.
    Offset,
    /// Its size, bytes.
    Size,
}

/// The feature that needs a field. Either the kernel has all fields of a group, but for those
/// that are not required, or all settings of the group are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldGroup {
    /// Identities of tasks.
    Task,
    /// Whether seccomp may have refused a call.
    Seccomp,
    /// Whether a call waits for a supervisor of seccomp.
    Supervisor,
    /// Whether a task sleeps.
    Sleep,
    /// The threads of a process.
    Threads,
    /// The cgroup of a task, and the cgroups above it.
    Cgroup,
    /// Requests of io_uring.
    IoUring,
    /// The ends of threads in a trace.
    Trace,
    /// Open files.
    Files,
    /// The directories that relative paths start from.
    Directory,
}

impl FieldGroup {
    /// Every group.
    pub const ALL: [Self; 10] = [
        Self::Task,
        Self::Seccomp,
        Self::Supervisor,
        Self::Sleep,
        Self::Threads,
        Self::Cgroup,
        Self::IoUring,
        Self::Trace,
        Self::Files,
        Self::Directory,
    ];
}

/// Whether a group can do without a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The group needs the field.
    Required,
    /// If the kernel lacks the field, its setting is 0.
    Optional,
    /// The group needs one of its fields of this kind. The settings of the others are 0.
    Alternative,
}

macro_rules! define_options {
    ($($(#[$doc:meta])* $setting:ident,)+) => {
        $($(#[$doc])* pub const $setting: &str = stringify!($setting);)+

        /// Names of all options.
        pub const OPTIONS: &[&str] = &[$($setting),+];
    };
}
for_each_option!(define_options);

macro_rules! define_fields {
    ($(
        $setting:ident $measure:ident $structure:literal $member:literal
        $group:ident $presence:ident $(from $from:tt)? $(to $to:tt)?;
    )+) => {
        $(
            #[doc = concat!(stringify!($measure), " of `", $structure, ".", $member, "`, bytes.")]
            pub const $setting: &str = stringify!($setting);
        )+

        /// All fields.
        pub const FIELDS: &[Field] = &[$(Field {
            setting: $setting,
            measure: Measure::$measure,
            structure: $structure,
            member: $member,
            group: FieldGroup::$group,
            presence: Presence::$presence,
            from: define_fields!(@or OLDEST_KERNEL $(, $from)?),
            to: define_fields!(@or None $(, Some($to))?),
        }),+];
    };
    (@or $default:expr) => { $default };
    (@or $default:expr, $value:expr) => { $value };
}
for_each_field!(define_fields);

/// Numbers in the instructions of the object with an arena and of that of a trace, which the user side
/// replaces before it loads the object. No other instruction there is likely to have them.
pub mod placeholder {
    /// In place of the BTF id of the function `bpf_rdonly_cast`.
    pub const RDONLY_CAST: i32 = 0x7072_6f01;
    /// In place of the BTF id of the type to cast to, a structure of integers.
    pub const RDONLY_CAST_TYPE: i32 = 0x7072_6f02;
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{collections::HashSet, vec::Vec};

    use super::*;

    #[test]
    fn every_setting_is_listed_once() {
        let names: Vec<_> =
            OPTIONS.iter().copied().chain(FIELDS.iter().map(|field| field.setting)).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }

    #[test]
    fn every_field_is_listed_once() {
        let fields: HashSet<_> =
            FIELDS.iter().map(|field| (field.structure, field.member)).collect();
        assert_eq!(fields.len(), FIELDS.len());
    }

    /// Of alternatives, exactly one is in each kernel.
    #[test]
    fn alternatives_follow_each_other() {
        for group in FieldGroup::ALL {
            let alternatives: Vec<_> = FIELDS
                .iter()
                .filter(|field| field.group == group && field.presence == Presence::Alternative)
                .collect();
            assert_ne!(alternatives.len(), 1, "{group:?}");
            for pair in alternatives.windows(2) {
                assert_eq!(pair[0].to, Some(pair[1].from), "{group:?}");
            }
            assert_eq!(alternatives.last().and_then(|last| last.to), None, "{group:?}");
        }
    }
}
