//! Looks up the names of users.
//!
//! The user database can be on another host (nsswitch.conf(5)), so a lookup can take seconds. A
//! separate thread looks up the names, and a snapshot waits for new names only for a bounded time.
//! If a name arrives later, the next snapshot has it. Until then, reports show the user id.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{text::Untrusted, users};

/// How long a snapshot waits for the names of new users. Drains wait meanwhile. Drains follow each
/// other within a second, so this time is well below a second.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);
/// How long the last snapshot waits for names. No drain follows the last snapshot, so it can wait
/// longer.
pub(crate) const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Looks up the name of a user. `None` if the user has no name.
type LookUp = fn(u32) -> Option<Untrusted>;

/// The names of users. Each name is looked up once.
pub(crate) struct UserNames {
    look_up: LookUp,
    worker: Option<Worker>,
    asked: BTreeSet<u32>,
    /// The number of lookups without an answer.
    open: usize,
    known: Arc<BTreeMap<u32, Untrusted>>,
}

struct Worker {
    questions: Sender<u32>,
    answers: Receiver<(u32, Option<Untrusted>)>,
}

impl Worker {
    /// Starts the thread. `None` if the host cannot start another thread.
    fn start(look_up: LookUp) -> Option<Self> {
        let (questions, asked) = channel();
        let (answer, answers) = channel();
        let work = move || {
            for uid in asked {
                if answer.send((uid, look_up(uid))).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("user-names".into()).spawn(work).ok()?;
        Some(Self { questions, answers })
    }
}

impl Default for UserNames {
    fn default() -> Self {
        Self::new(|uid| users::by_id(uid).ok().flatten().map(|user| user.name.into()))
    }
}

impl UserNames {
    fn new(look_up: LookUp) -> Self {
        let known = Arc::default();
        Self { look_up, worker: None, asked: BTreeSet::new(), open: 0, known }
    }

    /// Starts to look up the names of `uids`. Returns how many of these users are new.
    pub(crate) fn ask(&mut self, uids: impl Iterator<Item = u32>) -> usize {
        let open = self.open;
        for uid in uids {
            if !self.asked.insert(uid) {
                continue;
            }
            if self.worker.is_none() {
                self.worker = Worker::start(self.look_up);
            }
            let worker = self.worker.as_ref();
            if worker.is_some_and(|worker| worker.questions.send(uid).is_ok()) {
                self.open += 1;
            }
        }
        self.open - open
    }

    /// Returns the known names. Waits at most `patience` for missing names. Users without a name
    /// are not in the map.
    pub(crate) fn get(&mut self, patience: Duration) -> Arc<BTreeMap<u32, Untrusted>> {
        let deadline = Instant::now() + patience;
        while self.open > 0 {
            let Some(worker) = &self.worker else { break };
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((uid, name)) = worker.answers.recv_timeout(left) else { break };
            self.open -= 1;
            if let Some(name) = name {
                Arc::make_mut(&mut self.known).insert(uid, name);
            }
        }
        Arc::clone(&self.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn users_have_names_or_none() {
        let mut names = UserNames::default();
        assert_eq!(names.ask([0, u32::MAX - 7, 0].into_iter()), 2);
        let known = names.get(LONG);
        assert_eq!(known.get(&0).map(Untrusted::raw), Some("root"));
        assert_eq!(known.len(), 1);
        assert_eq!(names.ask([0].into_iter()), 0, "each user is looked up once");
        assert!(Arc::ptr_eq(&known, &names.get(Duration::ZERO)));
    }

    /// A directory service that takes half a second for each user.
    #[test]
    fn a_slow_lookup_delays_a_snapshot_for_a_bounded_time() {
        let mut names = UserNames::new(|uid| {
            thread::sleep(Duration::from_millis(500));
            Some(format!("user{uid}").into())
        });
        let started = Instant::now();
        names.ask([7, 8].into_iter());
        assert!(names.get(Duration::ZERO).is_empty());
        assert!(names.get(Duration::from_millis(10)).is_empty());
        assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
        let known = names.get(LONG);
        assert_eq!(known.get(&7).map(Untrusted::raw), Some("user7"));
        assert_eq!(known.len(), 2);
    }
}
