//! Holds the keys of the workload authority, and does with them what was decided elsewhere.
//!
//! INVARIANT: no private key is on disk but sealed, except that of a root, which is written once, to be carried away.
//! INVARIANT: the state on disk changes whole or not at all, and before a step takes effect.
//!
//! Not here: building and checking certificates, the steps of a rotation (`portcullis-ca`).
//!
//! Sources: SS028-11.1.11, 11.2.10; SM-DR11 to SM-DR15.

mod ceremony;
mod files;
mod home;
mod pem;

pub use ceremony::{Begun, CeremonyError, Rotated, begin, rehearse, rotate};
pub use files::FileFault;
pub use home::{Home, HomeError, State};
