//! Processes: how they are made and scheduled, and what they may do.

use profiler_common::call::Abi;

use super::{
    super::{Style, Value, constants},
    Structure,
    read::{Reader, address, of},
};

pub(super) static ALL: &[Structure] = &[
    Structure { name: "clone_args", bytes: |_| 88, decode: clone_args },
    Structure { name: "cap_user_header", bytes: |_| 8, decode: cap_header },
    Structure { name: "cap_user_data", bytes: |_| 24, decode: cap_data },
    Structure { name: "sched_attr", bytes: |_| 56, decode: sched_attr },
    Structure { name: "futex_waitv", bytes: |_| 24, decode: futex_waitv },
    Structure { name: "user_desc", bytes: |_| 16, decode: user_desc },
    Structure { name: "landlock_ruleset_attr", bytes: |_| 8, decode: landlock_ruleset },
    Structure { name: "landlock_path_beneath_attr", bytes: |_| 12, decode: landlock_path },
    Structure { name: "sembuf", bytes: |_| 6, decode: sembuf },
    Structure {
        name: "mq_attr",
        bytes: |abi| if abi == Abi::X86_64 { 64 } else { 32 },
        decode: mq_attr,
    },
    Structure { name: "io_uring_params", bytes: |_| 120, decode: io_uring_params },
    Structure { name: "perf_event_attr", bytes: |_| 64, decode: perf_event_attr },
];

fn clone_args(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    /// Bits of `flags` (linux/sched.h).
    const PIDFD: u64 = 0x1000;
    const SETTLS: u64 = 0x8_0000;
    const PARENT_SETTID: u64 = 0x10_0000;
    const CHILD_TID: u64 = 0x0120_0000;
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut reader = Reader::new(bytes, abi);
    let flags = reader.u64();
    reader.put("flags", constants::flags("clone3_flags", flags));
    let pointers = [(PIDFD, "pidfd"), (CHILD_TID, "child_tid"), (PARENT_SETTID, "parent_tid")];
    for (bits, name) in pointers {
        let pointer = reader.u64();
        if flags & bits != 0 {
            reader.put(name, address(pointer));
        }
    }
    let signal = reader.u64();
    reader.put("exit_signal", constants::signal(signal));
    let stack = reader.u64();
    reader.put("stack", address(stack));
    let size = reader.u64();
    reader.put("stack_size", Value::Hex(size));
    let tls = reader.u64();
    if flags & SETTLS != 0 {
        reader.put("tls", address(tls));
    }
    if bytes.len() >= 80 {
        let ids = reader.u64();
        let count = reader.u64();
        if ids != 0 || count != 0 {
            reader.put("set_tid", address(ids));
            reader.put("set_tid_size", Value::Unsigned(count));
        }
    }
    if bytes.len() >= 88 {
        let cgroup = reader.u64();
        if cgroup != 0 || flags & INTO_CGROUP != 0 {
            reader.put("cgroup", Value::Unsigned(cgroup));
        }
    }
    reader.done(false)
}

fn cap_header(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let version = reader.u32();
    reader.put("version", constants::one("cap_version", version));
    let pid = reader.i32();
    reader.put("pid", Value::Signed(pid));
    reader.done(false)
}

fn cap_data(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let mut sets = [0_u64; 3];
    sets.iter_mut().for_each(|set| *set = reader.u32());
    // The first version has 32 capabilities.
    if bytes.len() >= 24 {
        sets.iter_mut().for_each(|set| *set |= reader.u32() << 32);
    }
    for (name, set) in ["effective", "permitted", "inheritable"].into_iter().zip(sets) {
        reader.put(name, of(capabilities(set)));
    }
    reader.done(false)
}

/// `1<<CAP_CHOWN|1<<CAP_KILL`.
fn capabilities(set: u64) -> String {
    let mut rest = set;
    let mut names = Vec::new();
    for bit in 0..64 {
        if set >> bit & 1 == 1
            && let Some(name) = constants::name("capability", bit)
        {
            names.push(format!("1<<{name}"));
            rest &= !(1 << bit);
        }
    }
    if rest != 0 {
        // strace shows the upper half apart.
        let rest = if rest >> 32 << 32 == rest { rest >> 32 } else { rest };
        names.push(format!("{rest:#x}"));
    }
    if names.is_empty() { "0".to_owned() } else { names.join("|") }
}

fn sched_attr(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let size = reader.u32();
    reader.put("size", Value::Unsigned(size));
    let policy = reader.u32();
    reader.put("sched_policy", constants::one("sched_policy", policy));
    let flags = reader.u64();
    reader.put("sched_flags", constants::flags("sched_attr_flags", flags));
    let nice = reader.i32();
    reader.put("sched_nice", Value::Signed(nice));
    let priority = reader.u32();
    reader.put("sched_priority", Value::Unsigned(priority));
    for name in ["sched_runtime", "sched_deadline", "sched_period"] {
        let time = reader.u64();
        reader.put(name, Value::Unsigned(time));
    }
    if size >= 56 && bytes.len() >= 56 {
        for name in ["sched_util_min", "sched_util_max"] {
            let share = reader.u32();
            reader.put(name, Value::Unsigned(share));
        }
    }
    reader.done(false)
}

fn futex_waitv(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let value = reader.u64();
    reader.put("val", Value::Hex(value));
    let pointer = reader.u64();
    reader.put("uaddr", address(pointer));
    let flags = reader.u32();
    reader.put("flags", constants::flags("futex2_flags", flags));
    reader.done(false)
}

fn user_desc(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let number = reader.i32();
    reader.put("entry_number", Value::Signed(number));
    let base = reader.u32();
    reader.put("base_addr", of(format!("{base:#08x}")));
    let limit = reader.u32();
    reader.put("limit", of(format!("{limit:#08x}")));
    let bits = reader.u32();
    let fields = [
        ("seg_32bit", 0, 1),
        ("contents", 1, 3),
        ("read_exec_only", 3, 1),
        ("limit_in_pages", 4, 1),
        ("seg_not_present", 5, 1),
        ("useable", 6, 1),
    ];
    for (name, bit, mask) in fields {
        reader.put(name, Value::Unsigned(bits >> bit & mask));
    }
    if abi == Abi::X86_64 {
        reader.put("lm", Value::Unsigned(bits >> 7 & 1));
    }
    reader.done(false)
}

fn landlock_ruleset(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let access = reader.u64();
    reader.put("handled_access_fs", constants::flags("landlock_fs", access));
    reader.done(false)
}

fn landlock_path(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let access = reader.u64();
    reader.put("allowed_access", constants::flags("landlock_fs", access));
    let fd = reader.i32();
    reader.put("parent_fd", Value::Signed(fd));
    reader.done(false)
}

fn sembuf(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let number = reader.u16();
    reader.put("sem_num", Value::Unsigned(number));
    let change = reader.i16();
    reader.put("sem_op", Value::Signed(change));
    let flags = reader.u16();
    reader.put("sem_flg", constants::flags("semop_flags", flags));
    reader.done(false)
}

fn mq_attr(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let flags = reader.word();
    reader.put("mq_flags", constants::flags("file_flags", flags));
    for name in ["mq_maxmsg", "mq_msgsize", "mq_curmsgs"] {
        let number = reader.word().cast_signed();
        let number = if abi == Abi::X86_64 { number } else { i64::from(number as i32) };
        reader.put(name, Value::Signed(number));
    }
    reader.done(false)
}

fn io_uring_params(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let entries = [reader.u32(), reader.u32()];
    let flags = reader.u32();
    reader.put("flags", constants::flags("io_uring_setup_flags", flags));
    let cpu = reader.u32();
    reader.put("sq_thread_cpu", Value::Hex(cpu));
    let idle = reader.u32();
    reader.put("sq_thread_idle", Value::Unsigned(idle));
    // The kernel fills in the rest.
    if entries == [0, 0] {
        return reader.done(false);
    }
    for (name, count) in ["sq_entries", "cq_entries"].into_iter().zip(entries) {
        reader.put(name, Value::Unsigned(count));
    }
    let features = reader.u32();
    reader.put("features", constants::flags("io_uring_features", features));
    let queue = reader.u32();
    // IORING_SETUP_ATTACH_WQ
    if flags & 1 << 5 != 0 {
        reader.put("wq_fd", Value::Unsigned(queue));
    }
    let submission = ["head", "tail", "ring_mask", "ring_entries", "flags", "dropped", "array"];
    let completion = ["head", "tail", "ring_mask", "ring_entries", "overflow", "cqes", "flags"];
    for (name, names, at) in [("sq_off", submission, 40), ("cq_off", completion, 80)] {
        reader.seek(at);
        let fields = names.map(|name| Value::Unsigned(reader.u32()).named(name));
        reader.put(name, Value::Struct { fields: fields.into(), is_cut: false });
    }
    reader.done(false)
}

fn perf_event_attr(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    /// Bits that are shown if they are set, from bit 0 on, up to `precise_ip`.
    const BITS: [&str; 15] = [
        "disabled",
        "inherit",
        "pinned",
        "exclusive",
        "exclude_user",
        "exclude_kernel",
        "exclude_hv",
        "exclude_idle",
        "mmap",
        "comm",
        "freq",
        "inherit_stat",
        "enable_on_exec",
        "task",
        "watermark",
    ];
    /// The bits after `precise_ip`, from bit 17 on.
    const LATER_BITS: [&str; 21] = [
        "mmap_data",
        "sample_id_all",
        "exclude_host",
        "exclude_guest",
        "exclude_callchain_kernel",
        "exclude_callchain_user",
        "mmap2",
        "comm_exec",
        "use_clockid",
        "context_switch",
        "write_backward",
        "namespaces",
        "ksymbol",
        "bpf_event",
        "aux_output",
        "cgroup",
        "text_poke",
        "build_id",
        "inherit_thread",
        "remove_on_exec",
        "sigtrap",
    ];
    let mut reader = Reader::new(bytes, abi);
    let kind = reader.u32();
    reader.put("type", constants::one("perf_type", kind));
    let size = reader.u32();
    reader.put("size", constants::one("perf_attr_sizes", size));
    let config = reader.u64();
    reader.put("config", configuration(kind, config));
    let period = reader.u64();
    let sample = reader.u64();
    let format = reader.u64();
    let bits = reader.u64();
    let name = if bits >> 10 & 1 == 1 { "sample_freq" } else { "sample_period" };
    reader.put(name, Value::Unsigned(period));
    reader.put("sample_type", constants::flags("perf_sample_type", sample));
    reader.put("read_format", constants::flags("perf_read_format", format));
    for (bit, name) in BITS.into_iter().enumerate() {
        if bits >> bit & 1 == 1 {
            reader.put(name, Value::Unsigned(1));
        }
    }
    let precise = bits >> 15 & 3;
    let remark = match precise {
        0 => "arbitrary skid",
        1 => "constant skid",
        2 => "requested to have 0 skid",
        _ => "must have 0 skid",
    };
    let precise = Value::Remark(Box::new(Value::Unsigned(precise)), remark.into());
    reader.put("precise_ip", precise);
    for (at, name) in LATER_BITS.into_iter().enumerate() {
        if bits >> (17 + at) & 1 == 1 {
            reader.put(name, Value::Unsigned(1));
        }
    }
    if bits >> 38 != 0 {
        let rest = Value::Hex(bits >> 38);
        reader.put("__reserved_1", Value::Remark(Box::new(rest), "Bits 63..38".into()));
    }
    reader.done(true)
}

fn configuration(kind: u64, config: u64) -> Value {
    match kind {
        0 => constants::one("perf_hw", config),
        1 => constants::one("perf_sw", config),
        2 => Value::Unsigned(config),
        3 => {
            let name = |set, number| constants::one(set, number).to_string();
            let mut text = format!(
                "{}<<16|{}<<8|{}",
                name("perf_cache_result", config >> 16 & 0xff),
                name("perf_cache_op", config >> 8 & 0xff),
                name("perf_cache_id", config & 0xff)
            );
            if config >> 24 != 0 {
                text = format!("{:#x}<<24|{text}", config >> 24);
            }
            of(text)
        }
        _ => Value::Hex(config),
    }
}
