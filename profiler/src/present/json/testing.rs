//! The JSON of reports, for tests.

use super::{Report, write};

/// Asserts that `docs/json.md` has every field, at any depth.
#[track_caller]
fn assert_documented(json: &serde_json::Value) {
    const PAGE: &str = include_str!("../../../docs/json.md");
    match json {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                assert!(PAGE.contains(&format!("`{name}`")), "no field {name} in docs/json.md");
                // The keys of `errnos` are names of errnos, and not fields.
                if name != "errnos" {
                    assert_documented(value);
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(assert_documented),
        _ => {}
    }
}

/// The JSON of a report. Asserts that all its fields are documented.
#[track_caller]
pub(super) fn text(report: &Report<'_>) -> String {
    let mut out = Vec::new();
    write(&mut out, report).expect("a vector takes everything");
    assert_documented(&serde_json::from_slice(&out).expect("JSON"));
    String::from_utf8(out).expect("UTF-8")
}

/// Same as [`text`], but parsed.
#[track_caller]
pub(super) fn json(report: &Report<'_>) -> serde_json::Value {
    serde_json::from_str(&text(report)).expect("JSON")
}
