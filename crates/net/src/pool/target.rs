//! Whom a request goes to: the key of the pool.
//!
//! INVARIANT: two targets are equal only if address, expected identity, own identity, TLS generation and protocol are; a
//! [`ClientTls`] stands for the three in the middle and equals nothing but itself.
//!
//! Sources: DESIGN "Upstream reuse"; threat A3 (connections shared between what must be apart).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::Protocol;
use crate::guard::{Limits, MeterLimits, UpstreamTimeouts};
use crate::tls::ClientTls;

/// Where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Over TCP.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(Arc<Path>),
}

/// One upstream, in one role. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    address: Address,
    tls: Option<Arc<ClientTls>>,
    protocol: Protocol,
}

impl Target {
    /// An upstream behind TLS; the protocol is the one that `tls` asks for.
    #[must_use]
    pub fn secure(address: Address, tls: Arc<ClientTls>) -> Self {
        let protocol = tls.protocol();
        Self { address, tls: Some(tls), protocol }
    }

    /// An upstream without TLS: on a unix socket, or loopback within one network namespace (DESIGN "Plaintext"). Who may
    /// have that is decided where the configuration is checked.
    #[must_use]
    pub fn plaintext(address: Address, protocol: Protocol) -> Self {
        Self { address, tls: None, protocol }
    }

    /// Where.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Who is expected there, and what we show.
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<ClientTls>> {
        self.tls.as_ref()
    }

    /// What is spoken.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }
}

/// How long one attempt may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection, its TLS handshake and its protocol's start together.
    pub connect: Duration,
    /// From the request to the head of the final answer.
    pub answer_head: Duration,
    /// Longest silence inside the answer's body; `None` is the pool's setting.
    pub body_idle: Option<Duration>,
    /// When the whole request ends, whichever attempt this is: no wait for a connection or a head goes beyond it. It
    /// stands here so that a request costs one timer and not two.
    pub ends: Option<Instant>,
}

impl Timeouts {
    /// Until when a connection is waited for.
    pub(super) fn connected_by(&self, now: Instant) -> Instant {
        self.within(now + self.connect)
    }

    /// Until when the head of the answer is waited for.
    pub(super) fn answered_by(&self, now: Instant) -> Instant {
        self.within(now + self.answer_head)
    }

    fn within(&self, deadline: Instant) -> Instant {
        self.ends.map_or(deadline, |ends| ends.min(deadline))
    }
}

/// The bounds of a pool. They count per core and target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Idle HTTP/1.1 connections that are kept for later.
    pub idle: usize,
    /// How long one is kept. SECURITY: keep it below the upstream's own keep-alive time, or requests meet closing doors.
    pub idle_age: Duration,
    /// How old a connection may become; never older than either certificate.
    pub lifetime: Duration,
    /// Connections that are being opened at the same time.
    pub connecting: u16,
    /// Requests that wait for a connection to be opened.
    pub waiting: usize,
    /// HTTP/2 connections.
    pub http2_connections: usize,
    /// Streams on one HTTP/2 connection, if the upstream permits as many.
    pub http2_streams: usize,
    /// Time between HTTP/2 pings on a connection in use.
    pub http2_ping: Duration,
    /// What the meter permits on HTTP/2 connections; its idle time is `idle_age`.
    pub frames: MeterLimits,
    /// What the guard permits in answers.
    pub answers: Limits,
    /// How long the guard waits.
    pub pace: UpstreamTimeouts,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            // Opening a connection costs the work of about twenty requests, so those of a burst are worth keeping; the
            // newest is taken first, and what nobody needs is gone by `idle_age`.
            idle: 256,
            idle_age: Duration::from_secs(30),
            lifetime: Duration::from_secs(3_600),
            connecting: 16,
            waiting: 1_024,
            http2_connections: 8,
            http2_streams: 100,
            http2_ping: Duration::from_secs(20),
            frames: MeterLimits::default(),
            answers: Limits::default(),
            pace: UpstreamTimeouts::default(),
        }
    }
}
