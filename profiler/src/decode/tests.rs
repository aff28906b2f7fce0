//! Lines of hand-made calls, as strace 6.1 prints them.

use profiler_common::call::{ABIS, Abi, CallKey};
use proptest::prelude::*;

use super::*;
use crate::{
    model::{Copied, Left, Part},
    names::table::Table,
    text::is_harmless,
};

fn key(abi: Abi, name: &str) -> CallKey {
    let on = Table::get().named(name).and_then(|call| call.on(abi));
    CallKey::of(abi, on.unwrap_or_else(|| panic!("{abi} has no {name}")).number)
}

/// A call that returned.
fn call(abi: Abi, name: &str, args: &[u64], result: i64) -> Call {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    Call {
        key: key(abi, name),
        args: all,
        entry_ns: Some(1),
        left: Some(Left { exit_ns: 2, result }),
        thread_ended_ns: None,
        is_denied: false,
        is_cut: false,
        parts: Vec::new(),
    }
}

/// Adds a part to the call: the first capture of `arg` that is copied at `when`.
fn with(mut call: Call, arg: u8, when: u8, bytes: &[u8], wanted: usize) -> Call {
    let plan = plan(call.key);
    let capture = plan.iter().position(|capture| capture.arg == arg && capture.when & when != 0);
    let capture = capture.unwrap_or_else(|| panic!("nothing is copied of argument {arg}"));
    let wanted = u64::try_from(wanted).expect("a length");
    call.parts.push(Part { capture, index: 0, copied: Copied::Bytes(bytes.to_vec()), wanted });
    call
}

fn line(call: &Call) -> String {
    decode(call, &Style::default()).text()
}

const IN: u8 = profiler_common::trace::AT_ENTRY;
const OUT: u8 = profiler_common::trace::AT_SUCCESS;

#[test]
fn texts_are_escaped_and_cut() {
    let elf = b"\x7fELF\x02\x01\x01\x03\0\0\0\0\0\0\0\0\x03\0>\0\x01\0\0\0\x20t\x02\0\0\0\0\0";
    let read = call(Abi::X86_64, "read", &[3, 0x7ffc_0000, 832], 832);
    assert_eq!(
        line(&with(read, 1, OUT, elf, 832)),
        r#"read(3, "\177ELF\2\1\1\3\0\0\0\0\0\0\0\0\3\0>\0\1\0\0\0 t\2\0\0\0\0\0"..., 832) = 832"#
    );
    let end = call(Abi::X86_64, "read", &[0, 0x7ffc_0000, 4096], 0);
    assert_eq!(line(&end), r#"read(0, "", 4096) = 0"#);
    let failed = call(Abi::X86_64, "read", &[9, 0x7ffc_0000, 4096], -9);
    assert_eq!(line(&failed), "read(9, 0x7ffc0000, 4096) = -1 EBADF (Bad file descriptor)");
    let write = call(Abi::I386, "write", &[1, 0x0804_0000, 3], 3);
    assert_eq!(line(&with(write, 1, IN, b"hi\n", 3)), r#"write(1, "hi\n", 3) = 3"#);
    let mkdir = call(Abi::X86_64, "mkdir", &[0x7ffc_0000, 0o755], 0);
    assert_eq!(line(&with(mkdir, 0, IN, b"/tmp/\"x\"", 8)), r#"mkdir("/tmp/\"x\"", 0755) = 0"#);
}

#[test]
fn numbers_have_the_width_of_their_type() {
    let null = call(Abi::X86_64, "brk", &[0], 0x5555_5555_e000);
    assert_eq!(line(&null), "brk(NULL) = 0x55555555e000");
    let chown = call(Abi::X86_64, "fchown", &[3, u64::MAX, 0xffff_ffff_0000_0001], 0);
    assert_eq!(line(&chown), "fchown(3, -1, 1) = 0");
    let seek = call(Abi::X86_64, "ftruncate", &[3, 0x1_0000_0000], 0);
    assert_eq!(line(&seek), "ftruncate(3, 4294967296) = 0");
    let umask = call(Abi::X86_64, "umask", &[0o77], 0o22);
    assert_eq!(line(&umask), "umask(077) = 022");
    let gone = call(Abi::X86_64, "exit_group", &[1], 0);
    assert_eq!(line(&gone), "exit_group(1) = ?");
    let key = CallKey::unknown(Abi::X86_64);
    let unknown = Call { key, ..call(Abi::X86_64, "read", &[1, 2], -38) };
    assert_eq!(
        line(&unknown),
        "syscall_0x1ff(0x1, 0x2, 0, 0, 0, 0) = -1 ENOSYS (Function not implemented)"
    );
}

#[test]
fn offsets_of_i386_are_in_two_registers() {
    let pread = call(Abi::I386, "pread64", &[3, 0x0804_0000, 2, 0x10, 1], 2);
    assert_eq!(line(&with(pread, 1, OUT, b"ab", 2)), r#"pread64(3, "ab", 2, 4294967312) = 2"#);
    let pread = call(Abi::X86_64, "pread64", &[3, 0x7ffc_0000, 2, 0x1_0000_0010], 2);
    assert_eq!(line(&with(pread, 1, OUT, b"ab", 2)), r#"pread64(3, "ab", 2, 4294967312) = 2"#);
    let failed = call(Abi::I386, "ftruncate64", &[3, 0xffff_ffff, 0xffff_ffff], -22);
    assert_eq!(line(&failed), "ftruncate64(3, -1) = -1 EINVAL (Invalid argument)");
}

#[test]
fn written_memory_is_shown_if_the_call_succeeded() {
    let pipe = call(Abi::X86_64, "pipe2", &[0x7ffc_0000, 0], 0);
    assert_eq!(line(&with(pipe, 0, OUT, &[3, 0, 0, 0, 4, 0, 0, 0], 8)), "pipe2([3, 4], 0) = 0");
    let failed = call(Abi::X86_64, "pipe2", &[0x7ffc_0000, 0], -24);
    assert_eq!(line(&failed), "pipe2(0x7ffc0000, 0) = -1 EMFILE (Too many open files)");
    let wait = call(Abi::X86_64, "wait4", &[u64::MAX, 0x7ffc_0000, 0, 0], 77);
    let status = |bytes: [u8; 4]| {
        line(&with(wait.clone(), 1, OUT, &bytes, 4)).replace(" && ", "&").replace("WSTOPSIG", "W")
    };
    assert_eq!(
        status([0, 3, 0, 0]),
        "wait4(-1, [{WIFEXITED(s)&WEXITSTATUS(s) == 3}], 0, NULL) = 77"
    );
    assert_eq!(
        status([0x8b, 0, 0, 0]),
        "wait4(-1, [{WIFSIGNALED(s)&WTERMSIG(s) == SIGSEGV&WCOREDUMP(s)}], 0, NULL) = 77"
    );
    assert_eq!(
        status([0x7f, 0x13, 0, 0]),
        "wait4(-1, [{WIFSTOPPED(s)&W(s) == SIGSTOP}], 0, NULL) = 77"
    );
}

#[test]
fn a_changed_length_shows_both_values() {
    let accept = call(Abi::X86_64, "accept", &[3, 0x1000, 0x2000], 4);
    let accept = with(accept, 2, IN, &[128, 0, 0, 0], 4);
    let line = line(&with(accept, 2, OUT, &[16, 0, 0, 0], 4));
    assert!(line.ends_with(", [128 => 16]) = 4"), "{line}");
}

#[test]
fn sets_of_signals_are_complemented_if_they_are_large() {
    let mask = |bytes: [u8; 8]| {
        let call = call(Abi::X86_64, "rt_sigsuspend", &[0x1000, 8], -514);
        line(&with(call, 0, IN, &bytes, 8))
    };
    let end = " = ? ERESTARTNOHAND (To be restarted if no handler)";
    assert_eq!(mask([2, 0x40, 0, 0, 0, 0, 0, 0]), format!("rt_sigsuspend([INT TERM], 8){end}"));
    assert_eq!(mask([0; 8]), format!("rt_sigsuspend([], 8){end}"));
    assert_eq!(mask([255; 8]), format!("rt_sigsuspend(~[], 8){end}"));
    assert_eq!(
        mask([255, 254, 251, 127, 254, 255, 255, 255]),
        format!("rt_sigsuspend(~[KILL STOP RTMIN RT_1], 8){end}")
    );
}

#[test]
fn vectors_show_what_was_transferred() {
    let mut readv = call(Abi::X86_64, "readv", &[3, 0x1000, 2], 5);
    let vectors: Vec<u8> =
        [0x2000_u64, 3, 0x3000, 10].iter().flat_map(|word| word.to_le_bytes()).collect();
    let wanted = |bytes: &[u8]| u64::try_from(bytes.len()).expect("a length");
    for (index, bytes) in [&vectors[..], b"abc", b"defghijklm"].into_iter().enumerate() {
        let copied = Copied::Bytes(bytes.to_vec());
        readv.parts.push(Part { capture: 0, index, copied, wanted: wanted(bytes) });
    }
    assert_eq!(
        line(&readv),
        r#"readv(3, [{iov_base="abc", iov_len=3}, {iov_base="de", iov_len=10}], 2) = 5"#
    );
}

#[test]
fn an_interrupted_line_has_two_pieces() {
    let mut read = with(call(Abi::X86_64, "read", &[3, 0x1000, 9], 2), 1, OUT, b"hi", 2);
    let decoded = decode(&read, &Style::default());
    assert_eq!(decoded.text_before_exit(), "read(3, ");
    assert_eq!(decoded.rest_text(), r#""hi", 9)"#);
    read.left = None;
    assert_eq!(decode(&read, &Style::default()).text(), "read(3, ");
}

#[test]
fn files_are_shown_on_request() {
    let mut close = call(Abi::X86_64, "close", &[3], 0);
    let plan = plan_with_files(close.key);
    let kind = profiler_common::trace::Kind::File as u8;
    let capture = plan.iter().position(|capture| capture.kind == kind).expect("a file");
    let copied = Copied::Bytes(b"/etc/passwd".to_vec());
    close.parts.push(Part { capture, index: 0, copied, wanted: 11 });
    assert_eq!(line(&close), "close(3) = 0");
    let style = Style { with_files: true, ..Style::default() };
    assert_eq!(decode(&close, &style).text(), "close(3</etc/passwd>) = 0");
}

#[test]
fn json_has_types_and_all_bytes() {
    let json = |call: &Call| as_json(&decode(call, &Style::default()));
    let write = call(Abi::X86_64, "write", &[1, 0x1000, 2], -11);
    assert_eq!(
        json(&with(write, 1, IN, b"\xff\0", 2)),
        r#"{"syscall":"write","args":{"fd":1,"buf":{"hex":"ff00","cut":false},"count":2},"result":-11,"errno":"EAGAIN"}"#
    );
    let unread = call(Abi::X86_64, "chdir", &[0x1000], 0);
    assert_eq!(json(&unread), r#"{"syscall":"chdir","args":{"filename":"0x1000"},"result":0}"#);
}

fn as_json(decoded: &Decoded) -> String {
    let mut json = Vec::new();
    crate::text::json::write(&mut json, decoded).expect("a vector takes everything");
    String::from_utf8(json).expect("UTF-8")
}

fn any_call() -> impl Strategy<Value = Call> {
    let part = (
        0..profiler_common::trace::CAPTURES + 1,
        prop_oneof![4 => Just(0_usize), 1 => 0..12_usize],
        prop_oneof![
            8 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Copied::Bytes),
            1 => Just(Copied::Fault),
            1 => Just(Copied::NoSpace),
        ],
        prop_oneof![any::<u64>(), 0..300_u64],
    );
    let part =
        part.prop_map(|(capture, index, copied, wanted)| Part { capture, index, copied, wanted });
    let number = || prop_oneof![any::<u64>(), 0..64_u64, Just(u64::MAX), Just(0x1000)];
    let args = prop::array::uniform6(number());
    let key = prop_oneof![
        9 => (0..ABIS.len(), 0..640_u32).prop_map(|(abi, nr)| CallKey::of(ABIS[abi], nr)),
        1 => any::<u32>().prop_map(CallKey),
    ];
    let result = prop::option::of(prop_oneof![any::<i64>(), -600..600_i64]);
    (key, args, result, prop::collection::vec(part, 0..10)).prop_map(
        |(key, args, result, parts)| Call {
            key,
            args,
            entry_ns: None,
            left: result.map(|result| Left { exit_ns: 0, result }),
            thread_ended_ns: None,
            is_denied: false,
            is_cut: false,
            parts,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn nothing_panics_or_prints_control_characters(
        call in any_call(),
        limit in 0..100_usize,
        is_verbose: bool,
        with_files: bool,
        is_raw: bool,
    ) {
        let style = Style { string_limit: limit, is_verbose, with_files, is_raw };
        let decoded = decode(&call, &style);
        let texts = [
            decoded.text(),
            decoded.call_text(),
            decoded.result_text(),
            decoded.text_before_exit(),
            decoded.rest_text(),
        ];
        for text in texts {
            prop_assert!(text.chars().all(is_harmless), "{text:?}");
        }
        let json = as_json(&decoded);
        prop_assert!(json.chars().all(is_harmless), "{json:?}");
    }
}
