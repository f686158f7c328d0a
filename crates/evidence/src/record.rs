//! A record read back from its line.
//!
//! Queries, exporters and the explanation of a decision read a [`Record`]; nothing on the request path does.
//!
//! INVARIANT: its texts are as they were written, that is, escaped: nothing unescapes them again (F8).

use serde::Deserialize;
use serde_json::{Map, Value};

/// The longest line that is read.
pub const LONGEST_LINE: usize = 64 * 1024;

/// One record. Facts that every kind has are fields, the rest is asked for by key.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Record {
    /// The kind of event, such as `ended`.
    pub event: String,
    /// The id it shares with others about the same thing.
    pub id: String,
    /// Milliseconds since the epoch.
    pub time: u64,
    /// The worker that recorded it.
    pub worker: u16,
    /// Its place in that worker's sequence.
    pub seq: u64,
    /// The environment.
    pub env: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A line that is not a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordFault {
    /// Longer than any record.
    #[error("the line has {0} bytes; a record has at most {LONGEST_LINE}")]
    TooLong(usize),
    /// Not JSON of the form that we write.
    #[error("the line is not a record")]
    Form(#[source] serde_json::Error),
}

impl Record {
    /// Reads a line.
    ///
    /// # Errors
    /// The line is too long or is not a record.
    pub fn parse(line: &[u8]) -> Result<Self, RecordFault> {
        if line.len() > LONGEST_LINE {
            return Err(RecordFault::TooLong(line.len()));
        }
        serde_json::from_slice(line).map_err(RecordFault::Form)
    }

    /// The text under `key`, or under `caller.key` style paths of two parts.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.value(key)?.as_str()
    }

    /// The number under `key`.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.value(key)?.as_u64()
    }

    /// The value under `key`.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        match key.split_once('.') {
            None => self.rest.get(key),
            Some((outer, inner)) => self.rest.get(outer)?.as_object()?.get(inner),
        }
    }

    /// What was recorded besides the common fields, in the order in which it was written.
    pub fn rest(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.rest.iter().map(|(key, value)| (key.as_str(), value))
    }
}
