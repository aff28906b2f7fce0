//! The object for kernels with arenas (Linux 6.9). It differs from `task.rs` in that records, cells
//! and hints are in one piece of memory. An address leads to them, without a look-up, a comparison
//! with a bound, or a branch for a missing entry.
#![no_std]
#![no_main]
// For the instructions that the compiler has no word for.
#![feature(asm_experimental_arch)]

use core::arch::asm;

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::{bpf_get_current_task_btf, generated::bpf_task_pt_regs},
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use profiler_common::{
    arch,
    arena::{CELL_SHIFT, CELLS, IDENTITY_SHIFT, RECORD_SHIFT, SAMPLER_SHIFT},
    hint,
    sampling::sampler::Sampler,
    settings::placeholder,
    wire::{Cell, CellIndex, FURTHER_EXITS, TaskIdentity, TaskState, ThreadRecord},
};
use profiler_ebpf::{
    backend::Backend,
    settings::{IDENTITIES_AT, RECORDS_AT, SAMPLERS_AT},
    stack,
    task::Task,
    typed,
};

profiler_ebpf::task_storage!(Storage);

type TypedBackend = typed::TypedBackend<Storage>;

/// `BPF_MAP_TYPE_ARENA` (include/uapi/linux/bpf.h), which aya lacks.
const MAP_TYPE: usize = 33;

/// The map: a number of pages.
#[repr(C)]
pub struct Arena {
    r#type: *const [i32; MAP_TYPE],
    max_entries: *const [i32; 1],
    map_flags: *const [i32; BPF_F_MMAPABLE as usize],
}

// SAFETY: the pointers only carry types to the loader and are never followed.
unsafe impl Sync for Arena {}

#[btf_map]
static ARENA: Arena = Arena {
    r#type: core::ptr::null(),
    max_entries: core::ptr::null(),
    map_flags: core::ptr::null(),
};

/// A pointer to an offset in the arena. Where the arena has no page, a load returns zero and a
/// store does nothing. So no offset does harm.
#[inline(always)]
fn at<T>(offset: u64) -> *mut T {
    let mut place = offset;
    // SAFETY: cuts the offset to 32 bits, and tells the verifier what it is.
    unsafe {
        asm!(
            "{0} = addr_space_cast({0}, 0x0, 0x1)",
            inlateout(reg) place,
            options(nomem, nostack, pure)
        );
    }
    place as *mut T
}

/// Refers to the map, because a program can use only an arena that it refers to.
#[inline(always)]
fn refer() {
    let map = &raw const ARENA;
    // A real instruction, as in `opaque`: the kernel refuses an empty one, whose line
    // is also that of the next instruction.
    // SAFETY: moves a register onto itself.
    unsafe { asm!("{0} = {0}", inlateout(reg) map => _, options(nostack)) };
}

/// How far the owner of a task is from the address of the task's stack.
#[unsafe(no_mangle)]
static mut OWNER_FROM_STACK: u64 = 0;

/// Tasks by pointer, records and cells in an arena.
struct ArenaBackend;

impl Backend for ArenaBackend {
    /// The distance from the map, which does not move, to the registers.
    #[inline(always)]
    fn owner(regs: u64) -> u64 {
        Self::distance(regs, (&raw const ARENA).cast())
    }

    #[inline(always)]
    fn distance(regs: u64, place: *const u8) -> u64 {
        TypedBackend::distance(regs, place)
    }

    #[inline(always)]
    fn current() -> Task {
        TypedBackend::current()
    }

    #[inline(always)]
    fn state(task: Task) -> Option<*mut TaskState> {
        TypedBackend::state(task)
    }

    #[inline(always)]
    fn state_or_new(task: Task) -> Option<*mut TaskState> {
        TypedBackend::state_or_new(task)
    }

    #[inline(always)]
    fn forget(task: Task) {
        TypedBackend::forget(task);
    }

    #[inline(always)]
    fn forget_listed_call(task: Task) -> bool {
        TypedBackend::forget_listed_call(task)
    }

    #[inline(always)]
    fn is_compat(task: Task) -> bool {
        TypedBackend::is_compat(task)
    }

    #[inline(always)]
    fn sleeps(task: Task) -> Option<bool> {
        TypedBackend::sleeps(task)
    }

    #[inline(always)]
    unsafe fn take(place: *mut u64) -> bool {
        let mut word = 1_u64;
        // SAFETY: the caller's place, which the instruction changes and nothing else.
        unsafe {
            asm!(
                "{word} = xchg_64({place} + 0, {word})",
                place = in(reg) place,
                word = inlateout(reg) word,
                options(nostack)
            );
        }
        word == 0
    }

    /// The owner is a distance here, so a helper says the address.
    #[inline(always)]
    fn saved_registers(_record: *mut ThreadRecord) -> u64 {
        // SAFETY: of the running task, and always safe to call where there are arenas.
        unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }
    }

    /// Uses `cmpxchg` (Linux 5.12), so that no copy of the exit program on this CPU overwrites a
    /// greater number. An attempt fails if another copy stored a number in between, and there are
    /// [`FURTHER_EXITS`] of them. After about twice as many attempts, the number is given up.
    #[inline(always)]
    unsafe fn raise(place: *mut u64, value: u64) {
        // SAFETY: the caller's place, which the instruction changes and nothing else.
        unsafe {
            let mut found = place.read_volatile();
            for _ in 0..=2 * FURTHER_EXITS {
                if found >= value {
                    return;
                }
                let expected = found;
                asm!(
                    "r0 = cmpxchg_64({place} + 0, r0, {value})",
                    place = in(reg) place,
                    value = in(reg) value,
                    inlateout("r0") found,
                    options(nostack)
                );
                if found == expected {
                    return;
                }
            }
        }
    }

    /// Reads the status at its address in the record. Getting the current task is a helper call,
    /// which costs as much as the rest of the entry program. `bpf_rdonly_cast` is not a call at run
    /// time: the verifier replaces it by a move (`fixup_kfunc_call`, kernel/bpf/verifier.c). The
    /// user side sets the BTF ids of the function and of the type, which has only integers.
    #[inline(always)]
    fn owner_is_compat(record: *mut ThreadRecord) -> bool {
        let status: u64;
        // SAFETY: the record is live, and the kernel checks the address and reads 0 where
        // there is nothing.
        unsafe {
            let address = (*record).status_address;
            asm!(
                "r1 = {address}",
                "r2 = {cast_type}",
                "call {cast}",
                "{status} = *(u32 *)(r0 + 0)",
                address = in(reg) address,
                status = lateout(reg) status,
                cast_type = const placeholder::RDONLY_CAST_TYPE,
                cast = const placeholder::RDONLY_CAST,
                out("r0") _, out("r1") _, out("r2") _, out("r3") _, out("r4") _, out("r5") _,
                options(nostack)
            );
        }
        arch::is_compat(status as u32)
    }

    #[inline(always)]
    fn record(index: u32) -> Option<*mut ThreadRecord> {
        refer();
        Some(at(record_offset(index)))
    }

    #[inline(always)]
    fn identity(index: u32) -> Option<*mut TaskIdentity> {
        refer();
        Some(at(u64::from(IDENTITIES_AT.load()) + (u64::from(index) << IDENTITY_SHIFT)))
    }

    /// By the hint. If the hint names the record of another task, this task has to look its record
    /// up at its next call anyway.
    #[inline(always)]
    fn recorded(task: Task) -> Option<*mut ThreadRecord> {
        // SAFETY: a static of our own, and a live record.
        unsafe {
            let owner = stack::distance(&raw const OWNER_FROM_STACK, task)?;
            let record = Self::likely_record(owner)?;
            ((*record).owner == owner).then_some(record)
        }
    }

    #[inline(always)]
    fn cell(index: CellIndex) -> Option<*mut Cell> {
        Some(at(u64::from(CELLS) + (u64::from(index) << CELL_SHIFT)))
    }

    #[inline(always)]
    fn sampler(index: CellIndex) -> Option<*mut Sampler> {
        Some(at(u64::from(SAMPLERS_AT.load()) + (u64::from(index) << SAMPLER_SHIFT)))
    }

    /// Hints are indexed by a hash of the stack. So a hint stays valid if its CPU runs another task
    /// in between.
    #[inline(always)]
    fn likely_record(owner: u64) -> Option<*mut ThreadRecord> {
        let hint: *mut u32 = at(hint::offset(owner));
        // SAFETY: in the arena.
        Some(at(u64::from(unsafe { *hint })))
    }

    #[inline(always)]
    fn remember(owner: u64, index: u32) {
        let hint: *mut u32 = at(hint::offset(owner));
        // SAFETY: in the arena.
        unsafe { *hint = record_offset(index) as u32 };
    }

    #[inline(always)]
    fn learn_stack(task: Task, regs: u64) {
        // SAFETY: a static of our own.
        unsafe { stack::learn(&raw mut OWNER_FROM_STACK, task, || Self::owner(regs)) };
    }

    #[inline(always)]
    fn forget_hint(task: Task) {
        refer();
        // SAFETY: a static of our own, and a place in the arena. No record is at offset 0.
        unsafe {
            if let Some(owner) = stack::distance(&raw const OWNER_FROM_STACK, task) {
                let hint: *mut u32 = at(hint::offset(owner));
                *hint = 0;
            }
        }
    }
}

#[inline(always)]
fn record_offset(index: u32) -> u64 {
    u64::from(RECORDS_AT.load()) + (u64::from(index) << RECORD_SHIFT)
}

profiler_ebpf::programs!(BtfTracePointContext, ArenaBackend, btf_tracepoint, function);
profiler_ebpf::calls_before!(ArenaBackend);
profiler_ebpf::capability_checks!(ArenaBackend);

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
