//! Where log messages go: to the journal under systemd, else to standard error.
//!
//! What is to be read stands in the message itself: `journalctl` and `systemctl
//! status` show that, and none of an event's fields.

use std::{io, os::unix::fs::MetadataExt};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::SubscriberExt,
    reload::{self, Handle},
};

use crate::{config::LogLevel, error::Error, streams::Stream};

/// Changes the level of a running log.
pub struct Logging {
    filter: Handle<Targets, Registry>,
}

impl Logging {
    /// Starts the log of this process, for `tracing` and for the `log` crate, which
    /// aya and aya-log use.
    pub fn start(level: LogLevel) -> Result<Self, Error> {
        let (filter, handle) = reload::Layer::new(targets(level));
        let subscriber = Registry::default().with(filter).with(output());
        tracing::subscriber::set_global_default(subscriber)
            .map_err(|error| failed("cannot start the log", io::Error::other(error)))?;
        tracing_log::LogTracer::init()
            .map_err(|error| failed("cannot start the log", io::Error::other(error)))?;
        log::set_max_level(log_filter(level));
        Ok(Self { filter: handle })
    }

    /// From now on, logs from `level` up.
    pub fn set_level(&self, level: LogLevel) -> Result<(), Error> {
        self.filter
            .reload(targets(level))
            .map_err(|error| failed("cannot change the log level", io::Error::other(error)))?;
        log::set_max_level(log_filter(level));
        Ok(())
    }
}

fn failed(context: &'static str, source: io::Error) -> Error {
    Error::Io { context, source }
}

/// What lies below us (HTTP, the event loop, aya) says much at `debug` that tells an
/// operator nothing, so the level is ours only; theirs is `warn`. Ours includes what
/// the kernel side says, under the name of its crate, `profiler_ebpf`.
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

fn output<S>() -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
{
    if stderr_is_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        return journal.boxed();
    }
    tracing_subscriber::fmt::layer()
        .with_writer(|| Stream::Error)
        // Of a message that cannot be written: it would be printed to the same place, by
        // `eprintln!`, which panics.
        .log_internal_errors(false)
        .with_ansi(Stream::Error.allows_colour())
        .boxed()
}

/// Whether standard error is the journal's socket, and not one that the variable
/// was merely inherited with (systemd.exec(5), `$JOURNAL_STREAM`).
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    // By way of /proc, as the standard library shows no metadata of its streams.
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
