//! Passes the last reading from the drain loop to the HTTP server.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use super::body::{Bodies, Body};
use crate::{
    model::Times,
    present::metrics::{Exposition, Format},
};

/// Greatest age of a reading that is served without another drain, unless drains are expensive. It
/// also bounds the cost of many scrapes: ten drains a second.
pub const FRESH: Duration = Duration::from_millis(100);
/// How long a reader waits for a drain before it takes the last reading. Together with the time to
/// answer, a scrape stays below a second.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many readers may wait for a drain, unless there are few places for connections. Further readers
/// take the last reading, so that waiting readers never take all places.
pub const MAX_WAITING: usize = 64;
/// How late a drain may be before the daemon counts as unhealthy.
const GRACE: Duration = Duration::from_secs(5);

/// The result of one drain. Immutable, and shared by all answers.
#[derive(Debug)]
pub struct Reading {
    exposition: Exposition,
    taken: Instant,
    next_due: Instant,
    /// Greatest age at which this reading is served without another drain.
    fresh_for: Duration,
    /// The bodies are encoded for the first request, on the HTTP thread, and shared by all later
    /// ones.
    bodies: Bodies,
}

impl Reading {
    /// A reading of this moment. The next is due at `next_due`. A scrape triggers another drain
    /// only once this reading is older than both `shortest` and [`FRESH`].
    pub fn now(exposition: Exposition, next_due: Instant, shortest: Duration) -> Self {
        let fresh_for = shortest.max(FRESH);
        Self { exposition, taken: Instant::now(), next_due, fresh_for, bodies: Bodies::default() }
    }

    /// The metrics in a format, compressed if `gzip`; see [`Bodies::get`].
    pub fn body(&self, format: Format, gzip: bool) -> Option<Body> {
        self.bodies.get(&self.exposition, format, gzip)
    }
}

/// The end of the drain loop.
#[derive(Debug)]
pub struct Publisher {
    readings: watch::Sender<Option<Arc<Reading>>>,
    wanted: Arc<Notify>,
    scrapes: Arc<Mutex<Times>>,
}

/// The end of the readers.
#[derive(Clone, Debug)]
pub struct Feed {
    readings: watch::Receiver<Option<Arc<Reading>>>,
    wanted: Arc<Notify>,
    scrapes: Arc<Mutex<Times>>,
    waiting: Arc<AtomicUsize>,
    started: Instant,
}

/// Both ends, without a reading yet.
pub fn feed() -> (Publisher, Feed) {
    let (sender, readings) = watch::channel(None);
    let wanted = Arc::new(Notify::new());
    let scrapes = Arc::default();
    let publisher =
        Publisher { readings: sender, wanted: Arc::clone(&wanted), scrapes: Arc::clone(&scrapes) };
    let waiting = Arc::default();
    (publisher, Feed { readings, wanted, scrapes, waiting, started: Instant::now() })
}

impl Publisher {
    /// Replaces the last reading.
    pub fn publish(&self, reading: Reading) {
        self.readings.send_replace(Some(Arc::new(reading)));
    }

    /// The durations of the scrapes that were answered.
    pub fn scrapes(&self) -> Times {
        self.scrapes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when a reader requests a drain.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

impl Feed {
    /// The last reading, if there is one.
    pub fn latest(&self) -> Option<Arc<Reading>> {
        self.readings.borrow().clone()
    }

    /// A reading that is fresh ([`Reading::now`]), or the last one if no drain ends in time.
    pub async fn fresh(&self) -> Option<Arc<Reading>> {
        self.fresh_among(MAX_WAITING).await
    }

    /// Same as [`Self::fresh`], but takes the last reading if `most` readers wait for a drain already.
    pub async fn fresh_among(&self, most: usize) -> Option<Arc<Reading>> {
        let latest = self.latest()?;
        if latest.taken.elapsed() <= latest.fresh_for {
            return Some(latest);
        }
        let Some(_waiting) = Waiting::begin(&self.waiting, most) else { return Some(latest) };
        self.wanted.notify_one();
        let mut readings = self.readings.clone();
        let newer =
            readings.wait_for(|reading| reading.as_ref().is_some_and(|r| r.taken > latest.taken));
        match tokio::time::timeout(PATIENCE, newer).await {
            Ok(Ok(reading)) => reading.clone(),
            // The drain is too slow, or the daemon is about to end.
            Err(_) | Ok(Err(_)) => Some(latest),
        }
    }

    /// Records the duration of a scrape that was answered.
    pub fn scraped(&self, took: Duration) {
        self.scrapes.lock().unwrap_or_else(PoisonError::into_inner).add(took);
    }

    /// Whether no drain is overdue.
    pub fn is_alive(&self) -> bool {
        let due = self.latest().map_or(self.started, |reading| reading.next_due);
        Instant::now() <= due + GRACE
    }
}

/// A reader that waits for a drain, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    /// `None` if `most` wait already.
    fn begin(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let this = (waiting.fetch_add(1, Relaxed), Self(waiting));
        (this.0 < most).then_some(this.1)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
