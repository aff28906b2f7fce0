//! Creates the file of a Unix socket, and removes it at the end.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, lchown},
    path::{Path, PathBuf},
    time::SystemTime,
};

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
        let data = fs::symlink_metadata(path)?;
        let file = Self { path: path.to_owned(), identity: identity(&data) };
        // Whatever the umask is, nobody can connect before: the socket does not listen yet.
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        if (data.uid(), data.gid()) != owner {
            // Without the privilege, the file belongs to this process's user.
            if let Err(error) = lchown(path, Some(owner.0), Some(owner.1)) {
                tracing::debug!("cannot change the owner of the socket: {error}");
            }
        }
        Ok((socket, file))
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
    use std::os::unix::net::UnixStream;

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
}
