//! Whether a worker's sequence has a hole.
//!
//! Each worker numbers its records 1, 2, 3, … and one journal holds them in that order, so a number that is
//! missing, comes twice or comes late means that a record was taken out, put in or moved.
//!
//! INVARIANT: [`Sequences::accept`] moves on only by the number that follows.

use std::collections::BTreeMap;

/// The last number seen of each worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequences(BTreeMap<u16, u64>);

/// A number that does not follow the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("worker {worker} recorded number {found} where {wanted} follows")]
pub struct Gap {
    /// Whose sequence.
    pub worker: u16,
    /// The number that would have followed.
    pub wanted: u64,
    /// The number that came.
    pub found: u64,
}

impl Sequences {
    /// The number that `worker` gives its next record.
    #[must_use]
    pub fn next(&self, worker: u16) -> u64 {
        self.0.get(&worker).map_or(1, |last| last.saturating_add(1))
    }

    /// Takes the next record of a worker.
    ///
    /// # Errors
    /// The number is not the one that follows. The sequence then continues from the number found, so that one
    /// hole is one finding.
    pub fn accept(&mut self, worker: u16, found: u64) -> Result<(), Gap> {
        let wanted = self.next(worker);
        self.0.insert(worker, found);
        if wanted == found { Ok(()) } else { Err(Gap { worker, wanted, found }) }
    }

    /// Sets the last number of a worker, from a place that is itself authenticated.
    pub fn resume(&mut self, worker: u16, last: u64) {
        self.0.insert(worker, last);
    }

    /// Each worker with its last number, in the order of the workers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u16, u64)> {
        self.0.iter().map(|(worker, last)| (*worker, *last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_missing_doubled_or_late_is_a_gap() {
        let table: [(&[u64], usize); 6] = [
            (&[1, 2, 3], 0),
            (&[2], 1),
            (&[1, 3, 4], 1),
            (&[1, 1, 2], 1),
            (&[1, 2, 4, 3], 2),
            (&[u64::MAX], 1),
        ];
        for (numbers, gaps) in table {
            let mut seen = Sequences::default();
            let found = numbers.iter().filter(|n| seen.accept(7, **n).is_err()).count();
            assert_eq!(found, gaps, "{numbers:?}");
        }
    }

    #[test]
    fn workers_count_apart_and_a_sequence_resumes() {
        let mut seen = Sequences::default();
        seen.resume(2, 40);
        assert_eq!((seen.accept(1, 1), seen.accept(2, 41)), (Ok(()), Ok(())));
        assert_eq!(seen.accept(2, 43), Err(Gap { worker: 2, wanted: 42, found: 43 }));
        assert_eq!(seen.iter().collect::<Vec<_>>(), [(1, 1), (2, 43)]);
    }
}
