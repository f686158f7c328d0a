//! The events that a Portcullis process can record. There are no others.
//!
//! An [`Event`] says what happened; the [`Stamp`], which the journal makes, says when and in which place of the
//! worker's gapless sequence. Words are fixed; whatever a stranger could have written is [`SafeText`].
//!
//! Sources: DESIGN §4 (record is outermost); SS028-11.6.1, 11.6.2; MS-SS-5.1 to 5.3; threats F8, C13.

use portcullis_core::{Name, Reason, RequestId, UnixMillis};

use crate::request::{Decided, Ended};
use crate::{SafeText, Source};

/// An enum of fixed words: the only texts that need no escaping.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable word that records and metrics show.
            #[must_use]
            pub const fn word(self) -> &'static str { match self { $(Self::$variant => $word),* } }

            /// Its place in [`Self::ALL`].
            #[must_use]
            pub const fn index(self) -> usize { self as usize }
        }
    };
}
pub(crate) use words;

mod house;

pub use house::{
    Actor, Admin, AdminAction, Alert, AlertState, Change, ChangeKind, Crash, Issuer, IssuerState, Keeping,
    Permission, Previous, RecordState, Severity, Start, Verdict,
};

/// When and where in the sequence an event was recorded. The journal makes it.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The id shared by all events of one request, or of this event alone.
    pub id: RequestId,
    /// Wall time.
    pub time: UnixMillis,
    /// The worker that recorded it.
    pub worker: u16,
    /// Its place in that worker's sequence: 1, 2, 3, …; a number that is missing is a finding.
    pub sequence: u64,
    /// The environment of the process.
    pub environment: &'a Name,
}

words! {
    /// The TLS version of a session.
    TlsVersion {
        /// RFC 5246.
        V12 = "1.2",
        /// RFC 8446.
        V13 = "1.3",
    }
}

/// The TLS session that something came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Its version.
    pub version: TlsVersion,
    /// SHA-256 of the client's certificate, if it showed one (RFC 8705 §3.1).
    pub client: Option<[u8; 32]>,
}

words! {
    /// What ended a connection, or a message on it, before it reached the request line.
    ConnectionClass {
        /// The TLS handshake failed.
        HandshakeFailed = "handshake-failed",
        /// The client's certificate was not accepted.
        CertificateRefused = "certificate-refused",
        /// The guard found no single reading of the bytes.
        GuardFault = "guard-fault",
        /// The HTTP/2 layer answered by itself: a reset or GOAWAY for a protocol error.
        ProtocolError = "protocol-error",
        /// An HTTP/2 flood detector fired (E1-E5, E8).
        Flood = "flood",
        /// The PROXY header was missing, malformed or from a peer that is not listed.
        ProxyError = "proxy-error",
        /// Too many connections, handshakes or open requests.
        OverCap = "over-cap",
        /// Bytes came too slowly, or not at all.
        Timeout = "timeout",
        /// The HTTP codec answered by itself, which a test says cannot happen.
        CodecAnswer = "codec-answer",
        /// The connection broke off in the middle of a message.
        Broken = "broken",
    }
}

/// Something that never reached the request line.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// Where it came from.
    pub source: Source,
    /// The load balancer that told us so; none if the source itself connected.
    pub via: Option<Source>,
    /// The configured name of the listener.
    pub listener: Option<&'a Name>,
    /// What it was.
    pub class: ConnectionClass,
    /// The particular fault: a word of the room that found it, such as `content-length-twice`.
    pub fault: &'static str,
    /// More about it, for the record alone.
    pub detail: SafeText<'a>,
    /// The server name that the client asked for.
    pub server_name: Option<SafeText<'a>>,
    /// The session, if there was one.
    pub tls: Option<Tls>,
}

/// What a run of coalesced events has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Never reached the line.
    Connection(ConnectionClass),
    /// Refused on the line before the caller was known.
    Refusal(Reason),
}

impl Class {
    /// The stable word of it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Connection(class) => class.word(),
            Self::Refusal(reason) => reason.word(),
        }
    }
}

/// Many events of one class, from one network, in one second, with their exact number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalesced {
    /// What they were.
    pub class: Class,
    /// The network; none for the shared bucket of networks that found no place in the table.
    pub source: Option<Source>,
    /// Seconds since the epoch.
    pub second: u64,
    /// How many; exact.
    pub count: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A request was decided, and is about to be forwarded.
    Decided(Decided<'a>),
    /// A request ended.
    Ended(Ended<'a>),
    /// Something never reached the request line.
    Connection(Connection<'a>),
    /// Many of the kind happened.
    Coalesced(Coalesced),
    /// A generation was accepted or refused.
    Change(Change<'a>),
    /// An administrator did something.
    Admin(Admin<'a>),
    /// An alert began or ended.
    Alert(Alert<'a>),
    /// News of an issuer.
    Issuer(Issuer<'a>),
    /// A process started.
    Start(Start<'a>),
    /// A process stopped as it was told to.
    Stop,
    /// A process died.
    Crash(Crash<'a>),
    /// News of the record itself.
    Keeping(Keeping<'a>),
}

impl Event<'_> {
    /// The word of its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Decided(_) => "decided",
            Self::Ended(_) => "ended",
            Self::Connection(_) => "connection",
            Self::Coalesced(_) => "coalesced",
            Self::Change(_) => "change",
            Self::Admin(_) => "admin",
            Self::Alert(_) => "alert",
            Self::Issuer(_) => "issuer",
            Self::Start(_) => "start",
            Self::Stop => "stop",
            Self::Crash(_) => "crash",
            Self::Keeping(_) => "keeping",
        }
    }
}
