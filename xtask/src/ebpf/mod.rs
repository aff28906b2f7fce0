//! `cargo xtask build-ebpf`: compiles the kernel side into the committed objects.
//!
//! The objects are committed so that users need no eBPF toolchain. `--check` checks that the source
//! compiles to these objects.

mod build;
mod install;
mod record;
pub(crate) mod rustc;
mod toolchain;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};

use self::{build::Warnings, record::Record, toolchain::Toolchain};
use crate::workspace;

/// The names of the programs from which the objects are linked.
const PROGRAMS: [&str; 8] = [
    "profiler-arena",
    "profiler-task",
    "profiler-tid",
    "profiler-identity",
    "profiler-fill",
    "profiler-trace",
    "profiler-stacks",
    "profiler-floor",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Compare the result with the committed objects instead of replacing them
    #[arg(long)]
    check: bool,
    /// Install what is missing first (Debian, as root)
    #[arg(long)]
    install: bool,
    /// List the tools that were found, and build nothing
    #[arg(long, conflicts_with = "check")]
    tools_only: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.install {
        install::missing_tools()?;
    }
    let toolchain = Toolchain::discover()?;
    println!("with {toolchain}");
    if args.check {
        check(&toolchain)?;
    } else if !args.tools_only {
        replace(&toolchain)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The directory of the committed objects.
fn objects_dir() -> PathBuf {
    workspace::root().join("profiler/src/engine/kernel/objects")
}

/// The directory of the objects that `--check` made with another toolchain than that of the
/// committed objects, if it did. The kernel tests run on these objects too.
pub(crate) fn objects_of_another_toolchain() -> Result<Option<PathBuf>> {
    let dir = check_dir();
    if !dir.exists() {
        return Ok(None);
    }
    let is_current = Record::read(&dir)?.source == record::source_digest()?;
    Ok(is_current.then_some(dir))
}

/// The directory for objects that `--check` made with another toolchain.
fn check_dir() -> PathBuf {
    workspace::target_dir().join("ebpf-check")
}

fn replace(toolchain: &Toolchain) -> Result<()> {
    let dir = objects_dir();
    let objects =
        build::objects(toolchain, &workspace::target_dir().join("ebpf"), Warnings::Shown)?;
    let record = Record::new(toolchain, &objects)?;
    fs::create_dir_all(&dir)?;
    for object in &objects {
        fs::write(dir.join(object.file_name()), &object.bytes)?;
        println!("{:>7} bytes  {}", object.bytes.len(), object.file_name());
    }
    record.write(&dir)
}

fn check(toolchain: &Toolchain) -> Result<()> {
    let dir = objects_dir();
    let committed = Record::read(&dir)
        .context("no record of the committed objects: run `cargo xtask build-ebpf`")?;
    committed.check_files(&dir)?;
    ensure!(
        committed.source == record::source_digest()?,
        "the kernel side's source has changed since the objects were built: \
         run `cargo xtask build-ebpf`, and commit {}",
        dir.display()
    );

    // Build in an empty directory, so that no object of another checkout is compared.
    let temporary = tempfile::tempdir_in(workspace::target_dir())?;
    // A newer compiler may have new warnings, which are not errors.
    let is_recorded = toolchain.versions == committed.tools;
    let warnings = if is_recorded { Warnings::Errors } else { Warnings::Shown };
    let objects = build::objects(toolchain, temporary.path(), warnings)?;
    let fresh = Record::new(toolchain, &objects)?;
    let out = check_dir();
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }

    if fresh == committed {
        println!("the committed objects are, byte for byte, what this source compiles to");
        return Ok(());
    }
    fs::create_dir_all(&out)?;
    for object in &objects {
        fs::write(out.join(object.file_name()), &object.bytes)?;
    }
    fresh.write(&out)?;
    if is_recorded {
        bail!(
            "this source compiles to other objects than the committed ones, with the toolchain \
             that they were made with: run `cargo xtask build-ebpf`. The new objects are in {}",
            out.display()
        );
    }
    println!(
        "The committed objects were made from this source, but with another toolchain:\n{}\n\
         so that their bytes cannot be compared. What this toolchain makes is in\n  {}\n\
         and must pass the kernel tests: `cargo xtask test` runs them on it too.",
        committed.differing_tools(&fresh),
        out.display()
    );
    Ok(())
}
