//! How long to wait before trying again, and how waits are spread.
//!
//! Pure: the random number is an argument.

use std::time::Duration;

/// The wait after so many failures in a row: doubling from `first` up to `longest`, the upper half of it by chance, so
/// that many who failed together do not come back together.
pub(crate) fn after(failures: u32, first: Duration, longest: Duration, random: u64) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(20));
    spread(doubled.min(longest), 50, random)
}

/// `span`, shortened by up to `percent` of it.
pub(crate) fn spread(span: Duration, percent: u32, random: u64) -> Duration {
    let chance = u32::try_from(random % 1001).unwrap_or(0);
    let cut = span / 100 * percent.min(100);
    span - cut / 1000 * chance
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<_> = (1..=8).map(|n| after(n, FIRST, LONGEST, 0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(after(3, FIRST, LONGEST, 1000), Duration::from_secs(2), "at most the half is cut");
    }

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_it_may_be_nor_shorter_than_half(n in any::<u32>(), random in any::<u64>()) {
            let wait = after(n, FIRST, LONGEST, random);
            prop_assert!(wait >= FIRST / 2 && wait <= LONGEST);
            let spread = spread(LONGEST, 20, random);
            prop_assert!(spread <= LONGEST && spread >= LONGEST / 100 * 80);
        }
    }
}
