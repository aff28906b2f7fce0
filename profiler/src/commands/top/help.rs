//! What the keys do.

/// Keys, and what they do.
pub(super) const KEYS: [(&str, &str); 20] = [
    ("Tab, 1 2 3", "processes, system calls, calls in flight"),
    ("i", "calls in flight; there w shows also those that wait by nature"),
    ("Up Down j k", "select; PgUp PgDn by page, End the last"),
    ("Home", "mark the first row, whichever it is"),
    ("Enter", "open: its system calls, its processes, its latencies"),
    ("h", "latencies of the selected row at once"),
    ("Esc", "clear the filter; then back"),
    ("< >", "sort by the column to the left, to the right"),
    ("r", "reverse the order"),
    ("/", "filter as you type; Enter keeps, Esc clears"),
    ("t", "figures of the last interval, or since the start"),
    ("c", "cost: time the profiler's programs in the kernel, which costs more"),
    ("p, Space", "pause the screen; counting goes on"),
    ("+ -", "refresh less often, more often"),
    ("q, Ctrl-C", "quit; Ctrl-Z suspends"),
    ("TIME", "wall time in calls, waiting included: it adds up over threads"),
    ("LATENCIES", "128 ns and less at the left, 2 s and more at the right"),
    ("lost", "calls that no figure holds; 0 is the only good value"),
    ("overflowed", "calls that are in the totals, but of no process"),
    ("own", "marked from 5% of a CPU on; drain from a tenth of the interval on"),
];

/// Columns that the keys take.
pub(super) const KEY_WIDTH: usize = 12;

/// The keys that matter most, for the last line.
pub(super) const HINTS: [(&str, &str); 10] = [
    ("?", "help"),
    ("q", "quit"),
    ("Enter", "open"),
    ("Esc", "back"),
    ("i", "in flight"),
    ("/", "filter"),
    ("< >", "sort"),
    ("t", "since start"),
    ("p", "pause"),
    ("h", "latencies"),
];
