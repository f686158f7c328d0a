//! May this caller do this? The only room that knows Cedar.

mod answer;
mod book;
mod cache;
mod catalogue;
mod compile;
mod facts;
mod input;
mod key;
mod method;
mod nearest;
mod question;
mod reach;
mod read;
mod rule;
mod schema;
mod source;
mod split;
mod validate;
mod words;

pub use answer::{Answer, Fault, RuleId, Rules};
pub use book::{Book, SliceId};
pub use cache::{CacheCounts, DecisionCache};
pub use method::Method;
pub use question::Question;
pub use rule::Effect;
pub use schema::schema_text;
pub use source::{
    Attached, BookSource, ClaimKind, ClaimSource, Grant, PolicySource, Presence, PublicRoute, RouteSource,
    ScopeRule, Sensitivity,
};
