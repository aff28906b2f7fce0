//! Times, timers, and what the kernel says of resources.

use profiler_common::call::Abi;

use super::{
    super::{Style, Value, constants},
    Structure,
    read::{Reader, address, clock_ticks, of},
};

pub(super) static ALL: &[Structure] = &[
    Structure { name: "timespec", bytes: |abi| 2 * long(abi), decode: timespec },
    Structure { name: "timespec64", bytes: |_| 16, decode: timespec64 },
    Structure { name: "timespec_utime", bytes: |abi| 2 * long(abi), decode: timespec_utime },
    Structure { name: "timespec64_utime", bytes: |_| 16, decode: timespec64_utime },
    Structure { name: "timeval", bytes: |abi| 2 * long(abi), decode: timeval },
    Structure { name: "timeval64", bytes: |_| 16, decode: timeval64 },
    Structure { name: "timeval_utime", bytes: |abi| 2 * long(abi), decode: timeval_utime },
    Structure { name: "timezone", bytes: |_| 8, decode: timezone },
    Structure { name: "utimbuf", bytes: |abi| 2 * long(abi), decode: utimbuf },
    Structure { name: "itimerval", bytes: |abi| 4 * long(abi), decode: itimerval },
    Structure { name: "itimerspec", bytes: |abi| 4 * long(abi), decode: itimerspec },
    Structure { name: "itimerspec64", bytes: |_| 32, decode: itimerspec64 },
    Structure {
        name: "timex",
        bytes: |abi| if abi == Abi::I386 { 128 } else { 208 },
        decode: timex,
    },
    Structure { name: "timex64", bytes: |_| 208, decode: timex64 },
    Structure {
        name: "rusage",
        bytes: |abi| if abi == Abi::I386 { 72 } else { 144 },
        decode: rusage,
    },
    Structure { name: "rlimit", bytes: |abi| 2 * long(abi), decode: rlimit },
    Structure { name: "rlimit64", bytes: |_| 16, decode: rlimit64 },
    Structure { name: "tms", bytes: |abi| 4 * long(abi), decode: tms },
    Structure {
        name: "sysinfo",
        bytes: |abi| if abi == Abi::I386 { 64 } else { 112 },
        decode: sysinfo,
    },
    Structure { name: "utsname", bytes: |_| 390, decode: utsname },
    Structure { name: "sigevent", bytes: |_| 64, decode: sigevent },
];

/// Bytes of a `long` in the structures that x32 shares with x86_64.
fn long(abi: Abi) -> usize {
    if abi == Abi::I386 { 4 } else { 8 }
}

/// A pair of numbers. The second one is unsigned, as strace shows it.
fn pair(reader: &mut Reader<'_>, wide: bool, names: [&'static str; 2]) -> (i64, u64, Value) {
    let (seconds, part) =
        if wide { (reader.i64(), reader.u64()) } else { (reader.long(), reader.ulong()) };
    let fields =
        vec![Value::Signed(seconds).named(names[0]), Value::Unsigned(part).named(names[1])];
    (seconds, part, Value::Struct { fields, is_cut: false })
}

const SPEC: [&str; 2] = ["tv_sec", "tv_nsec"];
const VAL: [&str; 2] = ["tv_sec", "tv_usec"];

fn timespec(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let (_, _, value) = pair(&mut reader, false, SPEC);
    reader.or_cut(value)
}

fn timespec64(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let (_, _, value) = pair(&mut reader, true, SPEC);
    reader.or_cut(value)
}

fn timeval(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let (_, _, value) = pair(&mut reader, false, VAL);
    reader.or_cut(value)
}

fn timeval64(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let (_, _, value) = pair(&mut reader, true, VAL);
    reader.or_cut(value)
}

fn timespec_utime(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    file_time(Reader::new(bytes, abi), false)
}

fn timespec64_utime(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    file_time(Reader::new(bytes, abi), true)
}

/// A time that utimensat(2) sets.
fn file_time(mut reader: Reader<'_>, wide: bool) -> Value {
    // UTIME_NOW and UTIME_OMIT (linux/stat.h).
    const NOW: u64 = 0x3fff_ffff;
    const OMIT: u64 = 0x3fff_fffe;
    let (seconds, part, value) = pair(&mut reader, wide, SPEC);
    let value = match part {
        NOW => of("UTIME_NOW"),
        OMIT => of("UTIME_OMIT"),
        _ => dated(value, seconds, part, 9),
    };
    reader.or_cut(value)
}

fn timeval_utime(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let (seconds, part, value) = pair(&mut reader, false, VAL);
    reader.or_cut(dated(value, seconds, part, 6))
}

/// A value with its date as a remark, if it is a valid time.
fn dated(value: Value, seconds: i64, part: u64, digits: u32) -> Value {
    if part >= 10_u64.pow(digits) {
        return value;
    }
    let fraction = match part {
        0 => String::new(),
        _ => format!(".{part:0digits$}", digits = digits as usize),
    };
    match date(seconds, &fraction) {
        Some(date) => Value::Remark(Box::new(value), date.into()),
        None => value,
    }
}

/// The date of a time since 1970 in UTC: `1970-01-01T00:00:01.5+0000`.
pub(in super::super) fn date(seconds: i64, fraction: &str) -> Option<String> {
    let days = seconds.div_euclid(86_400);
    let second = seconds.rem_euclid(86_400);
    // Years that begin in March, in eras of 400 years, so that a leap day ends a year.
    let day = days.checked_add(719_468)?;
    let era = day.div_euclid(146_097);
    let day = day.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) =
        (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    // strace shows years that strftime(3) can print.
    if !(0..=9999).contains(&year) {
        return None;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}+0000"))
}

fn timezone(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    for name in ["tz_minuteswest", "tz_dsttime"] {
        let number = reader.i32();
        reader.put(name, Value::Signed(number));
    }
    reader.done(false)
}

fn utimbuf(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    for name in ["actime", "modtime"] {
        let seconds = reader.long();
        reader.put(name, dated(Value::Signed(seconds), seconds, 0, 9));
    }
    reader.done(false)
}

/// An interval and a value.
fn timer(bytes: &[u8], abi: Abi, wide: bool, names: [&'static str; 2]) -> Value {
    let mut reader = Reader::new(bytes, abi);
    for name in ["it_interval", "it_value"] {
        let (_, _, value) = pair(&mut reader, wide, names);
        reader.put(name, value);
    }
    reader.done(false)
}

fn itimerval(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    timer(bytes, abi, false, VAL)
}

fn itimerspec(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    timer(bytes, abi, false, SPEC)
}

fn itimerspec64(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    timer(bytes, abi, true, SPEC)
}

fn timex(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    adjustment(Reader::new(bytes, abi))
}

fn timex64(bytes: &[u8], _: Abi, _: &Style) -> Value {
    adjustment(Reader::new(bytes, Abi::X86_64))
}

fn adjustment(mut reader: Reader<'_>) -> Value {
    let modes = reader.u32();
    reader.put("modes", constants::flags("timex_modes", modes));
    let put = |reader: &mut Reader<'_>, names: &[&'static str]| {
        for name in names {
            let number = reader.long();
            reader.put(name, Value::Signed(number));
        }
    };
    put(&mut reader, &["offset", "freq", "maxerror", "esterror"]);
    let status = reader.u32();
    reader.put("status", constants::flags("timex_status", status));
    put(&mut reader, &["constant", "precision", "tolerance"]);
    let (_, _, time) = pair(&mut reader, false, VAL);
    reader.put("time", time);
    put(&mut reader, &["tick", "ppsfreq", "jitter"]);
    let shift = reader.i32();
    reader.put("shift", Value::Signed(shift));
    put(&mut reader, &["stabil", "jitcnt", "calcnt", "errcnt", "stbcnt"]);
    let offset = reader.i32();
    reader.put("tai", Value::Signed(offset));
    reader.done(false)
}

fn rusage(bytes: &[u8], abi: Abi, style: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    for name in ["ru_utime", "ru_stime"] {
        let (_, _, value) = pair(&mut reader, false, VAL);
        reader.put(name, value);
    }
    if !style.is_verbose {
        return reader.done(true);
    }
    let counts = [
        "ru_maxrss",
        "ru_ixrss",
        "ru_idrss",
        "ru_isrss",
        "ru_minflt",
        "ru_majflt",
        "ru_nswap",
        "ru_inblock",
        "ru_oublock",
        "ru_msgsnd",
        "ru_msgrcv",
        "ru_nsignals",
        "ru_nvcsw",
        "ru_nivcsw",
    ];
    for name in counts {
        let count = reader.ulong();
        reader.put(name, Value::Unsigned(count));
    }
    reader.done(false)
}

fn rlimit(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    if abi == Abi::I386 {
        return limits(Reader::new(bytes, abi), Reader::u32, u64::from(u32::MAX), "RLIM_INFINITY");
    }
    rlimit64_of(bytes, abi)
}

fn rlimit64(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    rlimit64_of(bytes, abi)
}

fn rlimit64_of(bytes: &[u8], abi: Abi) -> Value {
    limits(Reader::new(bytes, abi), Reader::u64, u64::MAX, "RLIM64_INFINITY")
}

fn limits<'a>(
    mut reader: Reader<'a>,
    read: fn(&mut Reader<'a>) -> u64,
    infinity: u64,
    name_of_infinity: &'static str,
) -> Value {
    for name in ["rlim_cur", "rlim_max"] {
        let limit = read(&mut reader);
        let value = if limit == infinity {
            of(name_of_infinity)
        } else if limit > 1024 && limit.is_multiple_of(1024) {
            of(format!("{}*1024", limit / 1024))
        } else {
            Value::Unsigned(limit)
        };
        reader.put(name, value);
    }
    reader.done(false)
}

fn tms(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    for name in ["tms_utime", "tms_stime", "tms_cutime", "tms_cstime"] {
        let ticks = reader.ulong();
        reader.put(name, clock_ticks(ticks));
    }
    reader.done(false)
}

fn sysinfo(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let uptime = reader.long();
    reader.put("uptime", Value::Signed(uptime));
    let loads = [(); 3].map(|()| Value::Unsigned(reader.ulong()));
    reader.put("loads", Value::Array { items: loads.into(), is_cut: false });
    let names = ["totalram", "freeram", "sharedram", "bufferram", "totalswap", "freeswap"];
    for name in names {
        let number = reader.ulong();
        reader.put(name, Value::Unsigned(number));
    }
    let count = reader.u16();
    reader.put("procs", Value::Unsigned(count));
    reader.skip(2);
    for name in ["totalhigh", "freehigh"] {
        let number = reader.ulong();
        reader.put(name, Value::Unsigned(number));
    }
    let unit = reader.u32();
    reader.put("mem_unit", Value::Unsigned(unit));
    reader.done(false)
}

fn utsname(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    for name in ["sysname", "nodename"] {
        let text = reader.text(65);
        reader.skip(65);
        reader.put(name, Value::Text { bytes: text, is_cut: false });
    }
    reader.done(true)
}

fn sigevent(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let pointer = reader.word();
    let number = Value::Signed(i64::from((pointer as u32).cast_signed()));
    let value = vec![number.named("sival_int"), address(pointer).named("sival_ptr")];
    if pointer != 0 {
        reader.put("sigev_value", Value::Struct { fields: value, is_cut: false });
    }
    let signal = reader.u32();
    let notify = reader.u32();
    // SIGEV_SIGNAL, SIGEV_THREAD and SIGEV_THREAD_ID send a signal.
    let sends = matches!(notify, 0 | 2 | 4);
    let signal = if sends { constants::signal(signal) } else { Value::Unsigned(signal) };
    reader.put("sigev_signo", signal);
    reader.put("sigev_notify", constants::one("sigev_notify", notify));
    if notify == 2 {
        for name in ["sigev_notify_function", "sigev_notify_attributes"] {
            let pointer = reader.word();
            reader.put(name, address(pointer));
        }
    } else if notify == 4 {
        let thread = reader.i32();
        reader.put("sigev_notify_thread_id", Value::Signed(thread));
    }
    reader.done(false)
}
