//! Load: closed loop to find what a system can carry, open loop to see how long its answers take.
//!
//! One thread on core 0. A closed loop sends the next request when the last answer has come. An open loop gives every
//! request its moment beforehand, at a fixed rate, and times it from that moment: if the system stalls, the requests
//! that should have been sent meanwhile count as late (no coordinated omission).

mod h1;
mod h2;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::Outcome;
use crate::histogram::Histogram;
use crate::process;

/// Where the load goes and what it says.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
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

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// When the answer before has come.
    Closed,
    /// At this many a second, come what may.
    Open(f64),
}

/// What one stretch of load found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) latency: Histogram,
    pub(crate) failed: u64,
    pub(crate) took: Duration,
    /// Share of the time in which core 0 was busy with us.
    pub(crate) busy: f64,
}

impl Found {
    pub(crate) fn rps(&self) -> f64 {
        let count = u32::try_from(self.latency.total()).unwrap_or(u32::MAX);
        f64::from(count) / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

/// Hands out the moments of requests, and says when it is over.
pub(crate) struct Schedule {
    start: Instant,
    end: Instant,
    pace: Pace,
    next: AtomicU64,
    over: AtomicBool,
}

impl Schedule {
    fn new(pace: Pace, span: Duration) -> Self {
        let start = Instant::now();
        Self { start, end: start + span, pace, next: AtomicU64::new(0), over: AtomicBool::new(false) }
    }

    /// The moment of the next request, or nothing if the time is up. Waits for it if it is still to come.
    async fn turn(&self) -> Option<(u64, Instant)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = match self.pace {
            Pace::Closed => Instant::now(),
            Pace::Open(rate) => {
                let number = f64::from(u32::try_from(number).unwrap_or(u32::MAX));
                let due = self.start + Duration::from_secs_f64(number / rate);
                tokio::time::sleep_until(due.into()).await;
                due
            }
        };
        (due < self.end && !self.over.load(Ordering::Relaxed)).then_some((number, due))
    }
}

/// Loads the target for `span` and gives what was found.
pub(crate) fn run(target: &Target, pace: Pace, span: Duration) -> Outcome<Found> {
    let target = target.clone();
    let work = move || {
        process::stay_on_core(0);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let before = process::cpu_time(std::process::id());
        let schedule = Arc::new(Schedule::new(pace, span));
        let (latency, failed) = runtime.block_on(async {
            let work = tasks(&target, &schedule);
            // What has not been answered a good while after the end has failed.
            tokio::time::timeout(span + Duration::from_secs(5), work).await.unwrap_or_default()
        });
        let took = schedule.start.elapsed();
        let busy =
            process::cpu_time(std::process::id()).saturating_sub(before).as_secs_f64() / took.as_secs_f64();
        Ok(Found { latency, failed, took, busy })
    };
    let thread =
        std::thread::Builder::new().name("load".to_owned()).spawn(work).map_err(|e| e.to_string())?;
    thread.join().map_err(|_| "the load generator stopped".to_owned())?
}

async fn tasks(target: &Target, schedule: &Arc<Schedule>) -> (Histogram, u64) {
    let mut set = tokio::task::JoinSet::new();
    match target.shape {
        Shape::KeepAlive(count) => {
            (0..count).for_each(|_| drop(set.spawn(h1::keep_alive(target.clone(), Arc::clone(schedule)))));
        }
        Shape::Fresh(count) => {
            (0..count).for_each(|_| drop(set.spawn(h1::fresh(target.clone(), Arc::clone(schedule)))));
        }
        Shape::Streams(connections, streams) => {
            (0..connections)
                .for_each(|_| drop(set.spawn(h2::streams(target.clone(), streams, Arc::clone(schedule)))));
        }
    }
    let mut sum = (Histogram::default(), 0);
    while let Some(done) = set.join_next().await {
        let tally = done.unwrap_or_default();
        sum.0.merge(&tally.latency);
        sum.1 += tally.failed;
    }
    sum
}

/// What one task counted.
#[derive(Default)]
pub(crate) struct Tally {
    latency: Histogram,
    failed: u64,
}

impl Tally {
    fn note(&mut self, due: Instant, outcome: &Outcome<u16>) {
        match outcome {
            Ok(200) => self.latency.record(due.elapsed()),
            _ => self.failed += 1,
        }
    }
}

/// Path and token of a request; no token for plain work.
fn asked(target: &Target, number: u64) -> (&str, Option<&str>) {
    let turn = |list: &'_ [String]| -> Option<usize> {
        let count = u64::try_from(list.len()).ok().filter(|n| *n > 0)?;
        usize::try_from(number % count).ok()
    };
    let path = turn(&target.paths).and_then(|at| target.paths.get(at)).map_or("/", String::as_str);
    let token = turn(&target.tokens).and_then(|at| target.tokens.get(at)).map(String::as_str);
    (path, token)
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
