//! Formats the cells of columns from the figures of a row.

use std::borrow::Cow;

use profiler_common::call::{Abi, CallKey};

use super::{Column, SPREAD_CELLS, Unit, WHERE_CELLS};
use crate::{
    model::{
        Dimension, ENDED_COMM, Figures, Latency, Operations, Process, ThreadInFlight, nanoseconds,
    },
    names::{
        classes::{Category, Classes},
        operations, syscalls,
    },
    present::{
        bars,
        rows::{self, Row},
        units,
    },
    text::Untrusted,
};

/// A row, as the source of its cells.
pub trait Source {
    /// The process, if the row is of one.
    fn process(&self) -> Option<&Process>;

    /// The name of the process or processes.
    fn comm(&self) -> Option<&Untrusted> {
        self.process().map(|process| &process.comm)
    }

    /// The syscall, if the row is of one.
    fn call(&self) -> Option<CallKey>;

    /// The ABI, if the row is of one.
    fn abi(&self) -> Option<Abi> {
        self.call().and_then(CallKey::abi)
    }

    /// The category of syscalls, if rows are grouped by category.
    fn category(&self) -> Option<&'static str> {
        None
    }

    /// The classes of syscalls, if rows are grouped by class.
    fn classes(&self) -> Option<Classes> {
        None
    }

    /// The thread, if the row is of a call in flight.
    fn thread(&self) -> Option<&ThreadInFlight> {
        None
    }

    /// The thread id, if the row is of one thread.
    fn tid(&self) -> Option<u32> {
        self.thread().map(|thread| thread.tid)
    }

    /// The own name of the thread, if the row is of one thread.
    fn thread_comm(&self) -> Option<&Untrusted> {
        None
    }

    /// The opcode and the figures, if the row is of operations of io_uring.
    fn operations(&self) -> Option<(Option<u8>, &Operations)> {
        None
    }

    /// The name of the cgroup, unit, container or pod, if rows are grouped by it, and it is known.
    fn place(&self, _dimension: Dimension) -> Option<String> {
        None
    }

    /// The user of the process, if that is known.
    fn user(&self) -> Option<String> {
        None
    }

    /// How many ended processes or threads of one name the row stands for; 1 for any other row.
    fn members(&self) -> usize {
        1
    }

    /// The syscall with the largest figure of the sort key.
    fn top_call(&self) -> Option<CallKey> {
        None
    }

    /// The sum of a figure over all calls of the row.
    fn sum(&self, of: fn(&Figures) -> u64) -> u64;

    /// All figures of the row. Expensive if latencies of several syscalls have to be merged.
    fn figures(&self) -> Cow<'_, Figures>;

    /// The maximum latency, nanoseconds.
    fn max_ns(&self) -> u64 {
        self.figures().max_ns()
    }

    /// Calls that have not returned.
    fn in_flight(&self) -> u64 {
        self.sum(Figures::in_flight)
    }
}

impl Source for Row {
    fn process(&self) -> Option<&Process> {
        self.process().map(AsRef::as_ref)
    }

    fn comm(&self) -> Option<&Untrusted> {
        self.comm()
    }

    fn call(&self) -> Option<CallKey> {
        self.call()
    }

    fn abi(&self) -> Option<Abi> {
        self.abi()
    }

    fn category(&self) -> Option<&'static str> {
        self.category()?.map(Category::name)
    }

    fn classes(&self) -> Option<Classes> {
        self.classes()
    }

    fn tid(&self) -> Option<u32> {
        self.thread().map(|thread| thread.tid)
    }

    fn thread_comm(&self) -> Option<&Untrusted> {
        self.thread().map(|thread| &thread.comm)
    }

    fn place(&self, dimension: Dimension) -> Option<String> {
        self.place(dimension)?.name(dimension)
    }

    fn user(&self) -> Option<String> {
        self.user().map(ToString::to_string)
    }

    fn sum(&self, of: fn(&Figures) -> u64) -> u64 {
        of(&self.figures)
    }

    fn figures(&self) -> Cow<'_, Figures> {
        Cow::Borrowed(&self.figures)
    }

    fn in_flight(&self) -> u64 {
        self.in_flight
    }
}

/// A call in flight has no figures.
impl Source for ThreadInFlight {
    fn process(&self) -> Option<&Process> {
        Some(&self.process)
    }

    fn call(&self) -> Option<CallKey> {
        Some(self.key)
    }

    fn thread(&self) -> Option<&ThreadInFlight> {
        Some(self)
    }

    fn sum(&self, _of: fn(&Figures) -> u64) -> u64 {
        0
    }

    fn figures(&self) -> Cow<'_, Figures> {
        Cow::Owned(Figures::default())
    }
}

/// The sum of all rows, for shares.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whole {
    /// Time, nanoseconds.
    pub time_ns: u64,
    /// Calls.
    pub calls: u64,
}

/// How figures are formatted.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// For reports: exact counts with thousands separators.
    Exact,
    /// For screens: at most seven characters.
    Short {
        /// The length of the span in seconds, if figures are per second.
        per_second: Option<f64>,
        /// Whether characters beyond ASCII may be used.
        unicode: bool,
    },
}

impl Form {
    const fn unicode(self) -> bool {
        match self {
            Self::Exact => true,
            Self::Short { unicode, .. } => unicode,
        }
    }
}

impl Column {
    /// The figure of a row: a count, or nanoseconds; `None` for a column of names or ids.
    pub fn figure(self, source: &impl Source) -> Option<u64> {
        let quantile = |quantile: f64| {
            let [ns] = source.figures().quantiles([quantile]);
            ns
        };
        Some(match self {
            Self::Calls | Self::CallShare => source.sum(|f| f.calls),
            Self::Errors => source.sum(|f| f.errors),
            Self::Time | Self::Share | Self::Spread | Self::Where => {
                source.sum(Figures::estimated_total_ns)
            }
            Self::OnCpu => source.sum(Figures::estimated_on_cpu_ns),
            Self::Waiting => source.sum(Figures::estimated_waiting_ns),
            Self::Runnable => source.sum(Figures::estimated_runnable_ns),
            Self::Mean => {
                let weight = source.sum(Figures::weight);
                source.sum(Figures::weighted_ns).checked_div(weight).unwrap_or(0)
            }
            Self::P50 => quantile(0.5),
            Self::P99 => quantile(0.99),
            Self::Max => source.max_ns(),
            Self::Denied => source.sum(|f| f.denied),
            Self::InFlight => source.in_flight(),
            Self::Restarted => source.sum(|f| f.restarted),
            Self::NoReturn => source.sum(|f| f.never_returned),
            Self::Lost => source.sum(|f| f.lost),
            Self::Submitted => source.operations()?.1.submitted,
            Self::Completed => source.operations()?.1.completed,
            Self::Posted => source.operations()?.1.posted,
            Self::Age => nanoseconds(source.thread()?.age),
            Self::Pid
            | Self::Tid
            | Self::User
            | Self::Comm
            | Self::Thread
            | Self::Cgroup
            | Self::Unit
            | Self::Container
            | Self::Pod
            | Self::Abi
            | Self::Category
            | Self::Class
            | Self::Call
            | Self::ErrorsByName
            | Self::Operation
            | Self::TopCall
            | Self::Kind => return None,
        })
    }

    /// The text of the cell of a row. Empty if the row has no such figure.
    pub fn cell(self, source: &impl Source, whole: Whole, form: Form) -> String {
        let name = |name: Option<&Untrusted>| name.map(ToString::to_string);
        let place = |of| Some(source.place(of).unwrap_or_else(|| units::NONE.into()));
        let thread = source.thread();
        let text = match self {
            Self::Pid => source.process().map(|process| id(process.tgid, source.members(), form)),
            Self::Tid => Some(id(source.tid(), source.members(), form)),
            Self::Thread => Some(name(source.thread_comm()).unwrap_or_else(|| {
                let is_of_process = source.process().is_some_and(|process| process.tgid.is_some());
                if is_of_process { ENDED_COMM.into() } else { String::new() }
            })),
            Self::User => Some(source.user().unwrap_or_else(|| units::NONE.into())),
            Self::Cgroup => place(Dimension::Cgroup),
            Self::Unit => place(Dimension::Unit),
            Self::Container => place(Dimension::Container),
            Self::Pod => place(Dimension::Pod),
            Self::Comm => name(source.comm()),
            Self::Abi => source.abi().map(|abi| abi.name().to_owned()),
            Self::Category => Some(source.category().unwrap_or(units::NONE).to_owned()),
            Self::Class => source.classes().map(|classes| classes.to_string()),
            Self::Call => source.call().map(syscalls::name_with_abi),
            Self::Operation => {
                source.operations().map(|(opcode, _)| operations::name(opcode).into_owned())
            }
            Self::ErrorsByName => Some(rows::errors_by_name(&source.figures()).join(", ")),
            Self::TopCall => {
                let name = source.top_call().map(syscalls::name_with_abi);
                Some(name.unwrap_or_else(|| units::NONE.into()))
            }
            Self::Spread => Some(spread(&source.figures().latency, form.unicode())),
            Self::Where => {
                let parts = [
                    source.sum(Figures::estimated_on_cpu_ns),
                    source.sum(Figures::estimated_runnable_ns),
                    source.sum(Figures::estimated_waiting_ns),
                ];
                Some(bars::stacked(parts, WHERE_CELLS, form.unicode()))
            }
            Self::Age => thread.map(units::age_of),
            Self::Kind => thread.map(|thread| thread.kind.title().to_owned()),
            _ => self.figure(source).map(|figure| self.figure_text(figure, source, whole, form)),
        };
        text.unwrap_or_default()
    }

    fn figure_text(self, figure: u64, source: &impl Source, whole: Whole, form: Form) -> String {
        let whole = if self == Self::CallShare { whole.calls } else { whole.time_ns };
        let text = match (self.spec().unit, form) {
            (Unit::Latency, _) => units::latency(figure, source.sum(Figures::timed)),
            (Unit::Count, Form::Exact) if figure == 0 && self.spec().expendable > 0 => {
                String::new()
            }
            (Unit::Count, Form::Exact) => units::grouped(figure),
            (Unit::Count, Form::Short { per_second: Some(seconds), .. }) => {
                units::rate(figure, seconds)
            }
            (Unit::Count, Form::Short { .. }) => units::count(figure),
            (Unit::Share, Form::Exact) => share(figure, whole),
            (Unit::Share, Form::Short { .. }) if whole == 0 => units::NONE.into(),
            (Unit::Share, Form::Short { .. }) => units::percent(figure as f64 / whole as f64),
            (_, Form::Exact) => units::time(figure),
            (_, Form::Short { .. }) if figure == 0 => units::NONE.into(),
            (_, Form::Short { per_second: Some(seconds), .. }) if seconds <= 0.0 => {
                units::NONE.into()
            }
            (_, Form::Short { per_second: Some(seconds), .. }) => {
                units::time((figure as f64 / seconds).round() as u64)
            }
            (_, Form::Short { .. }) => units::time(figure),
        };
        let is_estimate = || source.sum(|f| f.is_sample().into()) > 0;
        if self.spec().unit == Unit::Time && figure > 0 && is_estimate() {
            return format!("~{text}");
        }
        text
    }
}

/// A share of a whole in percent, without the sign.
pub(in crate::present) fn share(part: u64, whole: u64) -> String {
    format!("{:.1}", 100.0 * part as f64 / whole.max(1) as f64)
}

/// An id. For several processes or threads, their number.
fn id(id: Option<u32>, members: usize, form: Form) -> String {
    match id {
        Some(id) => id.to_string(),
        None if members > 1 => {
            let times = if form.unicode() { '\u{d7}' } else { 'x' };
            format!("{times}{}", units::count(members as u64))
        }
        None => units::NONE.into(),
    }
}

/// A sparkline of [`SPREAD_CELLS`] characters. Each character stands for two octaves from 128 ns
/// up, the same in every row, so that rows can be compared. The last character includes all longer
/// latencies.
fn spread(latency: &Latency, unicode: bool) -> String {
    /// Buckets in a character: two octaves.
    const BUCKETS: usize = 16;
    let mut cells = [0_u64; SPREAD_CELLS];
    for (bucket, count) in latency.iter() {
        cells[(bucket / BUCKETS).min(SPREAD_CELLS - 1)] += count;
    }
    bars::sparkline(&cells, unicode)
}

#[cfg(test)]
mod tests {
    use profiler_common::hist;

    use super::*;

    #[test]
    fn the_spread_puts_two_octaves_in_a_character() {
        let latency: Latency = [(0, 800), (15, 800), (16, 400), (64, 1)].into_iter().collect();
        assert_eq!(spread(&latency, false), "#:  .         ");
        assert_eq!(spread(&Latency::default(), false), " ".repeat(SPREAD_CELLS));
        let slow: Latency = [(hist::BUCKETS - 1, 1)].into_iter().collect();
        assert_eq!(spread(&slow, false), "             #");
    }
}
