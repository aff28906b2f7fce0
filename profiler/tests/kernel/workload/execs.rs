//! Execs: by `execve` and `execveat`, by the i386 table, by threads, and execs that fail after the
//! point of no return.

use std::{
    ffi::CString,
    io::{BufRead as _, Write as _},
    os::fd::AsRawFd as _,
    os::unix::ffi::OsStrExt as _,
    thread,
};

use libc::{c_char, c_long};

use super::{
    Made, Params, Process, READY, Statement, WORKLOAD, fork, own_pid, raw, reap, statement::calls,
    wait, wait_until_in_call,
};

/// This executable as a workload, with its arguments. It allocates before a fork, so that the child
/// need not.
pub(super) struct Program {
    path: CString,
    _args: Vec<CString>,
    /// Pointers, followed by null. They are stored as numbers, so that any thread may use them.
    argv: Vec<usize>,
}

impl Program {
    pub(super) fn new(args: &[&str]) -> Self {
        Self::at(&std::env::current_exe().expect("an executable"), args)
    }

    /// This executable, by another path.
    pub(super) fn at(path: &std::path::Path, args: &[&str]) -> Self {
        let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
        let text = |arg: &&str| CString::new(*arg).expect("no NUL");
        let mut all = vec![path.clone(), text(&WORKLOAD)];
        all.extend(args.iter().map(text));
        let argv = all.iter().map(|arg| arg.as_ptr() as usize).chain([0]).collect();
        Self { path, _args: all, argv }
    }

    /// The workload that ends at once.
    pub(super) fn that_ends() -> Self {
        Self::new(&["end"])
    }

    /// Calls `execve` with an empty environment. Returns only if that fails.
    pub(super) fn exec(&self) {
        raw::syscall(
            libc::SYS_execve,
            [self.path.as_ptr() as c_long, self.argv.as_ptr() as c_long, 0],
        );
    }

    /// Calls `execveat` on a descriptor.
    fn exec_at(&self, descriptor: c_long) {
        let argv = self.argv.as_ptr() as c_long;
        let empty_path = libc::AT_EMPTY_PATH.into();
        raw::syscall(libc::SYS_execveat, [descriptor, c"".as_ptr() as c_long, argv, 0, empty_path]);
    }
}

/// A thread that is not the leader execs into the workload `counts`, which prints the statement.
/// This kills the leader, which is in `pause`. With `told=1`, the thread prints that it is ready
/// and execs after a line of input; the new program does the same at the end of its input.
pub(super) fn exec_by_thread(params: &Params) -> Statement {
    let (calls, told) = (format!("calls={}", params.number("calls")), params.has("told"));
    let args = ["counts", &calls, "hold=1"];
    let program = Program::new(&args[..if told { 3 } else { 2 }]);
    let pid = own_pid();
    thread::spawn(move || {
        wait_until_in_call(pid, pid, libc::SYS_pause);
        if told {
            println!("{READY}");
            std::io::stdin().lock().read_line(&mut String::new()).expect("an input");
        }
        program.exec();
        panic!("no exec");
    });
    loop {
        raw::syscall(libc::SYS_pause, [0; 4]);
    }
}

/// Starts `calls` children that exec by `execve` after one failed attempt, and as many that exec by
/// `execveat` after two.
pub(super) fn execs(params: &Params) -> Statement {
    let program = Program::that_ends();
    let file = std::fs::File::open("/proc/self/exe").expect("an executable");
    let descriptor = file.as_raw_fd().into();
    let missing = c"/no/such/file".as_ptr() as c_long;
    let no_file = [libc::AT_FDCWD.into(), missing, 0, 0, 0];
    let mut processes = Vec::new();
    for _ in 0..params.number("calls") {
        let by_path = fork(|| {
            raw::syscall(libc::SYS_execve, [missing, 0, 0]);
            program.exec();
            false
        });
        let by_descriptor = fork(|| {
            raw::syscall(libc::SYS_execveat, no_file);
            raw::syscall(libc::SYS_execveat, no_file);
            program.exec_at(descriptor);
            false
        });
        for (pid, name, failed) in [(by_path, "execve", 1), (by_descriptor, "execveat", 2)] {
            reap(pid);
            let mut made = Made::succeeded(1);
            made.add(&Made::failed(failed, "ENOENT"));
            let other = if name == "execve" { "execveat" } else { "execve" };
            let made = calls([
                (name, made),
                (other, Made::default()),
                ("exit_group", Made::never_returned(1)),
            ]);
            processes.push(Process::new(pid, made));
        }
    }
    Statement::of_all(processes)
}

/// Starts `calls` children that exec this 64-bit program by the number of `execve` in the i386
/// table.
pub(super) fn execs_by_int80(params: &Params) -> Statement {
    let low = LowMemory::new();
    let program = low.text(&std::env::current_exe().expect("an executable").into_os_string());
    let args = ["workload".as_ref(), "end".as_ref()].map(|arg| low.text(arg));
    let argv = low.numbers(&[program, args[0], args[1], 0]);
    let mut processes = Vec::new();
    for _ in 0..params.number("calls") {
        let pid = fork(|| {
            raw::int80(11, [program.cast_signed(), argv.cast_signed(), 0]);
            false
        });
        reap(pid);
        let mut made =
            calls([("execve", Made::default()), ("exit_group", Made::never_returned(1))]);
        made.insert("i386/execve".to_owned(), Made::succeeded(1));
        processes.push(Process::new(pid, made));
    }
    Statement::of_all(processes)
}

/// Memory below 4 GiB, for arguments of 32 bits.
struct LowMemory {
    start: *mut u8,
    used: std::cell::Cell<usize>,
}

impl LowMemory {
    const SIZE: usize = 16 * 1024;

    fn new() -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        // SAFETY: a new mapping, which nothing else uses.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), Self::SIZE, protection, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED, "memory below 2 GiB");
        Self { start: start.cast(), used: 0.into() }
    }

    /// Copies bytes into the memory, and returns their address.
    fn bytes(&self, bytes: &[u8]) -> u32 {
        let at = self.used.get().next_multiple_of(4);
        self.used.set(at + bytes.len());
        assert!(self.used.get() <= Self::SIZE);
        // SAFETY: the range is within the mapping, and not yet used.
        unsafe {
            let place = self.start.add(at);
            place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            u32::try_from(place as usize).expect("an address of 32 bits")
        }
    }

    fn text(&self, text: &std::ffi::OsStr) -> u32 {
        self.bytes(&[text.as_bytes(), b"\0"].concat())
    }

    fn numbers(&self, numbers: &[u32]) -> u32 {
        let bytes: Vec<_> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        self.bytes(&bytes)
    }
}

/// A program that the kernel refuses only after it has removed the old one: its only segment is
/// longer in the file than in memory (`load_elf_binary`, fs/binfmt_elf.c, returns -EINVAL for it
/// after `begin_new_exec`).
fn broken_program() -> Vec<u8> {
    let mut elf = Vec::new();
    elf.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // Type and machine (an executable for x86_64), and the version of the format.
    elf.extend([2_u16, 62].iter().flat_map(|half| half.to_le_bytes()));
    elf.extend(1_u32.to_le_bytes());
    // The entry address, the offset of the only program header, and no section headers.
    elf.extend([0x40_0000_u64, 64, 0].iter().flat_map(|long| long.to_le_bytes()));
    elf.extend(0_u32.to_le_bytes());
    elf.extend([64_u16, 56, 1, 64, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
    // PT_LOAD, readable and executable.
    elf.extend([1_u32, 5].iter().flat_map(|word| word.to_le_bytes()));
    let (in_file, in_memory) = (0x1000_u64, 0x800);
    let segment = [0, 0x40_0000, 0x40_0000, in_file, in_memory, 0x1000];
    elf.extend(segment.iter().flat_map(|long| long.to_le_bytes()));
    elf.resize(0x1000, 0);
    elf
}

/// Starts `calls` children, one after the other, whose exec fails past the point of no return,
/// which kills them. With `by-thread=1`, a thread that is not the leader makes the exec. It has
/// taken the leader's id by the time the exec fails.
pub(super) fn fail_late(params: &Params) -> Statement {
    let by_thread = params.has("by-thread");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&broken_program()).expect("room");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(file.path(), executable).expect("a file of ours");
    // A file that is open for writing cannot be executed.
    let path = file.into_temp_path();
    let text = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    let address = text.as_ptr() as c_long;
    let mut processes = Vec::new();
    for _ in 0..params.number("calls") {
        let pid = fork(|| {
            no_core();
            let argv = [std::ptr::null::<c_char>()];
            let args = [address, argv.as_ptr() as c_long, 0];
            if !by_thread {
                raw::syscall(libc::SYS_execve, args);
                return false;
            }
            let leader = own_pid();
            thread::spawn(move || {
                wait_until_in_call(leader, leader, libc::SYS_pause);
                raw::syscall(libc::SYS_execve, args);
            });
            raw::syscall(libc::SYS_pause, [0; 0]) == 0
        });
        let status = wait(pid);
        assert!(libc::WIFSIGNALED(status), "{status:#x}: it lives on");
        let leader = if by_thread { Made::never_returned(1) } else { Made::default() };
        let made = calls([
            ("execve", Made::failed(1, "EINVAL")),
            ("pause", leader),
            ("exit_group", Made::default()),
        ]);
        processes.push(Process::new(pid, made));
    }
    Statement::of_all(processes)
}

/// Disables core dumps of this process.
pub(super) fn no_core() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel reads one `rlimit`.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) }, 0);
}
