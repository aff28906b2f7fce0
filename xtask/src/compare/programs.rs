//! The real programs: a compiler, a server under load, and a shell script that forks.

use std::{ffi::OsString, fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::workspace::{find_program, output};

/// A program, and how to run it.
#[derive(Clone)]
pub(super) struct Program {
    pub(super) name: &'static str,
    /// What the program does.
    pub(super) about: String,
    /// The path of the program, and its arguments. A path, because a search in PATH would add calls
    /// of perf and strace.
    pub(super) command: Vec<OsString>,
}

/// Source code that rustc compiles with four threads, and then links.
const SOURCE: &str = r#"
use std::collections::BTreeMap;

fn main() {
    let mut words = BTreeMap::new();
    for word in std::env::args().skip(1).flat_map(|arg| arg.chars().collect::<Vec<_>>()) {
        *words.entry(word).or_insert(0_u64) += 1;
    }
    let handle = std::thread::spawn(move || println!("{words:?}"));
    handle.join().unwrap();
}
"#;

/// A script that runs a server which writes each change to a file, puts load on the server, and
/// requests a snapshot by a child process. `$1` is a directory.
const SERVER: &str = r#"
redis-server --port 0 --unixsocket "$1/socket" --dir "$1" --save '' --appendonly yes \
    --appendfsync everysec --daemonize no --logfile "$1/log" &
until redis-cli -s "$1/socket" ping >"$1/ping" 2>&1; do sleep 0.05; done
redis-benchmark -s "$1/socket" -c 20 -n 5000 -t set,get,lpush,lrange_100 -q >"$1/bench"
redis-cli -s "$1/socket" bgsave >"$1/save"
redis-cli -s "$1/socket" shutdown nosave
wait
rm -rf "$1/appendonlydir" "$1/dump.rdb"
"#;

/// A script with subshells, pipes and failing programs, each of which is a fork.
const SHELL: &str = r#"
i=0
while [ "$i" -lt 200 ]; do
    x=$(echo "$i" | tr 0-9 a-j)
    [ -e "/no/such/$x" ] || ls "/no/such/$x" 2>/dev/null
    (exit "$((i % 3))")
    i=$((i + 1))
done
exit 0
"#;

/// Writes the required files into `directory`, and returns the programs.
pub(super) fn prepare(directory: &Path) -> Result<Vec<Program>> {
    let shell = find_program(&["dash"]).context("no dash on PATH")?;
    let script = |name: &str, text: &str| -> Result<Vec<OsString>> {
        let path = directory.join(name);
        fs::write(&path, text)?;
        Ok(vec![shell.clone().into(), path.into(), directory.into()])
    };
    // The `rustc` in PATH is a proxy, which would look up the compiler in each run.
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let compiler = Path::new(&sysroot).join("bin/rustc");
    let version = output(Command::new(&compiler).arg("--version"))?;
    let source = directory.join("words.rs");
    fs::write(&source, SOURCE)?;
    let mut compile: Vec<OsString> = vec![compiler.into()];
    compile.extend(["--edition", "2024", "-O", "-C", "codegen-units=4"].map(Into::into));
    compile.extend(["-o".into(), directory.join("words").into(), source.into()]);
    let version_of_server = output(Command::new("redis-server").arg("--version"))?;
    let version_of_server =
        version_of_server.split_whitespace().find(|word| word.starts_with("v="));
    Ok(vec![
        Program {
            name: "compiler",
            about: format!("{version} compiles and links a program, in four codegen units"),
            command: compile,
        },
        Program {
            name: "server",
            about: format!(
                "redis {} under redis-benchmark: 20 clients, 5000 requests each of SET, GET, \
                 LPUSH and LRANGE, then a snapshot by a child process",
                version_of_server.unwrap_or_default().trim_start_matches("v=")
            ),
            command: script("server.sh", SERVER)?,
        },
        Program {
            name: "shell script",
            about: "dash forks 1000 times: subshells, pipes, and `ls` of missing files".into(),
            command: script("forks.sh", SHELL)?,
        },
    ])
}
