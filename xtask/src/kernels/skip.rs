//! The cases that a virtual machine cannot run, with reasons.

use std::fmt;

/// Why a case is skipped. Each reason is a property of the virtual machine and not of its kernel,
/// so `cargo xtask test` runs the case on the host's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skip {
    Emulated,
    HundredsOfRuns,
    NoPrometheus,
    NoSuchProgram,
    NoTerminal,
    NoI386Compiler,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Emulated => {
                "it bounds what the way into the kernel takes, which an emulated processor \
                 takes many times as long for"
            }
            Self::HundredsOfRuns => {
                "hundreds of runs of the profiler, minutes here, for what is the same on each \
                 kernel"
            }
            Self::NoPrometheus => "there is no Prometheus in the virtual machine",
            Self::NoSuchProgram => {
                "it runs timeout, grep, true or unshare, which are not in the virtual machine"
            }
            Self::NoTerminal => "there are no pseudo-terminals in the virtual machine",
            Self::NoI386Compiler => {
                "the host cannot compile the 32-bit program: gcc -m32 fails (gcc-multilib)"
            }
        })
    }
}

/// What the host could prepare for the virtual machines.
#[derive(Clone, Copy)]
pub(super) struct Prepared {
    pub(super) i386_program: bool,
}

/// Cases by the end of their names, which is the same for each object that counts calls.
const NEEDS: [(&str, Skip); 13] = [
    ("latency::is_what_the_workload_measured", Skip::Emulated),
    ("latency::quantiles_are_within_the_bound", Skip::Emulated),
    ("ending::a_command_s_exit_code_is_passed_on", Skip::HundredsOfRuns),
    ("prometheus::scrapes_every_format", Skip::NoPrometheus),
    ("tls::prometheus_scrapes_it_with_a_password_and_a_certificate", Skip::NoPrometheus),
    ("relay::a_signal_of_timeout_reaches_the_command_once", Skip::NoSuchProgram),
    ("relay::a_command_inherits_signals_as_without_the_profiler", Skip::NoSuchProgram),
    ("relay::ctrl_c_reaches_the_command_once_and_twice_ends_the_run", Skip::NoTerminal),
    ("shown::a_terminal_is_told_that_it_counts", Skip::NoTerminal),
    ("screen::of_processes_that_come_and_go", Skip::NoTerminal),
    ("interrupt::a_first_process_ends_while_it_attaches", Skip::NoSuchProgram),
    ("origin::a_table_is_ascii_unless_the_locale_is_utf_8", Skip::NoSuchProgram),
    (I386, Skip::NoI386Compiler),
];

const I386: &str = "conformance::exec_of_a_32_bit_program";

/// Why this case cannot run. `None` if it can.
pub(super) fn reason(case: &str, prepared: Prepared) -> Option<Skip> {
    let (_, skip) = NEEDS.into_iter().find(|(name, _)| is_case(case, name))?;
    (skip != Skip::NoI386Compiler || !prepared.i386_program).then_some(skip)
}

/// Whether no kernel can run this case, because the fallback cannot list calls that entered before
/// the attach.
pub(super) fn is_nowhere(case: &str) -> bool {
    case.starts_with("fallback::conformance::in_flight_before")
}

/// The names in the list above that no case has.
pub(super) fn stale(cases: &[String]) -> Vec<&'static str> {
    let is_stale = |name: &str| !cases.iter().any(|case| is_case(case, name));
    NEEDS.iter().map(|(name, _)| *name).filter(|name| is_stale(name)).collect()
}

fn is_case(case: &str, name: &str) -> bool {
    case.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_skipped_for_either_object_and_for_one_reason() {
        let reason = |case| reason(case, Prepared { i386_program: true });
        assert_eq!(reason("main::latency::is_what_the_workload_measured"), Some(Skip::Emulated));
        assert_eq!(reason("prometheus::scrapes_every_format"), Some(Skip::NoPrometheus));
        assert_eq!(reason("main::counts::by_threads"), None);
        assert_eq!(reason("main::conformance::exec_of_a_32_bit_program"), None);
    }

    #[test]
    fn a_32_bit_program_is_run_only_where_there_is_one() {
        let without = Prepared { i386_program: false };
        let skipped = reason("fallback::conformance::exec_of_a_32_bit_program", without);
        assert_eq!(skipped, Some(Skip::NoI386Compiler));
    }

    #[test]
    fn a_name_that_no_case_has_is_stale() {
        let gone = ["prometheus::scrapes_every_format", I386];
        let others = NEEDS.iter().map(|(name, _)| *name).filter(|name| !gone.contains(name));
        let mut cases: Vec<_> = others.map(|name| format!("main::{name}")).collect();
        cases.push("x::scrapes_every_format".into());
        assert_eq!(stale(&cases), gone);
    }
}
