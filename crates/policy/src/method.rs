//! The HTTP methods that policy knows, and the two groups they fall in.
//!
//! INVARIANT: methods are case-sensitive (RFC 9110 §9.1), so `get` is no method (threat B4).
//! INVARIANT: `CONNECT` and `TRACE` are never asked about: the line refuses them before policy. A WebSocket over
//! HTTP/2 (RFC 8441) is asked about as `GET`, which is what it is over HTTP/1.1.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A request method that a policy can name: `Action::"GET"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Read.
    Get,
    /// Read, without the body.
    Head,
    /// Ask what is possible.
    Options,
    /// Create, or carry out.
    Post,
    /// Replace.
    Put,
    /// Change.
    Patch,
    /// Remove.
    Delete,
}

impl Method {
    /// Every method, in the order of the schema.
    pub const ALL: [Self; 7] =
        [Self::Get, Self::Head, Self::Options, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// Reads the token of a request line; anything that policy does not know is `None`.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.as_str() == token)
    }

    /// The token, which is also the id of the Cedar action.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// The action group of the method: `read` is what RFC 9110 §9.2.1 calls safe, all else is `write`.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self {
            Self::Get | Self::Head | Self::Options => Self::READ,
            Self::Post | Self::Put | Self::Patch | Self::Delete => Self::WRITE,
        }
    }

    pub(crate) const READ: &'static str = "read";
    pub(crate) const WRITE: &'static str = "write";
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b4_a_method_has_one_spelling() {
        for method in Method::ALL {
            assert_eq!(Method::parse(method.as_str()), Some(method));
            assert_eq!(Method::parse(&method.as_str().to_lowercase()), None);
        }
        for odd in ["", "CONNECT", "TRACE", "GET ", "PROPFIND", "*"] {
            assert_eq!(Method::parse(odd), None, "{odd:?}");
        }
    }
}
