//! The object for kernels with BTF and task storage (Linux 5.11): `tp_btf`
//! programs, whose arguments are typed, so that fields of a task are plain loads.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

use core::{arch::asm, ffi::c_void};

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type, pt_regs},
    helpers::{
        bpf_get_current_task_btf,
        generated::{bpf_task_pt_regs, bpf_task_storage_get},
    },
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use profiler_common::{call::TS_COMPAT, wire::TaskState};
use profiler_ebpf::{
    before,
    task::{STATUS_OFFSET, Task, Tasks},
};

/// `BPF_MAP_TYPE_TASK_STORAGE`, which aya has not: state that is found through
/// the task and dies with it.
#[repr(C)]
pub struct TaskStorage {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const TaskState,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the pointers only carry types to the loader and are never followed.
unsafe impl Sync for TaskStorage {}

#[btf_map]
static TASK_STORAGE: TaskStorage = TaskStorage {
    r#type: core::ptr::null(),
    key: core::ptr::null(),
    value: core::ptr::null(),
    max_entries: core::ptr::null(),
    map_flags: core::ptr::null(),
};

#[inline(always)]
fn storage(task: Task, flags: u64) -> Option<*mut TaskState> {
    // SAFETY: `task` is a trusted pointer: the running task, or a tracepoint's
    // typed argument. The verifier would refuse any other.
    let state = unsafe {
        bpf_task_storage_get(
            (&raw const TASK_STORAGE).cast_mut().cast(),
            task,
            core::ptr::null_mut(),
            flags,
        )
    };
    (!state.is_null()).then_some(state.cast())
}

/// Tasks by pointer.
struct ByPointer;

impl Tasks for ByPointer {
    #[inline(always)]
    fn current() -> Task {
        // SAFETY: always safe to call.
        unsafe { bpf_get_current_task_btf() }
    }

    #[inline(always)]
    fn state(task: Task) -> Option<*mut TaskState> {
        storage(task, 0)
    }

    #[inline(always)]
    fn state_or_new(task: Task) -> Option<*mut TaskState> {
        storage(task, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE))
    }

    #[inline(always)]
    fn forget(_task: Task) {}

    #[inline(always)]
    fn forget_before(task: Task) {
        before::forget(task);
    }

    #[inline(always)]
    fn is_compat(task: Task) -> bool {
        // SAFETY: a typed pointer and an offset that the loader took from the
        // kernel's BTF; the verifier checks that a u32 is there.
        let status = unsafe {
            let offset = STATUS_OFFSET.load() as usize;
            task.cast::<u8>().add(offset).cast::<u32>().read_volatile()
        };
        status & TS_COMPAT != 0
    }

    #[inline(always)]
    fn distance(regs: u64, place: *const u8) -> u64 {
        let mut distance = regs;
        // Of two pointers only the difference can be had.
        // SAFETY: changes a register.
        unsafe {
            asm!("{0} -= {1}", inlateout(reg) distance, in(reg) place,
                options(nomem, nostack, pure));
        }
        distance
    }

    #[inline(always)]
    fn number_at_exit(regs: u64) -> u64 {
        // SAFETY: the helper checks the address.
        unsafe {
            let regs = regs as *const pt_regs;
            aya_ebpf::helpers::bpf_probe_read_kernel(&raw const (*regs).orig_rax)
                .unwrap_or(u64::MAX)
        }
    }
}

profiler_ebpf::programs!(BtfTracePointContext, ByPointer, btf_tracepoint, function);

/// `struct bpf_iter__task` (kernel/bpf/task_iter.c).
#[repr(C)]
pub struct TaskIteration {
    meta: *mut c_void,
    task: Task,
}

/// A task iterator, for which aya has no macro. Needs `bpf_task_pt_regs` (Linux 5.15), and
/// is not loaded where that is missing.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub fn calls_before(ctx: *mut TaskIteration) -> i32 {
    // SAFETY: the context of this kind of program. The task is null after the last one.
    unsafe {
        let task = (&raw const (*ctx).task).read_volatile();
        if !task.is_null() {
            before::list::<ByPointer>(task, bpf_task_pt_regs(task) as *const pt_regs);
        }
    }
    0
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
