//! HTTP/1 framing as engines without a socket: bytes in, canonical bytes out.
//!
//! [`RequestFramer`] reads what a caller sends, [`ResponseFramer`] what an upstream sends. Both are fed whatever has
//! come so far, in whatever pieces; what they write depends on the bytes alone and not on the pieces.
//!
//! What is written: one space where a space must be, names in lower case, no white space around values, no hop-by-hop
//! field but those that hyper must see, `content-length` without leading zeroes, chunk sizes without leading zeroes,
//! no chunk extension, the fixed fields last and in a fixed order.
//!
//! INVARIANT: a head or a trailer section is written in one piece after its last byte was checked, or not at all.
//! INVARIANT: after a fault every further call gives the same fault and writes nothing.
//!
//! Sources: RFC 9112 §2-§7; RFC 9110 §7.6, §7.8, §10.1.

mod body;
mod fields;
mod request;
mod response;

pub use body::may_trail;
pub use request::RequestFramer;
pub use response::{ExpectedAnswer, ResponseFramer};

#[cfg(test)]
mod laws;

/// How far a call of `feed` came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All that can be used was used; what is left of the input must be fed again with more behind it.
    More,
    /// A head was completed and written. There may be more in the input.
    Head,
    /// An upgrade is undecided: nothing more is taken until `resume` or a tunnel.
    Held,
    /// This was the last message: nothing more is ever taken.
    Closed,
}

/// Where in a message a byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before, after or between messages.
    Between,
    /// In a start line or in fields.
    Head,
    /// In a body, trailers included.
    Body,
}
