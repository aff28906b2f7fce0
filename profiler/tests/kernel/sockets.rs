//! The daemon on a Unix socket, and on sockets that systemd passes.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown},
            net::UnixStream,
            process::CommandExt as _,
        },
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{
    run::{Mode, profiler_command, wait_until},
    service::Daemon,
};

/// The user `nobody` of the default setting.
const NOBODY: u32 = 65534;

fn start(path: &Path) -> Child {
    let mut command = profiler_command();
    command.args(["daemon", "--listen", &format!("unix:{}", path.display())]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the profiler")
}

/// The answer to a request over the socket at `path`.
fn ask(path: &Path, target: &str) -> Option<String> {
    let mut stream = UnixStream::connect(path).ok()?;
    write!(stream, "GET {target} HTTP/1.1\r\nHost: any.example\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn is_ready(path: &Path) -> bool {
    ask(path, "/-/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}

/// The socket belongs to the user that the daemon changes to. A stale socket is replaced. The
/// daemon removes the socket at the end, although it has dropped its privileges.
pub(crate) fn a_unix_socket_is_served_replaced_and_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    chown(directory.path(), Some(NOBODY), Some(NOBODY)).expect("root");
    let path = directory.path().join("metrics.sock");
    let mut killed = start(&path);
    wait_until("it serves on the socket", || is_ready(&path));
    let data = fs::symlink_metadata(&path).expect("a file");
    assert!(data.file_type().is_socket());
    assert_eq!(
        (data.uid(), data.gid(), data.permissions().mode() & 0o777),
        (NOBODY, NOBODY, 0o660)
    );
    killed.kill().expect("it runs");
    killed.wait().expect("a child of ours");
    assert!(path.exists());

    let mut daemon = start(&path);
    wait_until("it serves again", || is_ready(&path));
    assert!(ask(&path, "/metrics").is_some_and(|answer| answer.contains("profiler_build_info")));
    // SAFETY: a child of ours that has not been waited for.
    assert_eq!(unsafe { libc::kill(daemon.id().cast_signed(), libc::SIGTERM) }, 0);
    assert!(daemon.wait().expect("a child of ours").success());
    assert!(!path.exists(), "the socket is left");
}

/// The daemon serves on the passed socket, and not on `--listen`.
pub(crate) fn sockets_of_systemd_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // LISTEN_PID is the id of the started process, which is known only in the child.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"", "sh"]);
    command.arg(profiler_command().get_program());
    let fd = listener.as_raw_fd();
    // SAFETY: between fork and exec, only dup2(2) and fcntl(2) are called.
    unsafe {
        command.pre_exec(move || {
            // If the descriptor is already 3, dup2 does not clear close-on-exec.
            let is_passed = libc::dup2(fd, 3) == 3 && libc::fcntl(3, libc::F_SETFD, 0) == 0;
            if is_passed { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    let daemon = Daemon::start_command(command, Mode::Main, "200ms", &[]);
    assert_eq!(daemon.address(), address);
    assert!(daemon.is_ready());
    daemon.end();
    // The socket stays open: a client that connects between two daemons waits in its queue.
    assert!(std::net::TcpStream::connect(address).is_ok());
}
