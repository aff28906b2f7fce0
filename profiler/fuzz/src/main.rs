//! The fuzz targets under libFuzzer. `FUZZ_TARGET` names the one to run.

#![no_main]

mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

/// The target of this run.
static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let known: Vec<_> = targets::ALL.iter().map(|(name, _)| *name).collect();
    let found = targets::ALL.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET is {name:?}, and has to be one of {known:?}")).1
});

fuzz_target!(|data: &[u8]| TARGET(data));
