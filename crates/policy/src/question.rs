//! What is asked of a book.

use std::net::IpAddr;

use portcullis_core::{Principal, UnixMillis};

use crate::Method;

/// May this caller do this? The route is named by the [`crate::SliceId`] that goes with it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The method; one that the route does not have is denied.
    pub method: Method,
    /// The path parameters that the router captured, in any order; those that no rule reads are not looked at.
    pub path: &'a [(&'a str, &'a str)],
    /// Where the request came from; an IPv4-mapped address counts as IPv4 (B12).
    pub source: IpAddr,
    /// The wall clock.
    pub now: UnixMillis,
}
