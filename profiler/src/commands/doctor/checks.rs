//! The checks: pure functions of [`Host`].

mod cost;
#[cfg(test)]
mod fixture;
mod kernel;
mod memory;
mod privilege;
mod selection;
mod trials;

use super::{finding::Finding, host::Host};

/// The findings of all checks: first those of the host's features, then those of trials.
pub(super) fn all(host: &Host) -> Vec<Finding> {
    [
        kernel::findings(host),
        privilege::findings(host),
        memory::findings(host),
        cost::findings(host),
        selection::findings(host),
        trials::findings(host),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::{
        fixture::{at, good},
        *,
    };
    use crate::{commands::doctor::finding::Status, engine::kernel::features::Layout};

    #[test]
    fn a_good_host_has_nothing_to_mend() {
        assert!(all(&good()).iter().all(|f| f.status == Status::Ok && f.remedy.is_none()));
    }

    #[test]
    fn drawbacks_are_warnings() {
        let mut host = good();
        host.features.layout = Layout::default();
        host.features.task_storage = false;
        host.features.arena = None;
        host.jit = Some(0);
        host.clock_source = Some("hpet".into());
        host.features.host_pid_namespace = Some(false);
        for what in [
            "type information (BTF)",
            "task storage",
            "memory shared with programs (arena)",
            "BPF compiler (JIT)",
            "clock source",
            "pid namespace",
        ] {
            let finding = at(&host, what);
            assert_eq!(finding.status, Status::Warning, "{what}");
            assert!(finding.remedy.is_some(), "{what}");
        }
    }
}
