//! A disk in memory that counts, fails and forgets on demand.

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::journal::{SegmentFile, Storage, Stored};

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::journal) enum Fault {
    #[default]
    None,
    /// Writing takes so many bytes more and then fails.
    FullAfter(usize),
    /// Syncing fails.
    Sync,
    /// Deleting fails.
    Remove,
}

#[derive(Clone, Debug, Default)]
pub(in crate::journal) struct Platter {
    pub(in crate::journal) segments: BTreeMap<u64, Vec<u8>>,
    pub(in crate::journal) proofs: Vec<u8>,
    pub(in crate::journal) fault: Fault,
    pub(in crate::journal) syncs: usize,
    pub(in crate::journal) appends: usize,
    /// The length of the current segment at the last sync.
    pub(in crate::journal) safe: usize,
    current: u64,
}

#[derive(Clone, Debug, Default)]
pub(in crate::journal) struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    pub(in crate::journal) fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("not poisoned")
    }

    /// The same contents on another disk: what is there after the power went.
    pub(in crate::journal) fn copy(&self) -> Self {
        let platter = Platter { fault: Fault::None, ..self.platter().clone() };
        Self(Arc::new(Mutex::new(platter)))
    }

    /// A copy whose newest segment has only `length` bytes.
    pub(in crate::journal) fn cut_to(&self, length: usize) -> Self {
        let copy = self.copy();
        copy.platter().segments.last_entry().expect("a segment").get_mut().truncate(length);
        copy
    }

    pub(in crate::journal) fn newest_length(&self) -> usize {
        self.platter().segments.last_key_value().map_or(0, |(_, bytes)| bytes.len())
    }

    pub(in crate::journal) fn fail(&self, fault: Fault) {
        self.platter().fault = fault;
    }
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl Platter {
    fn write(&mut self, number: u64, bytes: &[u8]) -> io::Result<()> {
        let room = match &mut self.fault {
            Fault::FullAfter(room) => std::mem::replace(room, room.saturating_sub(bytes.len())),
            Fault::None | Fault::Sync | Fault::Remove => usize::MAX,
        };
        let taken = &bytes[..bytes.len().min(room)];
        self.segments.entry(number).or_default().extend_from_slice(taken);
        if taken.len() == bytes.len() { Ok(()) } else { Err(full()) }
    }
}

impl Storage for Disk {
    fn segments(&self) -> io::Result<Vec<Stored>> {
        let platter = self.platter();
        let stored =
            |(number, bytes): (&u64, &Vec<u8>)| Stored { number: *number, bytes: bytes.len() as u64 };
        Ok(platter.segments.iter().map(stored).collect())
    }

    fn begin(&mut self, number: u64, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        if matches!(platter.fault, Fault::FullAfter(room) if room < bytes.len()) {
            return Err(full());
        }
        assert!(!platter.segments.contains_key(&number), "a segment is never written over");
        platter.write(number, bytes)?;
        (platter.current, platter.safe) = (number, bytes.len());
        Ok(())
    }

    fn resume(&mut self, number: u64) -> io::Result<()> {
        self.platter().current = number;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        platter.appends += 1;
        let current = platter.current;
        platter.write(current, bytes)
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        let mut platter = self.platter();
        let current = platter.current;
        let length = usize::try_from(bytes).expect("fits");
        platter.segments.get_mut(&current).expect("begun").truncate(length);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut platter = self.platter();
        platter.syncs += 1;
        if platter.fault == Fault::Sync {
            return Err(io::Error::other("the disk lost a write"));
        }
        let current = platter.current;
        platter.safe = platter.segments.get(&current).map_or(0, Vec::len);
        Ok(())
    }

    fn read(&self, number: u64) -> io::Result<Box<dyn SegmentFile>> {
        let bytes = self.platter().segments.get(&number).cloned();
        bytes.map(|bytes| Box::new(Cursor::new(bytes)) as _).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove(&mut self, number: u64) -> io::Result<()> {
        if self.platter().fault == Fault::Remove {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.platter().segments.remove(&number).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn proofs(&self) -> io::Result<Vec<u8>> {
        Ok(self.platter().proofs.clone())
    }

    fn add_proof(&mut self, keep: u64, line: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        if matches!(platter.fault, Fault::FullAfter(room) if room < line.len()) {
            return Err(full());
        }
        platter.proofs.truncate(usize::try_from(keep).expect("fits"));
        platter.proofs.extend_from_slice(line);
        Ok(())
    }
}
