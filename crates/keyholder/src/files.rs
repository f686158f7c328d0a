//! Files that are written whole or not at all, for their owner alone.
//!
//! INVARIANT: after a crash at any moment a file holds what it held before or what it was to hold.
//! INVARIANT: a file that others may read is neither read nor left behind.
//!
//! Sources: fsync(2), rename(2), link(2).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use portcullis_core::Sensitive;
use rustix::fs::{FlockOperation, flock};

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
    /// Its file system keeps nothing from others.
    #[error("`{path}` would be readable by others: its file system keeps no permissions")]
    NoModes {
        /// Which.
        path: PathBuf,
    },
    /// Larger than anything that belongs there.
    #[error("`{path}` is larger than {LARGEST} bytes")]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// Somebody else is at it.
    #[error("`{path}` is held by another `portcullis ca`; wait until that has ended")]
    Held {
        /// Which.
        path: PathBuf,
    },
}

/// Held while a ceremony lasts, so that there is one at a time.
pub(crate) struct Lock {
    _file: File,
}

/// Takes the lock of a folder, which is made for its owner alone if it is not there.
pub(crate) fn lock(folder: &Path) -> Result<Lock, FileFault> {
    let path = folder.join("lock");
    let failed = |cause| FileFault::Write { path: path.clone(), cause };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    sync_folder(folder).map_err(failed)?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(failed)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| FileFault::Held { path: path.clone() })?;
    Ok(Lock { _file: file })
}

/// Reads a file that only its owner may read; `None` when it is not there.
pub(crate) fn read(path: &Path) -> Result<Option<Sensitive<Vec<u8>>>, FileFault> {
    let failed = |cause| FileFault::Read { path: path.to_owned(), cause };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    let facts = file.metadata().map_err(failed)?;
    if facts.mode() & 0o077 != 0 {
        return Err(FileFault::TooOpen { path: path.to_owned(), mode: facts.mode() & 0o777 });
    }
    let length = usize::try_from(facts.len()).unwrap_or(usize::MAX);
    if facts.len() > LARGEST {
        return Err(FileFault::TooLarge { path: path.to_owned() });
    }
    // Room from the start: growing would leave a secret behind in memory that was given back.
    let mut bytes = Sensitive::new(Vec::with_capacity(length.saturating_add(1)));
    file.take(LARGEST).read_to_end(bytes.expose_mut()).map_err(failed)?;
    Ok(Some(bytes))
}

/// Writes a file that must not exist yet.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<(), FileFault> {
    put(path, bytes, |fresh| std::fs::hard_link(fresh, path).and_then(|()| std::fs::remove_file(fresh)))
}

/// Puts a file in the place of another.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileFault> {
    put(path, bytes, |fresh| std::fs::rename(fresh, path))
}

/// Writes beside `path`, then lets `place` give it the name.
fn put(path: &Path, bytes: &[u8], place: impl Fn(&Path) -> io::Result<()>) -> Result<(), FileFault> {
    let failed = |cause| FileFault::Write { path: path.to_owned(), cause };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    remove(&fresh).map_err(failed)?;
    let placed = match write_new(&fresh, bytes) {
        Ok(mode) if mode & 0o077 == 0 => place(&fresh).and_then(|()| sync_folder(path)).map_err(failed),
        Ok(_) => Err(FileFault::NoModes { path: path.to_owned() }),
        Err(cause) => Err(failed(cause)),
    };
    // What did not get its name must not stay: it may be a key.
    placed.inspect_err(|_| drop(remove(&fresh)))
}

/// Removes a file that may not be there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
        _ => Ok(()),
    }
}

/// Gives the mode that the file has got.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<u32> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mode = file.metadata()?.mode();
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(mode)
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

    fn text(path: &Path) -> Vec<u8> {
        read(path).expect("read").expect("it is there").expose().clone()
    }

    #[test]
    fn a_file_is_replaced_whole_even_over_what_a_crash_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        std::fs::write(folder.path().join("state.new"), b"half").expect("left behind");
        for bytes in [&b"first"[..], b"second"] {
            replace(&path, bytes).expect("replaced");
            assert_eq!(text(&path), bytes);
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_new_file_never_takes_the_place_of_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("root.key");
        create(&path, b"one").expect("created");
        assert!(matches!(create(&path, b"two"), Err(FileFault::Write { .. })));
        assert_eq!(text(&path), b"one");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left behind");
    }

    #[test]
    fn ss028_11_1_9c_what_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("root.key");
        create(&path, b"one").expect("created");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("permissions");
        assert!(matches!(read(&path), Err(FileFault::TooOpen { mode: 0o640, .. })));
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_taken_for_absent() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(read(&folder.path().join("nothing")).expect("looked").is_none());
        std::fs::write(folder.path().join("file"), b"x").expect("written");
        assert!(matches!(read(&folder.path().join("file/below")), Err(FileFault::Read { .. })));
    }

    #[test]
    fn one_ceremony_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("home");
        let first = lock(&home).expect("held");
        assert!(matches!(lock(&home), Err(FileFault::Held { .. })));
        drop(first);
        assert!(lock(&home).is_ok());
    }
}
