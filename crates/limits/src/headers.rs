//! The fields that tell a caller where it stands.
//!
//! Structured fields (RFC 9651): the policy's name is a string, numbers are integers. Names are [`Name`]s, which need
//! no escaping.
//!
//! Sources: draft-ietf-httpapi-ratelimit-headers §3, §4; RFC 9110 §10.2.3 (`Retry-After`).

use std::time::Duration;

use portcullis_core::Name;

use crate::quota::{Quota, Standing};

/// The value of `RateLimit-Policy` for one limit: how many requests (`q`) in how many seconds (`w`).
#[must_use]
pub fn ratelimit_policy(name: &Name, quota: &Quota) -> String {
    format!("\"{name}\";q={};w={}", quota.burst(), seconds(quota.window()).max(1))
}

/// The value of `RateLimit` for one limit: how many are left (`r`) and in how many seconds all will be (`t`).
#[must_use]
pub fn ratelimit(name: &Name, standing: &Standing) -> String {
    format!("\"{name}\";r={};t={}", standing.remaining, seconds(standing.reset))
}

/// The value of `Retry-After`: whole seconds, rounded up, at least one.
#[must_use]
pub fn retry_after(wait: Duration) -> String {
    seconds(wait).max(1).to_string()
}

/// Rounded up, and held below what a structured field can write (RFC 9651 §3.3.1).
fn seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)).min(999_999_999_999_999)
}

#[cfg(test)]
mod tests {
    use portcullis_core::Rate;

    use super::*;

    #[test]
    fn the_fields_say_what_the_draft_says() {
        let name = Name::parse("standard").expect("name");
        let quota = Rate::parse("50/s").ok().and_then(|rate| Quota::new(rate, 100)).expect("quota");
        assert_eq!(ratelimit_policy(&name, &quota), "\"standard\";q=100;w=2");
        let standing = Standing { which: 0, limit: 100, remaining: 7, reset: Duration::from_millis(1_860) };
        assert_eq!(ratelimit(&name, &standing), "\"standard\";r=7;t=2");
    }

    #[test]
    fn a_wait_is_rounded_up_so_that_who_obeys_it_passes() {
        for (wait, want) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (60_000, "60")] {
            assert_eq!(retry_after(Duration::from_millis(wait)), want);
        }
        assert_eq!(retry_after(Duration::MAX), "999999999999999");
    }
}
