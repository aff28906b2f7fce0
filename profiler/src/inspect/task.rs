//! Parses the files in /proc that describe a process or thread: stat, status and schedstat.

use crate::{model::TaskState, text::Untrusted};

/// A flag of a task: it is a thread of the kernel (`PF_KTHREAD`, include/linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// /proc/PID/stat (proc_pid_stat(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Name.
    pub comm: Untrusted,
    /// State.
    pub state: TaskState,
    /// Id of the parent.
    pub parent: u32,
    /// Id of the process group.
    pub group: u32,
    /// Whether it is a thread of the kernel.
    pub is_kernel_thread: bool,
    /// Time in the kernel, ticks.
    pub system_ticks: u64,
    /// The start, ticks since boot.
    pub start_ticks: u64,
    /// The CPU on which it ran last.
    pub cpu: Option<usize>,
}

impl Stat {
    /// Parses the text. `None` if it is malformed.
    pub fn parse(text: &[u8]) -> Option<Self> {
        // The name is in parentheses, and may contain some.
        let begin = text.iter().position(|&byte| byte == b'(')?;
        let end = text.iter().rposition(|&byte| byte == b')')?;
        let comm = Untrusted::from_bytes(text.get(begin + 1..end)?);
        let fields = str::from_utf8(text.get(end + 1..)?).ok()?;
        let fields: Vec<&str> = fields.split_whitespace().take(50).collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let id =
            |at: usize| fields.get(at)?.parse::<i64>().ok().map(|id| id.try_into().unwrap_or(0));
        Some(Self {
            comm,
            state: TaskState(fields.first()?.chars().next()?),
            parent: id(1)?,
            group: id(2)?,
            is_kernel_thread: number(6)? & KERNEL_THREAD != 0,
            system_ticks: number(12)?,
            start_ticks: number(19)?,
            cpu: number(36).and_then(|cpu| cpu.try_into().ok()),
        })
    }
}

/// /proc/PID/status (proc_pid_status(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Id of the process.
    pub tgid: u32,
    /// The process that traces the thread; 0 if there is none.
    pub tracer: u32,
    /// Real user id.
    pub uid: Option<u32>,
    /// Ids in the pid namespaces, from that of /proc to the innermost.
    pub ids: Vec<u32>,
    /// How often the thread has left a CPU.
    pub switches: Option<u64>,
}

impl Status {
    /// Parses the text. `None` if it lacks the id of the process.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut status = Self::default();
        let mut has_id = false;
        for line in text.split(|&byte| byte == b'\n') {
            let Some(at) = line.iter().position(|&byte| byte == b':') else { continue };
            let Ok(value) = str::from_utf8(&line[at + 1..]) else { continue };
            let mut words = value.split_whitespace();
            match &line[..at] {
                b"Tgid" => {
                    status.tgid = words.next()?.parse().ok()?;
                    has_id = true;
                }
                b"TracerPid" => {
                    status.tracer = words.next().and_then(|id| id.parse().ok()).unwrap_or(0);
                }
                b"Uid" => status.uid = words.next().and_then(|id| id.parse().ok()),
                // Namespaces are nested at most 32 deep (`MAX_PID_NS_LEVEL`).
                b"NSpid" => status.ids = words.take(33).map_while(|id| id.parse().ok()).collect(),
                b"voluntary_ctxt_switches" | b"nonvoluntary_ctxt_switches" => {
                    let count: Option<u64> = words.next().and_then(|count| count.parse().ok());
                    status.switches = count.map(|n| status.switches.unwrap_or(0).saturating_add(n));
                }
                _ => {}
            }
        }
        has_id.then_some(status)
    }
}

/// Parses /proc/PID/schedstat: time on a CPU, and time waiting for one, nanoseconds
/// (Documentation/scheduler/sched-stats.rst).
pub fn schedstat(text: &[u8]) -> Option<(u64, u64)> {
    let mut words = str::from_utf8(text).ok()?.split_whitespace();
    let mut next = || words.next()?.parse().ok();
    Some((next()?, next()?))
}

/// Parses the time in /proc/PID/sched at which a thread was on a CPU last, nanoseconds of the clock of
/// that CPU. `None` if the kernel does not say (`proc_sched_show_task`, kernel/sched/debug.c).
pub fn last_on_cpu(text: &[u8]) -> Option<u64> {
    let line = text.split(|&byte| byte == b'\n').find(|line| line.starts_with(b"se.exec_start"))?;
    let (milliseconds, parts) =
        str::from_utf8(line).ok()?.split_once(':')?.1.trim().split_once('.')?;
    let parts = Some(parts).filter(|parts| parts.len() == 6)?.parse().ok()?;
    let ns = milliseconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(parts)?;
    // A thread that is being moved to another CPU.
    (ns != 0).then_some(ns)
}

/// Parses the functions of /proc/PID/stack, such as `[<0>] futex_wait_queue+0x60/0x90`, from the
/// innermost to the outermost.
pub fn stack(text: &[u8]) -> Vec<Untrusted> {
    /// The kernel prints at most 64 entries (`MAX_STACK_TRACE_DEPTH`, fs/proc/base.c).
    const MOST: usize = 64;
    let functions = text.split(|&byte| byte == b'\n').filter_map(|line| {
        let at = line.windows(2).position(|two| two == b"] ")?;
        let function = &line[at + 2..];
        let end = function.iter().position(|&byte| byte == b'+').unwrap_or(function.len());
        Some(Untrusted::from_bytes(&function[..end])).filter(|name| !name.raw().is_empty())
    });
    functions.take(MOST).collect()
}

/// Parses ids that are separated by spaces, as in /proc/PID/task/TID/children.
pub fn ids(text: &[u8]) -> Vec<u32> {
    let words = text.split(|byte| byte.is_ascii_whitespace());
    words.filter_map(|word| str::from_utf8(word).ok()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_fields_of_stat_follow_the_name() {
        let text = b"7 (a) b (c)) S 1 2 3 4 5 2097216 7 8 9 10 11 12 13 14 15 16 17 18 4242 20\n";
        let stat = Stat::parse(text).expect("a stat");
        assert_eq!(stat.comm.raw(), "a) b (c)");
        assert_eq!((stat.state, stat.parent, stat.group), (TaskState('S'), 1, 2));
        assert!(stat.is_kernel_thread);
        assert_eq!((stat.system_ticks, stat.start_ticks, stat.cpu), (12, 4242, None));
        assert_eq!(Stat::parse(b"7 (a) S 1"), None);
        assert_eq!(Stat::parse(b")("), None);
        let own = Stat::parse(&std::fs::read("/proc/self/stat").expect("/proc")).expect("a stat");
        assert!(!own.is_kernel_thread && own.start_ticks > 0);
        assert_eq!(own.parent, std::os::unix::process::parent_id());
    }

    #[test]
    fn the_fields_of_status_have_names() {
        let text = b"Name:\tTgid: 9\nTgid:\t7\nTracerPid:\t3\nUid:\t33\t0\t0\t0\nNSpid:\t7\t1\n\
            voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t6\n";
        let status = Status::parse(text).expect("a status");
        let expected =
            Status { tgid: 7, tracer: 3, uid: Some(33), ids: vec![7, 1], switches: Some(11) };
        assert_eq!(status, expected);
        assert_eq!(Status::parse(b"Name:\tx\n"), None);
        let own = std::fs::read("/proc/self/status").expect("/proc");
        assert_eq!(Status::parse(&own).expect("a status").tgid, std::process::id());
    }

    #[test]
    fn a_stack_has_the_names_of_functions() {
        let text = b"[<0>] futex_wait_queue+0x60/0x90\n[<0>] do_futex+0x1/0x2 [mod]\n[<0>] 0x1f\n";
        let names: Vec<_> = stack(text).iter().map(|name| name.raw().to_owned()).collect();
        assert_eq!(names, ["futex_wait_queue", "do_futex", "0x1f"]);
        assert_eq!(schedstat(b"12 34 5\n"), Some((12, 34)));
        assert_eq!(schedstat(b"12\n"), None);
        let sched =
            b"cat (7, #threads: 1)\n---\nse.exec_start            :      13324.000773\nx : 1.0\n";
        assert_eq!(last_on_cpu(sched), Some(13_324_000_773));
        assert_eq!(last_on_cpu(b"se.exec_start : 0.000000\n"), None);
        assert_eq!(ids(b"12 34 \n"), [12, 34]);
    }

    proptest! {
        #[test]
        fn anything_can_be_parsed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Stat::parse(&bytes), Status::parse(&bytes), schedstat(&bytes));
            let _ = (stack(&bytes), ids(&bytes), last_on_cpu(&bytes));
        }

        #[test]
        fn a_name_may_contain_anything(comm in prop::collection::vec(1_u8.., 0..15), start: u64) {
            let rest = format!(") S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 {start} 20\n");
            let text = [b"7 (", &comm[..], rest.as_bytes()].concat();
            let stat = Stat::parse(&text).expect("a stat");
            prop_assert_eq!(stat.comm, Untrusted::from_bytes(&comm));
            prop_assert_eq!(stat.start_ticks, start);
        }
    }
}
