//! How much and how slowly: the settings of the guard, with safe defaults.
//!
//! INVARIANT: the defaults keep every canonical head and trailer section inside hyper's own limits, so that hyper
//! finds nothing to refuse (a test in `io` drives hyper with them).
//!
//! Sources: threats E5, E8; RFC 9110 §5.4 (limits are the recipient's choice).

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;

/// Sizes of one HTTP/1 message, the same for requests and answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request target in bytes.
    pub target: usize,
    /// Longest line in bytes, its CRLF included.
    pub line: usize,
    /// Largest head in bytes, start line and CRLFs included.
    pub head: usize,
    /// Most field lines in one head.
    pub fields: usize,
    /// Most cookies in one head: pairs, not lines (E5).
    pub crumbs: usize,
    /// Most field lines in one trailer section.
    pub trailers: usize,
    /// Largest trailer section in bytes.
    pub trailer_bytes: usize,
    /// Most interim (1xx) answers before the final one.
    pub interim: usize,
    /// Most bytes held back while an upgrade is undecided.
    pub held: usize,
    /// Most bytes thrown away on closing, so that the refusal is not lost to a reset.
    pub linger: usize,
    /// Methods beyond GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS. CONNECT and TRACE stay refused.
    pub methods: Option<Arc<[Box<str>]>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            target: 8 * 1024,
            line: 16 * 1024,
            head: 48 * 1024,
            fields: 96,
            crumbs: 192,
            trailers: 32,
            trailer_bytes: 8 * 1024,
            interim: 8,
            held: 16 * 1024,
            linger: 256 * 1024,
            methods: None,
        }
    }
}

impl Limits {
    /// The largest target, line and field count that hyper and `http` read.
    const HYPER_TARGET: usize = 65_534;
    /// Two less than hyper's hundred: a `connection` may be written that did not come.
    const HYPER_FIELDS: usize = 98;
    const HYPER_TRAILERS: usize = 16 * 1024;

    /// These limits, none of them beyond what hyper reads. Every framer applies it.
    #[must_use]
    pub(crate) fn within_hyper(mut self) -> Self {
        self.target = self.target.min(Self::HYPER_TARGET);
        self.head = self.head.min(256 * 1024);
        self.fields = self.fields.min(Self::HYPER_FIELDS);
        self.trailers = self.trailers.min(Self::HYPER_FIELDS);
        self.trailer_bytes = self.trailer_bytes.min(Self::HYPER_TRAILERS / 2);
        self
    }

    /// Sets up a hyper server so that it has no limit and no timer tighter than the guard's.
    pub fn tune(&self, server: &mut http1::Builder) {
        server.half_close(false).keep_alive(true).header_read_timeout(None);
    }
}

/// The slowest pace that is not yet a stall: bytes a second, averaged over a time of grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinRate {
    /// Bytes a second. Zero: any byte within the grace will do.
    pub bytes_per_second: u32,
    /// How long the pace may be below the rate.
    pub grace: Duration,
    /// How long it may stand still; beyond the grace it says nothing.
    pub stall: Duration,
}

impl MinRate {
    /// A rate with one time for both: being below it and standing still.
    #[must_use]
    pub const fn new(bytes_per_second: u32, grace: Duration) -> Self {
        Self { bytes_per_second, grace, stall: grace }
    }

    /// No rate, but an end to silence.
    #[must_use]
    pub(crate) const fn silence(grace: Duration) -> Self {
        Self::new(0, grace)
    }
}

/// How long the guard waits for one who calls us.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a head to its last, and from connecting to the first byte.
    pub head: Duration,
    /// Between the end of an answer and the next request.
    pub idle: Duration,
    /// The slowest request body.
    pub body: MinRate,
    /// The slowest taking of our answer.
    pub write: MinRate,
    /// How long a closing connection is drained.
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: MinRate::new(500, Duration::from_secs(20)),
            write: MinRate::new(500, Duration::from_secs(30)),
            linger: Duration::from_secs(2),
        }
    }
}

/// How long the guard waits for one whom we call. The answer's head is the pool's to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// Longest silence inside an answer's body.
    pub body_idle: Duration,
    /// The slowest taking of our request.
    pub write: MinRate,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self { body_idle: Duration::from_secs(60), write: MinRate::new(500, Duration::from_secs(30)) }
    }
}
