//! Sections of the manual pages that come after the options.

use profiler::{commands::top::help as top, present::columns};

/// Exit codes of every command, and what each means. `profiler --help` lists them too.
const EXIT_CODES: [(&str, &str); 13] = [
    ("0", "Success, also if the reader of the output closed its end."),
    ("1", "Another failure, for example too few open files."),
    ("2", "The command line is wrong."),
    ("3", "A privilege or memory is missing."),
    ("4", "The kernel lacks a feature."),
    ("5", "The kernel refused a program."),
    ("6", "There is no such process."),
    ("7", "The configuration is wrong."),
    ("8", "The daemon cannot listen on its address."),
    ("9", "The output cannot be written."),
    ("10", "The run exceeded its budget, or may have done so."),
    ("126", "The command cannot be run."),
    ("127", "The command was not found."),
];

const FILES_OF_STAT: [(&str, &str); 3] = [
    ("/proc/PID/comm", "The name of a process, which --comm matches."),
    ("/sys/fs/cgroup", "The cgroups that --cgroup, --unit, --container and --pod name."),
    (
        "/sys/kernel/btf/vmlinux",
        "The kernel's type information (BTF), with the offsets of the fields that programs read.",
    ),
];

const FILES_OF_TOP: [(&str, &str); 2] = [
    (
        "/proc/PID/cmdline, status, stat",
        "The command line and the user of a process. `top` reads them once, for processes on the \
         screen.",
    ),
    ("/etc/passwd", "The names of users."),
];

const FILES_OF_DAEMON: [(&str, &str); 1] = [("/etc/profiler/profiler.toml", "The configuration.")];

const PAGES: [&str; 12] = [
    "profiler",
    "profiler-completions",
    "profiler-daemon",
    "profiler-doctor",
    "profiler-explain",
    "profiler-flame",
    "profiler-metrics",
    "profiler-seccomp",
    "profiler-stat",
    "profiler-syscalls",
    "profiler-top",
    "profiler-trace",
];

/// All sections after the options, as roff. `help` is what `--help` prints after the options.
pub(crate) fn of(name: &str, help: &str) -> String {
    let mut text = after_help(help);
    if name == "profiler-stat" {
        text += &list("COLUMNS", columns::help());
        text += ".PP\nA column appears only if it is not empty, or if it is one of the first.\n";
        text += &list("FILES", FILES_OF_STAT);
    }
    if name == "profiler-top" {
        let listed = |items: &'static [(&str, &str)]| items.iter().copied();
        text += &list("KEYS", listed(top::KEYS));
        text += &list("HEADER", listed(top::HEADER));
        text += &list("COLUMNS", listed(top::LISTS));
        text += &list("FILES", FILES_OF_TOP);
    }
    if ["profiler-daemon", "profiler-metrics"].contains(&name) {
        text += &list("FILES", FILES_OF_DAEMON);
    }
    text += &list("\"EXIT STATUS\"", EXIT_CODES);
    if name == "profiler-stat" {
        text += ".PP\nOtherwise, with a command, the exit status is that of the command. If a signal \
                 ended the command, the exit status is 128 plus the number of the signal.\n";
    }
    let others = PAGES.iter().filter(|page| **page != name);
    let mut others: Vec<_> = others.map(|page| format!(".BR {} (1)", escaped(page))).collect();
    if name == "profiler-stat" {
        others.push(".BR strace (1)".into());
    }
    if name == "profiler-syscalls" {
        others.extend(["strace (1)", "syscalls (2)", "vdso (7)"].map(|page| format!(".BR {page}")));
    }
    text + ".SH \"SEE ALSO\"\n" + &others.join(",\n") + "\n"
}

/// A section that lists terms and what they mean.
fn list<'a>(title: &str, items: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let items = items.into_iter();
    let items = items.map(|(term, help)| format!(".TP\n.B {}\n{}\n", escaped(term), escaped(help)));
    format!(".SH {title}\n{}", items.collect::<String>())
}

/// Converts the text after the options. `Examples:` begins a section, indented lines stay as they
/// are, and all other lines are paragraphs.
fn after_help(help: &str) -> String {
    let mut text = String::new();
    let mut in_notes = false;
    let mut preformatted = false;
    let mut skipped = false;
    for line in help.lines() {
        let is_indented = line.starts_with("  ");
        if preformatted && !is_indented {
            text += ".EE\n";
        } else if is_indented && !preformatted {
            text += ".PP\n.EX\n";
        }
        preformatted = is_indented;
        match line {
            // The section EXIT STATUS has the exit codes, so skip this paragraph.
            line if line.starts_with("Exit codes:") => skipped = true,
            "" if skipped => skipped = false,
            _ if skipped => {}
            "Examples:" | "Start with:" => text += ".SH EXAMPLES\n",
            "" => {
                if !in_notes {
                    text += ".SH NOTES\n";
                    in_notes = true;
                }
                text += ".PP\n";
            }
            line => text += &format!("{}\n", escaped(line.strip_prefix("  ").unwrap_or(line))),
        }
    }
    if preformatted {
        text += ".EE\n";
    }
    text
}

/// Text as roff(7) prints it unchanged.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\(rs").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}
