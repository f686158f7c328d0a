//! The file that administrators of this machine connect to.
//!
//! INVARIANT: the socket appears under its name only with its final mode; it is never reachable over a network.
//!
//! Not here: who may use it (`admin`).
//!
//! Sources: threat F1; unix(7).

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum AdminSocketError {
    /// Somebody answers there.
    #[error("the admin socket `{0}` is in use; is another `portcullis` running?")]
    InUse(PathBuf),
    /// Others could put a socket of theirs in its place.
    #[error("the directory `{path}` may be written by others (mode {mode:o}); run `chmod 700 {path}`")]
    TooOpen {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Something else stands there, or the system says no.
    #[error("cannot make the admin socket `{path}`")]
    System {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

/// Makes the socket of a plan, in a directory that is made for it if need be. Only our own user reaches it, unless the
/// plan lists others: then everybody may connect, and is turned away by user id.
///
/// # Errors
/// See [`AdminSocketError`].
pub fn bind(path: &Path, uids: &[u32]) -> Result<StdListener, AdminSocketError> {
    let system = |cause| AdminSocketError::System { path: path.to_owned(), cause };
    let (folder_mode, mode) = if uids.is_empty() { (0o700, 0o600) } else { (0o711, 0o666) };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(folder_mode).create(folder).map_err(system)?;
    let found = std::fs::metadata(folder).map_err(system)?.mode() & 0o7777;
    if found & 0o022 != 0 {
        return Err(AdminSocketError::TooOpen { path: folder.to_owned(), mode: found });
    }
    clear(path)?;
    // Under its final name it appears with its final mode: there is no moment in between.
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    let listener = StdListener::bind(&fresh).map_err(system)?;
    let placed = std::fs::set_permissions(&fresh, Permissions::from_mode(mode));
    placed.and_then(|()| std::fs::rename(&fresh, path)).map_err(system)?;
    listener.set_nonblocking(true).map_err(system)?;
    Ok(listener)
}

/// Makes sure that nobody answers at `path` and that nothing but a socket stands there.
fn clear(path: &Path) -> Result<(), AdminSocketError> {
    let system = |cause| AdminSocketError::System { path: path.to_owned(), cause };
    match std::fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(system(cause)),
        Ok(found) if !found.file_type().is_socket() => Err(system(io::ErrorKind::AlreadyExists.into())),
        Ok(_) if StdStream::connect(path).is_ok() => Err(AdminSocketError::InUse(path.to_owned())),
        Ok(_) => Ok(()),
    }
}
