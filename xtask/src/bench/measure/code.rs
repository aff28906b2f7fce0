//! The programs themselves, as the kernel runs them: how much code each is, and which.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, ExitCode},
    thread::available_parallelism,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::subjects::{How, OURS, Subject};
use crate::{
    bench::code::Args,
    privilege,
    workspace::{find_program, output},
};

/// A program, as `bpftool -j prog show` has it.
#[derive(Deserialize)]
struct Program {
    id: u32,
    name: String,
    bytes_xlated: u64,
    bytes_jited: u64,
}

/// Bytes of an eBPF instruction.
const INSTRUCTION: u64 = 8;

pub(in crate::bench) fn run(args: &Args) -> Result<ExitCode> {
    ensure!(privilege::is_root(), "attaching to the kernel needs root");
    for (program, package) in [("bpftool", "bpftool"), ("objdump", "binutils")] {
        ensure!(find_program(&[program]).is_some(), "{program} is missing: Debian's {package}");
    }
    if let Some(directory) = &args.disassemble {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    println!(
        "Instructions of each program with all that it may call, after the verifier has dropped \
         what the settings rule out.\n\n\
         | attached | program | eBPF instructions | machine instructions | bytes of machine code |\n\
         | --- | --- | ---: | ---: | ---: |"
    );
    for subject in OURS.iter().filter(|subject| !matches!(subject.how, How::Nothing)) {
        let attached = subject.attach(available_parallelism()?.get())?;
        for program in programs()? {
            let code = disassembled(program.id)?;
            let instructions = code.lines().filter(|line| line.contains(":\t")).count();
            println!(
                "| {} | `{}` | {} | {instructions} | {} |",
                subject.title,
                program.name,
                program.bytes_xlated / INSTRUCTION,
                program.bytes_jited
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

/// Those of this process that run at each call.
fn programs() -> Result<Vec<Program>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        // One that has just been closed is no program.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let id = text.lines().find_map(|line| line.strip_prefix("prog_id:"));
        ids.extend(id.and_then(|id| id.trim().parse::<u32>().ok()));
    }
    let mut programs = Vec::new();
    for id in ids {
        let shown =
            output(Command::new("bpftool").args(["-j", "prog", "show", "id"]).arg(id.to_string()))?;
        let program: Program = serde_json::from_str(&shown).context("what bpftool shows")?;
        if ["sys_", "empty_", "clock_"].iter().any(|of| program.name.starts_with(of)) {
            programs.push(program);
        }
    }
    Ok(programs)
}

fn disassembled(id: u32) -> Result<String> {
    let image = tempfile::NamedTempFile::new()?;
    let id = id.to_string();
    output(
        Command::new("bpftool")
            .args(["prog", "dump", "jited", "id", &id, "file"])
            .arg(image.path()),
    )?;
    let machine = ["-D", "-b", "binary", "-m", "i386:x86-64", "--no-show-raw-insn"];
    output(Command::new("objdump").args(machine).arg(image.path()))
}
