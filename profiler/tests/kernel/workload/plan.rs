//! Twenty syscalls that neither the runtime nor the loader makes, with arguments for which each
//! succeeds or fails with a known errno.
//!
//! Every result is compared with the expected one, so [`Plan::states`] is true if the workload ends
//! with 0.

use std::{ffi::CStr, sync::OnceLock};

use libc::c_long;

use super::{
    raw,
    statement::{Calls, Made, add},
};

/// An argument of a call.
#[derive(Clone, Copy)]
enum Arg {
    Number(c_long),
    Path(&'static CStr),
    /// An address at which nothing is mapped.
    Nowhere,
    /// A page-aligned buffer for a result.
    Room,
    /// A descriptor of [`Files`].
    Memory,
    Pipe,
    Epoll,
    Timer,
    Inotify,
}

use Arg::{Epoll, Inotify, Memory, Nowhere, Number, Path, Pipe, Room, Timer};

/// The result of a call: `OK`, or an errno and its name.
type End = Option<(&'static str, i32)>;

const OK: End = None;

macro_rules! errno {
    ($name:ident) => {
        Some((stringify!($name), libc::$name))
    };
}

/// A kind of call, and its variants, which are made in turn.
struct Kind {
    name: &'static str,
    number: c_long,
    ways: &'static [(&'static [Arg], End)],
}

/// No process has this id: it is above `PID_MAX_LIMIT`.
const NOBODY: Arg = Number(0x7fff_fff0);
const SELF: Arg = Number(0);
const NO_FILE: Arg = Number(-1);
const ZERO: Arg = Number(0);
const MISSING: Arg = Path(c"/no/such/file");
const UNDER_FILE: Arg = Path(c"/dev/null/x");
const ROOT: Arg = Path(c"/");

macro_rules! kind {
    ($name:ident, $number:ident, $($args:expr => $end:expr),+ $(,)?) => {
        Kind { name: stringify!($name), number: libc::$number, ways: &[$((&$args, $end)),+] }
    };
}

/// The twenty kinds.
static KINDS: [Kind; 20] = [
    kind!(getppid, SYS_getppid, [] => OK),
    kind!(getpgid, SYS_getpgid, [SELF] => OK, [NOBODY] => errno!(ESRCH)),
    kind!(getsid, SYS_getsid, [SELF] => OK, [NOBODY] => errno!(ESRCH), [SELF] => OK),
    kind!(getpriority, SYS_getpriority,
        [ZERO, SELF] => OK, [Number(9), SELF] => errno!(EINVAL), [ZERO, NOBODY] => errno!(ESRCH)),
    kind!(sched_getparam, SYS_sched_getparam,
        [SELF, Room] => OK, [SELF, Nowhere] => errno!(EFAULT), [NOBODY, Room] => errno!(ESRCH),
        [Number(-5), Room] => errno!(EINVAL)),
    kind!(sched_rr_get_interval, SYS_sched_rr_get_interval,
        [SELF, Room] => OK, [Number(-5), Room] => errno!(EINVAL), [NOBODY, Room] => errno!(ESRCH)),
    kind!(flock, SYS_flock,
        [Memory, Number(8)] => OK, [NO_FILE, Number(1)] => errno!(EBADF),
        [Memory, ZERO] => errno!(EINVAL)),
    kind!(fsync, SYS_fsync, [Memory] => OK, [NO_FILE] => errno!(EBADF), [Pipe] => errno!(EINVAL)),
    kind!(fdatasync, SYS_fdatasync, [NO_FILE] => errno!(EBADF), [Pipe] => errno!(EINVAL)),
    kind!(ftruncate, SYS_ftruncate,
        [Memory, Number(4096)] => OK, [NO_FILE, ZERO] => errno!(EBADF),
        [Memory, Number(-1)] => errno!(EINVAL)),
    kind!(truncate, SYS_truncate,
        [MISSING, ZERO] => errno!(ENOENT), [Nowhere, ZERO] => errno!(EFAULT),
        [ROOT, Number(-1)] => errno!(EINVAL), [UNDER_FILE, ZERO] => errno!(ENOTDIR),
        [ROOT, ZERO] => errno!(EISDIR)),
    kind!(rmdir, SYS_rmdir,
        [MISSING] => errno!(ENOENT), [UNDER_FILE] => errno!(ENOTDIR), [Nowhere] => errno!(EFAULT),
        [Path(c".")] => errno!(EINVAL)),
    kind!(mkdir, SYS_mkdir,
        [ROOT, ZERO] => errno!(EEXIST), [MISSING, ZERO] => errno!(ENOENT),
        [Nowhere, ZERO] => errno!(EFAULT)),
    kind!(chmod, SYS_chmod,
        [MISSING, ZERO] => errno!(ENOENT), [UNDER_FILE, ZERO] => errno!(ENOTDIR)),
    kind!(chroot, SYS_chroot,
        [MISSING] => errno!(ENOENT), [Nowhere] => errno!(EFAULT),
        [Path(c"/dev/null")] => errno!(ENOTDIR)),
    kind!(epoll_ctl, SYS_epoll_ctl,
        [NO_FILE, Number(1), Pipe, Room] => errno!(EBADF),
        [Epoll, Number(1), Pipe, Nowhere] => errno!(EFAULT),
        [Pipe, Number(1), Timer, Room] => errno!(EINVAL),
        [Epoll, Number(2), Timer, Room] => errno!(ENOENT),
        [Epoll, Number(1), Memory, Room] => errno!(EPERM)),
    kind!(timerfd_settime, SYS_timerfd_settime,
        [Timer, ZERO, Room, ZERO] => OK, [NO_FILE, ZERO, Room, ZERO] => errno!(EBADF),
        [Timer, ZERO, Nowhere, ZERO] => errno!(EFAULT), [Pipe, ZERO, Room, ZERO] => errno!(EINVAL)),
    kind!(inotify_rm_watch, SYS_inotify_rm_watch,
        [NO_FILE, ZERO] => errno!(EBADF), [Inotify, Number(77)] => errno!(EINVAL)),
    kind!(msync, SYS_msync,
        [Room, Number(4096), Number(1)] => OK, [Room, Number(4096), Number(64)] => errno!(EINVAL),
        [Number(4096), Number(4096), Number(1)] => errno!(ENOMEM)),
    kind!(mincore, SYS_mincore,
        [Room, Number(1), Room] => OK, [Room, Number(1), Nowhere] => errno!(EFAULT),
        [Number(4096), Number(4096), Room] => errno!(ENOMEM), [Number(1), ZERO, Room] => errno!(EINVAL)),
];

/// Each kind makes this many calls more than the one before it, so that their counts differ.
const MORE_EACH: u64 = 3;

/// Descriptors that the calls need. They are created by calls other than the twenty.
struct Files {
    memory: c_long,
    pipe: c_long,
    epoll: c_long,
    timer: c_long,
    inotify: c_long,
}

fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut pipe = [0_i32; 2];
        // SAFETY: these calls create descriptors, and write two of them into `pipe`.
        unsafe {
            assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0, "a pipe");
            Files {
                memory: libc::memfd_create(c"plan".as_ptr(), 0).into(),
                pipe: pipe[0].into(),
                epoll: libc::epoll_create1(0).into(),
                timer: libc::timerfd_create(libc::CLOCK_MONOTONIC, 0).into(),
                inotify: libc::inotify_init1(0).into(),
            }
        }
    })
}

#[repr(align(4096))]
struct RoomForResults([u8; 4096]);

fn value(arg: Arg, room: &mut RoomForResults) -> c_long {
    match arg {
        Number(n) => n,
        Path(path) => path.as_ptr() as c_long,
        // The last page of the lower half of the address space, which the kernel never maps.
        Nowhere => 0x7fff_ffff_f000,
        Room => room.0.as_mut_ptr() as c_long,
        Memory => files().memory,
        Pipe => files().pipe,
        Epoll => files().epoll,
        Timer => files().timer,
        Inotify => files().inotify,
    }
}

/// The twenty kinds, the first of them made `calls` times by each thread.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) calls: u64,
    /// Makes each kind as often as the first. This takes a tenth of the time.
    pub(crate) alike: bool,
}

impl Plan {
    /// Allocates what [`Self::make`] needs, so that a forked child can call it.
    pub(crate) fn prepare() {
        files();
    }

    fn times(self, kind: usize) -> u64 {
        self.calls + if self.alike { 0 } else { kind as u64 * MORE_EACH }
    }

    /// Makes the calls, in an order that mixes kinds and results, and no other call. Returns false
    /// if any result was not the expected one.
    pub(crate) fn make(self) -> bool {
        let mut room = RoomForResults([0; 4096]);
        let mut as_expected = true;
        for turn in 0..self.times(KINDS.len() - 1) {
            for (index, kind) in KINDS.iter().enumerate() {
                if turn >= self.times(index) {
                    continue;
                }
                let (args, end) = kind.ways[turn as usize % kind.ways.len()];
                let mut values = [0; 4];
                for (value_of, &arg) in values.iter_mut().zip(args) {
                    *value_of = value(arg, &mut room);
                }
                let result = raw::syscall(kind.number, values);
                as_expected &= match end {
                    OK => result >= 0,
                    Some((_, errno)) => result == -c_long::from(errno),
                };
                // Zeroes structures such as `itimerspec`, so that no call reads another one's
                // result.
                room.0.fill(0);
            }
        }
        as_expected
    }

    /// The calls that one thread makes by [`Self::make`].
    pub(crate) fn states(self) -> Calls {
        let mut calls = Calls::new();
        for (index, kind) in KINDS.iter().enumerate() {
            for turn in 0..self.times(index) {
                let made = match kind.ways[turn as usize % kind.ways.len()].1 {
                    OK => Made::succeeded(1),
                    Some((name, _)) => Made::failed(1, name),
                };
                add(&mut calls, kind.name, &made);
            }
        }
        calls
    }
}
