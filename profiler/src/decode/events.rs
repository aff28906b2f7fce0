//! The lines of signals and ends.

use std::{borrow::Cow, fmt::Write as _};

use super::Value;
use crate::model::SignalDelivered;

/// The line of a signal: `--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, …} ---`.
pub fn signal_text(signal: &SignalDelivered) -> String {
    let name = signal_name(signal.number);
    let mut line = format!("--- {name} {{si_signo={name}, si_code={}", code(signal));
    match source(signal) {
        Source::Sender => {
            let _ = write!(line, ", si_pid={}, si_uid={}", signal.pid, signal.uid);
        }
        Source::Fault => {
            let _ = write!(line, ", si_addr={}", Value::Address(signal.address));
        }
        Source::Kernel => {}
    }
    line.push_str("} ---");
    line
}

/// The line of an end, by the status that wait(2) reports: `+++ exited with 0 +++`.
pub fn ended_text(status: i32) -> String {
    let signal = status & 0x7f;
    if signal == 0 {
        return format!("+++ exited with {} +++", status >> 8 & 0xff);
    }
    let core = if status & 0x80 == 0 { "" } else { " (core dumped)" };
    format!("+++ killed by {}{core} +++", signal_name(signal.unsigned_abs()))
}

/// Which fields of `siginfo_t` the signal has.
enum Source {
    /// `si_pid` and `si_uid`.
    Sender,
    /// `si_addr`.
    Fault,
    /// Neither.
    Kernel,
}

fn source(signal: &SignalDelivered) -> Source {
    match (signal.number, signal.code) {
        (_, 0x80) => Source::Kernel,
        (4 | 5 | 7 | 8 | 11, 1..) => Source::Fault,
        (17, 1..) | (_, ..=0) => Source::Sender,
        _ => Source::Kernel,
    }
}

/// `SIGTERM`; `SIGRT_3` for real-time signals, whose names count from 32 as in the kernel.
pub fn signal_name(number: u32) -> Cow<'static, str> {
    let at = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    match at.and_then(|at| SIGNALS.get(at)) {
        Some(name) => Cow::Borrowed(name),
        None if (32..=64).contains(&number) => match number - 32 {
            0 => Cow::Borrowed("SIGRTMIN"),
            above => Cow::Owned(format!("SIGRT_{above}")),
        },
        None => Cow::Owned(number.to_string()),
    }
}

/// The signals, from 1 (arch/x86/include/uapi/asm/signal.h).
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

fn code(signal: &SignalDelivered) -> Cow<'static, str> {
    let of_signal: &[&str] = match signal.number {
        4 => &[
            "ILL_ILLOPC",
            "ILL_ILLOPN",
            "ILL_ILLADR",
            "ILL_ILLTRP",
            "ILL_PRVOPC",
            "ILL_PRVREG",
            "ILL_COPROC",
            "ILL_BADSTK",
        ],
        5 => &["TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT", "TRAP_UNK", "TRAP_PERF"],
        7 => &["BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR", "BUS_MCEERR_AR", "BUS_MCEERR_AO"],
        8 => &[
            "FPE_INTDIV",
            "FPE_INTOVF",
            "FPE_FLTDIV",
            "FPE_FLTOVF",
            "FPE_FLTUND",
            "FPE_FLTRES",
            "FPE_FLTINV",
            "FPE_FLTSUB",
        ],
        11 => &[
            "SEGV_MAPERR",
            "SEGV_ACCERR",
            "SEGV_BNDERR",
            "SEGV_PKUERR",
            "SEGV_ACCADI",
            "SEGV_ADIDERR",
            "SEGV_ADIPERR",
            "SEGV_MTEAERR",
            "SEGV_MTESERR",
        ],
        17 => &[
            "CLD_EXITED",
            "CLD_KILLED",
            "CLD_DUMPED",
            "CLD_TRAPPED",
            "CLD_STOPPED",
            "CLD_CONTINUED",
        ],
        29 => &["POLL_IN", "POLL_OUT", "POLL_MSG", "POLL_ERR", "POLL_PRI", "POLL_HUP"],
        31 => &["SYS_SECCOMP", "SYS_USER_DISPATCH"],
        _ => &[],
    };
    let general = match signal.code {
        0 => Some("SI_USER"),
        0x80 => Some("SI_KERNEL"),
        -1 => Some("SI_QUEUE"),
        -2 => Some("SI_TIMER"),
        -3 => Some("SI_MESGQ"),
        -4 => Some("SI_ASYNCIO"),
        -5 => Some("SI_SIGIO"),
        -6 => Some("SI_TKILL"),
        -7 => Some("SI_DETHREAD"),
        -60 => Some("SI_ASYNCNL"),
        _ => None,
    };
    let at = usize::try_from(signal.code).ok().and_then(|code| code.checked_sub(1));
    let name = general.or_else(|| at.and_then(|at| of_signal.get(at).copied()));
    name.map_or_else(
        || {
            let number = u64::from(signal.code.cast_unsigned());
            Cow::Owned(nameless(number))
        },
        Cow::Borrowed,
    )
}

/// A code without a name.
fn nameless(number: u64) -> String {
    Value::Name { name: None, number, prefix: "SI_" }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(number: u32, code: i32, pid: u32, address: u64) -> String {
        signal_text(&SignalDelivered { at_ns: 0, number, code, pid, uid: 0, address })
    }

    #[test]
    fn signals_have_the_fields_of_their_kind() {
        assert_eq!(
            signal(15, 0, 7, 0),
            "--- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=7, si_uid=0} ---"
        );
        assert_eq!(
            signal(11, 1, 0, 0x10),
            "--- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x10} ---"
        );
        assert_eq!(
            signal(11, 1, 0, 0),
            "--- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL} ---"
        );
        assert_eq!(signal(14, 0x80, 0, 0), "--- SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL} ---");
        assert_eq!(
            signal(34, -6, 9, 0),
            "--- SIGRT_2 {si_signo=SIGRT_2, si_code=SI_TKILL, si_pid=9, si_uid=0} ---"
        );
    }

    #[test]
    fn ends_say_how() {
        assert_eq!(ended_text(0), "+++ exited with 0 +++");
        assert_eq!(ended_text(0x300), "+++ exited with 3 +++");
        assert_eq!(ended_text(9), "+++ killed by SIGKILL +++");
        assert_eq!(ended_text(0x8b), "+++ killed by SIGSEGV (core dumped) +++");
    }
}
