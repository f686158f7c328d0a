//! SPIFFE ids, in the one spelling that the standard gives each.
//!
//! INVARIANT: two ids are equal exactly if their texts are: nothing is folded, decoded or cut (B1, D3).
//!
//! Sources: SPIFFE-ID §2 (SPF-1).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a trust domain: `a-z`, `0-9`, `.`, `-`, `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

/// `spiffe://<trust domain>/<path>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    /// Where the path begins, or the length of the text.
    path_at: usize,
}

/// Why a text is not a SPIFFE id or a trust domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpiffeFault {
    /// Longer than [`SpiffeId::LONGEST`], or [`TrustDomain::LONGEST`].
    TooLong,
    /// Another scheme, or another spelling of it.
    Scheme,
    /// The trust domain is empty or has other bytes than the standard permits.
    TrustDomain,
    /// A path segment is empty, `.` or `..`, or the path ends in `/`.
    Segment,
    /// A path byte that the standard does not permit: escapes, queries and fragments among them.
    PathByte,
    /// A workload's id has a path; without one it names the trust domain itself.
    NoPath,
}

impl fmt::Display for SpiffeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "longer than the SPIFFE standard permits",
            Self::Scheme => "must begin with `spiffe://`",
            Self::TrustDomain => "a trust domain has only `a-z`, `0-9`, `.`, `-` and `_`",
            Self::Segment => "a path has no empty, `.` or `..` segment and no `/` at its end",
            Self::PathByte => "a path has only letters, digits, `.`, `-`, `_` and `/`",
            Self::NoPath => "names a trust domain and no workload",
        })
    }
}

impl std::error::Error for SpiffeFault {}

const SCHEME: &str = "spiffe://";

impl TrustDomain {
    /// The longest name (SPIFFE-ID §2.3).
    pub const LONGEST: usize = 255;

    /// Checks `text` and keeps it.
    ///
    /// # Errors
    /// Empty, too long, or with a byte that the standard does not permit.
    pub fn parse(text: &str) -> Result<Self, SpiffeFault> {
        let permits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if text.len() > Self::LONGEST {
            return Err(SpiffeFault::TooLong);
        }
        if text.is_empty() || !text.bytes().all(permits) {
            return Err(SpiffeFault::TrustDomain);
        }
        Ok(Self(text.into()))
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `id` belongs to this trust domain.
    #[must_use]
    pub fn holds(&self, id: &SpiffeId) -> bool {
        id.trust_domain() == self.as_str()
    }
}

impl SpiffeId {
    /// The longest id that every implementation must support, and that we accept (SPIFFE-ID §2.3).
    pub const LONGEST: usize = 2048;

    /// Reads the id of a workload, which has a path.
    ///
    /// # Errors
    /// The first fault found.
    pub fn parse(text: &str) -> Result<Self, SpiffeFault> {
        if text.len() > Self::LONGEST {
            return Err(SpiffeFault::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeFault::Scheme)?;
        let (domain, path) = rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
        TrustDomain::parse(domain)?;
        path.ok_or(SpiffeFault::NoPath)?.split('/').try_for_each(check_segment)?;
        Ok(Self { text: text.into(), path_at: SCHEME.len() + domain.len() })
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name of its trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        self.text.get(SCHEME.len()..self.path_at).unwrap_or_default()
    }

    /// Its path, with the leading `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(self.path_at..).unwrap_or_default()
    }
}

fn check_segment(segment: &str) -> Result<(), SpiffeFault> {
    let permits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    match segment {
        "" | "." | ".." => Err(SpiffeFault::Segment),
        other if other.bytes().all(permits) => Ok(()),
        _ => Err(SpiffeFault::PathByte),
    }
}

/// Text in, text out, checked on the way in.
macro_rules! as_text {
    ($($kind:ty),*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`{}`", self.as_str())
            }
        }
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(TrustDomain, SpiffeId);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn d3_a_spiffe_id_has_one_spelling_or_is_refused() {
        let long_domain = format!("spiffe://{}/a", "d".repeat(256));
        let long = format!("spiffe://d/{}", "a".repeat(2048));
        let table = [
            ("spiffe://shop.example/orders", Ok("shop.example")),
            ("spiffe://shop_1.example/ns/Prod/sa/a.b-c", Ok("shop_1.example")),
            ("spiffe://shop.example/...", Ok("shop.example")),
            ("", Err(SpiffeFault::Scheme)),
            ("SPIFFE://shop.example/orders", Err(SpiffeFault::Scheme)),
            ("https://shop.example/orders", Err(SpiffeFault::Scheme)),
            ("spiffe:/shop.example/orders", Err(SpiffeFault::Scheme)),
            ("spiffe:///orders", Err(SpiffeFault::TrustDomain)),
            ("spiffe://Shop.example/orders", Err(SpiffeFault::TrustDomain)),
            ("spiffe://shop.example:8443/orders", Err(SpiffeFault::TrustDomain)),
            ("spiffe://user@shop.example/orders", Err(SpiffeFault::TrustDomain)),
            ("spiffe://shop%2eexample/orders", Err(SpiffeFault::TrustDomain)),
            ("spiffe://shöp.example/orders", Err(SpiffeFault::TrustDomain)),
            ("spiffe://shop.example", Err(SpiffeFault::NoPath)),
            ("spiffe://shop.example/", Err(SpiffeFault::Segment)),
            ("spiffe://shop.example/orders/", Err(SpiffeFault::Segment)),
            ("spiffe://shop.example//orders", Err(SpiffeFault::Segment)),
            ("spiffe://shop.example/./orders", Err(SpiffeFault::Segment)),
            ("spiffe://shop.example/../orders", Err(SpiffeFault::Segment)),
            ("spiffe://shop.example/orders?x", Err(SpiffeFault::PathByte)),
            ("spiffe://shop.example/orders#x", Err(SpiffeFault::PathByte)),
            ("spiffe://shop.example/%6frders", Err(SpiffeFault::PathByte)),
            ("spiffe://shop.example/orders\0", Err(SpiffeFault::PathByte)),
            ("spiffe://shop.example/or ders", Err(SpiffeFault::PathByte)),
            (&long_domain, Err(SpiffeFault::TooLong)),
            (&long, Err(SpiffeFault::TooLong)),
        ];
        for (given, want) in table {
            let got = SpiffeId::parse(given);
            assert_eq!(got.as_ref().map(SpiffeId::trust_domain).map_err(|f| *f), want, "{given:?}");
        }
    }

    #[test]
    fn spf8_a_trust_domain_holds_only_its_own() {
        let domain = TrustDomain::parse("shop.example").expect("a trust domain");
        for (id, want) in [("shop.example", true), ("shop.example.evil", false), ("a.shop.example", false)] {
            let id = SpiffeId::parse(&format!("spiffe://{id}/orders")).expect("an id");
            assert_eq!(domain.holds(&id), want, "{id}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_made_of_its_parts(text in "(spiffe://)?[a-z./%A-Z0-9-]{0,30}") {
            if let Ok(id) = SpiffeId::parse(&text) {
                prop_assert_eq!(id.as_str(), &text);
                prop_assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
                prop_assert!(!id.path().contains("//") && id.path().starts_with('/'));
            }
        }
    }
}
