//! How *control* calls others: issuers, Alertmanager, a webhook.
//!
//! The door is a trait, so that a test can stand behind it; [`NetOutbound`] is the real one.
//!
//! INVARIANT: no redirect is followed, nothing is read beyond the stated size, and an address on this machine is
//! called only where the configuration says so (C12, E10).
//!
//! Not here: what is asked (`issuers`, `alerts`); sockets, TLS and egress rules (`portcullis-net`).

use std::pin::Pin;

use bytes::Bytes;
use portcullis_snapshot::plan::{Inlined, Loopback, Secret, Url};

/// One call.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Where.
    pub url: Url,
    /// What is sent.
    pub sent: Sent,
    /// Root certificates; none means those of the system.
    pub roots: Option<Inlined>,
    /// Whether the address may be on this machine.
    pub loopback: Loopback,
    /// More bytes than this are not read.
    pub most: usize,
}

/// What is sent.
#[derive(Clone, Debug)]
pub enum Sent {
    /// A GET.
    Get,
    /// A POST of JSON.
    Json {
        /// The document.
        body: Bytes,
        /// Sent as a bearer token.
        token: Option<Secret>,
    },
}

/// Why a call did not work.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It was answered, but not with success; a redirect is not followed and ends here too.
    #[error("the answer has the status {0}")]
    Status(u16),
    /// It was not made or not answered.
    #[error("the call failed")]
    Call(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("there was no answer in time")]
    Late,
}

/// The answer that comes later.
pub type Answering = Pin<Box<dyn Future<Output = Result<Bytes, AskError>> + Send>>;

/// Something that calls others.
pub trait Outbound: Send + Sync {
    /// Makes one call; the body of an answer with a status from 200 to 299 is the result.
    fn send(&self, ask: Ask) -> Answering;
}
