//! Numbers mean what their own table says: pitfalls 8 and 10.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use libtest_mimic::Failed;

use crate::run::{Mode, Stat};

/// i386 and x32 calls from 64-bit code.
pub(crate) fn each_abi_has_its_own(mode: Mode) {
    let (report, statement) = Stat::new(mode).workload(&["abis", "calls=100"]);
    report.has_exactly(&statement);
    report.nothing_overflowed();
    assert_eq!(report.row("i386", "getpid").nr, Some(20));
    assert_eq!(report.row("i386", "open").nr, Some(5));
    assert_eq!(report.row("i386", "unknown").nr, Some(-1));
    assert_eq!(report.row("x32", "getppid").nr, Some(110));
}

/// Numbers that no table has are one row.
pub(crate) fn bogus_numbers_are_one_row(mode: Mode) {
    let (report, statement) = Stat::new(mode).workload(&["bogus", "calls=100"]);
    report.has_exactly(&statement);
    report.nothing_overflowed();
    assert_eq!(report.row("x86_64", "unknown").nr, Some(-1));
}

/// A program of nothing but i386 calls, without a C library: 50 times `getppid`, 30
/// times `close` of no descriptor, and `exit` with 0.
const SOURCE: &str = r#"
static int call(int number, int first) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first) : "memory");
    return result;
}
void _start(void) {
    for (int i = 0; i < 50; i++) call(64, 0);
    for (int i = 0; i < 30; i++) call(6, -1);
    call(1, 0);
}
"#;

/// A 32-bit process, from its exec, which is a 64-bit call, to its end.
pub(crate) fn a_32_bit_program_is_i386(mode: Mode) {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("i386");
    let program = match compiled_before() {
        Some(program) => program,
        None => {
            compile_for_i386(&program).expect("a compiler, as was seen before");
            program
        }
    };
    let (report, _) = Stat::new(mode).command([&program]);
    report.nothing_is_in_flight();
    let getppid = report.row("i386", "getppid");
    assert_eq!((getppid.calls, getppid.returned, getppid.errors), (50, 50, 0));
    let close = report.row("i386", "close");
    assert_eq!((close.calls, close.errors, close.errnos["EBADF"]), (30, 30, 30));
    let exit = report.row("i386", "exit");
    assert_eq!((exit.calls, exit.never_returned), (1, 1));
    let exec = report.row("x86_64", "execve");
    assert_eq!((exec.calls, exec.returned), (1, 1));
    assert_eq!(report.rows.len(), 4, "it makes no other call: {:#?}", report.rows);
}

/// Where a virtual machine has the program of [`a_32_bit_program_is_i386`], compiled on
/// its host: it has no compiler.
const COMPILED_BEFORE: &str = "/bin/i386-program";

fn compiled_before() -> Option<PathBuf> {
    Some(PathBuf::from(COMPILED_BEFORE)).filter(|program| program.exists())
}

/// The argument that has this executable compile that program, into the file that
/// follows: `cargo xtask test-kernels` asks for it.
const COMPILE: &str = "build-i386-program";

/// The file, if it is asked to.
pub(crate) fn asked_to_compile() -> Option<PathBuf> {
    let mut args = std::env::args_os().skip(1);
    (args.next()? == COMPILE).then(|| args.next().map(PathBuf::from))?
}

pub(crate) fn compile(program: &Path) -> ExitCode {
    match compile_for_i386(program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("{}", failed.message().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

/// Whether there is what [`a_32_bit_program_is_i386`] runs, or this host can build it.
///
/// # Errors
/// What the compiler says.
pub(crate) fn i386_program_can_be_had() -> Result<(), Failed> {
    if compiled_before().is_some() {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    compile_for_i386(&directory.path().join("i386"))
}

fn compile_for_i386(program: &Path) -> Result<(), Failed> {
    let source = program.with_extension("c");
    std::fs::write(&source, SOURCE)?;
    let mut gcc = Command::new("gcc");
    gcc.args([
        "-m32",
        "-O1",
        "-nostdlib",
        "-static",
        "-fno-pie",
        "-no-pie",
        "-fno-stack-protector",
    ]);
    let built = gcc.arg("-o").arg(program).arg(&source).output()?;
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr);
        return Err(format!("gcc -m32 fails; gcc-multilib may be missing: {said}").into());
    }
    Ok(())
}
