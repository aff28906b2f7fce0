//! Compares `profiler trace` with `strace -f` on real programs.
//!
//! Each program runs once under each. The lines of each thread must be the same, in the same order.
//! [`normal`] removes what differs between two runs by nature.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The programs, as commands of a shell. `$D` is an empty directory.
const PROGRAMS: [(&str, &str); 12] = [
    ("ls", "ls -l /etc"),
    ("cat", "cat /etc/hostname /nonexistent"),
    ("shell script", "for i in 1 2; do echo $i | cat; done; test -d /; cd /; pwd"),
    ("git", "git init -q $D/r && cd $D/r && git status --short"),
    (
        "python3",
        "/usr/bin/python3 -S -c 'import os; os.stat(\"/\"); open(\"/etc/hostname\").read()'",
    ),
    (
        "sqlite",
        "/usr/bin/python3 -c 'import sqlite3; c = sqlite3.connect(\"'$D'/db\"); \
         c.execute(\"create table t(a)\"); c.commit()'",
    ),
    (
        "threads",
        "/usr/bin/python3 -S -c 'import threading as t; a = t.Thread(target=print); a.start(); a.join()'",
    ),
    (
        "signals and timers",
        "/usr/bin/python3 -S -c 'import signal as s; s.signal(s.SIGALRM, lambda *a: 0); \
         s.setitimer(s.ITIMER_REAL, 0.01); s.pause()'",
    ),
    (
        "loopback",
        "/usr/bin/python3 -S -c 'import socket as s; a = s.socket(); a.bind((\"127.0.0.1\", 0)); \
         a.listen(); b = s.create_connection(a.getsockname()); c = a.accept()[0]; \
         b.send(b\"GET\"); c.recv(9)'",
    ),
    ("compiler", "echo 'int main(){return 0;}' >$D/a.c; gcc -o $D/a $D/a.c"),
    ("static", "echo 'int main(){return 0;}' >$D/a.c; gcc -static -o $D/a $D/a.c && $D/a"),
    ("32-bit", "echo 'int main(){return 0;}' >$D/a.c; gcc -m32 -o $D/a $D/a.c && $D/a"),
];

/// What lines that may differ contain, of which program (of any if it is empty), and why.
const EXPLAINED: [(&str, &str, &str); 11] = [
    ("", "MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)", "allocators map by the addresses that they get"),
    ("", "sysinfo(", "the state of the system"),
    ("", "getdents64(", "the entries in the first 4,095 bytes of a directory are counted"),
    ("", "--- SIG", "the moment of a signal; fields of it that only a tracer can read"),
    ("", "getrandom(", "random bytes"),
    ("", "futex(", "which thread waits depends on the speed of the other threads"),
    ("", "wait4(", "how a wait is interrupted depends on the moment of the signal"),
    ("", " = ? ERESTART", "which call is interrupted depends on the moment of the signal"),
    ("", "rt_sigreturn(", "the mask is on the stack, which the profiler does not read"),
    ("32-bit", "set_thread_area(", "the profiler shows both structures instead of the new number"),
    ("sqlite", ", \"", "random bytes and the journal that contains some of them"),
];

pub(super) fn run(profiler: &Path, filter: Option<&str>) -> Result<ExitCode> {
    let mut new = 0;
    for (name, script) in PROGRAMS {
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let mut strace = Command::new("strace");
        strace.args(["-f", "-ff", "-o"]);
        let theirs = follow(strace, script).context("strace")?;
        let mut ours = Command::new(profiler);
        ours.args(["trace", "-ff", "--columns", "call", "--no-paths", "--buffer", "64", "-o"]);
        let ours = follow(ours, script).context("the profiler")?;
        let (mut lines, mut differing, mut explained) = (0, Vec::new(), 0);
        for (theirs, ours) in theirs.iter().zip(&ours) {
            lines += theirs.len();
            for line in differences(theirs, ours) {
                let is_explained = EXPLAINED.iter().any(|(program, text, _)| {
                    (program.is_empty() || *program == name) && line.contains(text)
                });
                if is_explained {
                    explained += 1;
                } else {
                    differing.push(line);
                }
            }
        }
        if theirs.len() != ours.len() {
            differing.push(format!("- {} threads\n+ {} threads", theirs.len(), ours.len()));
        }
        println!(
            "{name}: {} threads, {lines} lines, {} lines differ, and {explained} that may",
            theirs.len(),
            differing.len()
        );
        differing.iter().for_each(|line| println!("  {line}"));
        new += differing.len();
    }
    println!("lines that may differ:");
    for (program, text, reason) in EXPLAINED {
        let of = if program.is_empty() { "all programs" } else { program };
        println!("  `{text}`, {of}: {reason}");
    }
    ensure!(new == 0, "{new} lines differ from those of strace");
    Ok(ExitCode::SUCCESS)
}

/// The normal lines of each thread that a follower wrote, in the order in which threads began.
fn follow(mut follower: Command, script: &str) -> Result<Vec<Vec<String>>> {
    // The same length of paths in all runs.
    let directory = tempfile::Builder::new().prefix("oracle").rand_bytes(6).tempdir()?;
    let (lines, work) = (directory.path().join("lines"), directory.path().join("work"));
    fs::create_dir(&lines)?;
    fs::create_dir(&work)?;
    follower.arg(lines.join("of"));
    if follower.get_program() != "strace" {
        follower.arg("--");
    }
    follower.args(["sh", "-c", script]).env("D", &work).env("GIT_CONFIG_GLOBAL", "/dev/null");
    follower.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    follower.status()?;
    let mut files: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&lines)? {
        let path = entry?.path();
        let thread = path.extension().and_then(|text| text.to_str()?.parse().ok());
        files.extend(thread.map(|thread| (thread, path)));
    }
    files.sort();
    let threads: BTreeSet<String> = files.iter().map(|(thread, _)| thread.to_string()).collect();
    let base = directory.path().display().to_string();
    let read = |(_, path): &(u32, PathBuf)| -> Result<Vec<String>> {
        let text = String::from_utf8_lossy(&fs::read(path)?).replace(&base, "$DIRECTORY");
        Ok(text.lines().map(|line| normal(line, &threads)).collect())
    };
    files.iter().map(read).collect()
}

/// A line without what differs between two runs by nature:
///
/// - Addresses are `ADDRESS`: hexadecimal numbers of at least seven digits.
/// - Threads and processes are `PID`.
/// - Ports are `PORT`.
/// - Of the arguments of execve(2), the first 16 remain: the profiler copies no more.
/// - Random names of temporary files of git and gcc are `RANDOM`.
/// - Numbers of at least six digits are `NUMBER`: times, inodes, random numbers, the sizes of heaps.
/// - The spaces before the result are one.
fn normal(line: &str, threads: &BTreeSet<String>) -> String {
    let line = match line.rfind(" = ") {
        Some(at) => format!("{}{}", line[..at].trim_end(), &line[at..]),
        None => line.to_owned(),
    };
    let line = first_arguments(&line);
    let mut text = String::new();
    let mut rest = line.as_str();
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end == 0 {
            text.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (word, after) = rest.split_at(end);
        rest = after;
        let is_number = word.chars().all(|c| c.is_ascii_digit());
        text.push_str(match word {
            _ if word.starts_with("0x") && word.len() > 8 => "ADDRESS",
            _ if threads.contains(word) || text == "getppid() = " => "PID",
            _ if text.ends_with('/') && is_random(word) => "RANDOM",
            _ if is_number && word.len() >= 6 => "NUMBER",
            _ if is_number && text.ends_with("sec=") => "NUMBER",
            _ if is_number && text.ends_with("htons(") => "PORT",
            _ => word,
        });
    }
    text
}

/// The line of an execve(2) with at most 16 arguments.
fn first_arguments(line: &str) -> String {
    let array = line.starts_with("execve(").then(|| line.split_once(", [")).flatten();
    let Some((before, (array, after))) =
        array.and_then(|(before, rest)| Some((before, rest.rsplit_once(']')?)))
    else {
        return line.to_owned();
    };
    let all: Vec<_> = array.split(", ").collect();
    let cut = if all.len() > 16 { ", ..." } else { "" };
    let first = all[..all.len().min(16)].join(", ");
    format!("{before}, [{first}{cut}]{after}")
}

/// Whether a name is that of a temporary file: a prefix and six letters or digits.
fn is_random(name: &str) -> bool {
    let of_git = name.strip_prefix('t').filter(|rest| rest.len() == 6);
    name.starts_with("cc") && name.len() == 8
        || of_git.is_some_and(|rest| rest.chars().any(|c| !c.is_ascii_lowercase()))
}

/// The lines that only one of the two has, marked with `- ` and `+ `.
fn differences(theirs: &[String], ours: &[String]) -> Vec<String> {
    // The length of the longest common sequence of the rests of both.
    let width = ours.len() + 1;
    let mut common = vec![0_u32; (theirs.len() + 1) * width];
    for i in (0..theirs.len()).rev() {
        for j in (0..ours.len()).rev() {
            common[i * width + j] = if theirs[i] == ours[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut all) = (0, 0, Vec::new());
    while i < theirs.len() || j < ours.len() {
        if i < theirs.len() && j < ours.len() && theirs[i] == ours[j] {
            (i, j) = (i + 1, j + 1);
        } else if j >= ours.len()
            || i < theirs.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]
        {
            all.push(format!("- {}", theirs[i]));
            i += 1;
        } else {
            all.push(format!("+ {}", ours[j]));
            j += 1;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_by_nature_is_removed() {
        let threads = BTreeSet::from(["4242".to_owned()]);
        assert_eq!(normal("brk(NULL)   = 0x5628f32d5000", &threads), "brk(NULL) = ADDRESS");
        assert_eq!(normal("wait4(4242, 0x10) = 4242", &threads), "wait4(PID, 0x10) = PID");
        assert_eq!(normal("unlink(\"/a/tBRAdSD\") = 0", &threads), "unlink(\"/a/RANDOM\") = 0");
        assert_eq!(normal("{tv_sec=1, x=12}", &threads), "{tv_sec=NUMBER, x=12}");
    }

    #[test]
    fn lines_of_one_side_are_found() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(differences(&lines("a b c"), &lines("a x c d")), ["- b", "+ x", "+ d"]);
        assert!(differences(&lines("a b"), &lines("a b")).is_empty());
    }
}
