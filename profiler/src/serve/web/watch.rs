//! Notices that the files of a web configuration have changed.
//!
//! Tools that renew certificates replace files and send no signal.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use super::{
    WebError,
    live::{Live, Web},
};

/// Time between two checks of the files. A change is applied once two checks find the same state,
/// so that a file is not read while it is being written.
const PERIOD: Duration = Duration::from_secs(2);

/// The state of one file: device, inode, size, and times of change.
type State = (u64, u64, u64, i64, i64, i64, i64);

/// The states of all files, `None` for a file that cannot be looked at.
fn states(files: &[PathBuf]) -> Vec<Option<State>> {
    let state = |path: &PathBuf| {
        let data = fs::metadata(path).ok()?;
        let (modified, changed) =
            ((data.mtime(), data.mtime_nsec()), (data.ctime(), data.ctime_nsec()));
        Some((data.dev(), data.ino(), data.size(), modified.0, modified.1, changed.0, changed.1))
    };
    files.iter().map(state).collect()
}

/// The states of the files of a web configuration when it was read.
#[derive(Debug)]
pub(super) struct Looked {
    files: Vec<PathBuf>,
    states: Vec<Option<State>>,
}

/// Reads the web configuration at `path`, and the states that its files had just before.
pub(super) fn read(path: &Path, mut files: Vec<PathBuf>) -> (Looked, Result<Web, WebError>) {
    /// The greatest number of readings until the names of the files are known. The bound is for a
    /// file that changes faster than it is read.
    const MAX_READINGS: usize = 3;
    let mut readings = 0;
    loop {
        let states = states(&files);
        let (named, web) = Web::read(path);
        readings += 1;
        if named == files || readings == MAX_READINGS {
            return (Looked { files, states }, web);
        }
        files = named;
    }
}

impl Live {
    /// Applies changes of the files until the last other reference is dropped. If a new file is
    /// not valid, the old settings stay in effect, and the log says why.
    ///
    /// # Errors
    /// [`WebError::Prepare`] if the thread cannot start.
    pub fn watch(self: &Arc<Self>) -> Result<(), WebError> {
        let Some(read) = self.take_opened() else { return Ok(()) };
        let mut watch = Watch { live: Arc::downgrade(self), seen: read.states.clone(), read };
        let run = move || {
            loop {
                thread::sleep(PERIOD);
                if !watch.look() {
                    return;
                }
            }
        };
        thread::Builder::new().name("web-config".into()).spawn(run).map_err(WebError::Prepare)?;
        Ok(())
    }
}

struct Watch {
    live: Weak<Live>,
    /// The files when they were read last. Files that are not valid are watched too, or their
    /// correction would go unnoticed.
    read: Looked,
    /// The states at the last check.
    seen: Vec<Option<State>>,
}

impl Watch {
    /// Checks the files. Returns `false` if nobody uses the settings any more.
    fn look(&mut self) -> bool {
        let Some(live) = self.live.upgrade() else { return false };
        let seen = states(&self.read.files);
        let is_stable = seen == self.seen;
        self.seen = seen;
        if is_stable && self.seen != self.read.states {
            let (looked, web) = read(live.path(), self.read.files.clone());
            self.seen.clone_from(&looked.states);
            self.read = looked;
            apply(&live, web);
        }
        true
    }
}

fn apply(live: &Live, web: Result<Web, WebError>) {
    let warnings = web.as_ref().map_or_else(|_| Vec::new(), |web| web.warnings().to_vec());
    match web.and_then(|web| live.replace(web)) {
        Ok(()) => {
            tracing::info!("the web configuration has changed, and was applied");
            for warning in warnings {
                tracing::warn!("web configuration: {warning}");
            }
        }
        Err(error) => {
            live.fail();
            tracing::error!(
                "cannot apply the changed web configuration, so the old one stays in effect: {error}"
            );
        }
    }
}
