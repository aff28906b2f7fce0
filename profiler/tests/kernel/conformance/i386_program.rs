//! A 32-bit program.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use super::Skip;
use crate::{
    run::{Mode, Stat},
    workload::{Calls, Made, Statement},
};

/// A program with only i386 calls and without a C library: 50 times `getppid`, 30 times `close` of
/// an invalid descriptor, ten signals that interrupt an `rt_sigsuspend` for each of the two calls
/// by which a handler returns, and `exit` with 0.
const SOURCE: &str = r#"
static int call(int number, int a, int b, int c, int d) {
    int result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d)
                     : "memory");
    return result;
}
struct action {
    void (*handler)(int);
    unsigned flags;
    void (*restorer)(void);
    unsigned mask[2];
};
static void handler(int signal) { (void)signal; }
void by_sigreturn(void);
void by_rt_sigreturn(void);
__asm__("by_sigreturn: pop %eax; mov $119, %eax; int $0x80");
__asm__("by_rt_sigreturn: mov $173, %eax; int $0x80");
static void handle(unsigned flags, void (*restorer)(void)) {
    struct action action = {handler, flags | 0x04000000, restorer, {0, 0}};
    unsigned usr1[2] = {1 << 9, 0}, none[2] = {0, 0};
    call(174, 10, (int)&action, 0, 8);
    call(175, 0, (int)usr1, 0, 8);
    for (int i = 0; i < 10; i++) {
        call(37, call(20, 0, 0, 0, 0), 10, 0, 0);
        call(179, (int)none, 8, 0, 0);
    }
}
void _start(void) {
    for (int i = 0; i < 50; i++) call(64, 0, 0, 0, 0);
    for (int i = 0; i < 30; i++) call(6, -1, 0, 0, 0);
    handle(0, by_sigreturn);
    handle(4, by_rt_sigreturn);
    call(1, 0, 0, 0, 0);
}
"#;

/// How each call of [`SOURCE`] ends, and how many do so.
fn made() -> [(&'static str, Made); 10] {
    [
        ("getppid", Made::succeeded(50)),
        ("close", Made::failed(30, "EBADF")),
        ("rt_sigaction", Made::succeeded(2)),
        ("rt_sigprocmask", Made::succeeded(2)),
        ("getpid", Made::succeeded(20)),
        ("kill", Made::succeeded(20)),
        ("rt_sigsuspend", Made::failed(20, "EINTR")),
        // Both leave with -EINTR, the result of the interrupted call.
        ("sigreturn", Made::succeeded(10)),
        ("rt_sigreturn", Made::succeeded(10)),
        ("exit", Made::never_returned(1)),
    ]
}

/// The executable, and what it makes.
pub(crate) struct I386Program {
    pub(crate) path: PathBuf,
}

impl I386Program {
    /// The program, compiled into this directory if there is none yet.
    ///
    /// # Errors
    /// If there is no compiler.
    pub(crate) fn new(directory: &Path) -> Result<Self, Skip> {
        let path = match compiled_before() {
            Some(program) => program,
            None => compile_for_i386(directory.join("i386"))?,
        };
        Ok(Self { path })
    }

    /// All calls of the process, from its exec, which is a 64-bit call, to its end.
    pub(crate) fn states(&self, pid: u32) -> Statement {
        let mut calls: Calls =
            made().into_iter().map(|(name, made)| (format!("i386/{name}"), made)).collect();
        calls.insert("x86_64/execve".to_owned(), Made::succeeded(1));
        Statement::of(pid, calls)
    }
}

/// A 32-bit process, from its exec to its end.
pub(super) fn exec_of_a_32_bit_program(mode: Mode) -> Result<(), Skip> {
    let directory = tempfile::tempdir().expect("a directory");
    let program = I386Program::new(directory.path())?;
    let (report, _) = Stat::new(mode).by_process_and_call().command([&program.path]);
    let pid = report.rows.first().and_then(|row| row.pid).expect("a process");
    let statement = program.states(pid);
    let kinds = statement.processes[0].calls.len();
    assert_eq!(report.rows.len(), kinds, "it makes no other call: {:#?}", report.rows);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
    Ok(())
}

/// The path of the program in a virtual machine, which has no compiler. It is compiled on the host.
const COMPILED_BEFORE: &str = "/bin/i386-program";

fn compiled_before() -> Option<PathBuf> {
    Some(PathBuf::from(COMPILED_BEFORE)).filter(|program| program.exists())
}

/// The argument with which this executable compiles the program into the file that follows, for
/// `cargo xtask test-kernels`.
const COMPILE: &str = "build-i386-program";

/// The file, if the argument is given.
pub(crate) fn asked_to_compile() -> Option<PathBuf> {
    let mut args = std::env::args_os().skip(1);
    (args.next()? == COMPILE).then(|| args.next().map(PathBuf::from))?
}

pub(crate) fn compile(program: PathBuf) -> ExitCode {
    match compile_for_i386(program) {
        Ok(_) => ExitCode::SUCCESS,
        Err(skip) => {
            eprintln!("{skip}");
            ExitCode::FAILURE
        }
    }
}

/// Compiles the program, if there is a compiler, and returns the file.
fn compile_for_i386(program: PathBuf) -> Result<PathBuf, Skip> {
    let source = program.with_extension("c");
    std::fs::write(&source, SOURCE).expect("a file");
    let mut gcc = Command::new("gcc");
    gcc.args(["-m32", "-O1", "-nostdlib", "-static", "-fno-pie", "-no-pie"]);
    gcc.args(["-fno-stack-protector", "-o"]).arg(&program).arg(&source);
    match gcc.output() {
        Ok(built) if built.status.success() => Ok(program),
        Ok(built) => {
            let said = String::from_utf8_lossy(&built.stderr);
            Err(Skip::NoI386Compiler(said.lines().next().unwrap_or_default().to_owned()))
        }
        Err(error) => Err(Skip::NoI386Compiler(error.to_string())),
    }
}
