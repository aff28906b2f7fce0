//! Shell completion: the scripts under `deploy/completions`, and their candidates.
//! `UPDATE_COMPLETIONS=1` writes the scripts.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const PROFILER: &str = env!("CARGO_BIN_EXE_profiler");

/// The shells, and the names under which packages install their scripts.
const SCRIPTS: [(&str, &str); 3] =
    [("bash", "profiler.bash"), ("zsh", "_profiler"), ("fish", "profiler.fish")];

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/completions").join(name)
}

/// A command that finds this profiler in PATH.
fn command(program: &str) -> Command {
    let directory = Path::new(PROFILER).parent().expect("a directory").to_owned();
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = [directory].into_iter().chain(env::split_paths(&path));
    let mut command = Command::new(program);
    command.env("PATH", env::join_paths(directories).expect("a path"));
    command
}

fn lines(mut command: Command) -> Vec<String> {
    let output = command.output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    // Zsh and fish get a description after each value.
    let value = |line: &str| line.split([':', '\t']).next().unwrap_or_default().to_owned();
    text.lines().map(value).collect()
}

/// The candidates that `shell` gets if Tab is pressed at the end of `words`.
fn answer(shell: &str, words: &[&str]) -> Vec<String> {
    let mut profiler = command("profiler");
    profiler.env("PROFILER_COMPLETE", shell).env("_CLAP_IFS", "\n");
    profiler.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
    profiler.arg("--").args(words);
    lines(profiler)
}

/// The candidates in bash: `COMPREPLY` of the function that the script registers.
fn answer_of_bash(words: &[&str]) -> Vec<String> {
    const TAB: &str = r#"
        source "$0"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        _clap_complete_profiler profiler "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = command("bash");
    bash.args(["--norc", "-c", TAB]).arg(committed("profiler.bash")).args(words);
    lines(bash)
}

#[test]
fn the_scripts_are_what_the_command_prints() {
    let update = env::var_os("UPDATE_COMPLETIONS").is_some();
    for (shell, name) in SCRIPTS {
        let output = command("profiler").args(["completions", shell]).output().expect("it runs");
        assert!(output.status.success());
        if update {
            fs::create_dir_all(committed("")).expect("a directory");
            fs::write(committed(name), &output.stdout).expect("a file");
        }
        let script = fs::read(committed(name)).unwrap_or_default();
        assert!(
            script == output.stdout,
            "{name} is out of date: UPDATE_COMPLETIONS=1 cargo test --test cli completions"
        );
    }
}

/// A line, values that are candidates, and a value that is not.
type Case = (&'static [&'static str], &'static [&'static str], &'static str);

const CASES: &[Case] = &[
    (&["profiler", ""], &["stat", "top", "daemon", "doctor", "syscalls"], "openat"),
    (&["profiler", "stat", "--no-"], &["--no-latency", "--no-waits"], "--failed"),
    (&["profiler", "top", "--thr"], &["--threads"], "--all"),
    (&["profiler", "stat", "--format", ""], &["table", "json"], "text"),
    (&["profiler", "stat", "--f"], &["--failed", "--format"], "--force-arrays"),
    (&["profiler", "stat", "-s", "p"], &["p50", "p99"], "max"),
    (&["profiler", "stat", "--by", ""], &["syscall", "category", "user", "thread"], "tid"),
    (&["profiler", "stat", "--by", "process,c"], &["process,comm", "process,class"], "process"),
    (&["profiler", "top", "--by", ""], &["syscall", "class", "container"], "user"),
    (&["profiler", "top", "--by", "pod,c"], &["pod,category", "pod,class"], "category"),
    (&["profiler", "stat", "--syscall", "open"], &["open", "openat", "openat2"], "read"),
    (&["profiler", "stat", "--syscall", "read,%f"], &["read,%file", "read,%fstat"], "%file"),
    (&["profiler", "top", "--syscall", "!fut"], &["!futex"], "futex"),
    (&["profiler", "daemon", "--exclude-syscall", "ep"], &["epoll_wait"], "read"),
    (&["profiler", "stat", "--errno", "ENOENT,EAC"], &["ENOENT,EACCES"], "EACCES"),
    (&["profiler", "syscalls", "opena"], &["openat"], "open"),
    (&["profiler", "syscalls", "%file-"], &["%file-management"], "%file"),
    (&["profiler", "syscalls", "@sys"], &["@system-service"], "@clock"),
    (&["profiler", "syscalls", "ENOE"], &["ENOENT", "ENOEXEC"], "ENODEV"),
    (&["profiler", "syscalls", "--abi", ""], &["x86_64", "i386", "x32"], "arm64"),
    (&["profiler", "completions", ""], &["bash", "zsh", "fish"], "sh"),
];

#[test]
fn names_are_completed_in_every_shell() {
    for (words, expected, unexpected) in CASES {
        let of_each = SCRIPTS.map(|(shell, _)| (shell, answer(shell, words)));
        for (shell, values) in of_each.into_iter().chain([("COMPREPLY", answer_of_bash(words))]) {
            for value in *expected {
                assert!(values.iter().any(|of| of == value), "{shell} {words:?}: {values:?}");
            }
            assert!(values.iter().all(|of| of != unexpected), "{shell} {words:?}: {values:?}");
        }
    }
}

/// The variable alone changes nothing, for example in the environment of a service.
#[test]
fn the_variable_does_nothing_without_the_script() {
    let mut profiler = command("profiler");
    let output = profiler.env("PROFILER_COMPLETE", "bash").arg("--version").output();
    let text = String::from_utf8(output.expect("it runs").stdout).expect("text");
    assert!(text.starts_with("profiler "), "{text}");
}
