//! Reads which calls Docker's default seccomp profile allows.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

/// The profile's names of the x86 architectures (`includes.arches`).
const ARCHES: [&str; 3] = ["amd64", "x32", "x86"];

/// The rules of the profile for one call.
#[derive(Default)]
struct Verdict {
    always: bool,
    some_arguments: bool,
    capabilities: Vec<String>,
}

/// Reads the profile: the file default.json in the module github.com/moby/profiles/seccomp.
pub(super) fn read(profile: &Path, edition: &str) -> Result<String> {
    let profile: Value = serde_json::from_slice(&fs::read(profile)?)?;
    let rules = profile["syscalls"].as_array().context("the profile has no list of syscalls")?;
    let mut verdicts: BTreeMap<&str, Verdict> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule["action"] == "SCMP_ACT_ALLOW") {
        let includes = &rule["includes"];
        let list = |value: &Value| -> Vec<String> {
            let items = value.as_array().into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let arches = list(&includes["arches"]);
        if !arches.is_empty() && !arches.iter().any(|arch| ARCHES.contains(&arch.as_str())) {
            continue;
        }
        // `minKernel` is ignored. It is at most 4.8, and the profiler requires a newer kernel.
        let capabilities = list(&includes["caps"]);
        for name in rule["names"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let verdict = verdicts.entry(name).or_default();
            if !capabilities.is_empty() {
                verdict.capabilities.extend(capabilities.iter().cloned());
            } else if rule["args"].as_array().is_some_and(|args| !args.is_empty()) {
                verdict.some_arguments = true;
            } else {
                verdict.always = true;
            }
        }
    }
    let lines: Vec<_> =
        verdicts.iter().map(|(name, verdict)| format!("{name}: {}", words(verdict))).collect();
    Ok(format!("# {edition}\n{}\n", lines.join("\n")))
}

fn words(verdict: &Verdict) -> String {
    if verdict.always {
        return "always".into();
    }
    let arguments = verdict.some_arguments.then(|| "arguments".to_owned());
    let words: Vec<_> = arguments.into_iter().chain(verdict.capabilities.iter().cloned()).collect();
    words.join(" ")
}
