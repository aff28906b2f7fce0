//! The object for kernels with BTF and task storage (Linux 5.11), but without arenas:
//! `tp_btf` programs, records and cells in arrays.
#![no_std]
#![no_main]

use aya_ebpf::{
    btf_maps::HashMap,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use profiler_common::hint;
use profiler_ebpf::{task::Task, typed};

/// The index of the record of each task, by the address of the task. A program can use task storage
/// only for a task that the kernel passes to it, and a move between cgroups passes one task of a
/// process.
#[btf_map]
static RECORDS_BY_TASK: HashMap<u64, u32, 1> = HashMap::new();

/// See [`Backend::hints`](profiler_ebpf::backend::Backend::hints).
#[unsafe(no_mangle)]
static mut HINTS: [u32; hint::HINTS] = [0; hint::HINTS];

profiler_ebpf::task_storage!(
    Storage,
    #[inline(always)]
    fn hints() -> *mut u32 {
        (&raw mut HINTS).cast()
    },
    #[inline(always)]
    fn note_record(task: Task, index: u32) {
        if profiler_ebpf::cgroup::are_known() {
            let _ = RECORDS_BY_TASK.insert(task as u64, index, 0);
        }
    },
    #[inline(always)]
    fn noted_record(task: Task) -> Option<u32> {
        // SAFETY: copied at once.
        unsafe { RECORDS_BY_TASK.get(task as u64) }.copied()
    },
    #[inline(always)]
    fn forget_record(task: Task) {
        if profiler_ebpf::cgroup::are_known() {
            let _ = RECORDS_BY_TASK.remove(task as u64);
        }
    }
);

type TypedBackend = typed::TypedBackend<Storage>;

profiler_ebpf::programs!(BtfTracePointContext, TypedBackend, btf_tracepoint, function);
profiler_ebpf::calls_before!(TypedBackend);
profiler_ebpf::capability_checks!(TypedBackend);

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
