//! What a journal needs of a disk, and no more. Tests put a disk of their own here, with faults.

use std::io::{self, Read, Seek};

/// A segment's bytes, open for reading.
pub trait SegmentFile: Read + Seek + Send {}

impl<T: Read + Seek + Send> SegmentFile for T {}

/// A segment that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Its number.
    pub number: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Where segments and proofs are kept.
pub trait Storage: Send {
    /// The segments that are there, in the order of their numbers.
    ///
    /// # Errors
    /// They cannot be listed.
    fn segments(&self) -> io::Result<Vec<Stored>>;

    /// Makes a segment that begins with `bytes`, whole or not at all and safe at once, and goes on with it.
    ///
    /// # Errors
    /// It cannot be made; nothing of it is there.
    fn begin(&mut self, number: u64, bytes: &[u8]) -> io::Result<()>;

    /// Goes on with a segment that is there.
    ///
    /// # Errors
    /// It cannot be opened.
    fn resume(&mut self, number: u64) -> io::Result<()>;

    /// Appends to the segment that was begun last.
    ///
    /// # Errors
    /// Not all of it could be written; some may have been.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the segment that was begun last to this length.
    ///
    /// # Errors
    /// It could not be cut.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;

    /// Makes what was appended safe.
    ///
    /// # Errors
    /// It may not be safe, and trying again proves nothing.
    fn sync(&mut self) -> io::Result<()>;

    /// Opens a segment for reading.
    ///
    /// # Errors
    /// It is not there or cannot be opened.
    fn read(&self, number: u64) -> io::Result<Box<dyn SegmentFile>>;

    /// Deletes a segment.
    ///
    /// # Errors
    /// It could not be deleted.
    fn remove(&mut self, number: u64) -> io::Result<()>;

    /// Everything that was added to the proofs.
    ///
    /// # Errors
    /// They cannot be read.
    fn proofs(&self) -> io::Result<Vec<u8>>;

    /// Adds to the proofs, safe at once; what a torn line left there is cut off first, to `keep` bytes.
    ///
    /// # Errors
    /// They could not be written.
    fn add_proof(&mut self, keep: u64, line: &[u8]) -> io::Result<()>;
}
