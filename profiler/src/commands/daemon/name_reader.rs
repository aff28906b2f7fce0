//! Names of containers, for a daemon that may no longer read the files that have them.
//!
//! A [helper] reads the files. It is asked for one container at a time, by its id, and answers with the
//! names: each is a line of JSON.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use crate::{
    placement::{Container, NameSource, Named, Names},
    privilege::{User, helper},
};

/// How long the daemon waits for an answer. The thread that waits does nothing but look up names.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts the helper, if it can read more than `user` can.
pub(super) fn start(user: &User) -> Option<NameSource> {
    let started = helper::start(user, |stream| serve(&stream, Names::default()));
    let stream = started
        .inspect_err(|error| tracing::warn!("names of containers that start later: {error}"))
        .ok()??;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(source(stream))
}

/// Asks over `stream`. After an error, no name is known: an answer that comes too late must not be taken
/// for that to the next question.
fn source(stream: UnixStream) -> NameSource {
    let mut stream = Some(BufReader::new(stream));
    Box::new(move |container| {
        let answer = ask(stream.as_mut()?, container);
        if let Err(error) = &answer {
            tracing::warn!("names of containers that start later are not known: {error}");
            stream = None;
        }
        answer.ok().flatten()
    })
}

fn ask(stream: &mut BufReader<UnixStream>, container: &Container) -> io::Result<Option<Named>> {
    let mut line = serde_json::to_vec(container)?;
    line.push(b'\n');
    stream.get_mut().write_all(&line)?;
    line.clear();
    if stream.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}

/// Answers until the daemon ends.
fn serve(stream: &UnixStream, mut names: Names) {
    let mut questions = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        if !questions.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            return;
        }
        // An id that is no hash could be a path.
        let container = serde_json::from_slice(&line).ok().filter(Container::has_hash);
        let named = container.map(|container| names.of(&container).clone());
        let Ok(mut answer) = serde_json::to_vec(&named) else { return };
        answer.push(b'\n');
        if (&mut &*stream).write_all(&answer).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;
    use crate::placement::Runtime;

    #[test]
    fn names_are_asked_for_and_ids_that_are_paths_are_refused() {
        let root = tempfile::tempdir().expect("a directory");
        let id = format!("{:064x}", 7);
        let directory = root.path().join("var/lib/docker/containers").join(&id);
        fs::create_dir_all(&directory).expect("directories");
        let state = r#"{"Name":"/web\nshop","Config":{"Image":"nginx:1","Labels":null}}"#;
        fs::write(directory.join("config.v2.json"), state.replace('\n', "\\n")).expect("a file");
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        let names = Names::below(root.path());
        let helper = thread::spawn(move || serve(&theirs, names));
        let mut source = source(ours);
        let mut name = |id: &str| {
            let named = source(&Container { runtime: Runtime::Docker, id: id.into() });
            named.and_then(|named| named.container).map(|name| name.raw().to_owned())
        };
        assert_eq!(name(&id).as_deref(), Some("web\nshop"));
        assert_eq!(name(&format!("{:064x}", 8)), None);
        assert_eq!(name(&format!("../containers/{id}")), None);
        assert_eq!(name(&id).as_deref(), Some("web\nshop"));
        drop(source);
        helper.join().expect("it ends with the daemon");
    }

    #[test]
    fn after_a_late_answer_no_name_is_known_rather_than_a_wrong_one() {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        ours.set_read_timeout(Some(Duration::from_millis(10))).expect("a timeout");
        let mut source = source(ours);
        let container = |n| Container { runtime: Runtime::Docker, id: format!("{n:064x}").into() };
        assert_eq!(source(&container(1)), None);
        let named = Named { container: Some("first".into()), ..Named::default() };
        let mut late = serde_json::to_vec(&Some(named)).expect("JSON");
        late.push(b'\n');
        // The daemon has closed its end, or reads no more.
        let _ = (&theirs).write_all(&late);
        assert_eq!(source(&container(2)), None);
    }
}
