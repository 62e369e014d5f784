//! Binds the Unix socket on which the function finds the extension, and decides who may connect.

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use tracestitch_wire::handoff::{Untrusted, check_folder, check_socket};

/// Why there is no socket.
#[derive(Debug)]
pub(crate) enum BindError {
    /// The path has no folder or no file name.
    NotAFile,
    /// The folder cannot be trusted.
    Folder(PathBuf, Untrusted),
    /// The path is occupied by something that cannot be trusted.
    Occupied(PathBuf, Untrusted),
    /// Another process listens there.
    InUse(PathBuf),
    /// The system refused.
    Io(&'static str, io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFile => f.write_str("the socket path names no file in a folder"),
            Self::Folder(path, why) | Self::Occupied(path, why) => write!(f, "{path:?}: {why}"),
            Self::InUse(path) => write!(f, "another process listens on {path:?}"),
            Self::Io(what, error) => write!(f, "cannot {what}: {error}"),
        }
    }
}

/// The listening socket. Its file is removed on drop.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Accepts without waiting.
    listener: UnixListener,
    /// A duplicate for the event loop, which sees a connection only after its next poll.
    wake: tokio::net::UnixListener,
    path: PathBuf,
    user: u32,
}

impl Socket {
    /// Binds `path`. A missing folder is created, closed to other users.
    ///
    /// A socket that a former process of this user left is removed. Any other file at that path
    /// is left alone.
    ///
    /// # Errors
    ///
    /// Returns an error if the path names no file, its folder is not trusted, or the path is in
    /// use.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O.
    pub(crate) fn bind(path: &Path) -> Result<Self, BindError> {
        let (Some(folder), Some(_)) = (path.parent(), path.file_name()) else {
            return Err(BindError::NotAFile);
        };
        let user = user().map_err(|error| BindError::Io("look up the user id", error))?;
        prepare_folder(folder, user)?;
        remove_stale(path, user)?;
        let (listener, wake) =
            bind_closed(path).map_err(|error| BindError::Io("bind the socket", error))?;
        Ok(Self {
            listener,
            wake,
            path: path.to_owned(),
            user,
        })
    }

    /// Like [`Socket::accept`], but waits.
    pub(crate) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<tokio::net::UnixStream>>> {
        self.wake
            .poll_accept(cx)
            .map(|accepted| self.examine(accepted?.0))
    }

    /// Accepts a waiting connection, if there is one. Returns `Some(Ok(None))` for another user's,
    /// which is closed at once, and `Some(Err(_))` if the system refuses, for example because there
    /// are no file descriptors left.
    pub(crate) fn accept(&self) -> Option<io::Result<Option<tokio::net::UnixStream>>> {
        loop {
            let accepted = self.listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(true)?;
                tokio::net::UnixStream::from_std(stream)
            });
            match accepted.map_err(|error| (error.kind(), error)) {
                Ok(stream) => return Some(self.examine(stream)),
                Err((ErrorKind::WouldBlock, _)) => return None,
                Err((ErrorKind::Interrupted | ErrorKind::ConnectionAborted, _)) => {}
                Err((_, error)) => return Some(Err(error)),
            }
        }
    }

    fn examine(
        &self,
        stream: tokio::net::UnixStream,
    ) -> io::Result<Option<tokio::net::UnixStream>> {
        let is_own = stream.peer_cred()?.uid() == self.user;
        Ok(is_own.then_some(stream))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The next process removes what could not be removed here.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns the effective user id of this process, as the kernel reports it to a peer.
///
/// `/proc/self` belongs to root if the process is not dumpable.
fn user() -> io::Result<u32> {
    let (one, _other) = tokio::net::UnixStream::pair()?;
    Ok(one.peer_cred()?.uid())
}

fn prepare_folder(folder: &Path, user: u32) -> Result<(), BindError> {
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(folder)
        .map_err(|error| BindError::Io("create the socket's folder", error))?;
    // Without following links: a link could point into a folder where others may write.
    let metadata = fs::symlink_metadata(folder)
        .map_err(|error| BindError::Io("examine the socket's folder", error))?;
    check_folder(&metadata, user).map_err(|why| BindError::Folder(folder.to_owned(), why))
}

fn remove_stale(path: &Path, user: u32) -> Result<(), BindError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BindError::Io("examine the socket's path", error)),
    };
    check_socket(&metadata, user).map_err(|why| BindError::Occupied(path.to_owned(), why))?;
    if UnixStream::connect(path).is_ok() {
        return Err(BindError::InUse(path.to_owned()));
    }
    fs::remove_file(path).map_err(|error| BindError::Io("remove the old socket", error))
}

fn bind_closed(path: &Path) -> io::Result<(UnixListener, tokio::net::UnixListener)> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    let wake = tokio::net::UnixListener::from_std(listener.try_clone()?)?;
    Ok((listener, wake))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn refusal(path: &Path) -> String {
        Socket::bind(path).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn folder_is_created_and_closed_to_others() {
        let root = folder();
        let path = root.path().join("new/handoff.sock");
        let socket = Socket::bind(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(fs::metadata(&path).unwrap().uid(), user().unwrap());
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(mode(&path), 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn connections_are_accepted_without_waiting() {
        let root = folder();
        let path = root.path().join("s");
        let socket = Socket::bind(&path).unwrap();
        assert!(socket.accept().is_none());
        let _client = UnixStream::connect(&path).unwrap();
        assert!(socket.accept().unwrap().unwrap().is_some());
    }

    #[tokio::test]
    async fn stale_socket_is_replaced() {
        let root = folder();
        let path = root.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        Socket::bind(&path).unwrap();
    }

    #[tokio::test]
    async fn socket_with_a_listener_is_left_alone() {
        let root = folder();
        let path = root.path().join("s");
        let _other = UnixListener::bind(&path).unwrap();
        assert!(refusal(&path).contains("another process listens"));
        assert!(path.exists());
    }

    #[tokio::test]
    async fn untrusted_files_are_refused_and_left_alone() {
        let root = folder();
        let file = root.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(refusal(&file).contains("found another kind of file"));
        assert!(file.exists());

        let link = root.path().join("link");
        symlink(root.path(), &link).unwrap();
        assert!(refusal(&link.join("s")).contains("expected the socket's folder"));

        let open = root.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        assert!(refusal(&open.join("s")).contains("expected the socket's folder"));
    }
}
