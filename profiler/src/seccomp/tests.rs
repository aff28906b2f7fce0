//! Profiles of all formats, and what they do with calls.

use profiler_common::call::{Abi, CallKey};
use proptest::prelude::*;

use super::*;
use crate::model::{CallRow, Figures, Snapshot};

const DOCKER: &str = r#"{
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 1,
    "futureField": {"x": [1]},
    "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}
    ],
    "syscalls": [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "future": 7},
        {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
         "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
         "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["arm_fadvise64_64"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm"]}}
    ]
}"#;

fn docker() -> Profile {
    read_oci(DOCKER).expect("a profile")
}

fn with(cap: &str) -> Container {
    Container { caps: vec![cap.to_owned()] }
}

#[test]
fn a_profile_of_docker_is_judged_as_docker_and_runc_do() {
    let profile = docker();
    let plain = Container::default();
    let judge = |name| profile.judge(Arch::X86_64, name, &plain);
    assert_eq!(judge("read"), Verdict::Always(Action::Allow));
    assert_eq!(judge("mount"), Verdict::Always(Action::Errno(1)));
    assert_eq!(judge("clone3"), Verdict::Always(Action::Errno(38)));
    assert_eq!(judge("bpf"), Verdict::Always(Action::Errno(1)));
    let bpf = profile.judge(Arch::X86_64, "bpf", &with("CAP_BPF"));
    assert_eq!(bpf, Verdict::Always(Action::Allow));
    assert_eq!(judge("personality"), Verdict::ByArguments(vec![Action::Allow, Action::Errno(1)]));
    // Docker adds the sub-architectures, and no others.
    assert_eq!(profile.architectures, [Arch::X86_64, Arch::X86, Arch::X32]);
    assert_eq!(profile.judge(Arch::X86, "read", &plain), Verdict::Always(Action::Allow));
    assert_eq!(profile.judge(Arch::Arm, "read", &plain), Verdict::Always(Action::Errno(1)));
}

#[test]
fn conditions_are_compared() {
    let profile = docker();
    let plain = Container::default();
    let call = |name, arg| profile.judge_call(Arch::X86_64, name, &[arg, 0, 0, 0, 0, 0], &plain);
    assert_eq!(call("personality", 0), Action::Allow);
    assert_eq!(call("personality", 8), Action::Allow);
    assert_eq!(call("personality", 9), Action::Errno(1));
    // CLONE_NEWUSER is within the mask; CLONE_VM is not.
    assert_eq!(call("clone", 0x1000_0000), Action::Errno(1));
    assert_eq!(call("clone", 0x100), Action::Allow);
}

#[test]
fn unknown_fields_are_kept() {
    let written = write_oci(&docker());
    for kept in ["\"futureField\"", "\"future\": 7", "\"minKernel\": \"4.8\""] {
        assert!(written.contains(kept), "{kept}: {written}");
    }
    let again = read_oci(&written).expect("a profile");
    assert_eq!(again, docker());
}

#[test]
fn errors_name_the_place() {
    let fault = |text: &str| read_oci(text).expect_err("a mistake").to_string();
    assert_eq!(
        fault("{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n \"syscalls\": [}"),
        "line 2, column 15: expected value"
    );
    assert_eq!(fault("{}"), "line 1, column 2: missing field `defaultAction`");
    assert!(
        fault(r#"{"defaultAction": "ALLOW"}"#).starts_with(
            "defaultAction: unknown action \"ALLOW\": expected one of SCMP_ACT_ALLOW,"
        )
    );
    let of =
        |rule: &str| fault(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#));
    assert_eq!(
        of(r#"{"action":"SCMP_ACT_ALLOW"}"#),
        "syscalls[0]: the rule names no syscall: expected `names`"
    );
    assert_eq!(
        of(
            r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}"#
        ),
        "syscalls[0].args[0].index: 6: a syscall has the arguments 0 to 5"
    );
    assert!(
        of(r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":0,"op":"SCMP_CMP_EG"}]}"#)
            .starts_with("syscalls[0].args[0].op: unknown operator \"SCMP_CMP_EG\"")
    );
    assert_eq!(
        of(r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":4096}"#),
        "syscalls[0].action: errno 4096 is above 4095, the greatest"
    );
}

#[test]
fn unknown_names_and_contradictions_are_found() {
    let unknown = docker().check().expect("no contradiction");
    assert_eq!(unknown, []);
    let profile = read_oci(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["read","opennat"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    let unknown = profile.expect("a profile").check().expect("no contradiction");
    assert_eq!(unknown.len(), 1);
    assert_eq!(unknown[0].place, "syscalls[0].names[1]");
    assert!(unknown[0].problem.contains("openat"), "{}", unknown[0].problem);
    let profile = read_oci(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["read"],"action":"SCMP_ACT_ALLOW"},
            {"names":["write","read"],"action":"SCMP_ACT_KILL_PROCESS"}]}"#,
    );
    let error = profile.expect("a profile").check().expect_err("a contradiction");
    assert_eq!(
        error.to_string(),
        "syscalls[0] and syscalls[1]: read is allowed by one rule, and kills the process by the \
         other, with the same conditions"
    );
}

#[test]
fn filters_of_systemd_are_read_as_systemd_does() {
    let plain = Container::default();
    let judge = |text: &str, name: &str| {
        let profile = read_systemd(text).expect("a filter");
        profile.judge(Arch::X86_64, name, &plain)
    };
    let allow = "[Service]\nSystemCallFilter=@system-service\nSystemCallFilter=~@privileged\n\
                 SystemCallErrorNumber=EPERM\nSystemCallFilter=~openat2:ENOSYS\n";
    assert_eq!(judge(allow, "read"), Verdict::Always(Action::Allow));
    assert_eq!(judge(allow, "chroot"), Verdict::Always(Action::Errno(1)));
    assert_eq!(judge(allow, "openat2"), Verdict::Always(Action::Errno(38)));
    // The default group is always allowed.
    assert_eq!(judge("SystemCallFilter=read", "exit_group"), Verdict::Always(Action::Allow));
    assert_eq!(judge("SystemCallFilter=read", "write"), Verdict::Always(Action::KillProcess));
    let deny = "SystemCallFilter=~@mount ptrace:EACCES \\\n  # a comment\n  reboot\n";
    assert_eq!(judge(deny, "mount"), Verdict::Always(Action::KillProcess));
    assert_eq!(judge(deny, "ptrace"), Verdict::Always(Action::Errno(13)));
    assert_eq!(judge(deny, "reboot"), Verdict::Always(Action::KillProcess));
    assert_eq!(judge(deny, "read"), Verdict::Always(Action::Allow));
    // An empty assignment starts anew.
    let reset = "SystemCallFilter=~read\nSystemCallFilter=\nSystemCallFilter=write\n";
    assert_eq!(judge(reset, "read"), Verdict::Always(Action::KillProcess));
    for (text, place) in [
        ("[Service]\nSystemCallFilter=@nosuch\n", "line 2"),
        ("SystemCallFilter=raed\n", "line 1"),
        ("SystemCallFilter=read:ENOSUCH\n", "line 1"),
        ("SystemCallArchitectures=vax\n", "line 1"),
        ("[Unit]\nSystemCallFilter=read\n", "the file"),
    ] {
        assert_eq!(read_systemd(text).expect_err(text).place, place);
    }
}

/// An observation of these calls: how many, how many of them denied, how many with `ENOSYS`.
fn observed(calls: &[(Abi, &str, u64, u64, u64)]) -> Observation {
    let mut observation = Observation::default();
    let rows = calls.iter().map(|&(abi, name, calls, denied, enosys)| {
        let call = crate::names::table::Table::get().named(name).expect("a call");
        let number = call.on(abi).expect("on this ABI").number;
        let errnos = if enosys > 0 { vec![(38, enosys)] } else { Vec::new() };
        let figures = Figures { calls, denied, errnos, ..Figures::default() };
        CallRow::new(CallKey::of(abi, number), figures)
    });
    let snapshot = Snapshot { calls: rows.collect(), ..Snapshot::default() };
    observation.add(&snapshot, 5_000_000_000);
    observation.watched.processes = 1;
    observation
}

#[test]
fn a_profile_allows_what_was_seen() {
    let observation = observed(&[
        (Abi::X86_64, "read", 10, 0, 0),
        (Abi::X86_64, "openat2", 3, 0, 3),
        (Abi::X86_64, "keyctl", 0, 2, 0),
    ]);
    let plain = Container::default();
    let judge = |choices: &Choices, name: &str| {
        generate(&observation, choices).judge(Arch::X86_64, name, &plain)
    };
    let errno = Choices::default();
    assert_eq!(judge(&errno, "read"), Verdict::Always(Action::Allow));
    // It was denied while observed, so the program needs it.
    assert_eq!(judge(&errno, "keyctl"), Verdict::Always(Action::Allow));
    // The kernel lacks it, so the program has another way.
    assert_eq!(judge(&errno, "openat2"), Verdict::Always(Action::Errno(38)));
    // glibc may try clone3 (5.3), and never tries whether mount (1.0) exists.
    assert_eq!(judge(&errno, "clone3"), Verdict::Always(Action::Errno(38)));
    assert_eq!(judge(&errno, "mount"), Verdict::Always(Action::Errno(1)));
    assert_eq!(judge(&errno, "rt_sigreturn"), Verdict::Always(Action::Allow));
    let log = Choices { denial: Denial::Log, ..Choices::default() };
    assert_eq!(judge(&log, "mount"), Verdict::Always(Action::Log));
    let kill = Choices { denial: Denial::Kill, ..Choices::default() };
    assert_eq!(judge(&kill, "mount"), Verdict::Always(Action::KillProcess));
    // 32-bit calls were not seen: they are closed.
    let profile = generate(&observation, &errno);
    assert_eq!(profile.judge(Arch::X86, "read", &plain), Verdict::Always(Action::Errno(38)));
    assert_eq!(profile.check().expect("no contradiction"), []);
}

#[test]
fn relatives_are_allowed_if_their_class_is() {
    let observation = observed(&[(Abi::X86_64, "openat", 1, 0, 0), (Abi::X86_64, "poll", 1, 0, 0)]);
    let widen = vec!["%file".parse().expect("a class")];
    let profile = generate(&observation, &Choices { widen, ..Choices::default() });
    let judge = |name| profile.judge(Arch::X86_64, name, &Container::default());
    assert_eq!(judge("openat2"), Verdict::Always(Action::Allow));
    assert_ne!(judge("ppoll"), Verdict::Always(Action::Allow));
    let rule = profile.rules.iter().find(|rule| rule.names.iter().any(|name| name == "openat2"));
    assert!(rule.expect("a rule").comment.starts_with("Not seen."));
}

#[test]
fn observations_are_merged() {
    let one = observed(&[(Abi::X86_64, "read", 1, 0, 0)]);
    let two = observed(&[(Abi::X86_64, "read", 2, 0, 0), (Abi::I386, "write", 1, 0, 0)]);
    let merged = Observation::merge(&[one, two]);
    assert_eq!(merged.watched.observations, 2);
    assert_eq!(merged.watched.calls, 4);
    let read = merged.calls.iter().find(|seen| seen.syscall == "read").expect("read");
    assert_eq!((read.calls, read.observations), (3, 2));
    let texts: Vec<_> = notes(&merged).into_iter().map(|note| note.text).collect();
    assert!(
        texts.contains(&"Seen in only one of the observations (1): i386:write.".to_owned()),
        "{texts:?}"
    );
    assert_eq!(generate(&merged, &Choices::default()).architectures, [Arch::X86_64, Arch::X86]);
}

#[test]
fn losses_are_warnings() {
    let mut observation = observed(&[(Abi::X86_64, "read", 1, 0, 0)]);
    assert!(notes(&observation).iter().all(|note| !note.is_warning));
    observation.watched.lost = 1;
    assert!(notes(&observation).iter().any(|note| note.is_warning && note.text.contains("lost")));
}

/// The formats say the same: what is written and read again judges each call in the same way.
#[test]
fn the_formats_agree() {
    let observation = observed(&[(Abi::X86_64, "read", 1, 0, 0), (Abi::X86_64, "write", 1, 0, 0)]);
    let profile = generate(&observation, &Choices::default());
    let oci = read_oci(&write_oci(&profile)).expect("a profile");
    let systemd = read_systemd(&write_systemd(&profile, &[])).expect("a drop-in");
    let plain = Container::default();
    for call in crate::names::table::Table::get().calls() {
        if call.on(Abi::X86_64).is_none() {
            continue;
        }
        let expected = profile.judge(Arch::X86_64, call.name, &plain);
        assert_eq!(oci.judge(Arch::X86_64, call.name, &plain), expected, "{}", call.name);
        // systemd always allows its default group.
        if !call.systemd.contains(&"@default") {
            assert_eq!(systemd.judge(Arch::X86_64, call.name, &plain), expected, "{}", call.name);
        }
    }
}

proptest! {
    #[test]
    fn nothing_makes_the_parsers_panic(text in any::<String>()) {
        let _ = read_oci(&text);
        let _ = read_systemd(&text);
    }

    #[test]
    fn lines_of_units_do_not_make_the_parser_panic(
        lines in prop::collection::vec("(SystemCallFilter|SystemCallErrorNumber|SystemCallArchitectures)=~?[@a-z0-9: \\\\]{0,20}", 0..6),
    ) {
        let _ = read_systemd(&lines.join("\n"));
    }
}
