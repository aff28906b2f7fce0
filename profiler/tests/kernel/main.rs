//! Tests against the running kernel: the real profiler measures workloads that
//! state what they do. Needs root, and fails without.
//!
//! One after another, on both objects. A harness of its own, since this executable is
//! also the workloads that it has measured: see [`workload`].

mod counts;
mod report;
mod run;
mod workload;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use run::Mode;

/// A test of either object.
type OfMode = fn(Mode);

macro_rules! tests {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), $module::$name as _)),+]
    };
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(workload::WORKLOAD) {
        workload::run(args);
    }
    let mut arguments = Arguments::from_args();
    // They time calls, and count a whole host: side by side they would be in each
    // other's way.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    let of_both: &[(&str, OfMode)] = &tests![
        counts::by_threads,
        counts::by_short_lived_processes,
        counts::by_process,
        counts::by_interval,
        counts::on_the_whole_host,
        counts::of_a_running_process,
    ];
    let mut trials = Vec::new();
    for mode in Mode::ALL {
        let of_mode = format!("{mode:?}").to_lowercase();
        for &(name, test) in of_both {
            trials.push(trial(format!("{of_mode}::{name}"), move || test(mode)));
        }
    }
    trials
}

fn trial(name: String, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        if !nix::unistd::geteuid().is_root() {
            return Err(Failed::from("needs root: run it by `cargo xtask test`"));
        }
        test();
        Ok(())
    })
}
