//! Measures the size of the programs, and disassembles them.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::RawFd,
    path::Path,
    process::{Command, ExitCode},
    thread::available_parallelism,
};

use anyhow::{Context as _, Result, ensure};
use nix::libc::{SYS_bpf, c_long, syscall};

use super::subjects::{How, OURS, Subject};
use crate::{
    bench::code::Args,
    privilege,
    workspace::{find_program, output},
};

/// A loaded program.
struct Program {
    name: String,
    /// Size of the eBPF instructions, bytes.
    xlated: usize,
    /// Machine code.
    code: Vec<u8>,
}

/// Size of an eBPF instruction, bytes.
const INSTRUCTION: usize = 8;

pub(in crate::bench) fn run(args: &Args) -> Result<ExitCode> {
    ensure!(privilege::is_root(), "attaching to the kernel needs root");
    ensure!(find_program(&["objdump"]).is_some(), "objdump is missing: Debian's binutils");
    if let Some(directory) = &args.disassemble {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    println!(
        "Instructions of each program, including the functions that it can call. The verifier has \
         already removed the code that the settings disable.\n\n\
         | attached | program | eBPF instructions | machine instructions | bytes of machine code |\n\
         | --- | --- | ---: | ---: | ---: |"
    );
    for subject in OURS.iter().filter(|subject| !matches!(subject.how, How::Nothing)) {
        let attached = subject.attach(available_parallelism()?.get())?;
        for program in programs()? {
            let code = disassembled(&program.code)?;
            let instructions = code.lines().filter(|line| line.contains(":\t")).count();
            println!(
                "| {} | `{}` | {} | {instructions} | {} |",
                subject.title,
                program.name,
                program.xlated / INSTRUCTION,
                program.code.len()
            );
            if let Some(directory) = &args.disassemble {
                write(directory, subject, &program, &code)?;
            }
        }
        attached.detach()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(directory: &Path, subject: &Subject, program: &Program, code: &str) -> Result<()> {
    let file = directory.join(format!("{}-{}.s", subject.key, program.name));
    fs::write(&file, code).with_context(|| file.display().to_string())
}

/// The programs of this process that run at each call.
fn programs() -> Result<Vec<Program>> {
    let mut programs = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        let entry = entry?;
        // The descriptor may have been closed meanwhile.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        let id = text.lines().find_map(|line| line.strip_prefix("prog_id:"));
        let fd = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(id), Some(fd)) = (id.and_then(|id| id.trim().parse::<u32>().ok()), fd) {
            // The file of a BPF link also names a program, but a link is not a program.
            let Ok(program) = Program::of(fd) else { continue };
            programs.insert(id, program);
        }
    }
    let of_a_call = |program: &Program| {
        ["sys_", "empty_", "clock_"].iter().any(|of| program.name.starts_with(of))
    };
    Ok(programs.into_values().filter(of_a_call).collect())
}

/// The beginning of `struct bpf_prog_info` (include/uapi/linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_len: u32,
    xlated_len: u32,
    jited: u64,
    xlated: u64,
    loaded_ns: u64,
    uid: u32,
    map_count: u32,
    map_ids: u64,
    name: [u8; 16],
}

impl Info {
    /// Requests the information for which fields are set.
    fn ask(&mut self, fd: RawFd) -> io::Result<()> {
        /// Calls `BPF_OBJ_GET_INFO_BY_FD`.
        const COMMAND: c_long = 15;
        #[repr(C)]
        struct Question {
            fd: u32,
            len: u32,
            info: u64,
        }
        let info = std::ptr::from_mut(self) as u64;
        let question = Question { fd: fd.cast_unsigned(), len: size_of::<Self>() as u32, info };
        // SAFETY: the kernel reads a structure of this size, and writes at most `len` bytes to
        // `info`, and `jited_len` bytes to `jited`, which the caller owns.
        let done = unsafe { syscall(SYS_bpf, COMMAND, &raw const question, size_of::<Question>()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Program {
    fn of(fd: RawFd) -> io::Result<Self> {
        let mut info = Info::default();
        info.ask(fd)?;
        let mut code = vec![0; info.jited_len as usize];
        let jited = code.as_mut_ptr() as u64;
        let mut info = Info { jited_len: info.jited_len, jited, ..Info::default() };
        info.ask(fd)?;
        let name = info.name.split(|&byte| byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        Ok(Self { name, xlated: info.xlated_len as usize, code })
    }
}

fn disassembled(code: &[u8]) -> Result<String> {
    let image = tempfile::NamedTempFile::new()?;
    fs::write(image.path(), code)?;
    let machine = ["-D", "-b", "binary", "-m", "i386:x86-64", "--no-show-raw-insn"];
    Ok(output(Command::new("objdump").args(machine).arg(image.path()))?)
}
