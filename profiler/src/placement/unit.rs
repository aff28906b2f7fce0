//! Recognises systemd units in the paths of cgroups.
//!
//! The rules are those of `cg_path_get_unit` and `cg_path_get_user_unit` (systemd,
//! src/basic/cgroup-util.c): leading slices are skipped, and the component that follows is the unit.
//! Below the service manager of a user, the same rules find the user's unit.

use serde::{Deserialize, Serialize};

use crate::text::Untrusted;

/// The longest name of a unit, bytes (`UNIT_NAME_MAX`).
const MAX_NAME: usize = 255;

/// A systemd unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name: `nginx.service`, `session-3.scope`.
    pub name: Untrusted,
    /// The innermost slice that contains the unit: `system.slice`. `None` for the root slice.
    pub slice: Option<Untrusted>,
    /// The id of the user whose service manager runs the unit. `None` for the system's service
    /// manager.
    pub user: Option<u32>,
}

/// The unit that a path is in.
pub(super) fn find(components: &[&str]) -> Option<Unit> {
    let (unit, below) = of_manager(components, None)?;
    let Some(user) = user_of_manager(unit.name.raw()) else { return Some(unit) };
    // The manager itself is in its own unit `init.scope`.
    let of_user = of_manager(below, Some(user)).map(|(unit, _)| unit);
    Some(of_user.unwrap_or(unit))
}

/// The unit after the leading slices, and the components below it.
fn of_manager<'a, 'b>(
    components: &'a [&'b str],
    user: Option<u32>,
) -> Option<(Unit, &'a [&'b str])> {
    let slices = components.iter().take_while(|name| is_slice(unescaped(name))).count();
    let (name, below) = components[slices..].split_first()?;
    let name = unescaped(name);
    let slice = slices.checked_sub(1).map(|last| unescaped(components[last]).into());
    is_unit(name).then(|| (Unit { name: name.into(), slice, user }, below))
}

/// Removes the `_` that systemd prepends to names that a file of the kernel could have
/// (`cg_unescape`).
fn unescaped(component: &str) -> &str {
    component.strip_prefix('_').unwrap_or(component)
}

fn is_slice(name: &str) -> bool {
    name.ends_with(".slice") && is_valid(name)
}

fn is_unit(name: &str) -> bool {
    (name.ends_with(".service") || name.ends_with(".scope") || is_rarer_unit(name))
        && is_valid(name)
}

/// Whether the unit is of another type that can have processes
/// (`unit_vtable[].cgroup_context_offset`).
fn is_rarer_unit(name: &str) -> bool {
    [".socket", ".mount", ".swap"].iter().any(|suffix| name.ends_with(suffix))
}

/// Whether a text is the name of a unit: only valid characters (`VALID_CHARS_WITH_AT`), and a
/// non-empty name before the suffix.
fn is_valid(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "@:-_.\\".contains(c);
    name.len() <= MAX_NAME && !name.starts_with(['.', '@']) && name.chars().all(is_allowed)
}

/// The user id in `user@1000.service`.
fn user_of_manager(unit: &str) -> Option<u32> {
    unit.strip_prefix("user@")?.strip_suffix(".service")?.parse().ok()
}
