//! The backend for kernels with BTF and task storage (Linux 5.11). Tasks are typed pointers, so
//! their fields are plain loads.

use core::{arch::asm, marker::PhantomData, ptr};

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type},
    helpers::{bpf_get_current_task_btf, generated::bpf_task_storage_get},
};
use profiler_common::{arch, wire::TaskState};

use profiler_common::wire::ThreadRecord;

use crate::{
    backend::Backend,
    call_lister,
    maps::RECORDS,
    settings::{STATE_OFFSET, STATUS_OFFSET},
    task::Task,
};

/// A map of the type `BPF_MAP_TYPE_TASK_STORAGE`, which aya lacks. A task leads to its state, and
/// the state ends with the task.
#[repr(C)]
pub struct TaskStorage {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const TaskState,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

impl TaskStorage {
    /// Defines the map.
    #[expect(clippy::new_without_default, reason = "for statics only")]
    pub const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }
}

// SAFETY: the pointers only carry types to the loader and are never followed.
unsafe impl Sync for TaskStorage {}

/// An object with task storage. Every object has all maps of this library. A kernel without task
/// storage refuses an object with this map. So the objects with task storage define the map
/// themselves.
pub trait Storage {
    /// The map.
    fn map() -> *const TaskStorage;

    /// See [`Backend::hints`].
    #[inline(always)]
    fn hints() -> *mut u32 {
        ptr::null_mut()
    }

    /// Notes the index of the record of `task`.
    #[inline(always)]
    fn note_record(task: Task, index: u32) {
        let _ = (task, index);
    }

    /// The index that was noted for the task at this address.
    #[inline(always)]
    fn noted_record(task: Task) -> Option<u32> {
        let _ = task;
        None
    }

    /// Forgets the index that was noted for `task`.
    #[inline(always)]
    fn forget_record(task: Task) {
        let _ = task;
    }
}

/// Defines the map.
#[macro_export]
macro_rules! task_storage {
    ($Storage:ident $(, $method:item)*) => {
        #[aya_ebpf::macros::btf_map]
        static TASK_STORAGE: $crate::typed::TaskStorage = $crate::typed::TaskStorage::new();

        struct $Storage;

        impl $crate::typed::Storage for $Storage {
            #[inline(always)]
            fn map() -> *const $crate::typed::TaskStorage {
                &raw const TASK_STORAGE
            }

            $($method)*
        }
    };
}

#[inline(always)]
fn storage<S: Storage>(task: Task, flags: u64) -> Option<*mut TaskState> {
    // SAFETY: `task` is a trusted pointer: the running task, or a tracepoint's
    // typed argument. The verifier would refuse any other.
    let state =
        unsafe { bpf_task_storage_get(S::map().cast_mut().cast(), task, ptr::null_mut(), flags) };
    (!state.is_null()).then_some(state.cast())
}

/// Tasks by typed pointer; records and cells in arrays.
pub struct TypedBackend<S>(PhantomData<S>);

impl<S: Storage> Backend for TypedBackend<S> {
    #[inline(always)]
    fn current() -> Task {
        // SAFETY: always safe to call.
        unsafe { bpf_get_current_task_btf() }
    }

    #[inline(always)]
    fn state(task: Task) -> Option<*mut TaskState> {
        storage::<S>(task, 0)
    }

    #[inline(always)]
    fn state_or_new(task: Task) -> Option<*mut TaskState> {
        storage::<S>(task, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE))
    }

    #[inline(always)]
    fn forget(task: Task) {
        S::forget_record(task);
    }

    #[inline(always)]
    fn note_record(task: Task, index: u32) {
        S::note_record(task, index);
    }

    #[inline(always)]
    fn recorded(task: Task) -> Option<*mut ThreadRecord> {
        RECORDS.get_ptr_mut(S::noted_record(task)?)
    }

    #[inline(always)]
    fn hints() -> *mut u32 {
        S::hints()
    }

    #[inline(always)]
    fn forget_listed_call(task: Task) -> bool {
        call_lister::forget(task)
    }

    #[inline(always)]
    fn is_compat(task: Task) -> bool {
        // SAFETY: a typed pointer and an offset that the loader took from the
        // kernel's BTF; the verifier checks that a u32 is there.
        let status = unsafe {
            let offset = STATUS_OFFSET.load() as usize;
            task.cast::<u8>().add(offset).cast::<u32>().read_volatile()
        };
        arch::is_compat(status)
    }

    /// A task that another CPU wakes at this moment is `TASK_WAKING`, and no longer sleeps
    /// (`try_to_wake_up`, kernel/sched/core.c).
    #[inline(always)]
    fn sleeps(task: Task) -> Option<bool> {
        /// `TASK_WAKING` of include/linux/sched.h.
        const TASK_WAKING: u32 = 0x200;
        let offset = STATE_OFFSET.load();
        if offset == 0 {
            return None;
        }
        // SAFETY: as above.
        let state = unsafe { task.cast::<u8>().add(offset as usize).cast::<u32>().read_volatile() };
        Some(state != 0 && state & TASK_WAKING == 0)
    }

    #[inline(always)]
    fn distance(regs: u64, place: *const u8) -> u64 {
        let mut distance = regs;
        // The verifier permits only the difference of two pointers.
        // SAFETY: changes a register.
        unsafe {
            asm!("{0} -= {1}", inlateout(reg) distance, in(reg) place,
                options(nomem, nostack, pure));
        }
        distance
    }
}

/// Defines the program `cap_capable_ret`, which runs when `cap_capable` returns. It does the same as
/// the program at the tracepoint, for kernels without the tracepoint (before Linux 6.14).
#[macro_export]
macro_rules! capability_checks {
    ($Backend:ident) => {
        #[aya_ebpf::macros::fexit(function = "cap_capable")]
        pub fn cap_capable_ret(ctx: aya_ebpf::programs::FExitContext) -> i32 {
            // The result follows the four arguments.
            let capability: i32 = ctx.arg(2);
            let result: i32 = ctx.arg(4);
            $crate::failing::check::<$Backend>(capability as u32, result);
            0
        }
    };
}

/// Defines the task iterator `calls_before`, for which aya has no macro. It requires
/// `bpf_task_pt_regs` (Linux 5.15), and is not loaded without it.
#[macro_export]
macro_rules! calls_before {
    ($Backend:ident) => {
        /// `struct bpf_iter__task` (kernel/bpf/task_iter.c).
        #[repr(C)]
        pub struct TaskIteration {
            meta: *mut core::ffi::c_void,
            task: $crate::task::Task,
        }

        #[unsafe(no_mangle)]
        #[unsafe(link_section = "iter/task")]
        pub fn calls_before(ctx: *mut TaskIteration) -> i32 {
            // SAFETY: the context of this kind of program. The task is null after the last task.
            unsafe {
                let task = (&raw const (*ctx).task).read_volatile();
                if !task.is_null() {
                    let regs = aya_ebpf::helpers::generated::bpf_task_pt_regs(task);
                    $crate::call_lister::list::<$Backend>(task, regs as *const _);
                }
            }
            0
        }
    };
}
