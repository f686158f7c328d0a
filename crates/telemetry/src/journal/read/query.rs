//! Asking for records, and following them as they are written.

use std::ops::ControlFlow;

use portcullis_core::{Reason, RequestId, UnixMillis};
use portcullis_evidence::Record;
use portcullis_evidence::segment::{Entries, Frame};

use super::{JournalReader, ReadError, ReadFault, SegmentReader, Step};

/// Which records are wanted. What is left out does not matter.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Of this request.
    pub id: Option<RequestId>,
    /// At this time or later.
    pub since: Option<UnixMillis>,
    /// Before this time.
    pub until: Option<UnixMillis>,
    /// Of a caller with this subject.
    pub subject: Option<String>,
    /// Of this service.
    pub service: Option<String>,
    /// Refused for this reason.
    pub reason: Option<Reason>,
    /// Of this kind of event, such as `change`.
    pub event: Option<String>,
}

impl Query {
    /// Whether the record is one of those.
    #[must_use]
    pub fn wants(&self, record: &Record) -> bool {
        let text = |wanted: &Option<String>, key| {
            wanted.as_deref().is_none_or(|wanted| record.text(key) == Some(wanted))
        };
        self.since.is_none_or(|since| record.time >= since.0)
            && self.until.is_none_or(|until| record.time < until.0)
            && self.id.is_none_or(|id| record.id == id.to_string())
            && self.event.as_deref().is_none_or(|event| record.event == event)
            && self.reason.is_none_or(|reason| record.text("reason") == Some(reason.word()))
            && text(&self.subject, "caller.subject")
            && text(&self.service, "service")
    }
}

impl JournalReader {
    /// Shows each wanted record and its line, oldest first, until `show` breaks off.
    ///
    /// # Errors
    /// A segment cannot be read or was altered; what was shown before that is authentic.
    pub fn query(
        &self,
        query: &Query,
        mut show: impl FnMut(&Record, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        for number in self.numbers()? {
            let Some(mut segment) = self.segment(number)? else { continue };
            if query.until.is_some_and(|until| segment.header().time >= until) {
                break;
            }
            let mut wanted = |record: &Record, line: &[u8]| match query.wants(record) {
                true => show(record, line),
                false => ControlFlow::Continue(()),
            };
            let walked = walk(&mut segment, &mut wanted);
            if walked.map_err(|cause| ReadError::Segment { number, cause })?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Begins to follow the record from its end.
    ///
    /// # Errors
    /// The newest segment cannot be read.
    pub fn tail(self) -> Result<Tail, ReadError> {
        let newest = self.numbers()?.last().copied();
        let at = newest.map(|number| self.segment(number)).transpose()?.flatten();
        let mut tail = Tail { at, reader: self };
        tail.poll(&mut |_, _| ControlFlow::Continue(()))?;
        Ok(tail)
    }
}

/// Where a reader is that follows the record.
pub struct Tail {
    reader: JournalReader,
    at: Option<SegmentReader>,
}

impl Tail {
    /// Shows the records that were written since the last call, and returns. Call it again when it suits.
    ///
    /// # Errors
    /// A segment cannot be read or was altered.
    pub fn poll(
        &mut self,
        show: &mut impl FnMut(&Record, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        for _ in 0..self.reader.numbers()?.len().max(1) {
            let number = self.at.as_ref().map_or(0, |segment| segment.header().number);
            if let Some(segment) = &mut self.at {
                let walked = walk(segment, show);
                if walked.map_err(|cause| ReadError::Segment { number, cause })?.is_break() {
                    return Ok(());
                }
            }
            let Some(next) = self.reader.numbers()?.into_iter().find(|next| *next > number) else {
                return Ok(());
            };
            self.at = self.reader.segment(next)?;
        }
        Ok(())
    }
}

/// Shows the records from where the segment is to its end, or to what is not whole yet.
fn walk(
    segment: &mut SegmentReader,
    show: &mut impl FnMut(&Record, &[u8]) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadFault> {
    loop {
        match segment.next()? {
            Step::Frame(Frame::Records(entries)) => {
                if show_all(&entries, show)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Step::Frame(_) => {}
            Step::Torn(_) | Step::Open | Step::Closed => return Ok(ControlFlow::Continue(())),
        }
    }
}

fn show_all(
    entries: &Entries,
    show: &mut impl FnMut(&Record, &[u8]) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadFault> {
    for entry in entries.iter() {
        let line = entry.map_err(ReadFault::Altered)?.line;
        // An authentic line of a later version's form is passed over; `verify` counts it all the same.
        if let Ok(record) = Record::parse(line)
            && show(&record, line).is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
