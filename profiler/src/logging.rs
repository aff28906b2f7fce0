//! Logs to standard error, by a separate thread. If standard error is the journal, a prefix of each
//! message has its level (sd-daemon(3)).
//!
//! All information is in the message, because `journalctl` and `systemctl status` do not show the
//! fields of an event.

mod limit;
mod queue;

use std::{
    fmt, io,
    os::unix::fs::MetadataExt,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    reload::{self, Handle},
};

use self::{
    limit::{LeftOut, Limit, Limits},
    queue::{Queue, QueueWriter},
};
use crate::{model::Unlogged, streams::Stream};

/// How long the process waits at its end until the last messages are written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why the log cannot be started or changed.
#[derive(Debug, thiserror::Error)]
#[error("{context}: {source}")]
pub struct LoggingError {
    /// The failed operation.
    context: &'static str,
    /// The error of the kernel or of a library.
    source: io::Error,
}

/// The least severe level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Errors that end the daemon, or that leave something undone.
    Error,
    /// Also problems that an operator should look at.
    Warn,
    /// Also the actions of the daemon.
    Info,
    /// Also details of these actions.
    Debug,
    /// Also every drain.
    Trace,
}

/// A running log.
#[derive(Clone)]
pub struct Logging {
    filter: Handle<Targets, Registry>,
    queue: Arc<Queue>,
    limits: Arc<Limits>,
    to_journal: bool,
}

impl Logging {
    /// Starts the log of this process, for `tracing` and for the `log` crate, which aya and aya-log
    /// use. Messages are queued until [`Self::start_thread`].
    pub fn start(level: LogLevel) -> Result<Self, LoggingError> {
        let (filter, handle) = reload::Layer::new(targets(level));
        let (queue, limits) = (Arc::<Queue>::default(), Arc::<Limits>::default());
        let to_journal = stderr_is_journal();
        let output = output(Arc::clone(&queue), to_journal);
        let limit = Limit(Arc::clone(&limits));
        let subscriber = Registry::default().with(filter).with(limit).with(output);
        tracing::subscriber::set_global_default(subscriber)
            .map_err(|error| failed("cannot start the log", io::Error::other(error)))?;
        tracing_log::LogTracer::init()
            .map_err(|error| failed("cannot start the log", io::Error::other(error)))?;
        log::set_max_level(log_filter(level));
        Ok(Self { filter: handle, queue, limits, to_journal })
    }

    /// Starts the thread that writes. Call this after privileges are dropped, because each thread
    /// has privileges of its own.
    pub fn start_thread(&self) -> Result<(), LoggingError> {
        let (limits, to_journal) = (Arc::clone(&self.limits), self.to_journal);
        let say = move |dropped| {
            let left_out = limits.take_over(Instant::now());
            asides(dropped, left_out, to_journal)
        };
        self.queue
            .start(Stream::Error, say)
            .map_err(|source| failed("cannot start the log's thread", source))
    }

    /// Writes all queued messages, unless nobody reads them.
    pub fn finish(&self) {
        // If the thread cannot be started, the messages are lost, and the process ends anyway.
        let _ = self.start_thread();
        self.queue.flush(PATIENCE);
    }

    /// Number of messages that were not written so far.
    pub fn unlogged(&self) -> Unlogged {
        Unlogged { dropped: self.queue.dropped(), repeated: self.limits.left_out() }
    }

    /// Sets the least severe level that is logged.
    pub fn set_level(&self, level: LogLevel) -> Result<(), LoggingError> {
        self.filter
            .reload(targets(level))
            .map_err(|error| failed("cannot change the log level", io::Error::other(error)))?;
        log::set_max_level(log_filter(level));
        Ok(())
    }
}

/// The log's messages about dropped and repeated messages.
fn asides(dropped: u64, left_out: Vec<LeftOut>, to_journal: bool) -> Vec<Vec<u8>> {
    let dropped = (dropped > 0).then(|| {
        (Level::WARN, format!("{dropped} log messages were dropped: standard error was not read"))
    });
    let left_out = left_out.into_iter().map(|LeftOut { level, target, messages }| {
        (level, format!("{messages} further messages like those of {target} in the last minute"))
    });
    let line = |(level, text): (Level, String)| {
        let mut line = String::new();
        // A `String` takes everything.
        let _ = if to_journal {
            prefixed(&mut line, level, &text)
        } else {
            SystemTime.format_time(&mut Writer::new(&mut line)).and_then(|()| {
                fmt::Write::write_fmt(&mut line, format_args!(" {level:>5} {text}\n"))
            })
        };
        line.into_bytes()
    };
    dropped.into_iter().chain(left_out).map(line).collect()
}

/// Formats messages for the journal.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        prefixed(&mut writer, *event.metadata().level(), &text)
    }
}

/// Writes each line of `text` with a prefix for its level, which the journal reads (sd-daemon(3)).
fn prefixed(writer: &mut impl fmt::Write, level: Level, text: &str) -> fmt::Result {
    let priority = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    text.lines().try_for_each(|line| writeln!(writer, "<{priority}>{line}"))
}

fn failed(context: &'static str, source: io::Error) -> LoggingError {
    LoggingError { context, source }
}

/// The level applies to messages of the profiler, and of the kernel side, whose target is its crate
/// `profiler_ebpf`. For libraries (HTTP, the event loop, aya) the level is `warn`, because their
/// messages at `debug` do not help an operator.
fn targets(level: LogLevel) -> Targets {
    let level = level_filter(level);
    Targets::new().with_target("profiler", level).with_default(level.min(LevelFilter::WARN))
}

fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn log_filter(level: LogLevel) -> log::LevelFilter {
    match level {
        LogLevel::Error => log::LevelFilter::Error,
        LogLevel::Warn => log::LevelFilter::Warn,
        LogLevel::Info => log::LevelFilter::Info,
        LogLevel::Debug => log::LevelFilter::Debug,
        LogLevel::Trace => log::LevelFilter::Trace,
    }
}

fn output<S>(queue: Arc<Queue>, to_journal: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(move || QueueWriter(Arc::clone(&queue)))
        // If a message cannot be written, the library would report that with `eprintln!`, which
        // panics.
        .log_internal_errors(false);
    if to_journal {
        return layer.with_ansi(false).event_format(Journal).boxed();
    }
    layer.with_ansi(Stream::Error.allows_colour()).boxed()
}

/// Whether standard error is the socket of the journal: its inode is the one in `$JOURNAL_STREAM`
/// (systemd.exec(5)). The variable alone can be inherited.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    // Through /proc, because the standard library has no metadata of its streams.
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_gets_the_level_of_each_line() {
        let of = |level| {
            let mut text = String::new();
            prefixed(&mut text, level, "one\ntwo").expect("a string takes everything");
            text
        };
        assert_eq!(of(Level::ERROR), "<3>one\n<3>two\n");
        assert_eq!(of(Level::TRACE), "<7>one\n<7>two\n");
        let left_out = LeftOut { level: Level::WARN, target: "profiler::daemon", messages: 7 };
        let asides = asides(3, vec![left_out], true).concat();
        assert_eq!(
            String::from_utf8(asides).expect("text"),
            "<4>3 log messages were dropped: standard error was not read\n\
             <4>7 further messages like those of profiler::daemon in the last minute\n"
        );
    }

    #[test]
    fn only_our_own_messages_grow_with_the_level() {
        let debug = targets(LogLevel::Debug);
        assert!(debug.would_enable("profiler::daemon", &tracing::Level::DEBUG));
        assert!(debug.would_enable("profiler_ebpf::report", &tracing::Level::DEBUG));
        assert!(!debug.would_enable("aya::bpf", &tracing::Level::INFO));
        let error = targets(LogLevel::Error);
        assert!(!error.would_enable("hyper::proto", &tracing::Level::WARN));
    }
}
