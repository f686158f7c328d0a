//! How a process is watched: metrics, the journal that keeps its record, and the operator's log.
//!
//! Floor 2: files and threads live here; what an event is and how it is sealed is `portcullis-evidence`.
//!
//! INVARIANT: every metric name is in `names`; every security event goes to the journal, not to the log.
//!
//! Not here: alert rules and their delivery, the admin listener.

pub mod coalesce;
pub mod home;
pub mod journal;
pub mod keys;
pub mod log;
pub mod metrics;
pub mod names;

pub use coalesce::{Coalesce, Coalescer};
pub use journal::{Full, Journal, JournalKeys, JournalParts, JournalPlan, Recorder, Slot, Synced};
pub use log::{Chain, Level, Log, LogForm};
pub use metrics::{Metrics, RefusalMetrics, RouteMetrics};
