//! Counting, in a form that Prometheus reads.
//!
//! [`Metrics`] is the table of `names`; [`RouteMetrics`] are the handles of one route, looked up when a
//! generation is put in force, so that a request touches atomics and no map.
//!
//! Not here: who may read them (the admin listener).

mod cell;
mod labels;

use std::sync::Arc;
use std::time::Duration;

pub use cell::{Cell, Counter, Family, Gauge, Histogram, Labels, Metric, Seconds};
pub use labels::{CoreLabel, NameLabel, NameWord, ReasonLabel, RouteLabels, StatusLabels, Word};
use portcullis_core::{Name, Reason};

pub use crate::names::Metrics;

/// The classes of status, by their first digit.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The handles of one route.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    answered: [Counter; 5],
    seconds: Histogram,
    in_flight: Gauge,
}

/// The handles of each reason for refusal.
#[derive(Clone, Debug)]
pub struct RefusalMetrics(Vec<Counter>);

/// One request that is being worked on; counts itself out when it goes.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl RouteMetrics {
    /// A request begins.
    #[must_use]
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// A request was answered with `status` after `took`.
    pub fn answered(&self, status: u16, took: Duration) {
        let class = usize::from((status / 100).clamp(1, 5)) - 1;
        if let Some(counter) = self.answered.get(class) {
            counter.inc();
        }
        self.seconds.observe(took);
    }
}

impl RefusalMetrics {
    /// Counts a refusal.
    pub fn refused(&self, reason: Reason) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.inc();
        }
    }
}

impl Metrics {
    /// The handles of a route.
    #[must_use]
    pub fn route(&self, service: &Name, route: &str) -> RouteMetrics {
        let labels = RouteLabels { service: service.clone(), route: Arc::from(route) };
        let of = |class| self.requests.at(&StatusLabels { route: labels.clone(), class });
        RouteMetrics {
            answered: CLASSES.map(of),
            seconds: self.request_seconds.at(&labels),
            in_flight: self.in_flight.at(&labels),
        }
    }

    /// The handles of every reason for refusal, so that each is shown from the start, at zero.
    #[must_use]
    pub fn refusals(&self) -> RefusalMetrics {
        RefusalMetrics(Reason::ALL.iter().map(|reason| self.refusals.at(&ReasonLabel(*reason))).collect())
    }

    /// Forgets the series of routes that are no longer configured.
    pub fn keep_routes(&self, keep: impl Fn(&RouteLabels) -> bool) {
        self.requests.retain(|labels| keep(&labels.route));
        self.request_seconds.retain(&keep);
        self.in_flight.retain(&keep);
    }
}

#[cfg(test)]
mod tests;
