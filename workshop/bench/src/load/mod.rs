//! Load: closed loop to find what a system can carry, open loop to see how long its answers take.
//!
//! One thread on core 0, beside the origin's. Requests are prepared before the clock starts.

pub(crate) mod h1;
pub(crate) mod h2;
mod pacer;
pub(crate) mod prepared;
pub(crate) mod schedule;

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::task::{JoinSet, LocalSet};

use crate::Outcome;
use crate::process;
use h1::Stream;
use h2::Places;
use prepared::Prepared;
use schedule::{Schedule, Tally};

/// What has not been answered so long after the end is late; a large body may take longer.
const PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE_LARGE: Duration = Duration::from_secs(20);
const LARGE: usize = 1 << 20;
/// Connections that are opened at the same time.
const DIALS: usize = 16;

/// Where the load goes and what it says.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The address that it comes from, if that matters.
    pub(crate) source: Option<Ipv4Addr>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// Bearer tokens to use in turn; none for plain work.
    pub(crate) tokens: Arc<Vec<String>>,
    /// Paths to use in turn, in step with the tokens.
    pub(crate) paths: Arc<Vec<String>>,
    pub(crate) shape: Shape,
    /// Bytes of body that each request carries, and that it asks for.
    pub(crate) bodies: (usize, Option<usize>),
}

/// How requests are laid onto connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// HTTP/1.1 on that many connections that stay open.
    KeepAlive(usize),
    /// HTTP/2: connections, and streams on each at a time.
    Streams(usize, usize),
    /// HTTP/1.1 with a new connection for every request, that many at a time.
    Fresh(usize),
}

impl Shape {
    /// Requests that may be in flight.
    fn places(self) -> usize {
        match self {
            Self::KeepAlive(count) | Self::Fresh(count) => count,
            Self::Streams(connections, streams) => connections * streams,
        }
    }
}

/// What every worker is given.
pub(crate) type Parts = (Target, Rc<Prepared>, Rc<Schedule>);

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// When the answer before has come.
    Closed,
    /// At this many a second, come what may.
    Open(f64),
    /// As closed, until so many were sent.
    Count(u64),
}

/// What one stretch of load found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) tally: Tally,
    /// Good answers a second: for a closed loop all of them over the time until the last, for an open one those within
    /// the span.
    pub(crate) rps: f64,
    /// CPU time of load generator and origin together, microseconds a good answer. Below the proxy's own, the proxy is
    /// the limit.
    pub(crate) load_us: f64,
    /// Share of the time in which core 0 was busy, with us or with anything.
    pub(crate) core_busy: f64,
}

impl Found {
    /// Milliseconds that this many of a thousand requests did not exceed.
    pub(crate) fn at_permille(&self, permille: u64) -> f64 {
        self.tally.latency.at_permille(permille)
    }

    /// Share of good answers among all that was due.
    pub(crate) fn success(&self) -> f64 {
        let all = self.tally.good + self.tally.failed + self.tally.late;
        count(self.tally.good) / count(all.max(1))
    }
}

/// A number of requests as a float.
pub(crate) fn count(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Loads the target for `span` and gives what was found.
pub(crate) fn run(target: &Target, pace: Pace, span: Duration) -> Outcome<Found> {
    let target = target.clone();
    let work = move || {
        process::stay_on_core(0);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        LocalSet::new().block_on(&runtime, stretch(&target, pace, span))
    };
    let thread =
        std::thread::Builder::new().name("load".to_owned()).spawn(work).map_err(|e| e.to_string())?;
    thread.join().map_err(|_| "the load generator stopped".to_owned())?
}

async fn stretch(target: &Target, pace: Pace, span: Duration) -> Outcome<Found> {
    let prepared = Rc::new(Prepared::make(target).await?);
    let dialled = dial(target).await;
    // Its own time alone: the systems under measurement are children of this process.
    let (used, core) = (process::own_clock(), process::CoreTime::read(0));
    let schedule = Rc::new(Schedule::new(pace, span, target.shape.places())?);
    let mut set = workers(target, &prepared, &schedule, dialled);
    let work = async { while set.join_next().await.is_some() {} };
    let (up, down) = target.bodies;
    let patience = if up.max(down.unwrap_or_default()) > LARGE { PATIENCE_LARGE } else { PATIENCE };
    tokio::select! {
        fault = schedule.pacer.run() => fault?,
        _ = tokio::time::timeout(span + patience, work) => {}
    }
    let (tally, lasted) = (schedule.cut(), schedule.lasted().as_secs_f64().max(f64::EPSILON));
    let used = process::own_clock().saturating_sub(used).as_secs_f64();
    let rps = match pace {
        Pace::Closed | Pace::Count(_) => count(tally.good) / lasted,
        Pace::Open(_) => count(tally.in_time) / schedule.took().as_secs_f64().max(f64::EPSILON),
    };
    Ok(Found {
        rps,
        load_us: used * 1e6 / count(tally.good.max(1)),
        core_busy: process::CoreTime::read(0).busy_since(core).max(used / lasted),
        tally,
    })
}

/// Opens the connections that stay open before the clock starts: shaking hands is work of another kind.
async fn dial(target: &Target) -> Vec<Option<Box<dyn Stream>>> {
    let count = match target.shape {
        Shape::KeepAlive(count) | Shape::Streams(count, _) => count,
        Shape::Fresh(_) => 0,
    };
    let mut dialled = Vec::with_capacity(count);
    while dialled.len() < count {
        let mut some = JoinSet::new();
        for _ in dialled.len()..count.min(dialled.len() + DIALS) {
            let target = target.clone();
            some.spawn(async move { h1::connect(&target).await.ok() });
        }
        // One that fails is tried again by its worker, and counted there.
        while let Some(stream) = some.join_next().await {
            dialled.push(stream.unwrap_or_default());
        }
    }
    dialled
}

fn workers(
    target: &Target,
    prepared: &Rc<Prepared>,
    schedule: &Rc<Schedule>,
    dialled: Vec<Option<Box<dyn Stream>>>,
) -> JoinSet<()> {
    let mut set = JoinSet::new();
    let mut dialled = dialled.into_iter();
    let parts = || (target.clone(), Rc::clone(prepared), Rc::clone(schedule));
    match target.shape {
        Shape::KeepAlive(count) | Shape::Fresh(count) => {
            for place in 0..count {
                set.spawn_local(h1::worker(parts(), place, dialled.next().flatten()));
            }
        }
        Shape::Streams(connections, count) => {
            for connection in 0..connections {
                let places = Places { first: connection * count, count };
                set.spawn_local(h2::worker(parts(), places, dialled.next().flatten()));
            }
        }
    }
    set
}

/// The status of one request by HTTP/1.1 with this token.
pub(crate) fn status(target: &Target, token: &str) -> Outcome<u16> {
    let tokens = if token.is_empty() { Vec::new() } else { vec![token.to_owned()] };
    let target = Target { tokens: Arc::new(tokens), bodies: (0, None), ..target.clone() };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let patience = Duration::from_secs(5);
        let answer = tokio::time::timeout(patience, h1::once(&target)).await;
        answer.map_err(|_| "no answer in 5 s".to_owned())?
    })
}
