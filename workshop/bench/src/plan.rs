//! The works that are compared.

use crate::Outcome;

/// One kind of work, the same for every system that can do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// HTTP/1.1 in and out, 64 keep-alive connections, answers of 1 KiB.
    Plain,
    /// TLS 1.3 in, mutual TLS out, ES256 token, scope rule, per-user limit, JSON line per request.
    Secure,
    /// The secure chain where the caller's `sub` must equal a path parameter: 1,000 of them, used evenly.
    SecureParam,
    /// The secure chain with HTTP/2 in: 8 connections of 16 streams.
    SecureH2,
    /// The secure chain with a new TLS connection for every request.
    SecureFresh,
    /// The secure chain with large bodies on four connections.
    Body(Way, Size),
}

/// Which way a large body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the origin to the client.
    Down,
    /// From the client to the origin.
    Up,
}

/// How large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Mib1,
    Mib100,
}

impl Size {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Mib1 => 1 << 20,
            Self::Mib100 => 100 << 20,
        }
    }
}

impl Work {
    pub(crate) const ALL: [Self; 9] = [
        Self::Plain,
        Self::Secure,
        Self::SecureParam,
        Self::SecureH2,
        Self::SecureFresh,
        Self::Body(Way::Down, Size::Mib1),
        Self::Body(Way::Up, Size::Mib1),
        Self::Body(Way::Down, Size::Mib100),
        Self::Body(Way::Up, Size::Mib100),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Secure => "secure",
            Self::SecureParam => "secure-param",
            Self::SecureH2 => "secure-h2",
            Self::SecureFresh => "secure-fresh",
            Self::Body(Way::Down, Size::Mib1) => "down-1m",
            Self::Body(Way::Up, Size::Mib1) => "up-1m",
            Self::Body(Way::Down, Size::Mib100) => "down-100m",
            Self::Body(Way::Up, Size::Mib100) => "up-100m",
        }
    }

    pub(crate) fn named(name: &str) -> Outcome<Self> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|w| w.name() == name)
            .ok_or_else(|| format!("no work `{name}`; there are {}", known()))
    }

    /// How many users take turns, each with a token.
    pub(crate) fn users(self) -> usize {
        match self {
            Self::Plain => 1,
            Self::SecureParam => 1_000,
            Self::Secure | Self::SecureH2 | Self::SecureFresh | Self::Body(..) => 100,
        }
    }

    /// What that user asks for.
    pub(crate) fn path(self, user: usize) -> String {
        match self {
            Self::SecureParam => format!("/customers/user-{user}"),
            _ => "/orders/7".to_owned(),
        }
    }

    /// Bytes of body that a request carries, and that it asks for beyond the usual answer.
    pub(crate) fn bodies(self) -> (usize, Option<usize>) {
        match self {
            Self::Body(Way::Down, size) => (0, Some(size.bytes())),
            Self::Body(Way::Up, size) => (size.bytes(), None),
            _ => (0, None),
        }
    }

    /// MiB that one request moves, if that is what the work is about.
    pub(crate) fn mib(self) -> Option<u32> {
        match self {
            Self::Body(_, Size::Mib1) => Some(1),
            Self::Body(_, Size::Mib100) => Some(100),
            _ => None,
        }
    }

    /// Whether latency is looked at: with large bodies it is that of the bodies.
    pub(crate) fn has_latency(self) -> bool {
        !matches!(self, Self::Body(..))
    }

    pub(crate) fn is_secure(self) -> bool {
        self != Self::Plain
    }
}
