//! Files that are written whole or not at all, for their owner alone.
//!
//! INVARIANT: after a crash at any moment a file holds what it held before or what it was to hold.
//!
//! Sources: fsync(2), rename(2).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use portcullis_core::Sensitive;

/// The longest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// It cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Others may read it.
    #[error("`{path}` can be read by others (mode {mode:o}); run `chmod 600 {path}`")]
    TooOpen {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Larger than anything that belongs there.
    #[error("`{path}` is larger than {LARGEST} bytes")]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
}

/// Makes a folder for its owner alone, if it is not there.
pub(crate) fn make_folder(path: &Path) -> Result<(), FileFault> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|cause| FileFault::Write { path: path.to_owned(), cause })
}

/// Reads a file that only its owner may read.
pub(crate) fn read(path: &Path) -> Result<Sensitive<Vec<u8>>, FileFault> {
    let failed = |cause| FileFault::Read { path: path.to_owned(), cause };
    let file = File::open(path).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    if facts.mode() & 0o077 != 0 {
        return Err(FileFault::TooOpen { path: path.to_owned(), mode: facts.mode() & 0o777 });
    }
    if facts.len() > LARGEST {
        return Err(FileFault::TooLarge { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Sensitive::new(bytes))
}

/// Writes a file that must not exist yet.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<(), FileFault> {
    let written = write_new(path, bytes).and_then(|()| sync_folder(path));
    written.map_err(|cause| FileFault::Write { path: path.to_owned(), cause })
}

/// Puts a file in the place of another, whole.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileFault> {
    let fresh = path.with_extension("new");
    let replaced = remove_stale(&fresh)
        .and_then(|()| write_new(&fresh, bytes))
        .and_then(|()| std::fs::rename(&fresh, path))
        .and_then(|()| sync_folder(path));
    replaced.map_err(|cause| FileFault::Write { path: path.to_owned(), cause })
}

/// What a crash left behind.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
        _ => Ok(()),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A name is on disk when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_even_over_what_a_crash_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.json");
        std::fs::write(path.with_extension("new"), b"half").expect("left behind");
        for text in [&b"first"[..], b"second"] {
            replace(&path, text).expect("replaced");
            assert_eq!(read(&path).expect("read").expose(), text);
        }
        assert!(!path.with_extension("new").exists());
    }

    #[test]
    fn a_new_file_never_takes_the_place_of_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("root.key");
        create(&path, b"one").expect("created");
        assert!(matches!(create(&path, b"two"), Err(FileFault::Write { .. })));
        assert_eq!(read(&path).expect("read").expose(), b"one");
    }

    #[test]
    fn ss028_11_1_9c_what_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("root.key");
        create(&path, b"one").expect("created");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("permissions");
        assert!(matches!(read(&path), Err(FileFault::TooOpen { mode: 0o640, .. })));
    }
}
