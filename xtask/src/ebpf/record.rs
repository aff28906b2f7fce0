//! The record of the source and the tools of the committed objects: `toolchain.txt`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    build::{Object, RUSTFLAGS},
    toolchain::Toolchain,
};
use crate::workspace;

const FILE: &str = "toolchain.txt";
const HEADER: &str = "\
# Written by `cargo xtask build-ebpf`: what the objects beside this file were made
# from, and with. `cargo xtask build-ebpf --check` compares. Digests are SHA-256.
";
/// The source of the objects, as paths in the checkout.
const SOURCES: [&str; 5] = [
    "profiler-common/Cargo.toml",
    "profiler-common/src",
    "profiler-ebpf/Cargo.lock",
    "profiler-ebpf/Cargo.toml",
    "profiler-ebpf/src",
];

#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(super) struct Record {
    /// Digest of the source.
    pub(super) source: String,
    /// Flags for rustc.
    flags: String,
    /// Version by tool.
    pub(super) tools: BTreeMap<String, String>,
    /// Digest by file name.
    objects: BTreeMap<String, String>,
}

impl Record {
    pub(super) fn new(toolchain: &Toolchain, objects: &[Object]) -> Result<Self> {
        Ok(Self {
            source: source_digest()?,
            flags: RUSTFLAGS.join(" "),
            tools: toolchain.versions.clone(),
            objects: objects.iter().map(|o| (o.file_name(), digest(&o.bytes))).collect(),
        })
    }

    pub(super) fn read(dir: &Path) -> Result<Self> {
        let file = dir.join(FILE);
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("cannot parse {}", file.display()))
    }

    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        fs::write(dir.join(FILE), format!("{HEADER}{}", toml::to_string(self)?))?;
        Ok(())
    }

    /// Checks that the objects in `dir` have the digests of this record.
    pub(super) fn check_files(&self, dir: &Path) -> Result<()> {
        for (name, recorded) in &self.objects {
            let bytes = fs::read(dir.join(name)).with_context(|| format!("cannot read {name}"))?;
            ensure!(
                digest(&bytes) == *recorded,
                "{name} is not the object that {FILE} was written for: run `cargo xtask build-ebpf`"
            );
        }
        Ok(())
    }

    /// A line for each tool whose version differs in `other`.
    pub(super) fn differing_tools(&self, other: &Self) -> String {
        let none = String::from("none");
        let lines: Vec<_> = self
            .tools
            .iter()
            .map(|(name, recorded)| (name, recorded, other.tools.get(name).unwrap_or(&none)))
            .filter(|(_, recorded, here)| recorded != here)
            .map(|(name, recorded, here)| format!("  {name}: {recorded}; here {here}"))
            .collect();
        lines.join("\n")
    }
}

/// Digest of the names and contents of the source.
pub(super) fn source_digest() -> Result<String> {
    let root = workspace::root();
    let mut files = Vec::new();
    for source in SOURCES {
        collect_files(&root.join(source), &mut files)?;
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let bytes = fs::read(&file)?;
        let name = file.strip_prefix(root)?.to_string_lossy();
        // Lengths are included, so that different trees give different bytes.
        hasher.update(format!("{name} {}\n", bytes.len()));
        hasher.update(bytes);
    }
    Ok(hex(&hasher.finalize()))
}

fn collect_files(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
    for entry in entries {
        collect_files(&entry?.path(), files)?;
    }
    Ok(())
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(rustc: &str) -> Record {
        Record {
            source: "ab".into(),
            flags: "-C x".into(),
            tools: [("rustc".to_owned(), rustc.to_owned())].into(),
            objects: BTreeMap::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        record("1.96").write(dir.path()).expect("writing");
        assert_eq!(Record::read(dir.path()).expect("reading"), record("1.96"));
    }

    #[test]
    fn only_tools_of_another_version_are_named() {
        assert_eq!(record("1.96").differing_tools(&record("1.97")), "  rustc: 1.96; here 1.97");
        assert_eq!(record("1.96").differing_tools(&record("1.96")), "");
    }

    #[test]
    fn digests_are_sha_256_in_hexadecimal() {
        assert!(digest(b"abc").starts_with("ba7816bf8f01cfea"));
    }
}
