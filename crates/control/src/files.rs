//! Reads the files that a configuration names, and notices when they change.
//!
//! Changes are noticed by looking once a second at what a path leads to: symlinks are followed, so the swap of a
//! Kubernetes volume (`..data` pointing elsewhere) is seen, whatever file system events would have said.
//!
//! INVARIANT: nothing larger than asked for is read; only regular files are.
//!
//! Not here: what is in them (`portcullis-config`), what follows a change (`change`).
//!
//! Sources: threats C12, E10; SS028-11.2.10c.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use portcullis_config::{FileError, FileFacts, Files, Source};
use portcullis_core::{ByteSize, Sensitive};

/// Files on disk, relative to the directory of the root file.
#[derive(Debug)]
pub struct DiskFiles {
    directory: PathBuf,
    credentials: Option<PathBuf>,
    seen: RefCell<BTreeMap<PathBuf, Option<Mark>>>,
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl DiskFiles {
    /// Files beside `root`, the configuration's root file.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        let directory = root.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        Self { directory, credentials: credentials(), seen: RefCell::default() }
    }

    /// The name under which [`portcullis_config::load`] is asked for `root`.
    #[must_use]
    pub fn root_name(root: &Path) -> String {
        root.file_name().map_or_else(|| "portcullis.yaml".to_owned(), |n| n.to_string_lossy().into_owned())
    }

    /// Whether a file that was read before is another one now.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.seen.borrow().iter().any(|(path, before)| mark(path) != *before)
    }

    fn path(&self, source: Source<'_>) -> Result<PathBuf, FileError> {
        match source {
            Source::File(name) => Ok(self.directory.join(name)),
            Source::Credential(name) => {
                let folder =
                    self.credentials.as_ref().ok_or_else(|| other("there is no credentials directory"))?;
                let plain = Path::new(name).components().count() == 1 && !name.starts_with('.');
                if plain { Ok(folder.join(name)) } else { Err(other("a credential is a plain file name")) }
            }
            Source::Descriptor(number) => Ok(PathBuf::from(format!("/proc/self/fd/{number}"))),
        }
    }
}

/// systemd names the directory in the environment; it holds no secret itself.
#[expect(clippy::disallowed_methods, reason = "systemd.exec(5): the only way to learn the directory")]
fn credentials() -> Option<PathBuf> {
    std::env::var("CREDENTIALS_DIRECTORY").ok().map(PathBuf::from)
}

fn other(text: &str) -> FileError {
    FileError::Other(text.to_owned())
}

fn mark(path: &Path) -> Option<Mark> {
    std::fs::metadata(path).ok().map(|m| Mark::of(&m))
}

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Files for DiskFiles {
    fn read(&self, source: Source<'_>, most: ByteSize) -> Result<FileFacts, FileError> {
        let path = self.path(source)?;
        let opened = File::open(&path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
        let seen = opened.as_ref().ok().map(|(_, metadata)| Mark::of(metadata));
        self.seen.borrow_mut().insert(path, seen);
        let (file, metadata) = opened.map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => FileError::Missing,
            ErrorKind::PermissionDenied => FileError::Forbidden,
            _ => FileError::Other(cause.to_string()),
        })?;
        if !metadata.is_file() {
            return Err(FileError::NotRegular);
        }
        let mut bytes = Vec::new();
        let limit = most.get().saturating_add(1);
        file.take(limit).read_to_end(&mut bytes).map_err(|cause| FileError::Other(cause.to_string()))?;
        if bytes.len() as u64 > most.get() {
            return Err(FileError::TooLarge);
        }
        Ok(FileFacts { bytes: Sensitive::new(bytes), mode: metadata.mode() & 0o7777 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: ByteSize = ByteSize::kib(1);

    #[test]
    fn e10_a_file_larger_than_asked_for_is_an_error_and_not_a_part() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = DiskFiles::new(&folder.path().join("portcullis.yaml"));
        std::fs::write(folder.path().join("a"), vec![b'x'; 1_025]).expect("written");
        assert_eq!(files.read(Source::File("a"), MOST).map(|_| ()), Err(FileError::TooLarge));
        assert_eq!(files.read(Source::File("."), MOST).map(|_| ()), Err(FileError::NotRegular));
        assert_eq!(files.read(Source::File("b"), MOST).map(|_| ()), Err(FileError::Missing));
        assert!(files.read(Source::Credential("../a"), MOST).is_err());
    }

    #[test]
    fn the_swap_of_a_symlinked_volume_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("v1", "one"), ("v2", "two")] {
            std::fs::create_dir(at(version)).expect("a folder");
            std::fs::write(at(version).join("key"), text).expect("written");
        }
        std::os::unix::fs::symlink("v1", at("..data")).expect("a link");
        std::os::unix::fs::symlink("..data/key", at("key")).expect("a link");
        let files = DiskFiles::new(&at("portcullis.yaml"));
        assert!(files.read(Source::File("key"), MOST).is_ok() && !files.changed());
        std::os::unix::fs::symlink("v2", at("..next")).expect("a link");
        std::fs::rename(at("..next"), at("..data")).expect("swapped");
        assert!(files.changed());
    }
}
