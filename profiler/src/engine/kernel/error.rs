//! Why the kernel side did not come up, and what to do about it.

use std::io;

use crate::exhausted::Exhausted;

/// Lines of the verifier's log that are shown: its verdict is at its end.
const VERIFIER_LINES: usize = 12;

/// Why the kernel side did not come up.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A size is out of its range.
    #[error("{what} is {found}, and must be {least} to {most}")]
    Limit {
        /// Which.
        what: &'static str,
        /// What was asked for.
        found: u32,
        /// The least possible.
        least: u32,
        /// The greatest possible.
        most: u32,
    },
    /// Not even the least that the profiler needs fits into the memory that it may use.
    #[error("{of}, and the profiler needs {least} MiB at least")]
    Memory {
        /// Which limit, for people.
        of: String,
        /// The least limit with which it starts, MiB.
        least: u64,
        /// The limit with which all fits that was asked for, MiB.
        all: u64,
    },
    /// Capabilities are missing.
    #[error("loading BPF programs needs {}, which this process has not", missing.join(" and "))]
    Privilege {
        /// The missing ones.
        missing: Vec<&'static str>,
    },
    /// The kernel said no although the capabilities are there.
    #[error("the kernel refused to {what}: {source}")]
    Refused {
        /// What was being done.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A resource ran out, which is neither a lack of privilege nor a refusal.
    #[error("cannot {what}: {source}")]
    Exhausted {
        /// What was being done.
        what: String,
        /// Which resource.
        resource: Exhausted,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel has not what even the fallback needs.
    #[error("this kernel has no {feature}")]
    Missing {
        /// What is missing.
        feature: &'static str,
        /// Which kernel option or version brings it.
        needs: &'static str,
    },
    /// The verifier refused a program.
    #[error("the kernel's verifier refused the program {program}:\n{log}")]
    Verifier {
        /// Which program.
        program: &'static str,
        /// The last lines of its log.
        log: String,
    },
    /// The object and this program do not fit together; a mistake in the build.
    #[error("the BPF object is not what this program expects: {0}")]
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
                    "inside a container the host's seccomp filter or user namespace may forbid bpf(2);\n\
                     on Linux 5.10 raise RLIMIT_MEMLOCK (LimitMEMLOCK=infinity, ulimit -l unlimited);\n\
                     with kernel lockdown (confidentiality) no tracing is possible"
                        .into(),
                ),
                Some(libc::E2BIG) => {
                    Some("ask for less with --max-memory and --max-threads".into())
                }
                _ => Some("`profiler doctor` shows what this host offers".into()),
            },
            Self::Memory { all, .. } => Some(format!(
                "raise the limit (MemoryMax= of a unit, `resources.limits.memory` of a pod); with\n\
                 {all} MiB there is room for all that was asked for"
            )),
            Self::Exhausted { resource, .. } => Some(resource.hint()),
            Self::Missing { needs, .. } => Some(format!("it needs {needs}")),
            Self::Verifier { .. } => Some(
                "please report this with the lines above and the output of `profiler doctor`".into(),
            ),
            Self::Limit { .. } | Self::Object(_) => None,
        }
    }

    /// The exit code, as `--help` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Limit { .. } => 2,
            Self::Privilege { .. } | Self::Refused { .. } | Self::Memory { .. } => 3,
            Self::Missing { .. } => 4,
            Self::Verifier { .. } => 5,
            Self::Exhausted { .. } | Self::Object(_) => 1,
        }
    }

    /// From an attempt to load `program`.
    pub(super) fn from_load(program: &'static str, error: aya::programs::ProgramError) -> Self {
        use aya::programs::ProgramError;
        match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                // The verifier may have said much before a descriptor was found missing.
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

    /// From what the kernel said when it was asked to do `what`.
    pub(super) fn from_io(what: String, source: io::Error) -> Self {
        match Exhausted::of(&source) {
            Some(resource) => Self::Exhausted { what, resource, source },
            None => Self::Refused { what, source },
        }
    }

    /// From any error, by the system call error that is its root.
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
