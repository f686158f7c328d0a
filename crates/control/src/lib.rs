//! The control process and the supervisor: the change line, issuers' keys, the monitor and its alerts, administration.
//!
//! ```text
//! files ─ change ─ publish ═ link ═ data planes        issuers ─ keys ─┘
//!                     └ news ─ monitor ─ alerts          admin: status, metrics, explain, reload
//! ```
//!
//! INVARIANT: nothing here parses what a stranger on the data plane sends.
//! INVARIANT: a change is all or nothing, recorded either way.
//!
//! Not here: compiling (`portcullis-snapshot`), the request line (`portcullis-dataplane`).

pub mod admin;
pub mod alerts;
mod backoff;
pub mod change;
pub mod desk;
pub mod files;
pub mod issuers;
pub mod monitor;
pub mod outbound;
pub mod publish;
mod run;
pub mod supervise;
mod tasks;
#[cfg(test)]
mod testing;

pub use run::{Asked, Control, ControlError, run};
