//! `cargo xtask syscalls`: generates the table behind `profiler syscalls`.
//!
//! `--read` reads a source, and writes its facts under `facts/`. `--generate` joins the facts into
//! the tables that the profiler embeds. The facts and the tables are committed, so that neither a
//! build nor a user needs the sources.

mod constants;
mod facts;
mod generate;
mod opcodes;
mod read;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};

use self::{facts::Facts, read::Source};
use crate::workspace::root;

/// Generate the table behind `profiler syscalls`, and check it
///
/// The facts are under xtask/src/syscalls/facts, one file for each source. The first line of a
/// file names the source and its version.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("task").required(true).multiple(false))]
pub(crate) struct Args {
    /// Write the table from the facts
    #[arg(long, group = "task")]
    generate: bool,
    /// Check that the table agrees with the facts. If this machine has a source of facts in the
    /// same version, also check the facts against that source
    #[arg(long, group = "task")]
    check: bool,
    /// Read facts from their source again
    #[arg(long, group = "task", value_name = "SOURCE")]
    read: Option<Source>,
    /// Path of the source: for `linux` the directory of the kernel's source, for `docker` the file
    /// default.json
    #[arg(long, value_name = "PATH", requires = "read")]
    from: Option<PathBuf>,
    /// Version of the source, which `docker` requires because its file does not name a version
    #[arg(long, value_name = "TEXT", requires = "read")]
    edition: Option<String>,
}

/// Returns the path of the table that the profiler embeds.
fn table_path() -> PathBuf {
    root().join("profiler/src/names/syscalls.tsv")
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some(source) = args.read {
        let place = read::Place { from: args.from.as_deref(), edition: args.edition.as_deref() };
        for (name, text) in source.read(&place)? {
            fs::write(facts::path(name), text)?;
            println!("wrote {name}.txt; now run `cargo xtask syscalls --generate`");
        }
    } else if args.generate {
        let text = generate::table(&Facts::committed()?)?;
        fs::write(table_path(), &text)?;
        println!("{:>7} bytes  syscalls.tsv", text.len());
        let text = opcodes::table(&opcodes::committed()?);
        fs::write(opcodes::path(), &text)?;
        println!("{:>7} bytes  operations.tsv", text.len());
        let text = constants::table()?;
        fs::write(constants::path(), &text)?;
        println!("{:>7} bytes  constants.tsv", text.len());
    } else if args.check {
        check()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn check() -> Result<()> {
    let committed =
        fs::read_to_string(table_path()).context("cannot read the table of syscalls")?;
    ensure!(
        committed == generate::table(&Facts::committed()?)?,
        "the table of syscalls differs from the facts: run `cargo xtask syscalls --generate`"
    );
    println!("the table of syscalls agrees with the facts");
    opcodes::check()?;
    constants::check()?;
    for source in Source::ON_THIS_MACHINE {
        let facts = match source.read(&read::Place::default()) {
            Ok(facts) => facts,
            Err(error) => {
                println!("{source:?}: not compared, because it cannot be read here: {error:#}");
                continue;
            }
        };
        for (name, text) in facts {
            compare(name, &text)?;
        }
    }
    Ok(())
}

/// Compares facts that were just read with the committed ones, if both come from the same version
/// of the source.
fn compare(name: &str, text: &str) -> Result<()> {
    let committed = fs::read_to_string(facts::path(name))?;
    let (here, there) = (facts::source(text), facts::source(&committed));
    if here != there {
        println!(
            "{name}.txt: not compared, because it comes from {there}, and this machine has {here}"
        );
    } else if text != committed {
        bail!("{name}.txt differs from {here}: run `cargo xtask syscalls --read`");
    } else {
        println!("{name}.txt agrees with {here}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_table_is_what_the_facts_give() {
        let committed = fs::read_to_string(table_path()).expect("a committed table");
        let facts = Facts::committed().expect("facts that can be read");
        let table = generate::table(&facts).expect("facts that agree");
        assert!(committed == table, "run `cargo xtask syscalls --generate`");
    }
}
