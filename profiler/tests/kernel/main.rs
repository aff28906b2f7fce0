//! Tests on the running kernel: the real profiler measures workloads that state their own counts.
//! Requires root.
//!
//! Each test of an object runs with every object, and most tests run in parallel: see [`suite`].
//! The harness is our own, because this executable also contains the measured workloads
//! ([`workload`]) and the soak ([`soak`]).

mod budget;
#[path = "../daemon/web/certificates.rs"]
mod certificates;
mod confinement;
mod conformance;
mod consumers;
mod counts;
#[cfg(any(debug_assertions, feature = "object-override"))]
mod departed;
mod detach;
mod ending;
mod explain;
mod failing;
mod flame;
mod groups;
mod in_flight;
mod in_flight_stopped;
mod interrupt;
mod io_uring;
mod latency;
mod memory;
mod namespaces;
mod objects;
mod origin;
mod own_cost;
mod privilege;
mod prometheus;
mod quiet;
mod relay;
mod report;
mod room;
mod run;
mod screen;
mod seccomp_profiles;
mod service;
mod shown;
mod siege;
mod soak;
mod sockets;
mod starved;
mod streams;
mod suite;
mod timed;
mod tls;
mod trace;
mod trace_calls;
mod trace_ends;
mod trace_filters;
mod trace_last;
mod user;
mod where_time;
mod workload;

use std::process::ExitCode;

use conformance::{CASES, Case};
use libtest_mimic::{Completion, Failed};
use run::Mode;
use suite::Test;

/// A test that runs with each object. An error says why it could not check anything here.
type OfMode = fn(Mode) -> Result<(), String>;

/// What a test returns.
trait Ends {
    fn ends(self) -> Result<(), String>;
}

impl Ends for () {
    fn ends(self) -> Result<(), String> {
        Ok(())
    }
}

impl Ends for Result<(), String> {
    fn ends(self) -> Self {
        self
    }
}

macro_rules! tests_of_mode {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        [$((
            concat!(stringify!($module), "::", stringify!($name)),
            (|mode| $module::$name(mode).ends()) as _,
        )),+]
    };
}

macro_rules! tests {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), $module::$name as _)),+]
    };
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some(workload::WORKLOAD) => workload::run(args),
        Some(soak::SOAK) => {
            take_signals_as_ever();
            return soak::run(args);
        }
        Some(siege::SIEGE) => {
            take_signals_as_ever();
            return siege::run(args);
        }
        _ => {}
    }
    if let Some(program) = conformance::asked_to_compile() {
        return conformance::compile(program);
    }
    if conformance::asked_to_list() {
        return conformance::list();
    }
    take_signals_as_ever();
    suite::run(tests())
}

/// Restores default signal actions. Shells start background jobs with some signals ignored, as
/// nohup does, and the processes started here would inherit that.
fn take_signals_as_ever() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: installs no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

fn tests() -> Vec<Test> {
    let of_each: &[(&str, OfMode)] = &tests_of_mode![
        counts::by_threads,
        counts::by_short_lived_processes,
        counts::by_process,
        counts::on_the_whole_host,
        counts::of_a_running_process,
        groups::by_thread,
        io_uring::operations_are_as_stated,
        io_uring::operations_of_children_by_process,
        io_uring::operations_of_a_running_process,
        io_uring::operations_in_scope_alone,
        io_uring::intervals_add_up,
        io_uring::multishot_requests_complete_once,
        io_uring::zero_copy_sends_have_a_notification,
        io_uring::polled_operations_are_as_stated,
        latency::is_what_the_workload_measured,
        latency::quantiles_are_within_the_bound,
        latency::time_preempted_is_time_in_the_call,
        room::a_stopped_reader_has_all_of_its_records,
        room::a_neighbour_s_idle_threads_leave_records,
        room::a_neighbour_s_many_calls_leave_room_for_figures,
        room::as_many_threads_as_configured_have_a_record,
        room::the_daemon_counts_what_is_withheld,
        memory::within_a_limit,
        memory::below_the_least,
        memory::a_daemon_within_a_limit,
        memory::a_daemon_below_the_least,
        privilege::two_capabilities_suffice,
        detach::after_an_interrupt,
        detach::after_a_kill,
        service::serves_exact_counts,
        service::serves_exact_counts_of_the_host,
        service::gives_up_its_privileges,
        confinement::started_as_root_it_becomes_nobody,
        in_flight::a_call_that_lasts_is_seen_at_once,
        in_flight::what_does_not_return_is_listed_at_the_end,
        in_flight::a_killed_thread_s_call_disappears,
        in_flight::threads_without_a_record_are_counted,
        in_flight::the_daemon_has_its_age,
        namespaces::own_calls_do_not_count_in_a_pid_namespace,
        namespaces::a_process_is_watched_without_proc,
        namespaces::ages_are_right_in_a_time_namespace,
        timed::none,
        timed::sample,
        timed::adaptive_sampling_times_all_below_its_limit,
        timed::without_room,
        timed::in_flight_is_seen,
        objects::every_query_has_the_best_object,
        failing::targets_are_as_stated,
        failing::reasons_are_as_stated,
        failing::more_than_there_are_rows,
        where_time::sleeps_are_waiting,
        where_time::time_preempted_is_runnable,
        where_time::turns_on_one_cpu,
        where_time::turns_on_any_cpu,
        where_time::of_a_sample_adds_up,
        where_time::without_room,
        own_cost::runs_are_calls,
    ];
    // These tests check only the user side, so they run with one object.
    let of_main: &[(&str, OfMode)] = &tests_of_mode![
        counts::by_interval,
        objects::the_free_stacks_are_filled_by_a_program,
        groups::by_thread_and_interval,
        groups::by_user,
        ending::too_few_open_files_are_told,
        shown::errors_are_named,
        shown::rows_are_chosen_by_their_errors,
        shown::waits_are_left_out,
        shown::buckets_are_the_latencies,
        user::a_command_runs_as_a_user,
        trace_calls::of_another_user_are_shown,
        service::ends_in_time,
        interrupt::a_command_ends_while_it_attaches,
        interrupt::a_daemon_ends_while_it_attaches,
        interrupt::a_daemon_is_reloaded_after_it_has_attached,
        namespaces::a_daemon_does_not_count_itself_in_a_pid_namespace,
        namespaces::a_daemon_s_ages_are_right_in_a_time_namespace,
        where_time::of_intervals_adds_up,
        where_time::the_daemon_exports_it,
        where_time::without_the_flag_there_is_none,
        failing::without_the_flag_there_is_none,
        own_cost::runs_of_intervals_are_calls,
        own_cost::a_command_s_calls_are_runs,
        own_cost::a_daemon_exports_runs_while_they_are_counted,
        memory::the_greatest_sizes_fit_into_the_unit_s_limit,
        own_cost::without_the_flag_there_is_none,
        own_cost::without_cap_sys_admin_it_says_what_is_missing,
        own_cost::top_shows_it,
        screen::of_processes_that_come_and_go,
        screen::of_threads,
        screen::explains_a_process,
        screen::of_operations,
        screen::of_containers,
        own_cost::a_daemon_s_flag_has_them_counted,
        own_cost::a_daemon_s_process_is_as_the_kernel_has_it,
    ];
    // What these look at differs only by where the tables are: in the arena, or in arrays, which
    // the fallback has too.
    let of_arena_and_arrays: &[(&str, OfMode)] = &tests_of_mode![
        timed::no_period_resonates,
        timed::adaptive_sampling_keeps_to_its_limit,
        timed::adaptive_sampling_follows_the_pace,
    ];
    let of_neither: &[(&str, fn())] = &tests![
        memory::doctor_says_what_fits,
        memory::the_greatest_sizes_start_at_once,
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
        origin::json_says_where_and_when_it_was_made,
        origin::tables_say_when_they_were_made,
        origin::a_table_is_ascii_unless_the_locale_is_utf_8,
        relay::each_signal_reaches_the_command_once,
        relay::a_signal_of_timeout_reaches_the_command_once,
        relay::ctrl_c_reaches_the_command_once_and_twice_ends_the_run,
        relay::a_command_inherits_signals_as_without_the_profiler,
        relay::a_command_inherits_closed_streams,
        streams::a_run_ends_when_nobody_reads_it,
        streams::a_command_outlives_the_reader_of_the_report,
        streams::a_report_that_cannot_be_written_is_an_error_of_its_own,
        streams::a_command_outlives_a_report_that_cannot_be_written,
        streams::a_signal_ends_a_run_whose_reader_does_not_read,
        ending::a_thread_is_no_process,
        namespaces::a_process_is_refused_in_a_pid_namespace,
        shown::a_terminal_is_told_that_it_counts,
        shown::names_that_no_process_has_are_told,
        user::ambient_capabilities_are_dropped,
        user::without_a_user_capabilities_are_as_without_the_profiler,
        user::who_may_not_change_user_is_told,
        privilege::without_any_it_names_what_is_missing,
        privilege::without_any_a_command_does_not_run,
        privilege::with_one_of_two_it_names_the_other,
        prometheus::scrapes_every_format,
        sockets::a_unix_socket_is_served_replaced_and_removed,
        sockets::sockets_of_systemd_are_served,
        tls::prometheus_scrapes_it_with_a_password_and_a_certificate,
        confinement::a_reload_is_as_the_user_that_it_has_become,
        confinement::doctor_tries_it,
        interrupt::doctor_ends_while_it_attaches,
        interrupt::a_first_process_ends_while_it_attaches,
        siege::holds_for_a_while,
        starved::a_daemon_beside_spinning_threads,
        consumers::three_consumers_share_an_engine,
        counts::by_name_and_by_abi,
        seccomp_profiles::a_profile_allows_what_a_workload_states,
        seccomp_profiles::a_check_finds_what_is_new,
        seccomp_profiles::a_profile_is_enforced_and_denials_are_counted,
        budget::a_run_is_held_to_what_a_workload_states,
        budget::a_run_writes_the_budget_of_the_next,
        budget::what_is_forbidden_exceeds_a_budget,
        budget::a_budget_that_cannot_be_checked_is_refused,
        explain::waits_are_named,
        explain::the_first_line_is_the_answer,
        explain::failed_paths_are_exact,
        explain::states_are_named,
        explain::a_process_that_ends_is_explained,
        explain::a_process_that_is_not_there_is_an_error,
        explain::without_privilege_it_says_what_is_missing,
        flame::of_every_call_is_exact,
        flame::without_frame_pointers_is_within_one_percent,
        flame::deviates_by_its_standard_error,
        flame::of_errors_has_the_callers_that_fail,
        flame::of_time_has_the_callers_that_wait,
        flame::of_a_running_process,
        flame::without_space_adds_up,
        trace_calls::are_in_order_with_arguments_and_results,
        trace_calls::with_second_pointers_are_followed,
        trace_calls::have_the_paths_of_their_files,
        trace_calls::of_many_threads_are_complete,
        trace_calls::left_out_and_printed_add_up,
        trace_calls::are_as_many_as_stated,
        trace_calls::of_a_running_process_and_its_children,
        trace_calls::that_are_denied_are_shown,
        trace_calls::that_are_denied_to_older_threads_are_shown,
        trace_calls::that_signals_break_are_shown,
        trace_calls::that_run_a_program_are_shown,
        trace_calls::of_children_are_shown,
        trace_calls::of_both_tables_are_shown,
        trace_calls::in_a_pid_namespace_have_ids_of_the_host,
        trace_filters::by_name,
        trace_filters::by_failure,
        trace_filters::by_errno,
        trace_filters::by_duration,
        trace_filters::by_name_of_the_process,
        trace_filters::by_cgroup,
        trace_filters::by_cgroup_on_the_whole_host,
        trace_filters::that_are_not_supported_are_refused,
        trace_filters::do_not_stop_a_command,
        trace_ends::a_command_s_exit_code_is_passed_on,
        trace_ends::the_ends_of_threads_are_shown,
        trace_ends::signals_have_their_senders,
        trace_ends::signals_of_the_kernel_have_no_sender,
        trace_ends::the_process_outlives_the_profiler,
        trace_ends::an_interrupt_prints_what_there_is,
        trace_ends::a_call_that_lasts_has_two_lines,
        trace_ends::a_reader_that_closes_ends_it,
        trace_ends::each_thread_has_a_file,
        trace_ends::without_privilege_it_names_what_is_missing,
        trace_ends::two_capabilities_suffice,
        trace_ends::of_a_32_bit_program_are_shown,
        trace_last::a_crash_leaves_the_last_calls_of_each_thread,
        trace_last::an_exit_code_leaves_the_last_calls,
        trace_last::a_call_leaves_the_calls_before_it,
        trace_last::overwritten_calls_are_counted,
        trace_last::threads_without_memory_are_counted,
        trace_last::long_arguments_are_cut,
        trace_last::a_request_prints_what_there_is,
        trace_last::lines_are_those_of_a_plain_trace,
        trace_last::invalid_combinations_are_refused,
    ];
    // These tests require functions that release builds lack. The builds for other kernels are
    // release builds.
    #[cfg(any(debug_assertions, feature = "object-override"))]
    let of_neither = &[
        of_neither,
        &tests![
            objects::a_refused_arena_is_shown,
            objects::two_objects_share_a_map,
            departed::ends_that_are_not_reported_are_noticed,
            departed::kernel_stacks_are_used_again_after_unreported_ends,
        ],
    ]
    .concat();
    let mut tests = Vec::new();
    for mode in Mode::ALL {
        let of_mode = format!("{mode:?}").to_lowercase();
        let of_main = if mode == Mode::Main { of_main } else { &[] };
        let of_two = if mode == Mode::Arrays { &[] } else { of_arena_and_arrays };
        for &(name, test) in of_each.iter().chain(of_main).chain(of_two) {
            let proved = move || match test(mode) {
                Ok(()) => Completion::Completed,
                Err(why) => Completion::ignored_with(why),
            };
            tests.push(as_test(format!("{of_mode}::{name}"), proved));
        }
        let cases = CASES.iter().filter(|case| mode == Mode::Main || !case.is_of_user_side());
        tests.extend(cases.map(|case| of_case(&of_mode, case, mode)));
    }
    let of_neither = of_neither.iter().map(|&(name, test)| {
        as_test(name.to_owned(), move || {
            test();
            Completion::Completed
        })
    });
    tests.extend(of_neither);
    tests
}

/// Runs a case of the conformance suite. If the case cannot run here, it is shown as ignored. In
/// CI, which installs the required programs, a missing program is a failure.
fn of_case(of_mode: &str, case: &'static Case, mode: Mode) -> Test {
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    Test::new(format!("{of_mode}::conformance::{}", case.name), move || {
        as_root()?;
        match case.run(mode) {
            Ok(()) => Ok(Completion::Completed),
            Err(skip) if in_ci && skip.can_be_mended() => Err(skip.to_string().into()),
            Err(skip) => Ok(Completion::ignored_with(skip)),
        }
    })
}

fn as_test(name: String, test: impl FnOnce() -> Completion + Send + 'static) -> Test {
    Test::new(name, move || {
        as_root()?;
        Ok(test())
    })
}

fn as_root() -> Result<(), Failed> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err("needs root: run it by `cargo xtask test`".into())
}
