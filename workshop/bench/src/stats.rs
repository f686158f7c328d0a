//! Medians, spreads and ratios of rounds.
//!
//! The interval of a ratio is that of its rounds: in each, both systems ran one after the other, so a noisy minute hits
//! both. The least and the greatest of five hold the true median with 94 % (1 - 2/2^5).

/// The middle one; the lower of the two if their number is even.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// From the least to the greatest.
pub(crate) fn spread(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().reduce(f64::min).unwrap_or_default();
    (least, values.iter().copied().reduce(f64::max).unwrap_or_default())
}

/// A figure of several rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figure {
    pub(crate) middle: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Figure {
    pub(crate) fn of(rounds: &[f64]) -> Self {
        let (least, most) = spread(rounds);
        Self { middle: median(rounds), least, most }
    }

    /// Ours to theirs, round by round; nothing without a round that both have.
    pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        let pairs = ours.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0);
        let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
        (!ratios.is_empty()).then(|| Self::of(&ratios))
    }

    /// `0.52 (0.50-0.55)`.
    pub(crate) fn text(&self) -> String {
        format!("{:.2} ({:.2}-{:.2})", self.middle, self.least, self.most)
    }
}

/// Two places: more would claim more than was measured.
pub(crate) fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_string(), "2");
        assert_eq!(median(&[]).to_string(), "0");
        assert_eq!(spread(&[3.0, 1.0]), (1.0, 3.0));
        assert_eq!(spread(&[]), (0.0, 0.0));
        assert_eq!(spread(&[-3.0, -1.0]), (-3.0, -1.0), "a price may be below zero");
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        let ratio = Figure::ratio(&[1.0, 4.0, 3.0], &[2.0, 4.0, 4.0]).unwrap();
        assert_eq!(ratio, Figure { middle: 0.75, least: 0.5, most: 1.0 });
        assert_eq!(ratio.text(), "0.75 (0.50-1.00)");
        assert_eq!(Figure::ratio(&[1.0], &[]), None);
        assert_eq!(Figure::ratio(&[1.0], &[0.0]), None);
    }
}
