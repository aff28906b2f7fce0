//! `cargo xtask fuzz`: fuzzes all parsers with libFuzzer.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};

use crate::workspace::{cargo, output, root, succeed, target_dir};

/// Look for inputs that make a parser panic
///
/// Builds the fuzz targets in profiler/fuzz with the coverage instrumentation of the stable
/// compiler, and runs each one from its committed corpus on. Requires a C++ compiler, for
/// libFuzzer. New inputs are stored in target/fuzz.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each target runs, seconds; 0 runs only the corpus
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Run only these targets [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// The flags that `cargo fuzz` passes for libFuzzer: counters on the edges between basic blocks,
/// and operands of comparisons.
const RUSTFLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 --cfg fuzzing";

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let package = root().join("profiler/fuzz");
    let all = targets(&package.join("corpus"))?;
    for target in &args.targets {
        ensure!(all.contains(target), "there is no target {target}; there are {}", all.join(", "));
    }
    let directory = target_dir().join("fuzz");
    let fuzz = built(&package, &directory)?;
    let chosen = if args.targets.is_empty() { &all } else { &args.targets };
    for target in chosen {
        println!("\n== {target}");
        let (found, failing) = (directory.join("corpus").join(target), directory.join("failing"));
        for directory in [&found, &failing] {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let mut command = Command::new(&fuzz);
        command.env("FUZZ_TARGET", target);
        if args.seconds == 0 {
            command.arg("-runs=0");
        } else {
            command.arg(format!("-max_total_time={}", args.seconds));
        }
        command.args(["-timeout=70", "-print_final_stats=1"]);
        command.arg(format!("-artifact_prefix={}/{target}-", failing.display()));
        // libFuzzer writes new inputs into the first directory, and only reads the others.
        succeed(command.arg(found).arg(package.join("corpus").join(target)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Names of the targets, which are the directories of the corpus.
fn targets(corpus: &Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(corpus).with_context(|| format!("cannot read {}", corpus.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Copies the profiler's lock file for the fuzz targets, so that no second lock file has to be
/// maintained.
///
/// # Errors
/// If the lock file cannot be copied.
pub(crate) fn lock() -> Result<()> {
    let copy = root().join("profiler/fuzz/Cargo.lock");
    fs::copy(root().join("Cargo.lock"), &copy)
        .with_context(|| format!("cannot write {}", copy.display()))?;
    Ok(())
}

/// Builds the fuzz targets, and returns their directory.
fn built(package: &Path, directory: &Path) -> Result<PathBuf> {
    lock()?;
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc names no host")?;
    // With --target, build scripts and macros are not instrumented. They are not linked with
    // libFuzzer.
    let mut build = cargo();
    build.current_dir(package).args(["build", "--release", "--target", host]);
    build.env("CARGO_TARGET_DIR", directory).env("RUSTFLAGS", RUSTFLAGS);
    // This variable would take precedence over RUSTFLAGS.
    build.env_remove("CARGO_ENCODED_RUSTFLAGS");
    succeed(&mut build)?;
    Ok(directory.join(host).join("release/fuzz"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_names_the_targets() {
        let names = targets(&root().join("profiler/fuzz/corpus")).expect("a corpus");
        let source = fs::read_to_string(root().join("profiler/fuzz/src/targets.rs"));
        let source = source.expect("the targets");
        // `("accept", accept),`, in the table of all targets.
        let in_table = source.lines().filter_map(|line| {
            let (name, function) = line.trim().strip_prefix("(\"")?.split_once("\", ")?;
            (function.strip_suffix("),")? == name).then_some(name)
        });
        let in_table: Vec<_> = in_table.collect();
        assert!(in_table.len() > 5, "the table has moved: this test has to follow");
        assert_eq!(names, in_table);
    }
}
