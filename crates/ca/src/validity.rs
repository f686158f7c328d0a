//! From when until when a certificate is valid, and when it should be renewed.
//!
//! INVARIANT: a [`Validity`] lies within its issuer's, in whole seconds, as certificates write them.
//!
//! Sources: RFC 5280 §4.1.2.5; SS028-11.2.10.

use std::time::Duration;

use portcullis_core::UnixMillis;
use serde::{Deserialize, Serialize};

/// A span in whole seconds; `until` is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// The first moment.
    pub from: UnixMillis,
    /// The end.
    pub until: UnixMillis,
}

/// Why nothing can be issued for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidityFault {
    /// The issuer begins later.
    #[error("the issuer's certificate is not valid yet")]
    IssuerNotYet,
    /// The issuer has ended, or ends before a certificate would be of use.
    #[error("the issuer's certificate ends within {} s; rotate it", Validity::SHORTEST.as_secs())]
    IssuerEnds,
}

impl Validity {
    /// How long a workload's certificate lives.
    pub const WORKLOAD: Duration = Duration::from_secs(3_600);
    /// A certificate with less life than this is not worth its handshake.
    pub const SHORTEST: Duration = Duration::from_secs(60);
    /// How far a certificate reaches back, for peers whose clock is behind.
    pub const SKEW: Duration = Duration::from_secs(60);

    /// From now (less the skew) for `life`, cut to the issuer's own validity.
    ///
    /// # Errors
    /// The issuer is not valid, or not for long enough.
    pub fn within(issuer: Self, now: UnixMillis, life: Duration) -> Result<Self, ValidityFault> {
        if now < issuer.from {
            return Err(ValidityFault::IssuerNotYet);
        }
        let now = UnixMillis::from_seconds(now.seconds());
        let back = now.seconds().saturating_sub(Self::SKEW.as_secs());
        let made = Self {
            from: UnixMillis::from_seconds(back).max(issuer.from),
            until: now.plus(life).min(issuer.until),
        };
        if made.until.since(now) < Self::SHORTEST { Err(ValidityFault::IssuerEnds) } else { Ok(made) }
    }

    /// Whether it is within this one.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        self.from <= other.from && other.until <= self.until && other.from < other.until
    }

    /// When its holder should ask for the next: at two thirds of its life, earlier by up to a twelfth, so that workloads
    /// that started together do not renew together. `random` is any number.
    #[must_use]
    pub fn renew_at(&self, random: u64) -> UnixMillis {
        let life = self.until.0.saturating_sub(self.from.0);
        let earlier = random % (life / 12).max(1);
        UnixMillis(self.from.0.saturating_add(life / 3 * 2).saturating_sub(earlier))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(from: u64, until: u64) -> Validity {
        Validity { from: UnixMillis::from_seconds(from), until: UnixMillis::from_seconds(until) }
    }

    #[test]
    fn ss028_11_2_10_a_certificate_never_outlives_its_issuer() {
        let hour = Validity::WORKLOAD;
        let table = [
            (secs(0, 100_000), 10_000, Ok(secs(9_940, 13_600))),
            (secs(9_990, 100_000), 10_000, Ok(secs(9_990, 13_600))),
            (secs(0, 10_500), 10_000, Ok(secs(9_940, 10_500))),
            (secs(0, 10_060), 10_000, Ok(secs(9_940, 10_060))),
            (secs(0, 10_059), 10_000, Err(ValidityFault::IssuerEnds)),
            (secs(0, 9_000), 10_000, Err(ValidityFault::IssuerEnds)),
            (secs(10_001, 20_000), 10_000, Err(ValidityFault::IssuerNotYet)),
        ];
        for (issuer, now, want) in table {
            assert_eq!(Validity::within(issuer, UnixMillis::from_seconds(now), hour), want, "{issuer:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_made_lies_within_and_is_renewed_before_it_ends(
            from in 0..1_000_000u64, life in 1..1_000_000u64, now in 0..2_000_000_000u64, random in any::<u64>(),
        ) {
            let issuer = secs(from, from + life);
            if let Ok(made) = Validity::within(issuer, UnixMillis(now), Validity::WORKLOAD) {
                prop_assert!(issuer.holds(&made));
                prop_assert!(made.from.0 <= now && now < made.until.0);
                let renew = made.renew_at(random);
                prop_assert!(made.from < renew && renew < made.until);
            }
        }
    }
}
