//! Checks of the socket file and its folder.
//!
//! Another user of the machine must not be able to replace the socket. Function and extension run
//! as the same user, so both require that user to own the socket and its folder, and no other user
//! to have write access to the folder.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Permission bits that let a group or all users write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why a socket file or its folder is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Untrusted {
    /// The file is not a socket; a link to one is not, either.
    NotASocket,
    /// The socket belongs to another user.
    ForeignSocket,
    /// The folder is a link or a file, belongs to another user, or others may write to it.
    OpenFolder,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotASocket => "expected a socket, found another kind of file",
            Self::ForeignSocket => "expected a socket of this process's user",
            Self::OpenFolder => {
                "expected the socket's folder to belong to this process's user and to be writable \
                 by no other"
            }
        })
    }
}

impl std::error::Error for Untrusted {}

/// Checks a socket file. `socket` comes from [`std::fs::symlink_metadata`], which does not follow
/// links; `user` is the effective user id of this process.
///
/// # Errors
///
/// Returns an error if the file is not a socket or belongs to another user.
pub fn check_socket(socket: &Metadata, user: u32) -> Result<(), Untrusted> {
    if !socket.file_type().is_socket() {
        Err(Untrusted::NotASocket)
    } else if socket.uid() != user {
        Err(Untrusted::ForeignSocket)
    } else {
        Ok(())
    }
}

/// Checks the folder of a socket file, with the same arguments as [`check_socket`].
///
/// # Errors
///
/// Returns an error if it is not a folder, belongs to another user, or others may write to it.
pub fn check_folder(folder: &Metadata, user: u32) -> Result<(), Untrusted> {
    let closed = folder.mode() & WRITABLE_BY_OTHERS == 0;
    if folder.is_dir() && folder.uid() == user && closed {
        Ok(())
    } else {
        Err(Untrusted::OpenFolder)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions, symlink_metadata};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};

    use super::*;

    /// A new folder that is removed at the end of the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let name = format!("tracestitch-{test}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn set_mode(&self, mode: u32) {
            fs::set_permissions(&self.0, Permissions::from_mode(mode)).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn look(path: &Path) -> Metadata {
        symlink_metadata(path).unwrap()
    }

    #[test]
    fn socket_of_the_own_user_is_trusted_and_nothing_else() {
        let folder = Folder::new("sockets");
        let [socket, link, file] = ["socket", "link", "file"].map(|name| folder.0.join(name));
        let _listener = UnixListener::bind(&socket).unwrap();
        symlink(&socket, &link).unwrap();
        fs::write(&file, "").unwrap();
        let user = look(&socket).uid();
        for (path, user, expected, reason) in [
            (&socket, user, Ok(()), "own socket"),
            (
                &socket,
                user + 1,
                Err(Untrusted::ForeignSocket),
                "of another user",
            ),
            (&link, user, Err(Untrusted::NotASocket), "a link to it"),
            (&file, user, Err(Untrusted::NotASocket), "a file"),
            (&folder.0, user, Err(Untrusted::NotASocket), "a folder"),
        ] {
            assert_eq!(check_socket(&look(path), user), expected, "{reason}");
        }
    }

    #[test]
    fn folder_is_trusted_unless_others_may_write_to_it() {
        let folder = Folder::new("folders");
        let user = look(&folder.0).uid();
        for mode in (0..8).flat_map(|group| (0..8).map(move |all| 0o700 | group << 3 | all)) {
            folder.set_mode(mode);
            let trusted = check_folder(&look(&folder.0), user).is_ok();
            assert_eq!(trusted, mode & 0o022 == 0, "{mode:o}");
        }
        folder.set_mode(0o700);
        let [file, link] = ["file", "link"].map(|name| folder.0.join(name));
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        symlink(&folder.0, &link).unwrap();
        for (path, user, reason) in [
            (&folder.0, user + 1, "of another user"),
            (&link, user, "a link"),
            (&file, user, "a file"),
        ] {
            let checked = check_folder(&look(path), user);
            assert_eq!(checked, Err(Untrusted::OpenFolder), "{reason}");
        }
    }
}
