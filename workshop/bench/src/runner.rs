//! One system under load, and what its rounds found.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Outcome;
use crate::load::{self, Found, Pace, Shape, Target, count};
use crate::plan::Work;
use crate::process;
use crate::stats::{Figure, median, round};
use crate::systems::{EDGE, Started};
use crate::world::World;

/// Above this share of core 0 a rate or a latency does not count: the load generator may have made it.
pub(crate) const TOO_BUSY: f64 = 0.9;

/// A system under measurement and what was found so far.
pub(crate) struct Runner {
    pub(crate) started: Started,
    pub(crate) target: Target,
    /// CPU microseconds a request, all of its processes, one for each round.
    pub(crate) cpu_us: Vec<f64>,
    /// Of Portcullis' edge process alone.
    pub(crate) edge_us: Vec<f64>,
    /// Good answers a second, closed loop.
    pub(crate) rps: Vec<f64>,
    /// CPU microseconds a request that load generator and origin take on core 0.
    pub(crate) load_us: Vec<f64>,
    pub(crate) half: Vec<Found>,
    pub(crate) high: Vec<Found>,
    pub(crate) failed: u64,
    /// Busiest share of core 0 in the closed loops.
    pub(crate) busy: f64,
    pub(crate) peak_kib: u64,
}

/// The load of a work.
pub(crate) fn target(work: Work, world: &World) -> Outcome<Target> {
    let (shape, alpn) = match work {
        Work::Plain | Work::Secure | Work::SecureParam => (Shape::KeepAlive(64), "http/1.1"),
        Work::SecureH2 => (Shape::Streams(8, 16), "h2"),
        Work::SecureFresh => (Shape::Fresh(16), "http/1.1"),
        Work::Body(..) => (Shape::KeepAlive(4), "http/1.1"),
    };
    let tls = if work.is_secure() { Some(world.client_config(alpn)?) } else { None };
    let tokens = if work.is_secure() { world.tokens.clone() } else { Vec::new() };
    let paths = (0..work.users()).map(|user| work.path(user)).collect();
    Ok(Target {
        address: ([127, 0, 0, 1], 0).into(),
        source: None,
        tls,
        tokens: Arc::new(tokens),
        paths: Arc::new(paths),
        shape,
        bodies: work.bodies(),
    })
}

impl Runner {
    pub(crate) fn new(started: Started, target: Target) -> Self {
        let target = Target { address: started.address, ..target };
        Self {
            started,
            target,
            cpu_us: Vec::new(),
            edge_us: Vec::new(),
            rps: Vec::new(),
            load_us: Vec::new(),
            half: Vec::new(),
            high: Vec::new(),
            failed: 0,
            busy: 0.0,
            peak_kib: 0,
        }
    }

    /// Does it do the work at all? A system that lets a bad token pass is not compared, however fast it is.
    pub(crate) fn probe(&self, work: Work, world: &World) -> Outcome<()> {
        let plain = Target { tls: world.probe_tls(work)?, ..self.target.clone() };
        let good = self.target.tokens.first().map_or("", String::as_str);
        match load::status(&plain, good)? {
            200 => {}
            status => {
                let said = self.started.running.output();
                return Err(format!("a good request was answered with {status}\n{said}"));
            }
        }
        for (what, token) in world.bad_tokens.iter().filter(|_| work.is_secure()) {
            if load::status(&plain, token)? == 200 {
                return Err(format!("it let pass {what}"));
            }
        }
        Ok(())
    }

    /// As much as the system carries, after a warm-up.
    pub(crate) fn saturate(&mut self, span: Duration) -> Outcome<()> {
        let id = self.started.running.id();
        load::run(&self.target, Pace::Closed, span / 4)?;
        let edge = process::below(id, EDGE);
        let (before, edge_before) = (process::cpu_time(id), edge.map(process::own_cpu_time));
        let found = load::run(&self.target, Pace::Closed, span)?;
        let used = process::cpu_time(id).saturating_sub(before);
        if found.tally.good == 0 {
            let (name, failed, tail) = (self.started.name, found.tally.failed, self.started.running.output());
            return Err(format!("{name}: not one good answer ({failed} failed)\n{tail}"));
        }
        let each = |span: Duration| span.as_secs_f64() * 1e6 / count(found.tally.good);
        self.cpu_us.push(each(used));
        if let (Some(edge), Some(before)) = (edge, edge_before) {
            self.edge_us.push(each(process::own_cpu_time(edge).saturating_sub(before)));
        }
        self.rps.push(found.rps);
        self.load_us.push(found.load_us);
        self.failed += found.tally.failed + found.tally.late;
        self.busy = self.busy.max(found.core_busy);
        self.peak_kib = self.peak_kib.max(process::pss_kib(id));
        Ok(())
    }

    pub(crate) fn at_rate(&self, rate: f64, span: Duration) -> Outcome<Found> {
        load::run(&self.target, Pace::Open(rate), span)
    }

    /// 99th percentiles of these stretches in milliseconds, one for each round.
    pub(crate) fn p99(found: &[Found]) -> Vec<f64> {
        found.iter().map(|found| found.at_permille(990)).collect()
    }

    /// Busiest share of core 0 while latencies were measured.
    pub(crate) fn open_busy(&self) -> f64 {
        self.half.iter().chain(&self.high).map(|found| found.core_busy).fold(0.0, f64::max)
    }

    /// The figures for machines.
    pub(crate) fn json(&self, work: Work) -> Value {
        let cpu = Figure::of(&self.cpu_us);
        let p50: Vec<f64> = self.half.iter().map(|found| found.at_permille(500)).collect();
        let p99 = |found: &[Found]| round(median(&Self::p99(found)));
        json!({
            "cpu_us": round(cpu.middle), "cpu_us_least": round(cpu.least), "cpu_us_most": round(cpu.most),
            "edge_cpu_us": (!self.edge_us.is_empty()).then(|| round(median(&self.edge_us))),
            "rps": round(median(&self.rps)), "rps_counts": self.busy < TOO_BUSY,
            "mib_s": work.mib().map(|mib| round(median(&self.rps) * f64::from(mib))),
            "p50_ms": round(median(&p50)), "p99_ms": p99(&self.half), "p99_at_85_ms": p99(&self.high),
            "latency_counts": !self.half.is_empty() && self.open_busy() < TOO_BUSY,
            "load_core_busy": round(self.open_busy()), "load_core_busy_closed": round(self.busy),
            "load_us": round(median(&self.load_us)), "peak_kib": self.peak_kib, "failed": self.failed, "log": self.started.durability,
        })
    }
}
