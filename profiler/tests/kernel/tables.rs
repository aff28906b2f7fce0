//! Numbers mean what their own table says: pitfalls 8 and 10.

use std::{path::Path, process::Command};

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
    compile_for_i386(&program).expect("a compiler, as was seen before");
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

/// Whether this host can build what [`a_32_bit_program_is_i386`] runs.
///
/// # Errors
/// What the compiler says.
pub(crate) fn compiles_for_i386() -> Result<(), Failed> {
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
