//! Rates, plans, concurrency and failure budgets, exact over all cores.
//!
//! One [`Limiter`], one [`Concurrency`] and one [`FailureBudget`] serve a whole process: every core asks the same
//! tables, so a plan of 50/s admits exactly 50 in a second on any number of cores (DESIGN §4, Threads). The tables
//! are sharded; a lock is held for the time of one probe and a comparison, never over an await.
//!
//! INVARIANT: no answer depends on a clock of this crate; time is an argument.
//! INVARIANT: a full table never evicts a key that still counts; new keys share a bucket until there is room.
//! INVARIANT: what a client chooses never decides how much memory is used: each table is bounded.
//!
//! Not here: which limits a route has (`portcullis-config`), the 429 itself (`portcullis-dataplane`).
//!
//! Sources: ITU-T I.371 (GCRA); SS028-11.4.2; MS-SS-8.1, 8.2; draft-ietf-httpapi-ratelimit-headers; threats E10, E15,
//! B12.

mod concurrency;
mod failures;
mod headers;
mod key;
mod limiter;
mod quota;
mod table;

pub use concurrency::{Busy, Concurrency, Held};
pub use failures::FailureBudget;
pub use headers::{ratelimit, ratelimit_policy, retry_after};
pub use key::{LimitKey, SourcePrefix};
pub use limiter::{Ask, Limiter, Verdict};
pub use quota::{Quota, Standing};
