//! What happened, and the proof that it happened: the event model, the Merkle log and the wire formats.
//!
//! Floor 1: pure. Bytes and typed values go in, bytes come out; files, threads and clocks are
//! `portcullis-telemetry`'s. The life of a record:
//!
//! ```text
//! Event ── Stamp ── write_json ── salted leaf ── Range (Merkle) ── sealed block ── Checkpoint (signed)
//! typed    worker,   one line     RFC 6962       RFC 6962          AES-256-GCM     C2SP note
//!          sequence
//! ```
//!
//! INVARIANT: an event can hold only typed values, words of ours, text that an allow-list names, and
//! [`SafeText`], which is bounded and escaped by the only function that writes it (11.6.2d, F8, C13).
//! INVARIANT: no function here panics on any input.
//!
//! Not here: who may read a record, where it is kept, how long.

pub mod allow;
pub mod cef;
pub mod checkpoint;
mod encode;
pub mod event;
mod json;
pub mod leaf;
pub mod merkle;
pub mod ocsf;
pub mod proof;
pub mod record;
pub mod request;
pub mod safe;
pub mod segment;
pub mod sequence;
mod sink;
pub mod source;
pub mod syslog;

pub use allow::{AllowList, Permitted};
pub use checkpoint::{Checkpoint, CheckpointKey, CheckpointVerifier};
pub use event::{Actor, Event, Stamp};
pub use json::Object;
pub use record::Record;
pub use request::{Caller, Decided, Ended, Outcome, Request};
pub use safe::SafeText;
pub use source::{Source, SourceForm};

#[cfg(test)]
mod checkpoint_tests;
#[cfg(test)]
mod event_tests;
#[cfg(test)]
mod proof_tests;
