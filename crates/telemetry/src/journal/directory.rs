//! A journal in a directory.
//!
//! ```text
//! lock                     held while a writer is open
//! proofs                   one line for each closed segment
//! 000000000001.segment     …
//! ```
//!
//! INVARIANT: one writer: the lock is taken or the directory is not opened for writing.
//! INVARIANT: files are readable by their owner only; a segment appears under its name only when its header and
//! opening frame are safe.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fdatasync, flock, fsync};

use super::storage::{SegmentFile, Storage, Stored};

/// The longest file of proofs that is read: some hundred thousand segments.
const LARGEST_PROOFS: u64 = 256 << 20;
const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_DIRECTORY: u32 = 0o700;

/// A directory that holds a journal.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    current: Option<File>,
    /// Holds the lock for as long as it is open.
    _lock: Option<File>,
}

impl Directory {
    /// Opens a directory for writing, making it if it is not there.
    ///
    /// # Errors
    /// It cannot be made or opened, or another process is writing there.
    pub fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(path)?;
        let lock = private().open(path.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path: path.to_owned(), current: None, _lock: Some(lock) })
    }

    /// Opens a directory for reading, beside whoever writes there.
    ///
    /// # Errors
    /// It is not there.
    pub fn open_to_read(path: &Path) -> io::Result<Self> {
        if !std::fs::metadata(path)?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        Ok(Self { path: path.to_owned(), current: None, _lock: None })
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:012}.segment"))
    }

    fn current(&mut self) -> io::Result<&mut File> {
        self.current.as_mut().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Makes names that came or went in the directory safe.
    fn sync_names(&self) -> io::Result<()> {
        Ok(fsync(File::open(&self.path)?)?)
    }
}

/// A file that is made if it is not there, for its owner alone.
fn private() -> OpenOptions {
    let mut open = OpenOptions::new();
    open.create(true).truncate(false).write(true).mode(PRIVATE_FILE);
    open
}

/// Reads `000000000001.segment`; any other name is none of ours.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment")?;
    let number = digits.parse().ok()?;
    (format!("{number:012}") == digits).then_some(number)
}

impl Storage for Directory {
    fn segments(&self) -> io::Result<Vec<Stored>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if let Some(number) = entry.file_name().to_str().and_then(number_of) {
                found.push(Stored { number, bytes: entry.metadata()?.len() });
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn begin(&mut self, number: u64, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.path.join("next");
        let mut file = private().truncate(true).open(&unfinished)?;
        file.write_all(bytes)?;
        fsync(&file)?;
        // A name that is taken is never written over.
        std::fs::hard_link(&unfinished, self.segment(number))?;
        std::fs::remove_file(&unfinished)?;
        self.sync_names()?;
        self.current = Some(file);
        Ok(())
    }

    fn resume(&mut self, number: u64) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(self.segment(number))?;
        file.seek(SeekFrom::End(0))?;
        self.current = Some(file);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.current()?.write_all(bytes)
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        let file = self.current()?;
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes)).map(|_| ())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(fdatasync(self.current()?)?)
    }

    fn read(&self, number: u64) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(io::BufReader::with_capacity(64 * 1024, File::open(self.segment(number))?)))
    }

    fn remove(&mut self, number: u64) -> io::Result<()> {
        std::fs::remove_file(self.segment(number))?;
        self.sync_names()
    }

    fn proofs(&self) -> io::Result<Vec<u8>> {
        let file = match File::open(self.path.join("proofs")) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(LARGEST_PROOFS).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn add_proof(&mut self, keep: u64, line: &[u8]) -> io::Result<()> {
        let mut file = private().open(self.path.join("proofs"))?;
        file.set_len(keep)?;
        file.seek(SeekFrom::Start(keep))?;
        file.write_all(line)?;
        fsync(&file)?;
        self.sync_names()
    }
}
