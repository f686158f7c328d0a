//! Listening, TLS, HTTP framing and its guard, the upstream pool; the only room that knows hyper and rustls.
//!
//! From the outside in: [`listen`] takes connections fairly, [`tls`] shakes hands, [`guard`] frames bytes so that they
//! have one reading, [`serve`] hands requests to the line, [`pool`] sends them on. [`fetch`] is for the control process.
//!
//! INVARIANT: no other room names a type of hyper or rustls, but through this one.
//! INVARIANT: every wait here has a deadline, every table and buffer a bound.
//!
//! Not here: what a request means, who may send it, where it goes.

pub mod address;
mod cork;
pub mod fetch;
pub mod guard;
pub mod listen;
pub mod pool;
pub mod proxy_protocol;
mod ready;
pub mod serve;
pub mod taking;
pub mod tls;

pub use hyper::body::Incoming;

/// The application protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1 (RFC 9112).
    Http1,
    /// HTTP/2 (RFC 9113).
    Http2,
}

impl Protocol {
    /// The name in ALPN (RFC 7301 §6).
    pub(crate) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }

    /// What ALPN chose; without it HTTP/1.1.
    pub(crate) fn from_alpn(chosen: Option<&[u8]>) -> Self {
        match chosen {
            Some(b"h2") => Self::Http2,
            _ => Self::Http1,
        }
    }

    /// As it is written in records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}
