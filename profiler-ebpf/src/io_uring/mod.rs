//! Operations of io_uring: counts them by process and opcode, from the submission to the completion.
//!
//! The tracepoints of io_uring run in many tasks: in the one that submits, in a kernel thread of
//! the ring (`IORING_SETUP_SQPOLL`), in a worker (io-wq), and in whichever task or interrupt
//! completes the request. So only the submission asks which task is running. It does so by the
//! process id: since Linux 5.12, the kernel threads of a ring are threads of the process. A
//! completion belongs to the process that submitted the request. [`requests`] remembers who that
//! is.
//!
//! # Scope
//!
//! A submission counts if the calls of the submitting task count: the decision of its last entry
//! applies. A kernel thread of a ring makes no calls, so filters decide about it at each
//! submission, and whether it is watched depends on the creator of the ring. Filters by syscall do
//! not apply to operations.
//!
//! # Copies
//!
//! Where programs can be preempted (Linux 7.1), further copies of a program run for the same
//! event. The remembered request tells a copy whether an earlier copy has counted the event. A
//! completion without a request leaves no such trace, so only the first copy counts it.

mod data;
mod requests;
mod rows;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_kernel};
use profiler_common::{
    io_uring::{OperationKey, Ring, UNKNOWN_OPCODE, completion},
    sampling,
    wire::TaskState,
};

use crate::{
    backend::Backend,
    maps::RINGS,
    scope,
    settings::{
        FLAGS_OFFSET, LEADER_OFFSET, REQ_CQE_OFFSET, REQ_CTX_OFFSET, REQ_DATA_OFFSET,
        REQ_FLAGS_OFFSET, REQ_OPCODE_OFFSET, REQ_TASK_OFFSET, REQ_TCTX_OFFSET, START_OFFSET,
        TCTX_TASK_OFFSET, TGID_OFFSET, TIMED, URING_COMPLETION,
    },
    task::{Task, field_u32, field_u64},
};

/// `IORING_CQE_F_MORE` (include/uapi/linux/io_uring.h): the request posts further completions.
const MORE: u32 = 1 << 1;

/// `IORING_CQE_F_NOTIF`: the buffers of an earlier zero-copy send are free. The kernel makes a
/// request of its own for that (`io_alloc_notif`, io_uring/notif.c).
const NOTIFICATION: u32 = 1 << 3;

/// `IOSQE_CQE_SKIP_SUCCESS`, which is `REQ_F_CQE_SKIP` in the flags of a request
/// (include/linux/io_uring_types.h). Kernels without it refuse the flag.
const SKIP_SUCCESS: u32 = 1 << 6;

/// `PF_KTHREAD` (include/linux/sched.h).
const KERNEL_THREAD: u32 = 0x0020_0000;

/// What the arguments of a completion say.
#[derive(Clone, Copy)]
pub struct Completion {
    /// Address of the ring.
    pub ring: u64,
    /// Address of the request; 0 if there is none, or if the kernel does not say.
    pub request: u64,
    /// The `user_data` of the request.
    pub user_data: u64,
    /// The result.
    pub result: i32,
    /// `IORING_CQE_F_*`.
    pub flags: u32,
}

impl Completion {
    /// A completion whose data, result and flags are in an `io_uring_cqe`.
    #[inline(always)]
    pub fn of_entry(ring: u64, request: u64, entry: u64) -> Self {
        // `user_data`, and then result and flags (include/uapi/linux/io_uring.h).
        // SAFETY: the helper checks the address.
        let [user_data, rest] =
            unsafe { bpf_probe_read_kernel(entry as *const [u64; 2]) }.unwrap_or([0; 2]);
        Self { ring, request, user_data, result: rest as i32, flags: (rest >> 32) as u32 }
    }

    /// The errno; 0 if the result is none. The result of a notification has flags, one of which is
    /// the sign (`IORING_NOTIF_USAGE_ZC_COPIED`).
    #[inline(always)]
    fn errno(&self) -> u32 {
        if self.result < 0 && !self.is_notification() {
            self.result.wrapping_neg() as u32
        } else {
            0
        }
    }

    #[inline(always)]
    fn is_notification(&self) -> bool {
        self.flags & NOTIFICATION != 0
    }

    #[inline(always)]
    fn has_more(&self) -> bool {
        self.flags & MORE != 0
    }
}

/// Whether completions name their request.
#[inline(always)]
fn names_requests() -> bool {
    URING_COMPLETION.load() != completion::BY_DATA
}

/// The time, for requests that are timed: all of them, unless nothing is.
#[inline(always)]
fn now_if_timed() -> u64 {
    // SAFETY: always safe to call.
    if TIMED.load() == sampling::NONE { 0 } else { unsafe { bpf_ktime_get_ns() } }
}

/// The process of `task`, and an opcode.
#[inline(always)]
fn key_of(task: Task, tgid: u32, opcode: u32) -> (OperationKey, Task) {
    let leader = field_u64(task, LEADER_OFFSET.load()) as Task;
    let start_ns = field_u64(leader, START_OFFSET.load());
    (OperationKey { start_ns, tgid, opcode }, leader)
}

#[inline(always)]
fn opcode_of(request: u64) -> u32 {
    // Four bytes, of which the opcode is the first.
    let opcode = field_u32(request as Task, REQ_OPCODE_OFFSET.load()) & 0xff;
    if opcode < UNKNOWN_OPCODE { opcode } else { UNKNOWN_OPCODE }
}

#[inline(always)]
fn user_data_of(request: u64) -> u64 {
    // `user_data` is the first field of `struct io_cqe` (include/linux/io_uring_types.h).
    let offset = match REQ_CQE_OFFSET.load() {
        0 => REQ_DATA_OFFSET.load(),
        cqe => cqe,
    };
    field_u64(request as Task, offset)
}

/// Handles `io_uring_create`: the running task has made the ring at `ring`.
#[inline(always)]
pub fn create<B: Backend>(ring: u64) {
    let task = B::current();
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let watched = match B::state(task) {
        // SAFETY: a live state.
        Some(state) if unsafe { (*state).flags } & TaskState::DECIDED != 0 => {
            // SAFETY: as above.
            unsafe { (*state).flags & TaskState::WATCHED != 0 }
        }
        _ => scope::is_watched(tgid),
    };
    let (key, _) = key_of(task, tgid, UNKNOWN_OPCODE);
    let _ = RINGS.insert(ring, Ring { key, watched: watched.into() }, 0);
}

/// Handles the submission of the request at `request`. `is_further_copy` says that another program
/// may have counted the submission: an earlier copy, or for `io_uring_req_failed` the program for
/// submissions. The kernel refuses some requests before, and some after it announces the submission
/// (`io_submit_sqe`, io_uring/io_uring.c).
#[inline(always)]
pub fn submit<B: Backend>(request: u64, is_further_copy: bool) {
    if is_further_copy && names_requests() && requests::is_in_flight(request) {
        return;
    }
    let task = B::current();
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let ring = field_u64(request as Task, REQ_CTX_OFFSET.load());
    if !submits_in_scope::<B>(task, tgid, ring) {
        if names_requests() {
            requests::forget(request);
        }
        return;
    }
    let opcode = opcode_of(request);
    let (key, leader) = key_of(task, tgid, opcode);
    let Some(row) = rows::find(&key, leader) else { return };
    let flags = field_u32(request as Task, REQ_FLAGS_OFFSET.load());
    let silent = flags & SKIP_SUCCESS != 0;
    rows::submitted(row, silent);
    let submitted_ns = now_if_timed();
    if names_requests() {
        // Read again, so that the verifier does not know it: where one path has a constant opcode,
        // the verifier of Linux 6.1 took the other paths for the same and removed what follows.
        let several = data::can_post_several(opcode_of(request), flags);
        requests::submitted(request, &key, row, [silent, several], submitted_ns);
        if !several {
            return;
        }
    }
    data::submitted(ring, user_data_of(request), &key, row, submitted_ns);
}

/// Handles `io_uring_complete`.
#[inline(always)]
pub fn complete<B: Backend>(completion: &Completion, is_further_copy: bool) {
    if completion.request == 0 || completion.is_notification() {
        if !is_further_copy {
            by_data::<B>(completion);
        }
        return;
    }
    let several = match requests::completed(completion.request) {
        requests::Found::InFlight(request) => {
            let Some(row) = rows::of_index(request.row, &request.key) else { return };
            rows::completed(row, completion.errno(), request.submitted_ns);
            if request.is_silent {
                rows::silent_completed(row);
            }
            request.can_post_several
        }
        requests::Found::Completed if is_further_copy => return,
        _ => {
            let Some((key, row)) = unmatched::<B>(completion.request) else { return };
            rows::completed(row, completion.errno(), 0);
            rows::unmatched(row);
            requests::note_completed(completion.request, &key, row);
            data::can_post_several(key.opcode, 0)
        }
    };
    if several && !completion.has_more() {
        data::ended(completion.ring, completion.user_data);
    }
}

/// The row of a request whose submission was not seen, if its owner is in scope.
#[inline(never)]
fn unmatched<B: Backend>(request: u64) -> Option<(OperationKey, u32)> {
    let request_at = request as Task;
    let owner = match REQ_TASK_OFFSET.load() {
        0 => {
            let context = field_u64(request_at, REQ_TCTX_OFFSET.load()) as Task;
            field_u64(context, TCTX_TASK_OFFSET.load()) as Task
        }
        offset => field_u64(request_at, offset) as Task,
    };
    let tgid = field_u32(owner, TGID_OFFSET.load());
    if !scope::counts_task(owner, tgid) {
        return None;
    }
    let (key, leader) = key_of(owner, tgid, opcode_of(request));
    Some((key, rows::find(&key, leader)?))
}

/// Handles a completion that names no request.
#[inline(always)]
fn by_data<B: Backend>(completion: &Completion) {
    // A completion that is not the one of its request, or is of no request.
    let is_further = completion.has_more() || completion.is_notification() || names_requests();
    // A notification is the last completion of a send.
    let is_last = !is_further || (completion.is_notification() && !completion.has_more());
    match data::completed(completion.ring, completion.user_data, is_last) {
        Some(found) => {
            let Some(row) = rows::of_index(found.row, &found.key) else { return };
            if is_further {
                rows::posted(row);
            } else {
                rows::completed(row, completion.errno(), found.submitted_ns);
            }
        }
        None => {
            let Some(row) = row_of_ring::<B>(completion.ring) else { return };
            if is_further {
                rows::posted(row);
            } else {
                rows::completed(row, completion.errno(), 0);
                rows::unmatched(row);
            }
        }
    }
}

/// Handles `io_uring_cqe_overflow`: the completion queue is full, so the completion waits in a
/// list. `io_uring_complete` does not occur for it (`__io_submit_flush_completions`,
/// io_uring/io_uring.c).
#[inline(always)]
pub fn overflow<B: Backend>(completion: &Completion) {
    if !names_requests() {
        return;
    }
    let found = data::completed(completion.ring, completion.user_data, !completion.has_more());
    let row = match found {
        Some(found) => rows::of_index(found.row, &found.key),
        None => row_of_ring::<B>(completion.ring),
    };
    if let Some(row) = row {
        rows::overflowed(row, completion.errno());
    }
}

/// Whether a submission of the running task counts.
#[inline(always)]
fn submits_in_scope<B: Backend>(task: Task, tgid: u32, ring: u64) -> bool {
    if let Some(state) = B::state(task)
        // SAFETY: a live state.
        && unsafe { (*state).flags } & TaskState::DECIDED != 0
    {
        return scope::counts_at_exit(state, task, tgid);
    }
    // A kernel thread of a ring, or a task that was within its call at the attach.
    // SAFETY: copied at once.
    let watched = match unsafe { RINGS.get(ring) } {
        Some(ring) => ring.watched != 0,
        None => scope::is_watched(tgid),
    };
    watched && scope::agrees_now(task)
}

/// The row for completions of unknown opcode in a ring, if its creator is in scope.
#[inline(never)]
fn row_of_ring<B: Backend>(ring: u64) -> Option<u32> {
    let task = B::current();
    // SAFETY: copied at once.
    if let Some(&ring) = unsafe { RINGS.get(ring) } {
        if ring.watched == 0 || !scope::agrees_now(task) {
            return None;
        }
        return rows::find(&ring.key, core::ptr::null_mut());
    }
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if !scope::counts_task(task, tgid) {
        return None;
    }
    let flags = FLAGS_OFFSET.load();
    if flags != 0 && field_u32(task, flags) & KERNEL_THREAD != 0 {
        // Completed by the kernel: nobody knows for whom.
        let nobody = OperationKey { start_ns: 0, tgid: 0, opcode: UNKNOWN_OPCODE };
        return rows::find(&nobody, task);
    }
    let (key, leader) = key_of(task, tgid, UNKNOWN_OPCODE);
    rows::find(&key, leader)
}
