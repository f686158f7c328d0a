//! The figures, as a table for people and as one JSON object for machines: work -> system -> figures.

use serde_json::{Map, Value, json};

use crate::plan::Work;

/// What was found for one system at one work.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// CPU microseconds a request, the whole process, median of the rounds.
    pub(crate) cpu_us: f64,
    /// Least and greatest of the rounds.
    pub(crate) cpu_us_spread: (f64, f64),
    /// Requests a second, closed loop.
    pub(crate) rps: f64,
    /// MiB of bodies a second, for the works that are about bodies.
    pub(crate) mib_s: Option<f64>,
    /// Open loop at half of Envoy's best rate.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Open loop at 85 % of it.
    pub(crate) p99_high_ms: f64,
    /// Busiest share of the load core in the open loops: above 0.9 the latencies do not count.
    pub(crate) load_busy: f64,
    /// The same in the closed loop: near 1 the load generator, not the system, set the rate.
    pub(crate) closed_busy: f64,
    pub(crate) peak_kib: u64,
    pub(crate) failed: u64,
    /// What has happened to the log line of a request by the time of its answer.
    pub(crate) durability: &'static str,
}

/// All works, in the order in which they were done.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(Work, &'static str, Figures)>,
    /// Who did not take part, and why.
    pub(crate) missing: Vec<String>,
}

impl Report {
    pub(crate) fn add(&mut self, work: Work, system: &'static str, figures: Figures) {
        self.rows.push((work, system, figures));
    }

    /// Says that a system could not take part, rather than leaving a gap that looks like a choice.
    pub(crate) fn missing(&mut self, work: Work, system: &str, why: &str) {
        self.missing.push(format!("{}: {system} did not take part: {why}", work.name()));
    }

    pub(crate) fn json(&self) -> String {
        let mut works: Map<String, Value> = Map::new();
        for (work, system, f) in &self.rows {
            let of_work = works.entry(work.name()).or_insert_with(|| json!({}));
            if let Value::Object(systems) = of_work {
                systems.insert((*system).to_owned(), f.json());
            }
        }
        serde_json::to_string_pretty(&works).unwrap_or_default()
    }

    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "\nwork          system       cpu us/req  (least-most)      req/s   p50 ms   p99 ms  p99@85%  PSS KiB  failed  log line\n",
        );
        for (work, system, f) in &self.rows {
            let spread = format!("({:.1}-{:.1})", f.cpu_us_spread.0, f.cpu_us_spread.1);
            let busy = if f.load_busy > 0.9 { "  load core too busy: latencies do not count" } else { "" };
            let moved = f.mib_s.map(|mib| format!("  {mib:.0} MiB/s")).unwrap_or_default();
            text += &format!(
                "{:<13} {system:<11} {:>11.1}  {spread:<14} {:>9.0} {:>8.2} {:>8.2} {:>8.2} {:>8} {:>7}  {}{moved}{busy}\n",
                work.name(),
                f.cpu_us,
                f.rps,
                f.p50_ms,
                f.p99_ms,
                f.p99_high_ms,
                f.peak_kib,
                f.failed,
                f.durability,
            );
        }
        for line in &self.missing {
            text += line;
            text.push('\n');
        }
        text + "haproxy: Debian's, OpenSSL 3.0, no cache of verified tokens. nginx: no token verification in the free one.\n"
    }
}

impl Figures {
    fn json(&self) -> Value {
        json!({
            "cpu_us": round(self.cpu_us), "cpu_us_least": round(self.cpu_us_spread.0),
            "cpu_us_most": round(self.cpu_us_spread.1), "rps": round(self.rps), "mib_s": self.mib_s.map(round), "p50_ms": round(self.p50_ms),
            "p99_ms": round(self.p99_ms), "p99_at_85_ms": round(self.p99_high_ms), "peak_kib": self.peak_kib,
            "load_busy": round(self.load_busy), "closed_busy": round(self.closed_busy), "failed": self.failed, "log": self.durability,
        })
    }
}

/// Two places: more would claim more than was measured.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
