//! What a record says about one request.
//!
//! Two events share one id: [`Decided`] (who, what, by which rules) and [`Ended`] (how it came out, and at what
//! cost). For most requests the first travels inside the second, as one line; a stream and a route of
//! `sensitivity: high` write it before anything is forwarded (DESIGN §4).
//!
//! All of it borrows: a record is written from what the request line holds anyway.
//!
//! INVARIANT: there is no field for a raw path, a query, a header value or a body.

use std::sync::Arc;

use portcullis_core::{Generation, Name, Principal, Proof, Reason};

use crate::event::{Tls, words};
use crate::{Permitted, SafeText, Source};

words! {
    /// The protocol that the request came in.
    Protocol {
        /// HTTP/1.0 or HTTP/1.1.
        Http1 = "http/1.1",
        /// HTTP/2.
        Http2 = "h2",
    }
}

words! {
    /// The stage of the request line that refused.
    Stage {
        /// One reading of the message.
        Frame = "frame",
        /// Cheap load shedding.
        Admit = "admit",
        /// Who calls.
        Identify = "identify",
        /// Which door.
        Route = "route",
        /// May they.
        Authorise = "authorise",
        /// Limits and contract.
        Shape = "shape",
        /// Which endpoint.
        Select = "select",
        /// The upstream leg.
        Forward = "forward",
        /// The answer.
        Answer = "answer",
        /// The record itself.
        Record = "record",
    }
}

words! {
    /// How the exchange stopped.
    Close {
        /// The last byte of the answer was handed over.
        Complete = "complete",
        /// The caller went away before that.
        CallerGone = "caller-gone",
        /// The upstream broke off.
        UpstreamBroke = "upstream-broke",
        /// The caller sent its body too slowly (E8).
        SlowBody = "slow-body",
        /// The caller took the answer too slowly (E8).
        SlowReader = "slow-reader",
        /// The stream's credential, age or idle time ran out.
        Lifetime = "lifetime",
        /// A new authorisation generation no longer permits the stream.
        Withdrawn = "withdrawn",
        /// The gateway drained.
        Drained = "drained",
    }
}

words! {
    /// What a limit said.
    Limited {
        /// Every limit had room.
        Within = "within",
        /// A rate was used up.
        Rate = "rate",
        /// Too many were in flight.
        Concurrency = "concurrency",
        /// The shared overflow bucket decided.
        Overflow = "overflow",
    }
}

words! {
    /// Whether a contract finding stopped the request.
    Mode {
        /// Only recorded.
        Report = "report",
        /// Refused.
        Enforce = "enforce",
    }
}

/// Who called, in the words of its proof.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// How it was proved.
    pub proof: Proof,
    /// Who vouches for it.
    pub issuer: &'a Name,
    /// Who it is.
    pub subject: SafeText<'a>,
    /// The OAuth client that acts.
    pub client: Option<SafeText<'a>>,
    /// The credential's own id (`jti`, serial, key id), never the credential.
    pub credential: Option<SafeText<'a>>,
    /// The login session.
    pub session: Option<SafeText<'a>>,
}

impl<'a> Caller<'a> {
    /// The recorded part of a principal: scopes, roles and claims stay out.
    #[must_use]
    pub fn of(principal: &'a Principal) -> Self {
        Self {
            proof: principal.proof,
            issuer: &principal.issuer,
            subject: SafeText::new(&principal.subject),
            client: principal.client.as_deref().map(SafeText::new),
            credential: principal.credential.as_deref().map(SafeText::new),
            session: principal.session.as_deref().map(SafeText::new),
        }
    }
}

/// The generations in force when the request was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// Policies and revocations.
    pub authorisation: Generation,
    /// Routes, limits and contracts.
    pub routes: Generation,
    /// Certificates and their roots.
    pub tls: Generation,
    /// Issuers' keys.
    pub keys: Generation,
}

/// One thing that the contract check found.
#[derive(Clone, Copy, Debug)]
pub struct Finding<'a> {
    /// A word of the contract room, such as `unknown-parameter` (11.6.2b).
    pub class: &'static str,
    /// Where: a parameter's name or a JSON pointer.
    pub at: SafeText<'a>,
    /// Whether it stopped the request.
    pub mode: Mode,
}

/// The W3C trace context that the request travels under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// `trace-id`.
    pub trace: [u8; 16],
    /// `parent-id` of the span that this gateway made.
    pub span: [u8; 8],
}

/// What was known of the request, whichever stage it reached.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where it came from.
    pub source: Source,
    /// The proxy or load balancer that told us so; none if the source itself connected.
    pub via: Option<Source>,
    /// The protocol it came in.
    pub protocol: Protocol,
    /// The TLS session it came over; none on a unix socket.
    pub tls: Option<Tls>,
    /// The method: a token of RFC 9110 §9.1, so caller-made text.
    pub method: SafeText<'a>,
    /// The service, once routed.
    pub service: Option<&'a Name>,
    /// The route's template, never the path.
    pub route: Option<&'a str>,
    /// The parameters that the allow-list names.
    pub params: &'a [Permitted<'a>],
    /// The trace it belongs to.
    pub trace: Option<Trace>,
}

/// The request and what was decided about it.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// The request.
    pub request: Request<'a>,
    /// Who called; none if that was never proved.
    pub caller: Option<Caller<'a>>,
    /// The ids of the rules that determined the decision.
    pub rules: &'a [Arc<str>],
    /// What it was decided under.
    pub generations: Generations,
    /// What the limits said.
    pub limit: Option<Limited>,
    /// What the contract check found.
    pub findings: &'a [Finding<'a>],
}

/// How a request came out.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// The upstream's answer was passed on.
    Served {
        /// Its status.
        status: u16,
    },
    /// We said no.
    Refused {
        /// Why, in the public word.
        reason: Reason,
        /// Where on the line.
        stage: Stage,
        /// Why, for the record alone.
        private: SafeText<'a>,
    },
    /// The request was sent and the caller left before the outcome was known.
    UpstreamUnknown,
}

/// Microseconds spent in each phase; zero where the request never came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// From the first byte of the head to the routed request.
    pub head: u32,
    /// Identification.
    pub identify: u32,
    /// Authorisation.
    pub authorise: u32,
    /// Limits and contract.
    pub shape: u32,
    /// From the first byte sent upstream to the head of its answer.
    pub upstream: u32,
    /// From the first byte to the last, both legs.
    pub total: u64,
}

/// The upstream leg.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    /// The endpoint's address, as configured or registered.
    pub endpoint: SafeText<'a>,
    /// How many endpoints were tried.
    pub attempts: u8,
}

/// How a request ended, with what was decided about it unless that has a line of its own.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// What [`Decided`] would have said; none if it was written before.
    pub decided: Option<Decided<'a>>,
    /// How it came out.
    pub outcome: Outcome<'a>,
    /// How it stopped.
    pub close: Close,
    /// The time it took.
    pub phases: Phases,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// The upstream leg; none if it never came to that.
    pub upstream: Option<Upstream<'a>>,
}
