//! What the project set out to reach, and whether a run reached it.

use crate::plan::{Size, Way, Work};

/// The words for a goal that was met or not, by figures that count or do not.
pub(crate) fn words(met: bool, counts: bool) -> &'static str {
    match (counts, met) {
        (false, _) => "does not count: load core too busy",
        (true, true) => "met",
        (true, false) => "not met",
    }
}

/// What a goal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// CPU time of a request.
    Cpu,
    /// 99th percentile of the time of an answer at half of Envoy's best rate.
    HalfP99,
    /// The same at 85 % of it.
    HighP99,
    /// Bytes of bodies a second.
    Throughput,
}

impl Measure {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::HalfP99 => "p99 at half load",
            Self::HighP99 => "p99 at 85 %",
            Self::Throughput => "MiB/s",
        }
    }

    pub(crate) fn is_latency(self) -> bool {
        matches!(self, Self::HalfP99 | Self::HighP99)
    }
}

/// A bound on the ratio of Portcullis to another system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) work: Work,
    pub(crate) measure: Measure,
    pub(crate) to: &'static str,
    /// At most this; for throughput there is no bound, only the figure.
    pub(crate) limit: Option<f64>,
    pub(crate) aim: Option<f64>,
}

const fn cpu(work: Work, to: &'static str, limit: f64, aim: Option<f64>) -> Goal {
    Goal { work, measure: Measure::Cpu, to, limit: Some(limit), aim }
}

const fn p99(work: Work, measure: Measure) -> Goal {
    Goal { work, measure, to: "envoy", limit: Some(0.8), aim: None }
}

const fn moved(way: Way, size: Size) -> Goal {
    Goal { work: Work::Body(way, size), measure: Measure::Throughput, to: "haproxy", limit: None, aim: None }
}

pub(crate) const GOALS: &[Goal] = &[
    cpu(Work::Secure, "envoy", 0.55, Some(0.42)),
    cpu(Work::SecureParam, "envoy", 0.75, Some(0.5)),
    cpu(Work::SecureH2, "envoy", 0.5, Some(0.35)),
    cpu(Work::SecureFresh, "envoy", 0.75, Some(0.65)),
    cpu(Work::Plain, "haproxy", 1.0, None),
    cpu(Work::Plain, "relay", 1.2, None),
    p99(Work::Secure, Measure::HalfP99),
    p99(Work::Secure, Measure::HighP99),
    p99(Work::SecureH2, Measure::HalfP99),
    p99(Work::SecureH2, Measure::HighP99),
    moved(Way::Down, Size::Mib1),
    moved(Way::Up, Size::Mib1),
    moved(Way::Down, Size::Mib100),
    moved(Way::Up, Size::Mib100),
];

impl Goal {
    /// The verdict on a ratio, in words.
    pub(crate) fn verdict(&self, ratio: f64) -> &'static str {
        match (self.limit, self.aim) {
            (None, _) => "a figure, no bound",
            (Some(_), Some(aim)) if ratio <= aim => "met, and the aim too",
            (Some(limit), _) if ratio <= limit => "met",
            (Some(_), _) => "not met",
        }
    }

    /// What it asks for, in words.
    pub(crate) fn text(&self) -> String {
        let limit = self.limit.map(|limit| format!(" <= {limit}")).unwrap_or_default();
        format!("{}: {} to {}{limit}", self.work.name(), self.measure.word(), self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_count_is_neither_met_nor_missed() {
        assert_eq!((words(true, true), words(false, true)), ("met", "not met"));
        assert!(words(true, false).starts_with("does not count"));
    }

    #[test]
    fn a_ratio_on_the_bound_is_met() {
        let goal = cpu(Work::Secure, "envoy", 0.55, Some(0.42));
        assert_eq!(goal.verdict(0.42), "met, and the aim too");
        assert_eq!(goal.verdict(0.55), "met");
        assert_eq!(goal.verdict(0.56), "not met");
        assert_eq!(goal.text(), "secure: cpu to envoy <= 0.55");
        assert_eq!(moved(Way::Up, Size::Mib1).verdict(9.0), "a figure, no bound");
    }
}
