//! May this caller do this? The only room that knows Cedar.

mod answer;
mod book;
mod cache;
mod method;
mod question;
mod source;

pub use answer::{Answer, Fault, RuleId, Rules};
pub use book::{Book, SliceId};
pub use cache::DecisionCache;
pub use method::Method;
pub use question::Question;
pub use source::{
    Attached, BookSource, ClaimKind, ClaimSource, PolicySource, Presence, PublicRoute, RouteSource,
    ScopeRule, Sensitivity,
};
