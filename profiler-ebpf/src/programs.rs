//! The programs. They are the same in all objects that count calls, except for their kind.
//!
//! The programs attach to `raw_syscalls:sys_enter` and `sys_exit`, as `tp_btf` where the kernel has
//! BTF and task storage, and as `raw_tp` otherwise. They never attach through perf. perf doubles
//! the cost, requires more privilege, and skips events while the CPU is inside a BPF map operation.
//!
//! Six more tracepoints keep identities and outcomes true: `sched_process_fork`,
//! `sched_process_exec`, `sched_process_exit`, `task_rename`, `cgroup_attach_task` and
//! `signal_deliver`. With `--where`, `sched_switch` and `sched_waking` follow the time off the CPU.
//! Three more name cgroups: `cgroup_mkdir`, `cgroup_rename` and `cgroup_rmdir`. With `--show-paths`,
//! `cap_capable` sees which capability the kernel found missing.

/// Defines the programs of an object. They take a `$Context`, have the attribute
/// `#[$attribute($key = "...")]`, and use the backend `$Backend`.
#[macro_export]
macro_rules! programs {
    ($Context:ident, $Backend:ident, $attribute:ident, $key:ident) => {
        #[$attribute($key = "sys_enter")]
        pub fn sys_enter(ctx: $Context) -> i32 {
            $crate::entry::enter::<$Backend>(ctx.arg(0), ctx.arg(1));
            0
        }

        #[$attribute($key = "sys_exit")]
        pub fn sys_exit(ctx: $Context) -> i32 {
            $crate::exit::exit::<$Backend>(ctx.arg(0), ctx.arg(1));
            0
        }

        #[$attribute($key = "sched_process_exit")]
        pub fn process_exit(ctx: $Context) -> i32 {
            $crate::refusal::count_kill::<$Backend>(true);
            $crate::life::exit::<$Backend>(ctx.arg(0));
            $crate::report::exhaustion();
            0
        }

        // Loaded only if the targets of calls that fail are noted.
        #[$attribute($key = "cap_capable")]
        pub fn cap_capable(ctx: $Context) -> i32 {
            let capability: i32 = ctx.arg(3);
            let result: i32 = ctx.arg(4);
            $crate::failing::check::<$Backend>(capability as u32, result);
            0
        }

        // The next two are loaded only if the time off the CPU is to be followed.
        #[$attribute($key = "sched_switch")]
        pub fn sched_switch(ctx: $Context) -> i32 {
            let is_preempted = ctx.arg::<u64>(0) != 0;
            $crate::off_cpu::switched::<$Backend>(is_preempted, ctx.arg(1), ctx.arg(2));
            0
        }

        #[$attribute($key = "sched_waking")]
        pub fn sched_waking(ctx: $Context) -> i32 {
            $crate::off_cpu::woken::<$Backend>(ctx.arg(0));
            0
        }

        // The copies `_2` and so on are attached only if the kernel may skip the earlier copies.
        $crate::programs_of_one_body! { $Context, $attribute, $key;
            "sys_enter": sys_enter_2, sys_enter_3, sys_enter_4, sys_enter_5, sys_enter_6,
                sys_enter_7, sys_enter_8 => enter_again;
            "sched_process_fork":
                process_fork, process_fork_2, process_fork_3, process_fork_4 => fork;
            "sched_process_exec":
                process_exec, process_exec_2, process_exec_3, process_exec_4 => exec;
            "sched_process_exit": process_exit_2, process_exit_3, process_exit_4 => end_again;
            "task_rename": task_rename, task_rename_2, task_rename_3, task_rename_4 => rename;
            "signal_deliver": signal_deliver, signal_deliver2, signal_deliver3,
                signal_deliver4 => deliver;
            // Loaded only if a filter names cgroups, or records have cgroups.
            "cgroup_attach_task":
                cgroup_attach, cgroup_attach_2, cgroup_attach_3, cgroup_attach_4 => migrated;
            // Loaded only if records have cgroups.
            "cgroup_mkdir": cgroup_mkdir, cgroup_mkdir_2, cgroup_mkdir_3, cgroup_mkdir_4 => made;
            "cgroup_rename": cgroup_rename, cgroup_rename2, cgroup_rename3,
                cgroup_rename4 => renamed;
            "cgroup_rmdir": cgroup_rmdir, cgroup_rmdir_2, cgroup_rmdir_3, cgroup_rmdir_4 => removed;
            // Loaded only with a command.
            "signal_generate": signal_sent => sent;
            // Loaded only if the kernel has the tracepoint.
            "io_uring_create": uring_create => ring_created;
            "io_uring_submit_req": uring_submit => operation_submitted;
            "io_uring_submit_req":
                uring_submit2, uring_submit3, uring_submit4 => operation_submitted_again;
            "io_uring_submit_sqe": uring_sqe => operation_submitted;
            "io_uring_req_failed": uring_failed => operation_failed;
            "io_uring_complete": uring_complete => operation_completed;
            "io_uring_complete":
                uring_complete2, uring_complete3, uring_complete4 => operation_completed_again;
            "io_uring_cqe_overflow": uring_overflow => operation_overflowed;
        }

        $crate::global_functions! { $Backend }

        $crate::further_exits! { $Context, $attribute, $key;
            sys_exit_2: 0, sys_exit_3: 1, sys_exit_4: 2, sys_exit_5: 3, sys_exit_6: 4,
            sys_exit_7: 5, sys_exit_8: 6,
        }

        #[inline(never)]
        fn enter_again(ctx: $Context) {
            $crate::entry::enter_again::<$Backend>(ctx.arg(0), ctx.arg(1));
        }

        #[inline(never)]
        fn exit_again(ctx: $Context, copy: usize) {
            $crate::exit::exit_again::<$Backend>(ctx.arg(0), ctx.arg(1), copy);
        }

        #[inline(never)]
        fn fork(ctx: $Context) {
            $crate::life::fork::<$Backend>(ctx.arg(0), ctx.arg(1));
        }

        #[inline(never)]
        fn exec(ctx: $Context) {
            $crate::life::exec::<$Backend>(ctx.arg(0));
        }

        #[inline(never)]
        fn end_again(ctx: $Context) {
            $crate::refusal::count_kill::<$Backend>(false);
            $crate::life::exit::<$Backend>(ctx.arg(0));
        }

        #[inline(never)]
        fn migrated(ctx: $Context) {
            $crate::scope::invalidate_after_move();
            $crate::cgroup::moves::moved::<$Backend>(ctx.arg(2), ctx.arg::<u64>(3) & 0xff != 0);
        }

        #[inline(never)]
        fn made(ctx: $Context) {
            $crate::cgroup::events::handle(ctx.arg(0), ctx.arg(1), $crate::cgroup::Happened::Made);
        }

        #[inline(never)]
        fn renamed(ctx: $Context) {
            $crate::cgroup::events::handle(
                ctx.arg(0),
                ctx.arg(1),
                $crate::cgroup::Happened::Renamed,
            );
        }

        #[inline(never)]
        fn removed(ctx: $Context) {
            $crate::cgroup::events::handle(
                ctx.arg(0),
                ctx.arg(1),
                $crate::cgroup::Happened::Removed,
            );
        }

        #[inline(never)]
        fn sent(ctx: $Context) {
            $crate::signals::sent(ctx.arg(0), ctx.arg(2));
        }

        #[inline(never)]
        fn deliver(ctx: $Context) {
            $crate::interrupted::deliver::<$Backend>(ctx.arg(2));
        }

        #[inline(never)]
        fn rename(ctx: $Context) {
            $crate::life::rename::<$Backend>(ctx.arg(0), ctx.arg(1));
        }

        #[inline(never)]
        fn ring_created(ctx: $Context) {
            $crate::io_uring::create::<$Backend>(ctx.arg(1));
        }

        #[inline(never)]
        fn operation_submitted(ctx: $Context) {
            use $crate::verifier::argument;
            let request = match $crate::settings::URING_SUBMITTED_AT.load() {
                0 => argument::<0>(&ctx),
                _ => argument::<1>(&ctx),
            };
            submit(request, 0);
        }

        #[inline(never)]
        fn operation_submitted_again(ctx: $Context) {
            submit(ctx.arg(0), 1);
        }

        #[inline(never)]
        fn operation_failed(ctx: $Context) {
            use $crate::verifier::argument;
            let request = match $crate::settings::URING_FAILED_AT.load() {
                1 => argument::<1>(&ctx),
                _ => argument::<2>(&ctx),
            };
            submit(request, 1);
        }

        #[inline(never)]
        fn submit(request: u64, is_further_copy: u32) {
            $crate::io_uring::submit::<$Backend>(request, is_further_copy != 0);
        }

        /// The settings say which arguments the tracepoint has. The verifier drops the other
        /// branches, whose arguments do not exist.
        #[inline(always)]
        fn completion(ctx: &$Context) -> $crate::io_uring::Completion {
            use profiler_common::io_uring::completion::{BY_DATA, BY_REQUEST};
            use $crate::verifier::argument;
            match $crate::settings::URING_COMPLETION.load() {
                BY_DATA => $crate::io_uring::Completion {
                    ring: argument::<0>(ctx),
                    request: 0,
                    user_data: argument::<1>(ctx),
                    result: argument::<2>(ctx) as i32,
                    flags: argument::<3>(ctx) as u32,
                },
                BY_REQUEST => $crate::io_uring::Completion {
                    ring: argument::<0>(ctx),
                    request: argument::<1>(ctx),
                    user_data: argument::<2>(ctx),
                    result: argument::<3>(ctx) as i32,
                    flags: argument::<4>(ctx) as u32,
                },
                _ => $crate::io_uring::Completion::of_entry(
                    argument::<0>(ctx),
                    argument::<1>(ctx),
                    argument::<2>(ctx),
                ),
            }
        }

        #[inline(never)]
        fn operation_completed(ctx: $Context) {
            complete(&completion(&ctx), 0);
        }

        #[inline(never)]
        fn operation_completed_again(ctx: $Context) {
            complete(&completion(&ctx), 1);
        }

        #[inline(never)]
        fn complete(completion: &$crate::io_uring::Completion, is_further_copy: u32) {
            $crate::io_uring::complete::<$Backend>(completion, is_further_copy != 0);
        }

        #[inline(never)]
        fn operation_overflowed(ctx: $Context) {
            $crate::io_uring::overflow::<$Backend>(&$crate::io_uring::Completion {
                ring: ctx.arg(0),
                request: 0,
                user_data: ctx.arg(1),
                result: ctx.arg(2),
                flags: ctx.arg(3),
            });
        }
    };
}

/// Defines programs at a tracepoint that all call the same function.
#[macro_export]
macro_rules! programs_of_one_body {
    ($Context:ident, $attribute:ident, $key:ident;) => {};
    (
        $Context:ident, $attribute:ident, $key:ident;
        $tracepoint:literal: $($name:ident),+ => $body:ident;
        $($rest:tt)*
    ) => {
        $(
            #[$attribute($key = $tracepoint)]
            pub fn $name(ctx: $Context) -> i32 {
                $body(ctx);
                0
            }
        )+
        $crate::programs_of_one_body! { $Context, $attribute, $key; $($rest)* }
    };
}

/// Defines the further copies of the exit program, each with its number.
#[macro_export]
macro_rules! further_exits {
    (
        $Context:ident, $attribute:ident, $key:ident;
        $($name:ident: $copy:literal),+ $(,)?
    ) => {
        $(
            #[$attribute($key = "sys_exit")]
            pub fn $name(ctx: $Context) -> i32 {
                exit_again(ctx, $copy);
                0
            }
        )+
    };
}
