//! Why the kernel side did not start, and what to do about it.

use std::io;

use crate::exhausted::Exhausted;

/// Number of shown lines of the verifier's log, from its end, where the verdict is.
const VERIFIER_LINES: usize = 12;

/// Why the kernel side did not start.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A size is out of its range.
    #[error("{what} is {found}: expected {least} to {most}")]
    Limit {
        /// Which size: a flag, or a noun.
        what: &'static str,
        /// The requested value.
        found: u32,
        /// The smallest value.
        least: u32,
        /// The largest value.
        most: u32,
    },
    /// The memory that the profiler may use is too small even for the smallest tables.
    #[error("{of}, and the profiler requires at least {least} MiB")]
    Memory {
        /// Which limit, for people.
        of: String,
        /// The smallest limit with which the profiler starts, MiB.
        least: u64,
        /// The limit with which the requested sizes fit, MiB.
        all: u64,
    },
    /// Capabilities are missing.
    #[error("loading BPF programs requires {}, which this process lacks", missing.join(" and "))]
    Privilege {
        /// The missing capabilities.
        missing: Vec<&'static str>,
    },
    /// The kernel refused, although this process has the capabilities.
    #[error("the kernel refused to {what}: {source}")]
    Refused {
        /// The refused operation: a verb and its object.
        what: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// A resource ran out.
    #[error("cannot {what}: {source}")]
    Exhausted {
        /// The refused operation: a verb and its object.
        what: String,
        /// The resource.
        resource: Exhausted,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel lacks a feature that even the fallback requires.
    #[error("this kernel has no {feature}")]
    Missing {
        /// The missing feature.
        feature: &'static str,
        /// The kernel option or version that has the feature.
        needs: &'static str,
    },
    /// The verifier refused a program.
    #[error("the kernel's verifier refused the program {program}:\n{log}")]
    Verifier {
        /// The name of the program.
        program: &'static str,
        /// The last lines of the verifier's log.
        log: String,
    },
    /// The embedded object does not match this executable, which is a bug of the build.
    #[error("the BPF object does not match this program: {0}")]
    Object(String),
}

impl KernelError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Privilege { missing } => Some(format!(
                "run as root (sudo), or grant it: setcap {}=ep $(command -v profiler)",
                missing.iter().map(|c| c.to_lowercase()).collect::<Vec<_>>().join(",")
            )),
            Self::Refused { source, .. } => match source.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => Some(
                    "in a container, the host's seccomp filter or user namespace may forbid bpf(2);\n\
                     on Linux 5.10, raise RLIMIT_MEMLOCK (LimitMEMLOCK=infinity, ulimit -l unlimited);\n\
                     kernel lockdown (confidentiality) forbids all tracing"
                        .into(),
                ),
                Some(libc::E2BIG) => {
                    Some("reduce --max-memory and --max-threads".into())
                }
                _ => Some("`profiler doctor` shows what this host offers".into()),
            },
            Self::Memory { all, .. } => Some(format!(
                "raise the limit (MemoryMax= of a unit, `resources.limits.memory` of a pod); the\n\
                 requested sizes fit into {all} MiB"
            )),
            Self::Exhausted { resource, .. } => Some(resource.hint()),
            Self::Missing { needs, .. } => Some(format!("the profiler requires {needs}")),
            Self::Verifier { .. } => Some(
                "please report this with the lines above and the output of `profiler doctor`".into(),
            ),
            Self::Limit { .. } | Self::Object(_) => None,
        }
    }

    /// The exit code, as in `--help`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Limit { .. } => 2,
            Self::Privilege { .. } | Self::Refused { .. } | Self::Memory { .. } => 3,
            Self::Missing { .. } => 4,
            Self::Verifier { .. } => 5,
            Self::Exhausted { .. } | Self::Object(_) => 1,
        }
    }

    /// The error of a load of `program`.
    pub(super) fn from_load(program: &'static str, error: aya::programs::ProgramError) -> Self {
        use aya::programs::ProgramError;
        match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                // The verifier may have written a log before a resource ran out.
                let log = verifier_log.to_string();
                let denied = io_error.raw_os_error() == Some(libc::EPERM);
                let is_exhausted = Exhausted::of(&io_error).is_some();
                if log.trim().is_empty() || denied || is_exhausted {
                    return Self::from_io(format!("load {program}"), io_error);
                }
                Self::Verifier { program, log: last_lines(&log, VERIFIER_LINES) }
            }
            other => Self::from_any(format!("load {program}"), &other),
        }
    }

    /// The error of the kernel for the operation `what`.
    pub(super) fn from_io(what: String, source: io::Error) -> Self {
        match Exhausted::of(&source) {
            Some(resource) => Self::Exhausted { what, resource, source },
            None => Self::Refused { what, source },
        }
    }

    /// Any error of `what`, by the syscall error at its root.
    pub(super) fn from_any(what: String, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(e) = cause {
            if let Some(io) = e.downcast_ref::<io::Error>()
                && let Some(code) = io.raw_os_error()
            {
                return Self::from_io(what, io::Error::from_raw_os_error(code));
            }
            cause = e.source();
        }
        Self::Object(format!("cannot {what}: {error}"))
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_verdict_of_a_long_log_is_shown() {
        let log: String = (0..1000).map(|i| format!("line {i}\n\n")).collect();
        let shown = last_lines(&log, 3);
        assert_eq!(shown, "line 997\nline 998\nline 999");
        assert_eq!(last_lines("one", 3), "one");
    }

    #[test]
    fn what_ran_out_is_no_refusal() {
        let error = |errno| {
            KernelError::from_io("load sys_enter".into(), io::Error::from_raw_os_error(errno))
        };
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOSPC, libc::EAGAIN] {
            assert!(matches!(error(errno), KernelError::Exhausted { .. }));
            assert_eq!(error(errno).exit_code(), 1);
        }
        assert_eq!(error(libc::EPERM).exit_code(), 3);
        let text = error(libc::EMFILE).to_string();
        assert_eq!(text, "cannot load sys_enter: Too many open files (os error 24)");
    }

    #[test]
    fn missing_capabilities_are_named_with_their_remedy() {
        let e = KernelError::Privilege { missing: vec!["CAP_BPF", "CAP_PERFMON"] };
        assert!(e.to_string().contains("CAP_BPF and CAP_PERFMON"));
        assert!(e.hint().expect("a hint").contains("setcap cap_bpf,cap_perfmon=ep"));
        assert_eq!(e.exit_code(), 3);
    }
}
