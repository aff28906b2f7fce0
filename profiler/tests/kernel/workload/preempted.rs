//! Long calls that use the CPU all the time, on a CPU that other threads use too.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use super::{
    Params, Preempted, Statement, in_a_process, own_pid, raw,
    sleeps::{now, read_clock},
};

/// The number of bytes that one call writes, which takes some tens of milliseconds. Linux 5.10
/// writes at most 32 MiB less one byte (`urandom_read_nowarn`, drivers/char/random.c).
const SIZE: usize = 31 << 20;

/// The number of threads that spin. With this many, the scheduler's time slices are the shortest: 3
/// ms on most hosts. With one thread they are four times as long.
const OTHERS: usize = 7;

/// Calls `getrandom` `calls` times, on the CPU of the other threads. Each call lasts several time
/// slices. Where the kernel does not preempt, the call yields the CPU (`get_random_bytes_user`).
pub(super) fn run(params: &Params) -> Statement {
    let calls = params.number("calls");
    let preempted = in_a_process(|| {
        on_one_cpu();
        static DONE: AtomicBool = AtomicBool::new(false);
        let never_rest = || {
            while !DONE.load(SeqCst) {
                std::hint::spin_loop();
            }
        };
        let others: Vec<_> = (0..OTHERS).map(|_| thread::spawn(never_rest)).collect();
        // Initialised with ones, so that the calls cause no page faults.
        let mut room = vec![1_u8; SIZE];
        let (cpu_before, switches_before) = (own_cpu_time(), own_switches());
        let before = now();
        for _ in 0..calls {
            let args = [room.as_mut_ptr() as libc::c_long, SIZE as libc::c_long, 0, 0];
            let result = raw::syscall(libc::SYS_getrandom, args);
            assert_eq!(result, SIZE as libc::c_long, "a whole read");
        }
        let took_ns = now() - before;
        let cpu_ns = own_cpu_time() - cpu_before;
        let switches = own_switches() - switches_before;
        DONE.store(true, SeqCst);
        others.into_iter().for_each(|other| other.join().expect("no panic"));
        let syscall = "getrandom".to_owned();
        Preempted { pid: own_pid(), syscall, calls, took_ns, cpu_ns, switches }
    });
    Statement { preempted: vec![preempted], ..Statement::default() }
}

/// Binds this process's threads to the first CPU that it may use.
pub(super) fn on_one_cpu() {
    // SAFETY: sets of CPUs on this stack.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        assert_eq!(libc::sched_getaffinity(0, size, &raw mut allowed), 0);
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        let all = 0..libc::CPU_SETSIZE as usize;
        let first = all.into_iter().find(|&cpu| libc::CPU_ISSET(cpu, &allowed)).expect("a CPU");
        libc::CPU_SET(first, &mut one);
        assert_eq!(libc::sched_setaffinity(0, size, &raw const one), 0);
    }
}

fn own_cpu_time() -> u64 {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// How often the kernel took the CPU from this thread.
fn own_switches() -> u64 {
    // SAFETY: writes one structure.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), 0);
        usage
    };
    usage.ru_nivcsw.cast_unsigned()
}
