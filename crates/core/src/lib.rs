//! The words that every room of Portcullis shares.
//!
//! Floor 0: nothing here knows a socket, a file, a thread or a protocol library. A type stands here only when
//! at least two rooms must mean the same thing by it.
//!
//! INVARIANT: a value of [`NormalPath`], [`Name`] or a unit has been checked; nobody checks it again.
//! INVARIANT: nothing in this crate can panic on any input.
//!
//! Not here: configuration keys (`portcullis-config`), events (`portcullis-evidence`).

pub mod clock;
pub mod ids;
pub mod path;
pub mod principal;
pub mod problem;
pub mod refusal;
pub mod sensitive;
pub mod spiffe;
pub mod units;

pub use clock::{Clock, Now, SystemClock, UnixMillis};
pub use ids::{Generation, Name, NameFault, RequestId};
pub use path::{NormalPath, PathFault};
pub use principal::{Assurance, Binding, ClaimValue, Principal, Proof};
pub use problem::{Location, Problem, Problems};
pub use refusal::{Blame, Reason, Refusal, Retry};
pub use sensitive::Sensitive;
pub use spiffe::{SpiffeFault, SpiffeId, TrustDomain};
pub use units::{ByteSize, Millis, Rate};
