//! Entrances for fuzzers: hostile bytes go in, nothing comes out, nothing may panic. Not part of the interface.

use crate::request::{Request, asked, parse};

/// A request as a workload sends it; what it asks for is read as if it were signed.
pub fn certificate_request(bytes: &[u8]) {
    let _ = Request::read(bytes);
    let _ = parse(bytes).map(|request| asked(&request));
}
