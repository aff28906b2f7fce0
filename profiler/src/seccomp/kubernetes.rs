//! Profiles of Kubernetes: a `SeccompProfile` of the Security Profiles Operator, as YAML.
//!
//! A pod without the operator names an OCI profile in the kubelet's directory (`localhostProfile`).

use std::fmt::Write as _;

use super::{
    notes::Note,
    profile::{Action, Profile},
};

/// The profile as a resource of this name. `name` consists of letters, digits, `-` and `.`.
pub fn write(profile: &Profile, name: &str, notes: &[Note]) -> String {
    let mut text = String::new();
    for note in notes {
        let _ = writeln!(text, "# {}{}", if note.is_warning { "WARNING: " } else { "" }, note.text);
    }
    let _ = write!(
        text,
        "apiVersion: security-profiles-operator.x-k8s.io/v1beta1\nkind: SeccompProfile\nmetadata:\n  \
         name: {name}\nspec:\n  defaultAction: {}\n",
        action(profile.default)
    );
    if let Action::Errno(number) = profile.default {
        let _ = writeln!(text, "  defaultErrnoRet: {number}");
    }
    text.push_str("  architectures:\n");
    for arch in &profile.architectures {
        let _ = writeln!(text, "    - {}", arch.oci());
    }
    text.push_str("  syscalls:\n");
    for rule in &profile.rules {
        if rule.is_conditional_on_container() {
            continue;
        }
        if !rule.comment.is_empty() {
            let _ = writeln!(text, "    # {}", rule.comment);
        }
        let _ = writeln!(text, "    - action: {}", action(rule.action));
        if let Action::Errno(number) = rule.action {
            let _ = writeln!(text, "      errnoRet: {number}");
        }
        text.push_str("      names:\n");
        for name in &rule.names {
            let _ = writeln!(text, "        - {name}");
        }
        if !rule.conditions.is_empty() {
            text.push_str("      args:\n");
        }
        for condition in &rule.conditions {
            let _ = writeln!(
                text,
                "        - index: {}\n          op: {}\n          value: {}\n          valueTwo: {}",
                condition.index,
                condition.operator.oci(),
                condition.value,
                condition.value_two
            );
        }
    }
    text
}

fn action(action: Action) -> &'static str {
    super::oci::name(action)
}
