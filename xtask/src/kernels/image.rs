//! Builds the initramfs of a virtual machine: the profiler, the kernel tests, and the programs of
//! the host that they run, with their libraries.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use super::cpio::Archive;
use crate::workspace::find_program;

/// The programs that the tests and `init.sh` run.
const PROGRAMS: [&str; 6] = ["busybox", "mount", "setpriv", "sh", "sleep", "unshare"];

/// The path at which `init.sh` expects the tests.
const TESTS: &str = "/bin/kernel-tests";
/// The path of the 32-bit program. The variable for it is in `i386_program.rs` of the tests.
const I386_PROGRAM: &str = "/bin/i386-program";

/// The executables that are built for the virtual machines.
pub(super) struct Built {
    /// The tests have this path compiled in, so the profiler has the same path in the machine.
    pub(super) profiler: PathBuf,
    pub(super) tests: PathBuf,
    pub(super) i386_program: Option<PathBuf>,
}

/// The initramfs. Each of `cases` may take `patience`.
pub(super) fn archive(built: &Built, cases: &[&str], patience: Duration) -> Result<Vec<u8>> {
    let mut root = Root::default();
    let seconds = patience.as_secs().to_string();
    let init = include_str!("init.sh").replace("CASE_SECONDS", &seconds);
    root.content("/init", 0o755, init.as_bytes())?;
    root.content("/cases", 0o644, format!("{}\n", cases.join("\n")).as_bytes())?;
    root.directory("/tmp", 0o777)?;
    for directory in ["/dev", "/proc", "/sys"] {
        root.directory(directory, 0o755)?;
    }
    // Tests look up users by number, and the C library reads this file.
    root.content("/etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\n")?;
    root.content("/etc/group", 0o644, b"root:x:0:\n")?;
    root.file(path_text(&built.profiler)?, &built.profiler)?;
    root.file(TESTS, &built.tests)?;
    if let Some(program) = &built.i386_program {
        root.file(I386_PROGRAM, program)?;
    }
    for name in PROGRAMS {
        let program = find_program(&[name]).with_context(|| format!("there is no {name} here"))?;
        root.file(&format!("/bin/{name}"), &program)?;
        for library in libraries(&program) {
            root.file(path_text(&library)?, &library)?;
        }
    }
    Ok(root.archive.finish()?)
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

/// The shared libraries of a program. Empty if the program is statically linked.
fn libraries(program: &Path) -> Vec<PathBuf> {
    // ldd fails if a program has no shared libraries.
    let Ok(listed) = Command::new("ldd").arg(program).output() else { return Vec::new() };
    String::from_utf8_lossy(&listed.stdout).lines().filter_map(library).collect()
}

/// Parses a line of ldd: `libc.so.6 => /lib/libc.so.6 (0x7f…)`, or only the path, for the loader.
fn library(line: &str) -> Option<PathBuf> {
    line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from)
}

/// A file system whose directories are created when needed.
#[derive(Default)]
struct Root {
    archive: Archive,
    paths: BTreeSet<String>,
}

impl Root {
    fn file(&mut self, path: &str, source: &Path) -> Result<()> {
        let content =
            fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        self.content(path, 0o755, &content)
    }

    fn content(&mut self, path: &str, permissions: u32, content: &[u8]) -> Result<()> {
        self.parents(path)?;
        if self.paths.insert(path.to_owned()) {
            self.archive.file(path, permissions, content)?;
        }
        Ok(())
    }

    fn directory(&mut self, path: &str, permissions: u32) -> Result<()> {
        self.parents(path)?;
        if self.paths.insert(path.to_owned()) {
            self.archive.directory(path, permissions)?;
        }
        Ok(())
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        for (end, _) in path.match_indices('/').filter(|(end, _)| *end > 0) {
            let parent = &path[..end];
            if self.paths.insert(parent.to_owned()) {
                self.archive.directory(parent, 0o755)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_the_path_in_its_line() {
        let path = |line| library(line).map(|path| path.display().to_string());
        assert_eq!(path("\tlibc.so.6 => /lib/libc.so.6 (0x7f01)"), Some("/lib/libc.so.6".into()));
        assert_eq!(path("\t/lib64/ld.so (0x7f01)"), Some("/lib64/ld.so".into()));
        assert_eq!(path("\tlinux-vdso.so.1 (0x7ffc)"), None);
        assert_eq!(path("\tstatically linked"), None);
    }

    #[test]
    fn directories_come_before_what_is_in_them_and_once() {
        let mut root = Root::default();
        root.content("/a/b/c", 0o644, b"").expect("a vector");
        root.content("/a/b/d", 0o644, b"").expect("a vector");
        assert_eq!(root.paths.into_iter().collect::<Vec<_>>(), ["/a", "/a/b", "/a/b/c", "/a/b/d"]);
    }
}
