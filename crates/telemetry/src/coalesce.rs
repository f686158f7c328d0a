//! Counts the refusals of a flood in place of writing each one.
//!
//! Only what was refused before the caller was known may come here: such an event costs its sender nothing, so
//! a line for each would let a stranger fill the journal. Up to a rate each one is still written by itself;
//! above it they are counted by class, network and second. Networks that find no place in the table share one
//! bucket for each class.
//!
//! INVARIANT: every event noted is either written by itself or in exactly one count, and no count is forgotten
//! before it was recorded.
//! INVARIANT: the memory is bounded: the table, and one bucket for each class.
//!
//! Sources: DESIGN §4 (record is outermost); SS028-11.6.2a; threats E1-E5, E8 (floods).

use std::collections::BTreeMap;

use portcullis_core::UnixMillis;
use portcullis_evidence::Source;
use portcullis_evidence::event::{Class, Coalesced};

/// The most rows that are kept until they are recorded.
const ROWS: usize = 4096;

/// What to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalesce {
    /// Write it by itself.
    Write,
    /// It is in a count; write nothing.
    Counted,
}

/// One worker's table of counts.
#[derive(Debug)]
pub struct Coalescer {
    /// How many a second are written by themselves.
    rate: u32,
    second: u64,
    written: u32,
    rows: BTreeMap<(u64, Class, Source), u64>,
    /// By class: the first second of it, and how many.
    overflow: BTreeMap<Class, (u64, u64)>,
}

impl Coalescer {
    /// A table that lets `rate` events a second be written by themselves.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self { rate, second: 0, written: 0, rows: BTreeMap::new(), overflow: BTreeMap::new() }
    }

    /// Lets `rate` events a second be written by themselves from now on.
    pub fn limit(&mut self, rate: u32) {
        self.rate = rate;
    }

    /// Notes one event; `source` is a network, not an address.
    pub fn note(&mut self, now: UnixMillis, class: Class, source: Source) -> Coalesce {
        if self.second != now.seconds() {
            self.second = now.seconds();
            self.written = 0;
        }
        if self.written < self.rate {
            self.written += 1;
            return Coalesce::Write;
        }
        self.count(class, source, 1);
        Coalesce::Counted
    }

    /// Counts an event that was to be written by itself and found no room in the queue.
    pub fn count_refused(&mut self, class: Class, source: Source) {
        self.count(class, source, 1);
    }

    fn count(&mut self, class: Class, source: Source, more: u64) {
        let key = (self.second, class, source);
        let room = self.rows.len() < ROWS;
        let count = match self.rows.get_mut(&key) {
            Some(count) => count,
            None if room => self.rows.entry(key).or_default(),
            None => &mut self.overflow.entry(class).or_insert((self.second, 0)).1,
        };
        *count = count.saturating_add(more);
    }

    /// Hands each count of a second that is over to `record`, and forgets those that it took.
    ///
    /// # Errors
    /// The first error of `record`; the counts that it did not take stay.
    pub fn drain<E>(
        &mut self,
        now: UnixMillis,
        mut record: impl FnMut(Coalesced) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some((key, count)) = self.rows.first_key_value().map(|(k, c)| (*k, *c)) {
            let (second, class, source) = key;
            if second >= now.seconds() {
                break;
            }
            record(Coalesced { class, source: Some(source), second, count })?;
            self.rows.remove(&key);
        }
        while let Some((class, (second, count))) = self.overflow.first_key_value().map(|(k, c)| (*k, *c)) {
            record(Coalesced { class, source: None, second, count })?;
            self.overflow.remove(&class);
        }
        Ok(())
    }

    /// Whether nothing waits to be recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.overflow.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use portcullis_core::Reason;
    use portcullis_evidence::SourceForm;
    use portcullis_evidence::event::ConnectionClass;
    use proptest::prelude::*;

    use super::*;

    const CLASS: Class = Class::Refusal(Reason::InvalidToken);

    fn network(number: u32) -> Source {
        let address = IpAddr::V4(Ipv4Addr::from_bits(number << 8 | 7));
        Source::of(address, SourceForm::NETWORK)
    }

    fn all(table: &mut Coalescer, now: UnixMillis) -> Vec<Coalesced> {
        let mut rows = Vec::new();
        let _ = table.drain(now, |row| {
            rows.push(row);
            Ok::<_, ()>(())
        });
        rows
    }

    #[test]
    fn above_the_rate_events_are_counted_by_class_network_and_second() {
        let mut table = Coalescer::new(2);
        let at = UnixMillis(5_500);
        let done: Vec<_> = (0..5).map(|_| table.note(at, CLASS, network(1))).collect();
        assert_eq!(done[..2], [Coalesce::Write; 2]);
        assert_eq!(done[2..], [Coalesce::Counted; 3]);
        table.note(at, Class::Connection(ConnectionClass::Flood), network(1));
        assert!(all(&mut table, at).is_empty(), "the second is not over");
        let rows = all(&mut table, UnixMillis(6_000));
        assert_eq!(
            rows.iter().map(|r| (r.class, r.second, r.count)).collect::<Vec<_>>(),
            [(Class::Connection(ConnectionClass::Flood), 5, 1), (CLASS, 5, 3),]
        );
        assert!(table.is_empty());
        assert_eq!(table.note(UnixMillis(6_000), CLASS, network(1)), Coalesce::Write);
    }

    #[test]
    fn a_count_that_could_not_be_recorded_stays() {
        let mut table = Coalescer::new(0);
        table.note(UnixMillis(1_000), CLASS, network(1));
        assert_eq!(table.drain(UnixMillis(2_000), |_| Err("full")), Err("full"));
        assert_eq!(all(&mut table, UnixMillis(9_000)).len(), 1);
    }

    #[test]
    fn a_full_table_shares_one_bucket_and_loses_no_event() {
        let mut table = Coalescer::new(0);
        let events = u32::try_from(ROWS).expect("fits") + 500;
        for number in 0..events {
            table.note(UnixMillis(1_000), CLASS, network(number));
        }
        let rows = all(&mut table, UnixMillis(2_000));
        assert_eq!(rows.len(), ROWS + 1);
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), u64::from(events));
        assert_eq!(rows.last().map(|row| (row.source, row.count)), Some((None, 500)));
    }

    proptest! {
        #[test]
        fn every_event_is_in_exactly_one_place(
            rate in 0u32..4,
            events in prop::collection::vec((0u64..4, 0u32..3, any::<bool>()), 0..200),
        ) {
            let (mut table, mut second, mut seen, total) = (Coalescer::new(rate), 0, 0, events.len() as u64);
            for (step, net, fails) in events {
                second += step / 3;
                let now = UnixMillis::from_seconds(second);
                seen += u64::from(table.note(now, CLASS, network(net)) == Coalesce::Write);
                let _ = table.drain(now, |row| if fails { Err(()) } else { seen += row.count; Ok(()) });
            }
            seen += all(&mut table, UnixMillis(u64::MAX)).iter().map(|row| row.count).sum::<u64>();
            prop_assert_eq!(seen, total);
        }
    }
}
