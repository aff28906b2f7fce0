//! Tests against the running kernel: the real profiler measures workloads that
//! state what they do. Needs root, and fails without.
//!
//! One after another, on both objects. A harness of its own, since this executable is
//! also the workloads that it has measured: see [`workload`].

mod counts;
mod detach;
mod ending;
mod latency;
mod names;
mod outcomes;
mod privilege;
mod report;
mod room;
mod run;
mod service;
mod tables;
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
    if let Some(program) = tables::asked_to_compile() {
        return tables::compile(&program);
    }
    take_signals_as_ever();
    let mut arguments = Arguments::from_args();
    // They time calls, and count a whole host: side by side they would be in each
    // other's way.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials()).exit_code()
}

/// A shell starts its background jobs with some signals ignored, nohup likewise, and
/// what is run from here would inherit that.
fn take_signals_as_ever() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: installs no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn trials() -> Vec<Trial> {
    let of_both: &[(&str, OfMode)] = &tests![
        counts::by_threads,
        counts::by_short_lived_processes,
        counts::by_process,
        counts::by_interval,
        counts::on_the_whole_host,
        counts::of_a_running_process,
        latency::is_what_the_workload_measured,
        outcomes::a_fork_is_one_call,
        outcomes::an_exec_by_a_thread_is_one_call,
        outcomes::an_exec_by_a_thread_keeps_the_process,
        outcomes::killed_threads_are_accounted_for,
        outcomes::rt_sigreturn_never_fails,
        outcomes::a_restarted_call_is_no_error,
        outcomes::a_stopped_call_comes_back,
        outcomes::denied_calls_are_no_calls,
        tables::each_abi_has_its_own,
        tables::bogus_numbers_are_one_row,
        room::too_few_records,
        room::one_record_for_many_processes,
        room::too_small_a_pool,
        room::too_little_of_everything,
        room::ended_threads_give_their_room_back,
        names::a_process_renames_itself,
        names::an_exec_renames_a_process,
        names::an_exec_by_a_thread_renames_its_process,
        names::a_thread_s_name_is_its_own,
        names::a_thread_seen_first_has_its_leader_s_name,
        names::a_thread_renames_its_leader,
        privilege::two_capabilities_suffice,
        detach::after_an_interrupt,
        detach::after_a_kill,
        detach::twenty_times_under_load,
        service::serves_exact_counts,
        service::ends_in_time,
        service::gives_up_its_privileges,
    ];
    let of_neither: &[(&str, fn())] = &tests![
        ending::a_command_s_exit_code_is_passed_on,
        ending::a_command_s_death_by_signal_is_passed_on,
        ending::a_signal_reaches_the_command,
        ending::a_second_interrupt_ends_the_run,
        ending::a_signal_ends_a_run_without_a_command,
        ending::the_end_of_the_watched_process_ends_the_run,
        ending::an_unreaped_end_of_the_watched_process_ends_the_run,
        ending::a_duration_ends_the_run,
        ending::a_process_that_is_not_there,
        ending::a_command_that_is_not_there,
        ending::a_command_that_cannot_be_run,
        ending::the_command_s_end_is_seen_though_sigchld_was_ignored,
        ending::a_signal_that_was_ignored_stays_so,
        ending::another_pid_namespace_is_refused,
        privilege::without_any_it_names_what_is_missing,
        privilege::without_any_a_command_does_not_run,
        privilege::with_one_of_two_it_names_the_other,
        service::prometheus_scrapes_it,
    ];
    let mut trials = Vec::new();
    for mode in Mode::ALL {
        let of_mode = format!("{mode:?}").to_lowercase();
        for &(name, test) in of_both {
            trials.push(trial(format!("{of_mode}::{name}"), move || test(mode)));
        }
        trials.push(of_32_bit_program(&of_mode, mode));
    }
    trials.extend(of_neither.iter().map(|&(name, test)| trial(name.to_owned(), test)));
    trials
}

/// Where no compiler for i386 is installed this one is shown as ignored. In CI, which
/// installs it, it fails instead.
fn of_32_bit_program(of_mode: &str, mode: Mode) -> Trial {
    let name = format!("{of_mode}::tables::a_32_bit_program_is_i386");
    let compiler = tables::i386_program_can_be_had();
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    if let (Err(missing), false) = (&compiler, in_ci) {
        eprintln!("{name} is ignored: {}", missing.message().unwrap_or_default());
        return trial(name, || ()).with_ignored_flag(true);
    }
    trial(name, move || tables::a_32_bit_program_is_i386(mode))
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
