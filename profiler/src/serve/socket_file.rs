//! Creates the file of a Unix socket, and removes it at the end.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{
            FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
        },
    },
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::unistd::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

/// Mode of the file: the daemon's user and group can connect.
const MODE: u32 = 0o660;

/// The file of a socket. Dropping it removes the file, unless another file is at its path by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, inode and time of birth of a file. The inode number alone may be reused after the file
/// is removed.
type Identity = (u64, u64, Option<SystemTime>);

fn identity(data: &fs::Metadata) -> Identity {
    // Some file systems do not store the time.
    (data.dev(), data.ino(), data.created().ok())
}

impl SocketFile {
    /// Binds a socket to `path`. The file belongs to `owner`, a user and a group, if the caller may
    /// give files away.
    ///
    /// A socket that nobody listens on is left over from a daemon that was killed, and is replaced.
    pub(super) fn bind(path: &Path, owner: (u32, u32)) -> io::Result<(Socket, Self)> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let address = SockAddr::unix(path)?;
        match socket.bind(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path)? => {
                fs::remove_file(path)?;
                socket.bind(&address)?;
            }
            bound => bound?,
        }
        let made = Made::open(path)?;
        let file = Self { path: path.to_owned(), identity: identity(&made.data) };
        made.give_to(owner)?;
        Ok((socket, file))
    }
}

/// The file that a socket was bound to, held open.
///
/// Whoever can write to the directory can replace the file right after it was made. Mode and owner are
/// therefore changed through a descriptor, and only if the file is what this process makes.
struct Made {
    file: File,
    data: fs::Metadata,
}

impl Made {
    /// Opens the file that this process has just made at `path`.
    fn open(path: &Path) -> io::Result<Self> {
        // A socket cannot be opened in any other way (open(2), "O_PATH").
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let data = file.metadata()?;
        // A link to a socket elsewhere has a second name, and a socket of another user another owner.
        let is_ours =
            data.file_type().is_socket() && data.nlink() == 1 && data.uid() == geteuid().as_raw();
        if !is_ours {
            let what = "the file was replaced while it was made: others can write to the directory";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        Ok(Self { file, data })
    }

    /// Sets the mode, and the owner if this process may give files away.
    fn give_to(&self, owner: (u32, u32)) -> io::Result<()> {
        // Leads to the file that is open, whatever is at its path (proc_pid_fd(5)). fchmod(2) refuses
        // descriptors of O_PATH.
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        // Whatever the umask is, nobody can connect before: the socket does not listen yet.
        fs::set_permissions(&path, fs::Permissions::from_mode(MODE))?;
        if (self.data.uid(), self.data.gid()) != owner {
            // Without the privilege, the file belongs to this process's user.
            if let Err(error) = chown(&path, Some(owner.0), Some(owner.1)) {
                tracing::debug!("cannot change the owner of the socket: {error}");
            }
        }
        Ok(())
    }
}

/// Whether the file at `path` is a socket that nobody listens on.
fn is_stale(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is not a socket"));
    }
    let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Otherwise, a full queue would block this process.
    client.set_nonblocking(true)?;
    let connected = client.connect(&SockAddr::unix(path)?);
    Ok(connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours =
            fs::symlink_metadata(&self.path).is_ok_and(|data| identity(&data) == self.identity);
        if !is_ours {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            // The next start replaces it.
            tracing::info!("the socket file stays: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{
        fs::symlink,
        net::{UnixListener, UnixStream},
    };

    use super::*;

    fn us() -> (u32, u32) {
        (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw())
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_or_a_file_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let (socket, file) = SocketFile::bind(&path, us()).expect("binds");
        socket.listen(1).expect("listens");
        let mode = fs::symlink_metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert!(UnixStream::connect(&path).is_ok());
        let error = SocketFile::bind(&path, us()).expect_err("it is in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        // As after a kill: the file stays, and nobody listens.
        drop(socket);
        let (again, new) = SocketFile::bind(&path, us()).expect("the socket is stale");
        drop(file);
        assert!(path.exists(), "the file of another daemon is not removed");
        drop((again, new));
        assert!(!path.exists());
        fs::write(&path, "x").expect("written");
        assert!(SocketFile::bind(&path, us()).is_err());
        assert_eq!(fs::read(&path).expect("still there"), b"x");
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("a file").permissions().mode() & 0o777
    }

    /// What somebody who can write to the directory puts in place of the file.
    #[test]
    fn a_file_that_was_put_in_place_of_the_socket_keeps_its_mode() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, target) = (directory.path().join("s"), directory.path().join("target"));
        fs::write(&target, "x").expect("written");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).expect("ours");
        let other = directory.path().join("other");
        let _other = UnixListener::bind(&other).expect("binds");
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).expect("ours");
        let replace: [&dyn Fn() -> io::Result<()>; 4] = [
            &|| symlink(&target, &path),
            &|| symlink(&other, &path),
            &|| fs::hard_link(&target, &path),
            &|| fs::hard_link(&other, &path),
        ];
        for replace in replace {
            replace().expect("a link");
            let refused = Made::open(&path).map(|_| ()).expect_err("it is not the socket");
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{refused}");
            fs::remove_file(&path).expect("there");
        }
        // Replaced after it was looked at.
        let _socket = UnixListener::bind(&path).expect("binds");
        let made = Made::open(&path).expect("the socket");
        let moved = directory.path().join("moved");
        fs::rename(&path, &moved).expect("renamed");
        symlink(&target, &path).expect("a link");
        made.give_to(us()).expect("given");
        assert_eq!((mode(&moved), mode(&target), mode(&other)), (MODE, 0o600, 0o600));
    }
}
