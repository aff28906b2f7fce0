//! Operations of io_uring: the report equals the statement of a workload, for each opcode.

use io_uring::{IoUring, Probe, opcode};

use crate::{
    report::{Operation, Report},
    run::{Held, Mode, Stat, statement},
    workload::{Operations, Statement},
};

/// Why the tests cannot run here. `Ok` if they can.
fn cannot_be_tried() -> Result<(), String> {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    if disabled.is_ok_and(|value| value.trim() != "0") {
        return Err("io_uring is disabled (kernel.io_uring_disabled)".into());
    }
    // SAFETY: the kernel reads no parameters, because the number of entries is 0.
    let made = unsafe { libc::syscall(libc::SYS_io_uring_setup, 0, std::ptr::null_mut::<u8>()) };
    assert_eq!(made, -1, "a ring needs entries");
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::ENOSYS) => Err("the kernel has no io_uring".into()),
        Some(libc::EPERM) => Err("io_uring is not allowed".into()),
        _ => Ok(()),
    }
}

/// Why a workload cannot make its operations here. `Ok` if it can. `opcode` requires Linux
/// `version`.
fn requires(opcode: u8, version: &str) -> Result<(), String> {
    cannot_be_tried()?;
    let ring = IoUring::new(2).map_err(|error| format!("a ring: {error}"))?;
    let mut probe = Probe::new();
    let probed = ring.submitter().register_probe(&mut probe);
    if probed.is_err() || !probe.is_supported(opcode) {
        return Err(format!("requires an operation of Linux {version}"));
    }
    Ok(())
}

/// Why operations are not counted here, if so.
pub(super) fn is_counted(mode: Mode) -> Result<(), String> {
    cannot_be_tried()?;
    let (report, _) = Stat::new(mode).workload(&["rings-children", "children=1"]);
    rows(&report).map(|_| ())
}

/// The rows of a report, or why there are none.
fn rows(report: &Report) -> Result<&[Operation], String> {
    match (&report.io_uring, &report.io_uring_missing) {
        (Some(rows), None) => Ok(rows),
        (None, Some(missing)) => Err(format!("not counted: {missing}")),
        other => panic!("either rows or a reason: {other:?}"),
    }
}

/// The sum of reported rows, in the form of a statement.
fn reported(rows: &[&Operation], pid: u32) -> Operations {
    let mut sum = Operations { pid, operation: rows[0].operation.clone(), ..Operations::default() };
    for row in rows {
        assert_eq!(row.errors, row.errnos.values().sum::<u64>());
        assert!(row.timed <= row.completed, "{row:?}");
        sum.submitted += row.submitted;
        sum.completed += row.completed;
        for (name, count) in &row.errnos {
            *sum.errnos.entry(name.clone()).or_default() += count;
        }
        sum.posted += row.posted;
        sum.overflowed += row.overflowed;
        sum.silent += row.silent;
        sum.unmatched += row.unmatched;
        sum.in_flight += row.in_flight + row.unreported;
    }
    sum
}

/// Checks that the report equals the statement, and has no other operations of these processes.
#[track_caller]
fn has_exactly(rows: &[Operation], stated: &Statement) {
    for operations in &stated.operations {
        let of = |row: &&Operation| {
            row.operation == operations.operation && row.pid.is_none_or(|pid| pid == operations.pid)
        };
        let found: Vec<&Operation> = rows.iter().filter(of).collect();
        assert!(!found.is_empty(), "{operations:?} in {rows:?}");
        assert_eq!(reported(&found, operations.pid), *operations, "{rows:#?}");
    }
    let posted: u64 = rows.iter().map(|row| row.posted).sum();
    assert_eq!(posted, stated.operations.iter().map(|o| o.posted).sum::<u64>(), "{rows:?}");
    let is_stated = |row: &Operation| {
        stated.operations.iter().any(|operations| operations.operation == row.operation)
    };
    assert!(rows.iter().all(is_stated), "{rows:?}");
}

/// Every way to submit and to complete, by a command.
pub(crate) fn operations_are_as_stated(mode: Mode) -> Result<(), String> {
    cannot_be_tried()?;
    let (report, stated) = Stat::new(mode).by_process_and_call().workload(&["rings", "count=20"]);
    let rows = rows(&report)?;
    has_exactly(rows, &stated);
    // Everything that completed was submitted by the command, and timed.
    for row in rows.iter().filter(|row| row.operation.is_some()) {
        assert!(row.timed > 0 && row.p50_ns > 0 && row.total_ns > 0, "{row:?}");
    }
    // No operation is counted as a syscall.
    assert!(report.rows.iter().all(|row| row.syscall.is_some()));
    Ok(())
}

/// Rows by child process, including submissions by a kernel thread of the child.
pub(crate) fn operations_of_children_by_process(mode: Mode) -> Result<(), String> {
    cannot_be_tried()?;
    let (report, stated) =
        Stat::new(mode).by_process_and_call().workload(&["rings-children", "children=8"]);
    has_exactly(rows(&report)?, &stated);
    Ok(())
}

/// Rings that existed before the attach, a request in flight at the attach, and a request in flight
/// at the end.
pub(crate) fn operations_of_a_running_process(mode: Mode) -> Result<(), String> {
    cannot_be_tried()?;
    let mut held = Held::start(&["rings", "count=3", "stay=1"]);
    let pid = held.pid().to_string();
    let running = Stat::new(mode).args(["--pid", &pid]).start().attached();
    let stated = held.tell();
    let report = running.interrupt();
    held.go();
    has_exactly(rows(&report)?, &statement(&stated));
    Ok(())
}

/// A filter by a name that no process has excludes all operations. A filter by the name of the
/// workload includes its operations.
pub(crate) fn operations_in_scope_alone(mode: Mode) -> Result<(), String> {
    cannot_be_tried()?;
    let args = ["rings-children", "children=3", "name=ringed"];
    let named = |name: &str| {
        let (report, stated) = Stat::new(mode).args(["--comm", name]).workload(&args);
        rows(&report).map(|rows| (rows.to_vec(), stated))
    };
    let (found, _) = named("nobody-at-all")?;
    assert!(found.is_empty(), "{found:?}");
    let (found, stated) = named("ringed")?;
    let submitted: u64 = stated.operations.iter().map(|o| o.submitted).sum();
    let found: u64 = found.iter().map(|row| row.submitted).sum();
    assert_eq!(found, submitted);
    // Filters by syscall have no effect on operations.
    let (report, stated) = Stat::new(mode).args(["--syscall", "getppid"]).workload(&args);
    let found: u64 = rows(&report)?.iter().map(|row| row.submitted).sum();
    assert_eq!(found, stated.operations.iter().map(|o| o.submitted).sum::<u64>());
    Ok(())
}

/// The sum over all intervals is the whole run.
pub(crate) fn intervals_add_up(mode: Mode) -> Result<(), String> {
    cannot_be_tried()?;
    let held = Held::start(&["rings-children", "children=12"]);
    let pid = held.pid().to_string();
    let args = ["--by", "process,syscall", "--interval", "20ms", "--pid", &pid];
    let running = Stat::new(mode).args(args).start().attached();
    let stated = held.go();
    let mut all = Vec::new();
    for report in running.end().reports() {
        all.extend_from_slice(rows(&report)?);
    }
    for operations in &stated.operations {
        let of = |row: &&Operation| row.pid == Some(operations.pid);
        let submitted: u64 = all.iter().filter(of).map(|row| row.submitted).sum();
        let completed: u64 = all.iter().filter(of).map(|row| row.completed).sum();
        assert_eq!((submitted, completed), (operations.submitted, operations.completed));
    }
    Ok(())
}

/// A multishot request completes once, with its last completion. The others are posted, and belong
/// to its opcode.
pub(crate) fn multishot_requests_complete_once(mode: Mode) -> Result<(), String> {
    // `SOCKET` came with multishot accepts, and 5.18 with completions that name their request.
    requires(opcode::Socket::CODE, "5.19")?;
    let stat = Stat::new(mode).by_process_and_call();
    let (report, stated) = stat.workload(&["rings-multishot", "count=5"]);
    has_exactly(rows(&report)?, &stated);
    Ok(())
}

/// A zero-copy send completes once, and its notification is posted.
pub(crate) fn zero_copy_sends_have_a_notification(mode: Mode) -> Result<(), String> {
    requires(opcode::SendZc::CODE, "6.0")?;
    let tried = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| std::net::TcpStream::connect(listener.local_addr()?));
    if let Err(error) = tried {
        return Err(format!("no connection to 127.0.0.1: {error}"));
    }
    let stat = Stat::new(mode).by_process_and_call();
    let (report, stated) = stat.workload(&["rings-zero-copy", "count=7"]);
    has_exactly(rows(&report)?, &stated);
    Ok(())
}

/// Operations of rings that poll for their completions.
pub(crate) fn polled_operations_are_as_stated(mode: Mode) -> Result<(), String> {
    requires(opcode::MsgRingData::CODE, "5.18")?;
    let stat = Stat::new(mode).by_process_and_call();
    let (report, stated) = stat.workload(&["rings-polled", "count=4"]);
    if stated.operations.is_empty() {
        return Err("no file system has O_DIRECT".into());
    }
    has_exactly(rows(&report)?, &stated);
    Ok(())
}
