//! The Unix socket under which the function finds the extension, and who may connect to it.

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

/// Why there is no socket.
#[derive(Debug)]
pub(crate) enum BindError {
    /// The path has no folder or no file name.
    NotAFile,
    /// The folder is a link, is somebody else's, or others may write to it.
    FolderNotOurs(PathBuf),
    /// Something that is not a socket of ours is there.
    Occupied(PathBuf),
    /// Another process listens there.
    InUse(PathBuf),
    /// The system refused.
    Io(&'static str, io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFile => f.write_str("the socket path names no file in a folder"),
            Self::FolderNotOurs(folder) => write!(
                f,
                "the socket's folder {folder:?} must be a folder of this process's user \
                 to which nobody else may write"
            ),
            Self::Occupied(path) => {
                write!(f, "{path:?} is not a socket of this process's user")
            }
            Self::InUse(path) => write!(f, "another process listens on {path:?}"),
            Self::Io(what, error) => write!(f, "cannot {what}: {error}"),
        }
    }
}

/// A connection of our own user.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Reads at once.
    pub(crate) stream: UnixStream,
    /// The same connection once more, for the event loop.
    pub(crate) wake: tokio::net::UnixStream,
}

/// The listening socket. Its file is removed on drop.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Accepts at once.
    listener: UnixListener,
    /// The same socket once more, for the event loop: it knows of a connection only after its
    /// next look at the kernel.
    wake: tokio::net::UnixListener,
    path: PathBuf,
    user: u32,
}

impl Socket {
    /// Binds `path`, in a folder that it makes when there is none, closed to other users.
    ///
    /// A socket that a former process of this user left is removed. Anything else at that path
    /// is left alone.
    ///
    /// # Errors
    ///
    /// When the path, its folder or what is there already does not allow it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O.
    pub(crate) fn bind(path: &Path) -> Result<Self, BindError> {
        let (Some(folder), Some(_)) = (path.parent(), path.file_name()) else {
            return Err(BindError::NotAFile);
        };
        let user = fs::metadata("/proc/self")
            .map_err(|error| BindError::Io("read the user id from /proc/self", error))?
            .uid();
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
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Peer>>> {
        self.wake
            .poll_accept(cx)
            .map(|accepted| self.examine(accepted?.0))
    }

    /// A connection that waits, if there is one: `Some(Ok(None))` for another user's, which is
    /// closed on sight, `Some(Err(_))` when the system refuses, for want of file descriptors say.
    pub(crate) fn accept(&self) -> Option<io::Result<Option<Peer>>> {
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

    fn examine(&self, wake: tokio::net::UnixStream) -> io::Result<Option<Peer>> {
        if wake.peer_cred()?.uid() != self.user {
            return Ok(None);
        }
        let stream = wake.as_fd().try_clone_to_owned()?.into();
        Ok(Some(Peer { stream, wake }))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The next process removes what could not be removed here.
        let _ = fs::remove_file(&self.path);
    }
}

fn prepare_folder(folder: &Path, user: u32) -> Result<(), BindError> {
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(folder)
        .map_err(|error| BindError::Io("make the socket's folder", error))?;
    // Not following links: a link could point into a folder where others may write.
    let metadata = fs::symlink_metadata(folder)
        .map_err(|error| BindError::Io("look at the socket's folder", error))?;
    let writable_by_others = metadata.mode() & 0o022 != 0;
    if metadata.is_dir() && metadata.uid() == user && !writable_by_others {
        Ok(())
    } else {
        Err(BindError::FolderNotOurs(folder.to_owned()))
    }
}

fn remove_stale(path: &Path, user: u32) -> Result<(), BindError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BindError::Io("look at the socket's path", error)),
    };
    if !metadata.file_type().is_socket() || metadata.uid() != user {
        return Err(BindError::Occupied(path.to_owned()));
    }
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
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn refusal(path: &Path) -> String {
        Socket::bind(path).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn the_folder_is_made_and_closed_to_others() {
        let root = folder();
        let path = root.path().join("new/handoff.sock");
        let socket = Socket::bind(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
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
    async fn a_stale_socket_is_replaced() {
        let root = folder();
        let path = root.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        Socket::bind(&path).unwrap();
    }

    #[tokio::test]
    async fn a_living_socket_is_left_alone() {
        let root = folder();
        let path = root.path().join("s");
        let _other = UnixListener::bind(&path).unwrap();
        assert!(refusal(&path).contains("another process listens"));
        assert!(path.exists());
    }

    #[tokio::test]
    async fn what_is_not_ours_is_refused_and_left_alone() {
        let root = folder();
        let file = root.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(refusal(&file).contains("is not a socket"));
        assert!(file.exists());

        let link = root.path().join("link");
        symlink(root.path(), &link).unwrap();
        assert!(refusal(&link.join("s")).contains("must be a folder"));

        let open = root.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        assert!(refusal(&open.join("s")).contains("must be a folder"));
    }
}
