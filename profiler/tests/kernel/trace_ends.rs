//! How a trace begins and ends, and what does not end with it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{
    conformance::I386Program,
    privilege::as_nobody,
    run::{Held, profiler_command, wait_until, workload_args},
    trace::{Events, Trace},
};

/// The workload that makes a call for each line of input.
struct Told {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Told {
    fn start() -> Self {
        let args = workload_args(&["told"]);
        let mut command = Command::new(&args[0]);
        command.args(&args[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this executable");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut told = Self { child, input, output };
        assert_eq!(told.line(), "ready");
        told
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Has it make a call, and returns the number of calls so far.
    fn call(&mut self) -> String {
        self.input.write_all(b"\n").expect("it reads");
        self.line()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit code of a command is passed on, also if a signal ended it.
pub(crate) fn a_command_s_exit_code_is_passed_on() {
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -KILL $$", 137)] {
        let ended = Trace::new().command(["sh", "-c", script]);
        assert_eq!(ended.code(), Some(code), "{script}: {:?}", ended.output);
        let events = ended.events();
        let end = events.0.last().expect("it ends");
        assert!(end.is_end() && end.last_thread == Some(true), "{end:#?}");
        let (exit_code, signal) = if code == 137 { (None, Some(9)) } else { (Some(code), None) };
        let of = end.signal.as_ref().and_then(serde_json::Value::as_i64);
        assert_eq!((end.exit_code, of), (exit_code, signal), "{end:#?}");
    }
}

/// Calls of threads that are killed, and of those of which one ends the process.
pub(crate) fn the_ends_of_threads_are_shown() {
    for (args, signal) in [(["killed", "threads=5"], 9), (["exit-group", "threads=12"], 0)] {
        let (events, statement) = Trace::new().workload(&args);
        events.has_exactly(&statement);
        let pid = statement.processes[0].pid;
        let ends: Vec<_> = events.of(pid).filter(|event| event.is_end()).collect();
        let threads = if signal == 9 { 6 } else { 13 };
        assert_eq!(ends.len(), threads, "{ends:#?}");
        let last = ends.iter().filter(|end| end.last_thread == Some(true)).count();
        assert_eq!(last, 1, "{ends:#?}");
        for end in ends {
            let killed = end.signal.as_ref().and_then(serde_json::Value::as_i64);
            assert_eq!(killed, (signal > 0).then_some(signal), "{end:#?}");
        }
    }
}

/// Signals that are handled have their senders. If a signal ends the process, the kernel delivers
/// SIGKILL without a sender instead (`complete_signal`, kernel/signal.c); the end has the signal.
pub(crate) fn signals_have_their_senders() {
    let (events, statement) = Trace::new().workload(&["handled", "calls=4"]);
    let pid = statement.processes[0].pid;
    let delivered: Vec<_> = events.0.iter().filter(|e| e.delivered() == Some("SIGUSR1")).collect();
    assert_eq!(delivered.len(), 4, "{delivered:#?}");
    for signal in delivered {
        assert_eq!(signal.sender_pid, Some(pid), "{signal:#?}");
        assert_eq!(signal.number, Some(libc::SIGUSR1.cast_unsigned()), "{signal:#?}");
        assert_eq!((signal.sender_uid, signal.address), (Some(0), Some(0)), "{signal:#?}");
    }
    let mut told = Told::start();
    let pid = told.pid();
    let running = Trace::new().args(["-p", &pid.to_string()]).start().attached();
    assert_eq!(told.call(), "1");
    // SAFETY: a child of ours that has not been waited for.
    assert_eq!(unsafe { libc::kill(pid.cast_signed(), libc::SIGTERM) }, 0);
    told.child.wait().expect("a child of ours");
    let events = running.end().events();
    let end = events.of(pid).last().expect("its end");
    assert_eq!(end.signal, Some(serde_json::json!(libc::SIGTERM)), "{end:#?}");
}

/// A signal of seccomp has an address, and no sender.
pub(crate) fn signals_of_the_kernel_have_no_sender() {
    let (events, statement) = Trace::new().workload(&["seccomp-trap", "calls=3"]);
    let pid = statement.processes[0].pid;
    let signals: Vec<_> = events.of(pid).filter(|e| e.delivered() == Some("SIGSYS")).collect();
    assert_eq!(signals.len(), 3);
    for signal in signals {
        assert_eq!((signal.sender_pid, signal.sender_uid), (Some(0), Some(0)), "{signal:#?}");
        assert!(signal.address.is_some_and(|address| address > 0), "{signal:#?}");
    }
}

/// If the profiler is killed, the process that it follows continues.
pub(crate) fn the_process_outlives_the_profiler() {
    let mut told = Told::start();
    let mut running = Trace::new().args(["-p", &told.pid().to_string()]).start().attached();
    assert_eq!(told.call(), "1");
    running.signal(libc::SIGKILL);
    assert_eq!(running.end().code(), None, "a signal killed it");
    for made in 2..50 {
        assert_eq!(told.call(), made.to_string());
    }
}

/// Ctrl-C prints what there is, and calls that are in flight.
pub(crate) fn an_interrupt_prints_what_there_is() {
    let mut told = Told::start();
    let pid = told.pid();
    let running = Trace::new().args(["-p", &pid.to_string()]).start().attached();
    for made in 1..=20 {
        assert_eq!(told.call(), made.to_string());
    }
    // It waits for its input.
    let path = format!("/proc/{pid}/syscall");
    wait_until("it reads", || {
        std::fs::read_to_string(&path).is_ok_and(|call| call.starts_with("0 "))
    });
    let ended = running.interrupt();
    assert_eq!((ended.code(), ended.stderr().as_str()), (Some(0), ""));
    let events = ended.events();
    assert_eq!(events.of(pid).filter(|event| event.is_call("lseek")).count(), 20);
    let last = events.of(pid).last().expect("a call");
    assert!(last.is_call("read") && last.in_flight, "{last:#?}");
    assert_eq!((last.result, last.duration_ns), (None, None), "{last:#?}");
    // It goes on.
    assert_eq!(told.call(), "21");
}

/// A call that lasts has a line when it enters, and another one when it leaves.
pub(crate) fn a_call_that_lasts_has_two_lines() {
    let mut told = Told::start();
    let pid = told.pid();
    let beside = Told::start();
    let pids = format!("{pid},{}", beside.pid());
    let running = Trace::text().args(["-p", &pids]).start().attached();
    assert_eq!(told.call(), "1");
    let mut beside = beside;
    // Its read lasts.
    wait_until("a line has begun", || {
        running.so_far().lines().last().is_some_and(|line| {
            line.contains(&format!(" {pid} ")) && line.contains("read(0") && !line.contains('=')
        })
    });
    assert_eq!(beside.call(), "1");
    wait_until("the line is unfinished", || running.so_far().contains("<unfinished ...>"));
    assert_eq!(told.call(), "2");
    let resumed = |text: &str| {
        text.lines()
            .any(|line| line.contains(&format!(" {pid} ")) && line.contains("<... read resumed>"))
    };
    wait_until("it is resumed", || resumed(&running.so_far()));
    let ended = running.interrupt();
    assert_eq!(ended.code(), Some(0), "{:?}", ended.output);
    let of_pid = format!(" {pid} ");
    let lines: Vec<_> = ended.text.lines().filter(|line| line.contains(&of_pid)).collect();
    // The call that entered before the attach has two lines too, and no duration.
    let is_pair = |pair: &[&str]| {
        pair[0].contains("read(0")
            && pair[0].ends_with("<unfinished ...>")
            && pair[1].contains("<... read resumed>")
            && pair[1].contains("= 1 <")
    };
    assert!(lines.windows(2).any(is_pair), "{lines:#?}");
}

/// If the reader closes its end, the trace ends without a message.
pub(crate) fn a_reader_that_closes_ends_it() {
    let burning = Held::start(&["burn", "threads=1"]);
    let mut command = profiler_command();
    command.args(["trace", "-p", &burning.pid().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the profiler");
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0; 1000]).expect("lines");
    drop(stdout);
    wait_until("it ends", || child.try_wait().expect("a child of ours").is_some());
    let output = child.wait_with_output().expect("a child of ours");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    burning.stop();
}

/// With -ff, each thread has a file.
pub(crate) fn each_thread_has_a_file() {
    let args = ["-ff", "--buffer", "64", "--"];
    let ended = Trace::new().args(args).args(workload_args(&["numbered", "threads=6", "calls=40"]));
    let ended = ended.start().end();
    assert_eq!((ended.code(), ended.stderr().as_str()), (Some(0), ""));
    let stated = crate::run::statement(&String::from_utf8_lossy(&ended.output.stdout));
    assert_eq!(ended.text, "", "no other file");
    assert_eq!(ended.files.len(), 7, "{:?}", ended.files.keys());
    for thread in stated.processes {
        let events = Events::parse(&ended.files[&format!("trace.{}", thread.pid)]);
        assert!(events.0.iter().all(|event| event.tid == thread.pid));
        assert_eq!(events.calls("lseek").count(), 40);
        assert!(events.0.last().is_some_and(super::trace::Event::is_end));
    }
}

/// Without privilege, it says what is missing.
pub(crate) fn without_privilege_it_names_what_is_missing() {
    let output = as_nobody("", &["trace", "--", "sh", "-c", "echo it ran"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("CAP_BPF and CAP_PERFMON"), "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

/// Two capabilities suffice, as for counts.
pub(crate) fn two_capabilities_suffice() {
    let args = ["trace", "--format", "json", "-o", "-", "--", "sh", "-c", "exit 5"];
    let output = as_nobody(",+bpf,+perfmon", &args);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let events = Events::parse(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(events.calls("exit_group").count(), 1);
}

/// A 32-bit program: its calls are those of the i386 table.
pub(crate) fn of_a_32_bit_program_are_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = match I386Program::new(directory.path()) {
        Ok(program) => program,
        Err(skip) => return println!("not tested: {skip}"),
    };
    let ended = Trace::new().command([&program.path]);
    assert_eq!((ended.code(), ended.stderr().as_str()), (Some(0), ""));
    let events = ended.events();
    let pid = events.0.first().expect("an exec").pid;
    events.has_exactly(&program.states(pid));
    let others = events.0.iter().filter(|event| event.abi.as_deref() == Some("x86_64"));
    assert_eq!(others.count(), 1, "the exec");
}
