//! How sending failed, told apart by the one thing that decides about a retry: was a byte of the request sent?
//!
//! INVARIANT: a request is handed back only if the upstream cannot have seen any of it.
//!
//! Sources: RFC 9110 §9.2.2, RFC 9112 §9.3.1, RFC 9113 §6.8, §8.7.

use std::io;

use http::Request;
use http::request::Parts;

use crate::guard::Fault;
use crate::tls::HandshakeFault;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError<B> {
    /// No connection: nothing was sent. A retry elsewhere is safe.
    #[error("the upstream could not be reached")]
    Connect {
        /// Why.
        #[source]
        cause: ConnectFault,
        /// The request, untouched.
        request: Box<Request<B>>,
    },
    /// The pooled connection was gone: nothing was sent. A retry is safe.
    #[error("the connection that was kept had been closed")]
    Unused {
        /// The request, untouched.
        request: Box<Request<B>>,
    },
    /// HTTP/2: the upstream says that it processed none of it (GOAWAY or REFUSED_STREAM). A retry is safe where the
    /// request can be made again.
    #[error("the upstream refused the stream before it processed anything")]
    Refused {
        /// The head, if the request had no body.
        head: Option<Box<Parts>>,
    },
    /// The connection broke after something was sent: the request may have been carried out.
    #[error("the upstream broke off")]
    Sent {
        /// What hyper said.
        #[source]
        cause: ExchangeFault,
    },
    /// The request's own body broke: the caller's doing, not the upstream's.
    #[error("the request body broke off")]
    Body {
        /// What the body said; `Fault::of` finds the guard's word in it.
        #[source]
        cause: ExchangeFault,
    },
    /// No head of an answer in time.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// The answer has no single reading, or came too slowly.
    #[error("the upstream's answer was refused by the guard")]
    Malformed(#[source] Fault),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFault {
    /// The network.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// TLS; a peer that is not the expected one among it.
    #[error("the TLS handshake failed")]
    Tls(#[source] HandshakeFault),
    /// The protocol's start.
    #[error("the HTTP connection could not be started")]
    Http(#[source] ExchangeFault),
    /// Too slow.
    #[error("connecting took too long")]
    Timeout,
    /// As many requests wait for a connection, or streams are open, as may.
    #[error("the pool has no room for another request to this upstream")]
    Busy,
}

impl ConnectFault {
    /// A fixed word for events and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Io(_) => "connect-failed",
            Self::Tls(fault) => fault.word(),
            Self::Http(_) => "connect-protocol",
            Self::Timeout => "connect-timeout",
            Self::Busy => "pool-busy",
        }
    }
}

/// An error of the HTTP library, opaque outside this room.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ExchangeFault(pub(crate) hyper::Error);

/// Why an answer's body broke off.
#[derive(Debug, thiserror::Error)]
pub enum AnswerFault {
    /// The guard found it to be malformed, cut or too slow.
    #[error("the upstream's answer was refused by the guard")]
    Malformed(#[source] Fault),
    /// The connection or the stream broke.
    #[error("the upstream broke off its answer")]
    Broken(#[source] ExchangeFault),
}

/// Sorts an error that came after the request was handed to the connection.
pub(super) fn after_sending<B>(cause: hyper::Error, guard: Option<Fault>) -> SendError<B> {
    match guard {
        Some(fault) => SendError::Malformed(fault),
        None if cause.is_user() => SendError::Body { cause: ExchangeFault(cause) },
        None => SendError::Sent { cause: ExchangeFault(cause) },
    }
}

/// RFC 9113 §6.8, §8.7: does the upstream promise that it did nothing?
///
/// SECURITY: only a GOAWAY without an error counts: after one with an error, streams that were processed end in the same
/// words.
pub(super) fn is_unprocessed(cause: &hyper::Error) -> bool {
    let source = std::error::Error::source(cause).and_then(|inner| inner.downcast_ref::<h2::Error>());
    source.is_some_and(|h2| {
        let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
        let going = h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR);
        h2.is_remote() && (refused || going)
    })
}
