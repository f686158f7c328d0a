//! Counts latencies in buckets that are about 3 % wide: fixed memory, whatever comes.

use std::time::Duration;

const SUB: u64 = 32;
const BUCKETS: usize = 2_048;

/// Microseconds, from 1 to far beyond an hour.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(micros)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// How many were recorded.
    #[cfg(test)]
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The value that this many of a thousand do not exceed, in milliseconds.
    pub(crate) fn at_permille(&self, permille: u64) -> f64 {
        let wanted = (self.total * permille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return f64::from(u32::try_from(upper(index)).unwrap_or(u32::MAX)) / 1_000.0;
            }
        }
        0.0
    }
}

/// Linear below 32 microseconds, then 32 steps for each doubling.
fn bucket(micros: u64) -> usize {
    let index = if micros < SUB {
        micros
    } else {
        let shift = u64::from(micros.ilog2()) - 5;
        shift * SUB + (micros >> shift)
    };
    usize::try_from(index).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The largest value that falls into a bucket.
fn upper(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or(u64::MAX);
    if index < 2 * SUB {
        return index;
    }
    let shift = index / SUB - 1;
    ((index % SUB + SUB + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_a_bucket_that_is_at_most_one_part_in_32_wide() {
        for value in (0..40_000).chain([1_000_000, 59_999_999]) {
            let top = upper(bucket(value));
            assert!(top >= value && top - value <= value / 32, "{value} in a bucket up to {top}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        (1..=1_000).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        assert!((histogram.at_permille(500) - 500.0).abs() < 17.0);
        assert!((histogram.at_permille(990) - 990.0).abs() < 32.0);
        assert_eq!(histogram.total(), 1_000);
    }
}
