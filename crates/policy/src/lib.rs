//! May this caller do this? The only room that knows Cedar.
//!
//! [`Book::compile`] turns routes, Cedar policies and scope rules into an immutable [`Book`], or into the list of
//! everything that is wrong with them. [`Book::decide`] and [`DecisionCache::decide`] answer a [`Question`];
//! [`Book::explain`] says why. What policies may say is in [`schema_text`].
//!
//! Nothing here reads a file or a clock, or starts a thread: time comes with the question.
//!
//! INVARIANT: only [`Answer::Allow`] is a yes. No rule, no route, no method, a rule that fails, a book of another
//! generation: each of them is a no (threats B7, C15).
//! INVARIANT: a forbid never opens a door, whatever else the book holds (F6).
//! INVARIANT: a remembered answer is the answer that the book would give now (C7).
//! INVARIANT: no type of Cedar's is in the public interface.
//!
//! Not here: who the caller is (`portcullis-token`), which route a request takes (`portcullis-snapshot`), limits.
//!
//! Sources: DESIGN §2, §4; Cedar 4 (docs.cedarpolicy.com); SP 800-204 §4.1; threats B4, B7, B12, C7, C15, F6, F8.

mod answer;
mod book;
mod cache;
mod catalogue;
mod compile;
mod explain;
mod facts;
mod input;
mod key;
mod matrix;
mod method;
mod nearest;
mod question;
mod reach;
mod read;
mod report;
mod rule;
mod schema;
mod source;
mod split;
mod trial;
mod validate;
mod words;

pub use answer::{Answer, Fault, RuleId, Rules};
pub use book::{Book, SliceId};
pub use cache::{CacheCounts, DecisionCache};
pub use explain::{ExplainedInput, ExplainedRule, Explanation, Outcome};
pub use method::Method;
pub use question::Question;
pub use report::{SliceReport, SliceSize};
pub use rule::Effect;
pub use schema::schema_text;
pub use source::{
    Attached, BookSource, ClaimKind, ClaimSource, Grant, PolicySource, Presence, PublicRoute, RouteSource,
    ScopeRule, Sensitivity,
};
pub use trial::{TrialOutcome, TrialReport, TrialTable};
