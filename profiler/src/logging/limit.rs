//! Limits repeated messages: each place in the source logs at most [`BURST`] messages per minute.
//! At the end of the minute, one message says how many were not logged.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier};
use tracing_subscriber::{Layer, layer::Context};

/// The maximum number of messages per minute from one place.
const BURST: u64 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// Counts messages by their place in the source.
#[derive(Debug, Default)]
pub(super) struct Limits {
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    by_place: HashMap<Identifier, Place>,
    left_out: u64,
}

#[derive(Debug)]
struct Place {
    metadata: &'static Metadata<'static>,
    since: Instant,
    messages: u64,
}

/// Messages from one place that were not logged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) level: Level,
    /// The module of the place.
    pub(super) target: &'static str,
    pub(super) messages: u64,
}

impl Limits {
    /// Counts a message, and returns whether to log it.
    fn admits(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        // The levels debug and trace have no limit.
        if *metadata.level() > Level::INFO {
            return true;
        }
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Place { metadata, since: now, messages: 0 };
        let place = places.by_place.entry(metadata.callsite()).or_insert(new);
        place.messages += 1;
        let admits = place.messages <= BURST;
        places.left_out += u64::from(!admits);
        admits
    }

    /// Ends the minutes that are over, and returns the messages that were not logged in them.
    pub(super) fn take_over(&self, now: Instant) -> Vec<LeftOut> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |_: &_, place: &mut Place| now.duration_since(place.since) >= MINUTE;
        let over = places.by_place.extract_if(is_over).map(|(_, place)| place);
        let left_out = over.filter(|place| place.messages > BURST).map(|place| LeftOut {
            level: *place.metadata.level(),
            target: place.metadata.target(),
            messages: place.messages - BURST,
        });
        left_out.collect()
    }

    /// Number of messages that were not logged so far.
    pub(super) fn left_out(&self) -> u64 {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).left_out
    }
}

/// A filter that applies the limits to the layers of the log.
pub(super) struct Limit(pub(super) Arc<Limits>);

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.0.admits(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tracing_subscriber::{Registry, layer::SubscriberExt as _};

    #[derive(Clone, Default)]
    struct Count(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn ten_a_minute_and_the_rest_is_counted() {
        let (limits, count) = (Arc::<Limits>::default(), Count::default());
        let log = Registry::default().with(Limit(Arc::clone(&limits))).with(count.clone());
        let logged = |message: &dyn Fn()| {
            (0..100).for_each(|_| message());
            count.0.swap(0, Relaxed)
        };
        let start = Instant::now();
        tracing::subscriber::with_default(log, || {
            let warn = || tracing::warn!("a");
            assert_eq!(logged(&warn), 10);
            assert_eq!(logged(&|| tracing::warn!("another place")), 10);
            assert_eq!(logged(&|| tracing::debug!("b")), 100, "whoever debugs wants all");
            assert_eq!(limits.take_over(start), []);
            let told = LeftOut { level: Level::WARN, target: module_path!(), messages: 90 };
            let over = limits.take_over(Instant::now() + MINUTE);
            assert!(over.len() == 2 && over.iter().all(|left_out| *left_out == told), "{over:?}");
            assert_eq!(logged(&warn), 10, "a minute later");
            assert_eq!(limits.left_out(), 270);
        });
    }
}
