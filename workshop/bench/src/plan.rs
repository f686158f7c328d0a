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
}

impl Work {
    pub(crate) const ALL: [Self; 5] =
        [Self::Plain, Self::Secure, Self::SecureParam, Self::SecureH2, Self::SecureFresh];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Secure => "secure",
            Self::SecureParam => "secure-param",
            Self::SecureH2 => "secure-h2",
            Self::SecureFresh => "secure-fresh",
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
            Self::Secure | Self::SecureH2 | Self::SecureFresh => 100,
        }
    }

    /// What that user asks for.
    pub(crate) fn path(self, user: usize) -> String {
        match self {
            Self::SecureParam => format!("/customers/user-{user}"),
            _ => "/orders/7".to_owned(),
        }
    }

    pub(crate) fn is_secure(self) -> bool {
        self != Self::Plain
    }
}
