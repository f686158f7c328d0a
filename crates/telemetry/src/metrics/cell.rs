//! The three kinds of metric, and how each is written as Prometheus text.
//!
//! A handle is an `Arc` of atomics: the request line keeps handles that were looked up when the generation was
//! compiled, and touching one is one relaxed addition.
//!
//! INVARIANT: a label's value is a word of the source code, or a name or template of the configuration; nothing
//! that a caller sent can become one, so the number of series is bounded by the configuration.
//!
//! Sources: Prometheus text exposition format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// A number that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

/// A number that goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

/// A span of time that goes up and down; kept in microseconds, written in seconds.
#[derive(Clone, Debug, Default)]
pub struct Seconds(Arc<AtomicI64>);

/// How long things took, in fixed buckets from 100 µs to 10 s.
#[derive(Clone, Debug, Default)]
pub struct Histogram(Arc<Buckets>);

/// The upper bounds of the buckets, in microseconds.
const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    micros: AtomicU64,
}

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    /// One more.
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One fewer.
    pub fn dec(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Exactly so many.
    pub fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Seconds {
    /// Exactly so long.
    pub fn set(&self, span: Duration) {
        self.set_micros(i64::try_from(span.as_micros()).unwrap_or(i64::MAX));
    }

    /// Exactly so many microseconds, which may be negative: a clock's offset.
    pub fn set_micros(&self, micros: i64) {
        self.0.store(micros, Ordering::Relaxed);
    }

    /// At least so long: keeps the longest.
    pub fn raise(&self, span: Duration) {
        self.0.fetch_max(i64::try_from(span.as_micros()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// The span now, in microseconds.
    #[must_use]
    pub fn micros(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Histogram {
    /// Counts one thing that took so long.
    pub fn observe(&self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS.partition_point(|bound| *bound < micros);
        self.0.counts.get(place).unwrap_or(&self.0.beyond).fetch_add(1, Ordering::Relaxed);
        self.0.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// One series' worth of numbers.
pub trait Cell: Clone + Default {
    /// The word after `# TYPE`.
    const KIND: &'static str;

    /// Appends the series of `name` with these labels (`a="b",c="d"`, or nothing).
    fn write(&self, name: &str, labels: &str, out: &mut String);
}

/// Writing to a `String` cannot fail.
fn sample(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

impl Cell for Counter {
    const KIND: &'static str = "counter";

    fn write(&self, name: &str, labels: &str, out: &mut String) {
        sample(out, name, labels, self.value());
    }
}

impl Cell for Gauge {
    const KIND: &'static str = "gauge";

    fn write(&self, name: &str, labels: &str, out: &mut String) {
        sample(out, name, labels, self.value());
    }
}

/// Microseconds, spelled in seconds without a detour over binary fractions.
fn seconds(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

impl Cell for Seconds {
    const KIND: &'static str = "gauge";

    fn write(&self, name: &str, labels: &str, out: &mut String) {
        sample(out, name, labels, seconds(self.micros()));
    }
}

impl Cell for Histogram {
    const KIND: &'static str = "histogram";

    fn write(&self, name: &str, labels: &str, out: &mut String) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut sum = 0u64;
        let mut bucket = |bound: &str, count: &AtomicU64| {
            sum = sum.saturating_add(count.load(Ordering::Relaxed));
            sample(out, &format!("{name}_bucket"), &format!("{labels}{comma}le=\"{bound}\""), sum);
        };
        for (bound, count) in BOUNDS.iter().zip(&self.0.counts) {
            bucket(&seconds(i64::try_from(*bound).unwrap_or(i64::MAX)), count);
        }
        bucket("+Inf", &self.0.beyond);
        let total = i64::try_from(self.0.micros.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        sample(out, &format!("{name}_sum"), labels, seconds(total));
        sample(out, &format!("{name}_count"), labels, sum);
    }
}

/// What a family's series are told apart by.
pub trait Labels: Clone + Ord {
    /// Each label's name and value, in a fixed order.
    fn pairs(&self) -> Vec<(&'static str, &str)>;
}

/// Series that are told apart by labels.
#[derive(Debug)]
pub struct Family<L, C>(RwLock<BTreeMap<L, C>>);

impl<L, C> Default for Family<L, C> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<L: Labels, C: Cell> Family<L, C> {
    /// The series with these labels; made if it is new. Keep the handle: this takes a lock.
    pub fn at(&self, labels: &L) -> C {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(labels).cloned();
        known.unwrap_or_else(|| {
            let mut series = self.0.write().unwrap_or_else(PoisonError::into_inner);
            series.entry(labels.clone()).or_default().clone()
        })
    }

    /// Forgets the series that `keep` does not want, as when a route is gone from the configuration.
    pub fn retain(&self, mut keep: impl FnMut(&L) -> bool) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|labels, _| keep(labels));
    }
}

/// Something that is written under one name.
pub trait Metric {
    /// The word after `# TYPE`.
    const KIND: &'static str;

    /// Appends all series of `name`.
    fn series(&self, name: &str, out: &mut String);
}

impl<C: Cell> Metric for C {
    const KIND: &'static str = C::KIND;

    fn series(&self, name: &str, out: &mut String) {
        self.write(name, "", out);
    }
}

impl<L: Labels, C: Cell> Metric for Family<L, C> {
    const KIND: &'static str = C::KIND;

    fn series(&self, name: &str, out: &mut String) {
        for (labels, cell) in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            cell.write(name, &spelled(labels), out);
        }
    }
}

fn spelled(labels: &impl Labels) -> String {
    let mut text = String::new();
    for (name, value) in labels.pairs() {
        let comma = if text.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text
}
