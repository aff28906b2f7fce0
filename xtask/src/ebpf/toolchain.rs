//! Finds a compiler, a linker and a strip tool for eBPF.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::workspace::{find_program, output};

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none";
const STRIP: [&str; 7] = [
    "llvm-strip-22",
    "llvm-strip",
    "llvm-strip-24",
    "llvm-strip-23",
    "llvm-strip-21",
    "llvm-strip-20",
    "llvm-strip-19",
];

/// The compiler, and the source of `core` for eBPF.
pub(super) enum Compiler {
    /// Debian's `rustc-web`, which includes a compiled `core`.
    Debian { rustc: PathBuf },
    /// rustup's nightly, which compiles `core` from `rust-src`.
    Nightly,
}

/// The tools that build the kernel side.
pub(super) struct Toolchain {
    pub(super) compiler: Compiler,
    pub(super) linker: PathBuf,
    pub(super) strip: PathBuf,
    /// Versions by name, with which two toolchains are compared.
    pub(super) versions: BTreeMap<String, String>,
}

/// The tools that are missing.
pub(super) struct Missing {
    pub(super) compiler: bool,
    pub(super) linker: bool,
    pub(super) strip: bool,
}

impl Missing {
    pub(super) fn look() -> Self {
        Self {
            compiler: compiler().is_none(),
            linker: linker().is_none(),
            strip: strip().is_none(),
        }
    }
}

impl Toolchain {
    pub(super) fn discover() -> Result<Self> {
        let (Some(compiler), Some(linker), Some(strip)) = (compiler(), linker(), strip()) else {
            bail!(missing_message(&Missing::look()));
        };
        let versions = versions(&compiler, &linker, &strip)?;
        Ok(Self { compiler, linker, strip, versions })
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<_> =
            self.versions.iter().map(|(name, version)| format!("{name}: {version}")).collect();
        write!(f, "{}", versions.join(", "))
    }
}

fn compiler() -> Option<Compiler> {
    if Path::new(DEBIAN_RUSTC).is_file() && Path::new(DEBIAN_CORE).is_dir() {
        return Some(Compiler::Debian { rustc: DEBIAN_RUSTC.into() });
    }
    let mut rustc = nightly("rustc");
    let sysroot = rustc.args(["--print", "sysroot"]).output().ok()?;
    let sysroot = String::from_utf8(sysroot.stdout).ok()?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    (!sysroot.is_empty() && core.is_dir()).then_some(Compiler::Nightly)
}

fn linker() -> Option<PathBuf> {
    find_program(&["bpf-linker"])
}

fn strip() -> Option<PathBuf> {
    find_program(&STRIP)
}

/// A program of rustup's nightly toolchain.
pub(super) fn nightly(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", program]);
    command
}

fn versions(compiler: &Compiler, linker: &Path, strip: &Path) -> Result<BTreeMap<String, String>> {
    let mut rustc = match compiler {
        Compiler::Debian { rustc } => Command::new(rustc),
        Compiler::Nightly => nightly("rustc"),
    };
    let verbose = output(rustc.arg("-vV"))?;
    let strip_says = output(Command::new(strip).arg("--version"))?;
    let entries = [
        ("rustc", verbose.lines().next().unwrap_or_default()),
        ("rustc-llvm", field(&verbose, "LLVM version: ").unwrap_or("unknown")),
        ("bpf-linker", &output(Command::new(linker).arg("--version"))?),
        ("bpf-linker-llvm", &linked_llvm(linker)),
        ("llvm-strip", field(&strip_says, "LLVM version ").unwrap_or("unknown")),
    ];
    Ok(entries.map(|(name, version)| (name.to_owned(), version.to_owned())).into())
}

/// The text after `label` on its line.
fn field<'text>(text: &'text str, label: &str) -> Option<&'text str> {
    text.lines().find_map(|line| Some(line.split_once(label)?.1.trim()))
}

/// The LLVM with which the linker generates code. The linker does not report it, but a new version
/// of the shared library can generate other code.
fn linked_llvm(linker: &Path) -> String {
    let libraries = output(Command::new("ldd").arg(linker)).unwrap_or_default();
    let Some(library) = libraries
        .lines()
        .find(|line| line.contains("libLLVM"))
        .and_then(|line| line.split_whitespace().nth(2))
        .map(Path::new)
    else {
        return "built in".to_owned();
    };
    let version = library
        .ancestors()
        .nth(2)
        .map(|prefix| prefix.join("bin/llvm-config"))
        .filter(|config| config.is_file())
        .and_then(|config| output(Command::new(config).arg("--version")).ok());
    version
        .unwrap_or_else(|| library.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

fn missing_message(missing: &Missing) -> String {
    let mut lines = vec!["the kernel side cannot be built here:".to_owned()];
    if missing.compiler {
        lines.push(
            "  no compiler with `core` for bpfel-unknown-none. On Debian and Ubuntu:\n    \
             apt-get install --no-install-recommends rustc-web libstd-rust-web-dev-bpf\n  \
             elsewhere:\n    rustup toolchain install nightly -c rust-src"
                .to_owned(),
        );
    }
    if missing.linker {
        lines.push(
            "  no bpf-linker. With Debian's llvm-22-dev:\n    \
             LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.13.0 \\\n      \
             --no-default-features --features llvm-22"
                .to_owned(),
        );
    }
    if missing.strip {
        lines
            .push("  no llvm-strip. On Debian and Ubuntu:\n    apt-get install llvm-22".to_owned());
    }
    lines.push(
        "On Debian, as root, `cargo xtask build-ebpf --install` does that. Nobody who only \
         uses or changes the user side needs it: the objects are committed."
            .to_owned(),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_only_what_is_missing() {
        let message = missing_message(&Missing { compiler: false, linker: true, strip: false });
        assert!(message.contains("cargo install bpf-linker"), "{message}");
        assert!(!message.contains("rustc-web"), "{message}");
    }

    #[test]
    fn a_field_is_the_rest_of_its_line() {
        let text = "llvm-strip\nDebian LLVM version 22.1.8\n  Optimized build.";
        assert_eq!(field(text, "LLVM version "), Some("22.1.8"));
        assert_eq!(field(text, "absent"), None);
    }
}
